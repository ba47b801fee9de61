/**
 * Pub/Sub: all data is taken from the connection immediately, into a queue, and read from there. A server disconnects a subscriber that
 * falls behind by its output-buffer limit (32 MB by default), so nothing on this side may wait: a separate thread reads.
 */
import { Message, type Origin, type Source, type SourceContext } from '../../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../../generated/config-types.ts'
import { createPushQueue } from '../../../kit/push-queue/queue.ts'
import { inStateDir } from '../../../kit/state-dir.ts'
import { connect, type RedisHandle } from '../connect.ts'
import type { Subscription } from '../driver.ts'
import { keyRule } from './channel-key.ts'
import { Gaps } from './gaps.ts'
import { Overlap } from './overlap.ts'

/** Above this number, channels are looked up again. */
const MAX_ORIGINS = 20_000
/** How long parsing, and then writing, may take precedence, ms. */
const YIELD = 300

export function pubsubSource(config: RedisSourceConfig, patterns: readonly string[], ctx: SourceContext): Source {
  const lane = `pubsub/${patterns.join(',')}`
  const gaps = new Gaps(ctx)
  const keyOf = keyRule(config.key_from_channel)
  const overlap = new Overlap(patterns)
  const origins = new Map<string, Origin>()
  let handle: RedisHandle | undefined
  let subscription: Subscription | undefined
  let fatal: Error | undefined
  let interrupt = new AbortController()
  /** Channel and pattern of the last key: a burst is mostly from one channel. */
  let lastChannel: Buffer = Buffer.alloc(0)
  let lastPattern = ''
  let lastKey: string | null = null

  const queue = createPushQueue({
    dir: inStateDir(`push/${ctx.pipeline}.${ctx.version}/${ctx.step}`),
    maxBytes: config.queue.max_bytes,
    maxSpillBytes: config.queue.max_spill,
    onFull: config.queue.on_full,
    onSpillFull: config.queue.on_spill_full,
    onBlock: blocked => subscription?.pause(blocked),
    metrics: ctx.metrics,
    log: ctx.log,
    step: ctx.step,
    clock: ctx.clock,
  })

  const key = (channel: Buffer, pattern: string): string | null => {
    if (pattern === lastPattern && channel.equals(lastChannel)) return lastKey
    lastChannel = Buffer.from(channel)
    lastPattern = pattern
    return (lastKey = keyOf(channel.toString(), overlap.first(channel.toString(), pattern)))
  }
  const originOf = (topic: string): Origin => {
    let origin = origins.get(topic)
    if (origin === undefined) {
      if (origins.size >= MAX_ORIGINS) origins.clear()
      origins.set(topic, (origin = { lane, source: ctx.step, topic, format: config.format }))
    }
    return origin
  }

  /** Writing competes with parsing for time during a burst; it waits, but never for long. */
  let yieldedUntil = 0
  const yieldToInput = async (signal: AbortSignal): Promise<void> => {
    const now = performance.now()
    if (now < yieldedUntil + YIELD) return
    while (subscription!.pressing && performance.now() < now + YIELD && !signal.aborted) await new Promise(resolve => setImmediate(resolve))
    yieldedUntil = performance.now()
  }

  return {
    async open() {
      handle ??= await connect(config)
      if (subscription !== undefined) return
      // Claims the lane first: messages that arrive need a lane.
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      queue.open()
      // Messages that a former process spilled and counted in its state must not be delivered again.
      queue.seek(positions.get(lane) as number | undefined)
      subscription = await handle.driver.subscribe(patterns, {
        message(channel, payload, pattern) {
          if (overlap.takes(channel, pattern)) queue.push({ payload, key: key(channel, pattern), topic: channel, time: ctx.clock.now() })
        },
        down: error => gaps.begin(error),
        up: () => gaps.end(),
        fatal(error) {
          fatal = error
          interrupt.abort(error)
        },
      })
    },

    async read(signal) {
      if (fatal) throw fatal
      if (subscription!.pressing) await yieldToInput(signal)
      const { records, position, lag } = await queue.read(AbortSignal.any([signal, interrupt.signal]), config.batch_size)
      const messages = records.map(r => Message.fromRecord(r.payload, r.key, r.time, undefined, r.seq, originOf(r.topic!)))
      return { lane, messages, position, lag }
    },

    async seek(_, position) {
      queue.seek(position as number | undefined)
    },

    async commit(_, position) {
      queue.commit(position as number)
    },

    caughtUp: () => queue.size === 0,
    healthy() {
      if (subscription === undefined || gaps.open) return false
      // A subscription is silent without messages, too: the server is asked on the other connection.
      return handle!.driver.healthy()
    },

    async close() {
      await subscription?.close()
      gaps.close()
      queue.close()
      await handle?.release()
    },
  }
}
