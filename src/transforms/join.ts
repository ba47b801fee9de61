/** Joins two streams: pairs of records with one key, whose event times differ by at most `within`. */
import type { JoinConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import {
  type ConfigProblem,
  DataError,
  defineTransform,
  detached,
  type Json,
  Message,
  type Output,
  type Transform,
  type TransformContext,
} from '../contract/plugin.ts'
import { EventClock } from '../kit/event-clock.ts'
import { failOn } from '../kit/fail.ts'
import { withKeys } from '../kit/keys/with-keys.ts'
import eventTime from '../kit/keys/event-time.schema.json' with { type: 'json' }
import { timeReader } from '../kit/values/event-time.ts'
import { show } from '../kit/values/fields.ts'
import { sameKeyText } from '../kit/values/key.ts'
import { formatDuration } from '../kit/values/time.ts'
import { type Held, type Side, type Stored, WaitingRecords } from './join/waiting.ts'
import { LateError, lateCounters } from './lib/late.ts'
import { Results } from './lib/results.ts'
import schema from './join.schema.json' with { type: 'json' }

export default defineTransform<JoinConfig>({
  type: 'join',
  // Also if it emits only pairs: a record that comes after the silence is late, and not matched.
  varies: ({ idle_timeout, time }, { endless, datedByRead }) =>
    datedByRead && time === undefined
      ? 'compares times of reading (set time)'
      : endless && idle_timeout > 0
        ? 'ends the wait for a match in silence (idle_timeout)'
        : undefined,
  schema: withKeys(schema, eventTime),
  stateful: true,
  groupsBy: c => c.key ?? 'meta.key',
  stateShape: ({ left, right, left_when, key, right_key, within, time, time_unit }) =>
    ({ left, right, left_when, key, right_key, within, time, time_unit }) as Json,
  windowSpan: c => c.within + c.allowed_lateness + c.max_future,
  ports: ({ on_late, on_unmatched }) => [...(on_late === 'port' ? ['late'] : []), ...(on_unmatched === 'port' ? ['unmatched'] : [])],
  validateConfig,
  create,
})

function validateConfig({ left, right, left_when, within, type, on_unmatched }: JoinConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (left_when === undefined && (left === undefined || right === undefined))
    problems.push({
      path: [],
      message: 'needs the names of two sources (left and right), or a condition for the records of one (left_when)',
    })
  if (left_when !== undefined && (left !== undefined || right !== undefined))
    problems.push({ path: ['left_when'], message: 'write left and right, or left_when, not both' })
  if (left !== undefined && left === right)
    problems.push({ path: ['right'], message: `${right} is the left side already: for records of one source, write left_when` })
  if (within === 0) problems.push({ path: ['within'], message: 'must be longer than 0' })
  if (type === 'outer' && on_unmatched !== 'drop')
    problems.push({ path: ['on_unmatched'], message: 'type: outer emits every record without a match: remove on_unmatched' })
  return problems
}

function create(config: JoinConfig, ctx: TransformContext): Transform {
  const { within, type, on_late, on_unmatched, max_records } = config
  const meta = ctx.state('clock')
  const clock = new EventClock(meta, config)
  const held = new WaitingRecords(ctx.state<Stored>('records'), meta, within, ctx.depth)
  const results = new Results(ctx.step, meta)
  const late = lateCounters(ctx)
  const labels = { pipeline: ctx.pipeline, step: ctx.step }
  const toPort = ctx.metrics.counter('runner_join_late_total', 'Records that the port `late` received', labels)
  const unmatched = ctx.metrics.counter('runner_join_unmatched_total', 'Records without a match', labels)
  const timeOf = timeReader(config.time, config.max_future, config.time_unit)
  const sideOf = sides(config)
  const keys = [keyReader(config.key ?? 'meta.key'), keyReader(config.right_key ?? config.key ?? 'meta.key')]
  /** Whether records of the side are emitted without a match. */
  const emits = [type === 'left' || type === 'outer', type === 'right' || type === 'outer']
  const pair = (side: Side, own: unknown, other: unknown): object =>
    side === 0 ? { left: own, right: other } : { left: other, right: own }

  const giveUp = ({ side, key, time, id, message }: Held, out: Output): void => {
    unmatched.inc()
    if (emits[side]) out.emit(results.name(new Message(pair(side, message.value, null), key, time), key, time, time, id))
    else if (on_unmatched === 'port') out.emitTo('unmatched', message)
    else if (on_unmatched === 'dlq')
      out.fail(message, new DataError(`no record of the ${side === 0 ? 'right' : 'left'} side matches ${show(key)}`))
  }
  const expire = (out: Output): void => {
    for (const one of held.take(clock.watermark)) if (!one.matched) giveUp(one, out)
  }
  const tooLate = (message: Message, time: number, out: Output): void => {
    if (on_late === 'drop') late.drop(time, time, clock.watermark)
    else if (on_late === 'dlq') {
      late.dead.inc()
      const by = formatDuration(clock.watermark - time)
      const text = `late: ${time} is ${by} before the event time of the lane, and records that it matches may be removed already`
      out.fail(message, new LateError(text))
    } else {
      toPort.inc()
      out.emitTo('late', message)
    }
  }
  const place = (side: Side, key: string, time: number, message: Message, out: Output): void => {
    if (held.size >= max_records) throw new DataError(`${max_records} records of this lane wait for a match already (max_records)`)
    const found = held.matches(side, key, time)
    // Read before anything changes: a value that cannot be decoded fails the message.
    const { value } = message
    held.add(side, key, time, message, found.length > 0)
    found.forEach((other, i) => {
      held.match(other)
      // Both records wait for further matches: a later step may change the values of this pair in place.
      const values = pair(side, detached(value), detached(other.message.value))
      const made = message.derive(values, key, Math.max(time, other.time))
      if (i > 0) made.part = `${message.part ?? ''}#${i}`
      out.emit(made)
    })
  }
  const save = (): void => {
    if (clock.save()) ctx.watermark(clock.watermark)
  }

  return {
    process(messages, out) {
      results.readFrom(messages)
      for (const message of messages) {
        try {
          const side = sideOf(message)
          if (side === undefined) {
            out.emit(message)
            continue
          }
          const key = keys[side](message)
          const time = timeOf(message)
          if (clock.reaches(held.nextDue, time, message.clock)) expire(out)
          if (time < clock.watermark) tooLate(message, time, out)
          else place(side, key, time, message, out)
        } catch (error) {
          failOn(message, error, out)
        }
      }
      save()
    },

    onIdle(silence, out) {
      if (clock.idle(silence, held.nextDue, until => held.lastEnd(until))) expire(out)
      save()
    },

    onClock(time, out) {
      if (clock.follow(clock.max, time) >= held.nextDue) expire(out)
      save()
    },

    onEnd(out, until) {
      clock.advance(held.lastEnd(until))
      expire(out)
      save()
    },
  }
}

function sides({ left, right, left_when }: JoinConfig): (m: Message) => Side | undefined {
  if (left_when === undefined) {
    return m => {
      const source = m.origin?.source
      return source === left ? 0 : source === right ? 1 : undefined
    }
  }
  const expression = compile(left_when)
  return m => {
    const result = expression.evaluate(m)
    if (typeof result === 'boolean') return result ? 0 : 1
    throw new DataError(`left_when: '${left_when}' gave ${show(result)}, not true or false`)
  }
}

function keyReader(text: string): (m: Message) => string {
  const expression = compile(text)
  return m => {
    const key = expression.evaluate(m)
    const found = sameKeyText(key)
    if (found !== undefined) return found
    throw new DataError(`'${text}' gave ${show(key)}, which is not a key`)
  }
}
