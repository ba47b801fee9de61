/** Drops messages with a key that was seen before. */
import { saidOnce } from '../kit/said-once.ts'
import type { DedupeConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import {
  type ConfigProblem,
  DataError,
  defineTransform,
  type Json,
  type State,
  type Transform,
  type TransformContext,
} from '../contract/plugin.ts'
import { Fifo } from '../kit/values/fifo.ts'
import { EventClock } from '../kit/event-clock.ts'
import { withKeys } from '../kit/keys/with-keys.ts'
import eventTime from '../kit/keys/event-time.schema.json' with { type: 'json' }
import schema from './dedupe.schema.json' with { type: 'json' }
import { timeReader } from '../kit/values/event-time.ts'
import { failOn } from '../kit/fail.ts'
import { show } from '../kit/values/fields.ts'
import { keyJson, renewKeys } from '../kit/values/key.ts'

export default defineTransform<DedupeConfig>({
  type: 'dedupe',
  varies: ({ time }, { datedByRead }) => (datedByRead && time === undefined ? 'forgets keys by the time of reading (set time)' : undefined),
  schema: withKeys(schema, eventTime),
  stateful: true,
  groupsBy: c => c.key,
  // Lost records do not affect the detection of later duplicates.
  survivesGap: true,
  stateShape: ({ key, time, time_unit }) => ({ key, time, time_unit }) as Json,
  validateConfig: ({ ttl }): ConfigProblem[] =>
    ttl > 0 ? [] : [{ path: ['ttl'], message: 'must be longer than 0: keys are forgotten after this time' }],
  create,
})

function create(config: DedupeConfig, ctx: TransformContext): Transform {
  const expression = compile(config.key)
  const timeOf = timeReader(config.time, config.max_future, config.time_unit)
  // A key expires `ttl` behind the newest event time, which is the watermark of a clock with that lateness.
  const clock = new EventClock(ctx.state('clock'), { allowed_lateness: config.ttl, idle_timeout: 0 })
  const keys = ctx.state<[number, number]>('seen')
  renewKeys(keys)
  const seen = new Seen(keys, config.max_keys)
  const labels = { pipeline: ctx.pipeline, step: ctx.step }
  const duplicates = ctx.metrics.counter('runner_duplicates_total', 'Messages dropped because their key was seen before', labels)
  const forgotten = ctx.metrics.counter(
    'runner_dedupe_forgotten_total',
    'Keys removed before their ttl, because of max_keys',
    labels,
    'forgotten_keys',
  )
  const say = saidOnce(ctx, 'forgotten')

  return {
    process(messages, out) {
      for (const message of messages) {
        let key: string
        let time: number
        try {
          key = keyOf(expression.evaluate(message), config.key)
          time = timeOf(message)
        } catch (error) {
          failOn(message, error, out)
          continue
        }
        if (message.clock !== undefined) seen.expire(clock.follow(time, message.clock))
        else if (time > clock.max) seen.expire(clock.observe(time))
        if (seen.has(key)) {
          duplicates.inc()
          continue
        }
        // The ttl starts at the newest event time, not at the time of the message, so duplicates of late messages are found.
        if (seen.add(key, clock.max)) {
          forgotten.inc()
          say(() => ({
            details: { max_keys: config.max_keys },
            message: `removed a key before its ttl, because max_keys (${config.max_keys}) keys are stored: a duplicate of it would pass; raise max_keys or shorten ttl`,
          }))
        }
        out.emit(message)
      }
      if (clock.save()) ctx.watermark(clock.max)
    },
  }
}

/** Keys in order of arrival, which is also the order of their stored times. */
class Seen {
  /** key -> [event time when seen, number in order] */
  private readonly state: State<[number, number]>
  private readonly max: number
  /** Oldest first. */
  private readonly queue: Fifo<string>
  private next: number

  constructor(state: State<[number, number]>, max: number) {
    this.state = state
    this.max = max
    const keys: string[] = []
    const order = new Float64Array(state.size)
    for (const [key, [, n]] of state.entries()) order[keys.push(key) - 1] = n
    this.queue = new Fifo(inOrder(keys, order))
    this.next = order.reduce((a, b) => Math.max(a, b), 0) + 1
  }

  has(key: string): boolean {
    return this.state.get(key) !== undefined
  }

  /** @returns true if the oldest key was removed to make room */
  add(key: string, time: number): boolean {
    this.state.set(key, [time, this.next++])
    this.queue.push(key)
    if (this.state.size <= this.max) return false
    this.forgetOldest()
    return true
  }

  expire(until: number): void {
    for (let key = this.queue.peek(); key !== undefined && this.state.get(key)![0] <= until; key = this.queue.peek()) this.forgetOldest()
  }

  private forgetOldest(): void {
    this.state.delete(this.queue.shift()!)
  }
}

/** Sorts keys by number without an object per key: there may be ten million. Keys usually are in order already. */
function inOrder(keys: string[], order: Float64Array): string[] {
  if (order.every((n, i) => i === 0 || order[i - 1] < n)) return keys
  return Array.from(
    Uint32Array.from(keys.keys()).sort((a, b) => order[a] - order[b]),
    i => keys[i],
  )
}

/** The key as JSON, because `1` and `"1"` have the same text. */
function keyOf(value: unknown, text: string): string {
  if (value === null || value === undefined)
    throw new DataError(`key: '${text}' gave ${show(value)}; a message needs a key to be compared with others`)
  return keyJson(value)
}
