/** Aggregates per key over windows of event time: tumbling, hopping, sessions. */
import type { WindowConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import {
  type ConfigProblem,
  DataError,
  defineTransform,
  type Json,
  Message,
  type Output,
  type Transform,
  type TransformContext,
} from '../contract/plugin.ts'
import { EventClock } from '../kit/event-clock.ts'
import { compileAggregates, type Spec } from './window/aggregates.ts'
import { parseTime, timeProblem } from '../kit/values/event-time.ts'
import { failOn } from '../kit/fail.ts'
import { getter, show } from '../kit/values/fields.ts'
import { GroupStore } from './window/group.ts'
import { sameKeyText } from '../kit/values/key.ts'
import { Gaps } from './lib/gaps.ts'
import { LateError, lateCounters } from './lib/late.ts'
import { outsideSessions } from './lib/outside.ts'
import { Results } from './lib/results.ts'
import { claimShape } from './lib/shape.ts'
import { calendarProblems, calendarShape, isCalendar, sizeText, timeline } from '../kit/values/calendar.ts'
import { formatDuration } from '../kit/values/time.ts'
import { CalendarWindows, FixedWindows, SessionWindows, type Windows } from './window/windows.ts'
import { parseTimestamp } from '../kit/text/units.ts'
import { withKeys } from '../kit/keys/with-keys.ts'
import calendar from '../kit/keys/calendar.schema.json' with { type: 'json' }
import eventTime from '../kit/keys/event-time.schema.json' with { type: 'json' }
import schema from './window.schema.json' with { type: 'json' }

export default defineTransform<WindowConfig>({
  type: 'window',
  varies: ({ idle_timeout, time }, { endless, datedByRead }) =>
    datedByRead && time === undefined
      ? 'counts by the time of reading (set time)'
      : endless && idle_timeout > 0
        ? 'closes windows in silence (idle_timeout)'
        : undefined,
  schema: withKeys(withKeys(schema, eventTime), calendar),
  stateful: true,
  groupsBy: c => c.by ?? 'meta.key',
  stateShape: ({ size, align, zone, week_start, session, every, gap, by, time, time_unit, aggregates }) =>
    ({ size, align, zone, week_start, session, every, gap, by, time, time_unit, aggregates }) as unknown as Json,
  // A session can be longer than its gap; in a backfill, a session that begins before this span is cut off.
  windowSpan: c => (c.size === undefined ? (c.gap ?? 0) : timeline(c.size, c).longest) + c.allowed_lateness + c.max_future,
  survivesGap: c => c.on_gap !== 'stop',
  validateConfig,
  create,
})

/** Maximum number of hopping windows of a message. */
const MAX_OVERLAP = 1000
const OWN_FIELDS = ['key', 'start', 'end']

function validateConfig(config: WindowConfig): ConfigProblem[] {
  const { size, every, gap, aggregates, align } = config
  const problems: ConfigProblem[] = []
  const add = (path: string[], message: string, suggestion?: string): void => void problems.push({ path, message, suggestion })
  if (size === undefined && gap === undefined) add([], 'a window needs `size` (tumbling, or hopping with `every`) or `gap` (sessions)')
  if (size !== undefined && gap !== undefined) add(['gap'], 'a window has either `size` or `gap`, not both')
  if (size === 0) add(['size'], 'a window must be longer than 0')
  if (size !== undefined && size !== 0) problems.push(...calendarProblems(size, config, 'size'))
  const byCalendar = size !== undefined && isCalendar(size, config)
  if (align !== undefined && (size === undefined || byCalendar)) add(['align'], '`align` needs a `size` with a fixed length in UTC')
  for (const key of ['zone', 'session', 'week_start'] as const)
    if (config[key] !== undefined && size === undefined)
      add([key], `\`${key}\` needs \`size\`; sessions of \`gap\` begin with their first message`)
  if (gap === 0) add(['gap'], 'a session needs a gap longer than 0')
  if (every !== undefined) {
    if (size === undefined) add(['every'], '`every` needs `size`')
    else if (byCalendar || typeof size === 'string') add(['every'], '`every` needs a `size` with a fixed length in UTC')
    else if (every === 0 || every > size)
      add(['every'], `windows of ${formatDuration(size)} must begin every ${formatDuration(size)} or more often`, formatDuration(size))
    else if (size / every > MAX_OVERLAP)
      add(['every'], `every message would belong to ${Math.ceil(size / every)} windows; at most ${MAX_OVERLAP} are allowed`)
  }
  for (const name of Object.keys(aggregates)) {
    if (name === '__proto__') add(['aggregates', name], 'a field cannot have this name')
    for (const [kind, field] of Object.entries(aggregates[name])) {
      if (field === '*' && kind !== 'count') add(['aggregates', name, kind], `\`*\` works only with count; ${kind} needs a field`)
    }
    if (name === 'incomplete' && config.on_gap === 'mark')
      add(['aggregates', name], 'on_gap: mark adds the field `incomplete`: choose another name')
    if (OWN_FIELDS.includes(name)) add(['aggregates', name], `the output has a field \`${name}\` of its own (${OWN_FIELDS.join(', ')})`)
  }
  return problems
}

function create(config: WindowConfig, ctx: TransformContext): Transform {
  const specs = compileAggregates(config.aggregates)
  const times = ctx.state('clock')
  const open = ctx.state('windows')
  const noteShape = claimShape(times, open, shapeOf(config), ctx.step)
  const clock = new EventClock(times, config)
  const store = new GroupStore(open, specs)
  const windows = openWindows(config, store)
  const read = reader(config, specs)
  const results = new Results(ctx.step, times)
  const late = lateCounters(ctx)
  const outside = outsideSessions(config, ctx)
  const { size, gap, on_gap, allowed_lateness } = config
  const span = size === undefined ? Infinity : timeline(size, config).longest
  const gaps = new Gaps(ctx, times, { on_gap, allowed_lateness, span, reach: gap })

  const close = (out: Output): void => {
    for (const group of windows.take(clock.watermark)) {
      // The event time of a result is that of its newest message: inside its own window, and never ahead of the input.
      const record = group.record(specs)
      const message = results.name(new Message(record, group.key, group.newest), group.key, group.start, group.end)
      if (!gaps.any || gaps.admit(message, record, group.start, group.end, out)) out.emit(message)
    }
  }
  const save = (): void => {
    store.flush()
    if (!clock.save()) return
    noteShape()
    ctx.watermark(clock.watermark)
  }
  const tooLate = (message: Message, time: number, out: Output): void => {
    const { start, end } = windows.spanOf(time)
    if (config.on_late === 'drop') {
      late.drop(time, end, clock.watermark)
      return
    }
    late.dead.inc()
    out.fail(message, LateError.ofWindow(time, start, end, clock.watermark))
  }

  return {
    process(messages, out) {
      results.readFrom(messages)
      for (const message of messages) {
        let input: Input
        try {
          input = read(message)
        } catch (error) {
          failOn(message, error, out)
          continue
        }
        const { key, time, values } = input
        if (gaps.pending && time > clock.max) gaps.end(time)
        if (clock.reaches(windows.nextDue, time, message.clock)) close(out)
        const groups = windows.place(key, time, clock.watermark)
        if (groups === 'outside') {
          outside(message, time, out)
        } else if (groups === 'late') {
          tooLate(message, time, out)
        } else if (groups === 'full') {
          out.fail(message, new DataError(`the window of key ${show(key)} holds collect_limit (${config.collect_limit}) messages already`))
        } else {
          for (const group of groups) {
            group.add(values, time)
            store.touch(group)
          }
        }
      }
      save()
    },

    onGap() {
      gaps.begin(clock.watermark)
    },

    onIdle(silence, out) {
      if (clock.idle(silence, windows.nextDue, until => windows.lastEnd(until))) close(out)
      save()
    },

    onClock(time, out) {
      if (clock.follow(clock.max, time) >= windows.nextDue) close(out)
      save()
    },

    onEnd(out, until) {
      clock.advance(windows.lastEnd(until))
      close(out)
      save()
    },
  }
}

/** The settings that define the contents of windows. Without calendar settings, in the format of earlier versions. */
function shapeOf(config: WindowConfig): string {
  const { size, every, gap, by, aggregates, align } = config
  const plain = { size, every, gap, by, aggregates }
  if (size === undefined) return JSON.stringify(plain)
  const windows = calendarShape(every ?? size, config, align)
  return JSON.stringify(windows === sizeText(every ?? size) ? plain : { ...plain, windows })
}

function openWindows(config: WindowConfig, store: GroupStore): Windows {
  const { size, every, gap, aggregates, collect_limit, align } = config
  const limit = Object.values(aggregates).some(a => a.collect !== undefined) ? collect_limit : Number.POSITIVE_INFINITY
  if (size === undefined) return new SessionWindows(store, gap!, limit)
  if (typeof size === 'string' || isCalendar(size, config)) return new CalendarWindows(store, timeline(size, config), limit)
  const step = every ?? size
  const start = align === undefined ? timeline(step, config).at(0)!.start : parseTimestamp(align)!
  return new FixedWindows(store, size, step, start, limit)
}

interface Input {
  readonly key: string | null
  readonly time: number
  readonly values: readonly Json[]
}

/** Reads all inputs of a message before any group changes. The function throws {DataError}. */
function reader({ by, time: field, time_unit, max_future }: WindowConfig, specs: readonly Spec[]): (message: Message) => Input {
  const expression = by === undefined ? undefined : compile(by)
  const getTime = field === undefined ? undefined : getter(field)
  return message => {
    const { value } = message
    const key = expression === undefined ? message.key : keyOf(expression.evaluate(message), expression.text)
    let { time } = message
    if (getTime !== undefined) {
      const raw = getTime(value)
      time = parseTime(raw, time_unit)
      const problem = timeProblem(field!, raw, time, message, max_future, time_unit)
      if (problem) throw problem
    }
    return { key, time, values: specs.map(spec => spec.read(value)) }
  }
}

function keyOf(key: unknown, text: string): string {
  const found = sameKeyText(key)
  if (found !== undefined) return found
  throw new DataError(`by: '${text}' gave ${show(key)}; allowed: a string, a number, true or false`)
}
