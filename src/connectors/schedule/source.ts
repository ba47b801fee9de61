/** Emits messages at certain times, by interval or cron expression. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ScheduleSourceConfig } from '../../generated/config-types.ts'
import {
  type Batch,
  type ConfigProblem,
  defineSource,
  Message,
  type Origin,
  type CheckResult,
  type Source,
  type SourceContext,
} from '../../contract/plugin.ts'
import { logOnce } from '../../kit/said-once.ts'
import schema from './source.schema.json' with { type: 'json' }
import { cronProblem, cronTimes, intervals, isCron, type Times } from './times.ts'

export default defineSource<ScheduleSourceConfig>({
  type: 'schedule',
  schema,
  replayable: true,
  reason: 'the schedule can be computed again from any time',
  outputSchema: ({ value }) => ({
    type: 'object',
    additionalProperties: false,
    required: ['scheduled_at', ...Object.keys(value)],
    properties: { ...Object.fromEntries(Object.entries(value).map(([name, v]) => [name, { const: v }])), scheduled_at: { type: 'string' } },
  }),
  validateConfig,
  check: checkSchedule,
  create,
})

function validateConfig({ every, cron, timezone, from, until, value }: ScheduleSourceConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (every === undefined && cron === undefined) problems.push({ path: [], message: 'set every or cron' })
  if (every !== undefined && cron !== undefined) problems.push({ path: ['cron'], message: 'set either every or cron, not both' })
  if (every !== undefined && timezone !== 'UTC')
    problems.push({
      path: ['timezone'],
      message: '`timezone` needs `cron`: `every` counts in UTC, so 1d is midnight UTC; for midnight in a time zone write cron: "0 0 * * *"',
    })
  if (every === 0) problems.push({ path: ['every'], message: 'must be greater than 0' })
  if (from !== undefined && until !== undefined && time(until) <= time(from))
    problems.push({ path: ['until'], message: 'must be later than from' })
  if (Object.hasOwn(value, 'scheduled_at'))
    problems.push({ path: ['value', 'scheduled_at'], message: 'every message already has a field with this name; choose another name' })
  if (cron === undefined) return problems
  const wrong = cronProblem(cron)
  if (wrong !== undefined) problems.push({ path: ['cron'], message: wrong })
  else if (!isCron(cron, timezone))
    problems.push({
      path: ['timezone'],
      message: 'unknown time zone: write an IANA name such as Europe/Paris, UTC, or an offset such as +05:30',
    })
  return problems
}

/** Longest sleep, ms: the wall clock may be set meanwhile. */
const MAX_SLEEP = 250
const BATCH = 500
/** Missed times are counted individually up to this number. */
const COUNTED = 10_000

function create(config: ScheduleSourceConfig, ctx: SourceContext): Source {
  const { catch_up, until, value, key = null } = config
  const lane = ctx.step
  const origin: Origin = { lane, source: ctx.step, format: 'json' }
  const end = until === undefined ? Number.POSITIVE_INFINITY : time(until)
  const skipped = ctx.metrics.counter(
    'runner_schedule_skipped_total',
    'Times of a schedule that passed without a message',
    { pipeline: ctx.pipeline, step: ctx.step },
    'skipped_times',
  )
  const saySkipped = logOnce(ctx.log, ctx.step)
  let times: Times
  /** All times up to this one have been processed. */
  let done = 0
  /** A first start at `now` must be saved before the first message. */
  let fresh = true
  let starting = true

  const next = (): number | undefined => {
    const t = times.next(done)
    // Otherwise the source would wait for this time, and emit it, forever.
    if (t !== undefined && t <= done)
      throw new Error(
        `the schedule gives ${new Date(t).toISOString()} as the time after ${new Date(done).toISOString()}, which is not later`,
      )
    return t !== undefined && t < end ? t : undefined
  }
  const begin = (position: number | undefined): void => {
    fresh = position === undefined && config.from === undefined
    starting = true
    done = position ?? (config.from === undefined ? ctx.clock.now() : time(config.from) - 1)
  }
  const batch = (fire: readonly number[]): Batch => ({ lane, messages: fire.map(make), position: done })
  const make = (t: number): Message => new Message({ scheduled_at: new Date(t).toISOString(), ...value }, key, t, undefined, t, origin)

  /** The times that are due now, after `catch_up` is applied; advances `done`. */
  const due = (now: number): number[] => {
    const first = next()
    if (first === undefined || first > now) return []
    const limit = Math.min(now, end - 1)
    if (catch_up === 'all') {
      const all: number[] = []
      for (let t = next(); t !== undefined && t <= limit && all.length < BATCH; t = next()) all.push((done = t))
      return all
    }
    const last = times.last(limit) ?? first
    const silent = catch_up === 'none' && starting
    let missed = silent ? 1 : 0
    for (let t: number | undefined = first; t !== undefined && t < last && missed < COUNTED; t = times.next(t)) missed++
    skipped.inc(missed)
    if (missed > 0) saySkipped(() => ({ details: { times: missed }, message: 'scheduled times were skipped without a message' }))
    done = last
    return silent ? [] : [last]
  }

  return {
    async open() {
      times = timesOf(config)
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      begin(positions.get(lane) as number | undefined)
    },

    async read(signal) {
      for (;;) {
        signal.throwIfAborted()
        if (fresh) {
          fresh = false
          if (next() !== undefined) return batch([])
        }
        const now = ctx.clock.now()
        const before = done
        const fire = due(now)
        if (catch_up !== 'all' || fire.length < BATCH) starting = false
        if (done !== before) return batch(fire)
        const t = next()
        if (t === undefined) return null
        await sleep(Math.min(MAX_SLEEP, Math.max(1, t - now)), undefined, { signal }).catch(() => signal.throwIfAborted())
      }
    },

    async seek(_, position) {
      begin(position as number | undefined)
    },

    caughtUp: () => (next() ?? Number.POSITIVE_INFINITY) > ctx.clock.now(),
  }
}

async function checkSchedule(config: ScheduleSourceConfig): Promise<CheckResult[]> {
  const { every, cron, timezone, from, until } = config
  const what = every === undefined ? `schedule ${cron} (${timezone})` : `schedule every ${every / 1000} s`
  const next = timesOf(config).next(Math.max(Date.now(), from === undefined ? 0 : time(from) - 1))
  const over = next === undefined || (until !== undefined && next >= time(until))
  return [{ what, ok: true, detail: over ? 'no scheduled times left' : `next at ${new Date(next).toISOString()}` }]
}

const timesOf = ({ every, cron, timezone }: ScheduleSourceConfig): Times =>
  every === undefined ? cronTimes(cron!, timezone) : intervals(every)

const time = (text: string): number => (/^\d+$/.test(text) ? Number(text) : Date.parse(text))
