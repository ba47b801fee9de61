/** Limits the number of messages per key and interval of event time. */
import type { ThrottleConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import {
  type ConfigProblem,
  DataError,
  defineTransform,
  type Json,
  type Message,
  type Output,
  type State,
  type Transform,
  type TransformContext,
} from '../contract/plugin.ts'
import { EventClock } from '../kit/event-clock.ts'
import { withKeys } from '../kit/keys/with-keys.ts'
import eventTime from '../kit/keys/event-time.schema.json' with { type: 'json' }
import schema from './throttle.schema.json' with { type: 'json' }
import { timeReader } from '../kit/values/event-time.ts'
import { failOn } from '../kit/fail.ts'
import { Results } from './lib/results.ts'
import { restoreMessage, type StoredMessage, storeMessage } from './throttle/stored-message.ts'
import { keyJson, renewKeys } from '../kit/values/key.ts'

export default defineTransform<ThrottleConfig>({
  type: 'throttle',
  varies: ({ idle_timeout, time, keep }, { endless, datedByRead }) =>
    datedByRead && time === undefined
      ? 'counts by the time of reading (set time)'
      : keep === 'last' && endless && idle_timeout > 0
        ? 'closes intervals in silence (idle_timeout)'
        : undefined,
  schema: withKeys(schema, eventTime),
  stateful: true,
  groupsBy: c => c.key ?? 'meta.key',
  // Lost records do not affect the limit.
  survivesGap: true,
  stateShape: ({ interval, key, keep, time, time_unit }) => ({ interval, key, keep, time, time_unit }) as Json,
  validateConfig: ({ interval }): ConfigProblem[] => (interval > 0 ? [] : [{ path: ['interval'], message: 'must be longer than 0' }]),
  create,
})

/** End of the interval, messages counted in it, and with `keep: last` the messages themselves. */
type Slot = [end: number, count: number, held: StoredMessage[]]

function create(config: ThrottleConfig, ctx: TransformContext): Transform {
  const { interval, max, max_keys, keep } = config
  const keyOf = keyReader(config.key)
  const timeOf = timeReader(config.time, config.max_future, config.time_unit)
  const times = ctx.state('clock')
  const results = new Results(ctx.step, times)
  const clock = new EventClock(times, { allowed_lateness: 0, idle_timeout: config.idle_timeout })
  const open = ctx.state<Slot>('slots')
  if (config.key !== undefined) renewKeys(open)
  const slots = new Slots(open)
  const dropped = ctx.metrics.counter(
    'runner_throttled_total',
    'Messages dropped because their key had reached the limit of the interval',
    {
      pipeline: ctx.pipeline,
      step: ctx.step,
    },
  )

  const close = (out: Output): void => {
    for (const [key, [end, , held]] of slots.take(clock.watermark))
      held.forEach((m, i) => out.emit(results.name(restoreMessage(m), key, end - interval, end, i)))
  }

  return {
    process(messages, out) {
      if (keep === 'last') results.readFrom(messages)
      for (const message of messages) {
        let key: string
        let time: number
        let stored: StoredMessage | undefined
        try {
          key = keyOf(message)
          time = timeOf(message)
          if (keep === 'last') stored = storeMessage(message)
        } catch (error) {
          failOn(message, error, out)
          continue
        }
        if (clock.reaches(slots.nextDue, time, message.clock)) close(out)
        let slot = slots.get(key)
        if (slot === undefined) {
          if (slots.size >= max_keys) {
            out.fail(message, new DataError(`max_keys (${max_keys}) keys have an open interval already`))
            continue
          }
          // The time of a new key may be far behind the watermark; the current interval is used then.
          const from = Math.max(time, clock.watermark)
          slot = [from - (from % interval) + interval, 0, []]
        }
        if (stored) {
          const held = slot[2]
          held.push(stored)
          if (held.length > max) {
            held.shift()
            dropped.inc()
          }
          slots.set(key, [slot[0], held.length, held])
        } else if (slot[1] < max) {
          slots.set(key, [slot[0], slot[1] + 1, []])
          out.emit(message)
        } else dropped.inc()
      }
      if (clock.save()) ctx.watermark(clock.watermark)
    },

    onIdle(silence, out) {
      if (keep === 'last' && clock.idle(silence, slots.nextDue, until => slots.lastEnd(until))) close(out)
      clock.save()
    },

    onEnd(out, until) {
      if (keep !== 'last') return
      clock.advance(slots.lastEnd(until))
      close(out)
      clock.save()
    },
  }
}

/** Open intervals. All end at a multiple of the interval, so there are few distinct ends at a time. */
class Slots {
  /** Smallest end of an open interval; Infinity if none is open. */
  nextDue = Number.POSITIVE_INFINITY
  private readonly state: State<Slot>

  constructor(state: State<Slot>) {
    this.state = state
    this.findNext()
  }

  get size(): number {
    return this.state.size
  }

  /** Largest end of an open interval, at or before `until`. */
  lastEnd(until: number): number {
    let last = Number.NEGATIVE_INFINITY
    for (const [, [end]] of this.state.entries()) if (end <= until && end > last) last = end
    return last
  }

  get(key: string): Slot | undefined {
    return this.state.get(key)
  }

  set(key: string, slot: Slot): void {
    this.state.set(key, slot)
    this.nextDue = Math.min(this.nextDue, slot[0])
  }

  /** Removes intervals that end at or before `until`, ordered by end and key: a restart does not keep the order of opening. */
  take(until: number): [key: string, slot: Slot][] {
    const due = [...this.state.entries()].filter(([, [end]]) => end <= until)
    due.sort(([a, [x]], [b, [y]]) => x - y || (a < b ? -1 : 1))
    for (const [key] of due) this.state.delete(key)
    this.findNext()
    return due
  }

  private findNext(): void {
    this.nextDue = Number.POSITIVE_INFINITY
    for (const [, [end]] of this.state.entries()) this.nextDue = Math.min(this.nextDue, end)
  }
}

function keyReader(key: string | undefined): (message: Message) => string {
  if (key === undefined) return message => JSON.stringify(message.key)
  const expression = compile(key)
  return message => keyJson(expression.evaluate(message))
}
