/**
 * Streams with a consumer group. The position of a lane is the set of entries that are not acknowledged: a restart reads those first.
 * A position also lists the entries that were read but not acknowledged when it was created, so that a checkpoint kept elsewhere can
 * identify them.
 */
import { hostname } from 'node:os'
import { type Batch, type Counter, type Position, type Source, type SourceContext } from '../../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../../generated/config-types.ts'
import { logOnce } from '../../../kit/said-once.ts'
import { connect, type RedisHandle } from '../connect.ts'
import type { Session } from '../driver.ts'
import { LiveConsumers } from './live-consumers.ts'
import { StreamLane } from './stream-lane.ts'

/** How long the server waits for an entry before it replies that there is none, ms. */
const BLOCK = 500

export function streamSource(config: RedisSourceConfig, streams: readonly string[], ctx: SourceContext): Source {
  const group = config.group ?? ctx.pipeline
  const consumer = config.consumer ?? hostname()
  const lanes: StreamLane[] = []
  const meter = {
    claimed: ctx.metrics.counter('redis_stream_claimed_total', 'Entries claimed from consumers that did not acknowledge them.', {
      step: ctx.step,
    }),
    missing: missingEntries(ctx),
  }
  let handle: RedisHandle | undefined
  let consumers: LiveConsumers | undefined
  /** Why this process must stop reading. */
  let rejection: Error | undefined
  /** One per stream, because each connection waits for one stream. */
  let sessions: Session[] = []
  /** Reads in progress, per lane: the result of an abandoned read is used by the next one, not lost. */
  const reads = new Map<StreamLane, Promise<{ lane: StreamLane; batch?: Batch; error?: Error }>>()
  /** Lanes whose read has finished and was not returned yet. */
  const waiting = new Set<StreamLane>()
  let turn = 0

  const ask = (lane: StreamLane): Promise<{ lane: StreamLane; batch?: Batch; error?: Error }> => {
    let read = reads.get(lane)
    if (read === undefined) {
      read = lane.next(sessions[lanes.indexOf(lane)], BLOCK).then(
        batch => {
          if (hasNews(batch)) waiting.add(lane)
          return { lane, batch }
        },
        (error: Error) => ({ lane, error }),
      )
      reads.set(lane, read)
    }
    return read
  }

  return {
    async open() {
      handle ??= await connect(config)
      const { driver } = handle
      const { live, log, step } = ctx
      if (live && !consumers && !ctx.range) {
        const others = new LiveConsumers({ driver, streams, group, live, log, step, rejected: error => (rejection = error) })
        await others.join()
        consumers = others
      }
      if (lanes.length === 0) lanes.push(...streams.map(key => new StreamLane({ config, key, group, consumer, ctx, meter, driver })))
      await Promise.all(sessions.map(s => s.close()))
      sessions = []
      for (const lane of lanes) {
        await lane.prepare()
        sessions.push(await driver.session())
      }
      const positions = await ctx.assign(lanes.map(({ id, key }) => ({ id, source: ctx.step, topic: key, group })))
      for (const lane of lanes) lane.seek(positions.get(lane.id))
    },

    async read(signal): Promise<Batch> {
      for (;;) {
        signal.throwIfAborted()
        if (rejection) throw rejection
        const order = lanes.map((_, i) => lanes[(i + turn) % lanes.length])
        turn++
        const { lane, batch, error } = await abortable(Promise.race(order.map(ask)), signal)
        reads.delete(lane)
        waiting.delete(lane)
        if (error) throw error
        // Read before a seek: it is read again.
        if (batch !== undefined && hasNews(batch) && lane.isCurrent(batch)) return batch
      }
    },

    async seek(id, position: Position | undefined) {
      lanes.find(l => l.id === id)?.seek(position)
    },

    async commit(id, position) {
      await lanes.find(l => l.id === id)?.commit(position)
    },

    caughtUp(id) {
      const found = lanes.find(l => l.id === id)
      return found !== undefined && !waiting.has(found) && found.caughtUp
    },
    healthy: () => handle?.driver.healthy() ?? false,

    async close() {
      await consumers?.leave()
      await Promise.all(sessions.map(s => s.close()))
      sessions = []
      await handle?.release()
    },
  }
}

const hasNews = (batch: Batch): boolean => batch.messages.length > 0 || batch.gap !== undefined

/** Counts each call, and logs the first. */
function missingEntries(ctx: SourceContext): Counter {
  const help = 'Entries that were deleted or trimmed before they were acknowledged.'
  const count = ctx.metrics.counter('redis_stream_missing_total', help, { step: ctx.step }, 'missing_entries')
  const say = logOnce(ctx.log, ctx.step)
  return {
    inc(n = 1) {
      if (n === 0) return
      count.inc(n)
      say(() => ({
        details: { entries: n },
        message: 'entries were deleted or trimmed from the stream before they were acknowledged; they are lost',
      }))
    },
  }
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
