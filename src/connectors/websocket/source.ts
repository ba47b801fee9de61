/**
 * Client of a WebSocket feed. `open` only starts to connect: one of several feeds in a pipeline must not delay the others, and a feed may
 * disconnect at any time anyway. The source is not healthy until it is connected.
 */
import type { WebsocketSourceConfig } from '../../generated/config-types.ts'
import {
  type Batch,
  DataError,
  defineSource,
  Message,
  type Origin,
  type Rejection,
  type Source,
  type SourceContext,
} from '../../contract/plugin.ts'
import { createPushQueue, type PushBatch, type QueuedRecord } from '../../kit/push-queue/queue.ts'
import { inStateDir } from '../../kit/state-dir.ts'
import { anyOf, type Match, matcher } from '../../kit/values/match.ts'
import { validateConfig } from './validate-config.ts'
import { countersOf } from './counters.ts'
import { Feed } from './feed.ts'
import { GapRecovery } from './gap-recovery.ts'
import { checkFeed } from './check.ts'
import { RejectionLog } from './rejection-log.ts'
import type { Streams } from './sequence.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import tlsKeys from '../../kit/keys/tls.schema.json' with { type: 'json' }
import schema from './source.schema.json' with { type: 'json' }
import { type TlsOptions, tlsOptions } from './tls.ts'

export default defineSource<WebsocketSourceConfig>({
  type: 'websocket',
  schema: withKeys(schema, tlsKeys),
  replayable: false,
  reason: 'a feed does not repeat what it has sent; messages sent while disconnected, or in memory at a crash, are lost',
  validateConfig,
  check: checkFeed,
  create: (config, ctx) => websocketSource(config, ctx, Math.random),
})

/** Name of the header that holds the problem of a message while it is queued. */
const PROBLEM = 'sequence_error'

export function websocketSource(config: WebsocketSourceConfig, ctx: SourceContext, random: () => number): Source {
  const lane = ctx.step
  const origin: Origin = { lane, source: ctx.step, format: config.format, depth: ctx.depth }
  const counters = countersOf(ctx)
  const rejectionLog = new RejectionLog(ctx.log, counters)
  const isControl = anyOf(config.control as Match[])
  const pong = config.ping?.pong
  const pongText = typeof pong === 'string' ? Buffer.from(pong) : undefined
  const isPong = typeof pong === 'object' ? matcher(pong as Match) : () => false

  let Client: typeof import('ws').WebSocket
  let tls: TlsOptions = {}
  /** Number that follows the last message read; undefined: none has been read. */
  let expected: number | undefined
  /** Messages that have a sequence number but are not data. */
  const controls = new WeakSet<Message>()

  const { max_bytes, max_spill, on_full, on_spill_full } = config.queue
  const queue = createPushQueue({
    dir: inStateDir(`push/${ctx.pipeline}.${ctx.version}/${ctx.step}`),
    maxBytes: max_bytes,
    maxSpillBytes: max_spill,
    onFull: on_full,
    onSpillFull: on_spill_full,
    onBlock: blocked => (blocked ? feed.connection?.pause() : feed.connection?.resume()),
    metrics: ctx.metrics,
    log: ctx.log,
    step: ctx.step,
    clock: ctx.clock,
  })
  const feed = new Feed(config, ctx, counters, random, { opened: () => gapRecovery?.opened(), frame, lost: () => gapRecovery?.reset() })
  const gapRecovery =
    config.sequence || config.checksum
      ? new GapRecovery(config, {
          ctx,
          counters,
          random,
          feed,
          tls: () => tls,
          message: makeMessage,
          emit: (message, problem) => (controls.delete(message) ? counters.drop('control') : emit(message, problem)),
        })
      : undefined
  const streams = gapRecovery?.streams
  const looks = config.format === 'json' && (config.control.length > 0 || typeof pong === 'object' || streams !== undefined)

  function makeMessage(payload: Buffer, key: string | null, time: number): Message {
    return Message.fromRecord(payload, key === null ? null : Buffer.from(key), time, undefined, -1, origin)
  }

  function emit({ payload, keyBytes, time }: Message, problem?: string): void {
    queue.push({ payload: payload!, key: keyBytes, time, ...(problem ? { headers: [[PROBLEM, problem]] } : {}) })
  }

  function received({ payload, key, time, headers, seq }: QueuedRecord): Message {
    const message = Message.fromRecord(payload, key, time, undefined, seq, origin)
    const problem = headers?.find(([name]) => name === PROBLEM)
    if (problem) message.failure = new DataError(String(problem[1]))
    return message
  }

  /** Null: the feed has ended, and everything has been read. */
  async function next(signal: AbortSignal): Promise<PushBatch | null> {
    while (!feed.ended.aborted) {
      try {
        return await queue.read(AbortSignal.any([signal, feed.ended]))
      } catch (error) {
        if (signal.aborted || !feed.ended.aborted) throw error
      }
    }
    signal.throwIfAborted()
    return queue.size > 0 ? await queue.read(signal) : null
  }

  function frame(data: Buffer): void {
    counters.messages.inc()
    counters.bytes.inc(data.length)
    if (pongText?.equals(data)) {
      counters.drop('pong')
      feed.connection!.answered()
      return
    }
    const message = makeMessage(data, null, ctx.clock.now())
    const value = looks ? decoded(message) : undefined
    if (isPong(value)) {
      counters.drop('pong')
      feed.connection!.answered()
      return
    }
    const key = value === undefined ? undefined : streams?.keyOf(value)
    if (!isControl(value)) feed.connection!.alive()
    else if (key === undefined) return counters.drop('control')
    else controls.add(message)
    if (key === undefined) emit(message)
    else streams!.accept(message, key)
  }

  return {
    async open() {
      if (Client !== undefined) return
      tls = tlsOptions(config)
      ;({ WebSocket: Client } = await import('ws'))
      queue.open()
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      queue.seek(positions.get(lane) as number | undefined)
      feed.start(Client, tls)
    },

    async read(signal): Promise<Batch | null> {
      const batch = await next(signal)
      if (batch === null) return null
      const { records, position, lag } = batch
      // Missing numbers are records that the queue had no room for.
      if (expected !== undefined && records[0].seq > expected) streams?.lost('dropped')
      expected = position
      return { lane, messages: records.map(received), position, lag }
    },

    async seek(_, position) {
      queue.seek(position as number | undefined)
      expected = undefined
    },

    async commit(_, position) {
      queue.commit(position as number)
    },

    caughtUp: () => queue.size === 0,
    healthy: () => feed.ended.aborted || feed.connection?.isOpen === true,

    onRejected(rejections: readonly Rejection[]) {
      for (const rejection of rejections) {
        rejectionLog.note(rejection)
        // A lost message is a gap, wherever it was lost.
        const key = streams && streamOf(rejection.message, streams)
        if (key !== undefined) streams!.lost('refused', key)
      }
    },

    async close() {
      gapRecovery?.close()
      feed.close()
      queue.close()
    },
  }
}

/** Undefined: it is not JSON, and the pipeline will dead-letter it. */
function decoded(message: Message): unknown {
  try {
    return message.value
  } catch {
    return undefined
  }
}

/** The message may have been changed since; its bytes are still the received ones. */
function streamOf({ payload, keyBytes, origin }: Message, streams: Streams): string | undefined {
  if (keyBytes !== null) return keyBytes.toString()
  const value = origin && decoded(Message.fromRecord(payload, null, 0, undefined, -1, origin))
  return value === undefined ? undefined : streams.keyOf(value)
}
