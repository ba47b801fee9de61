import { setTimeout as sleep } from 'node:timers/promises'
import type { GenerateSourceConfig } from '../../generated/config-types.ts'
import {
  type ConfigProblem,
  DataError,
  defineSource,
  Message,
  type Origin,
  type Source,
  type SourceContext,
} from '../../contract/plugin.ts'
import { getter } from '../../kit/values/fields.ts'
import { fieldMakers } from './fields.ts'
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<GenerateSourceConfig>({
  type: 'generate',
  datedByRead: c => c.start === undefined,
  schema,
  replayable: true,
  shares: true,
  reason: 'the same seed generates the same records',
  validateConfig,
  check: async () => [{ what: 'generator', ok: true, detail: 'no external dependency' }],
  create,
})

function validateConfig({ start, step, fields }: GenerateSourceConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (step !== undefined && start === undefined)
    problems.push({ path: ['step'], message: '`step` needs `start`: set `start` to the time of the first record' })
  for (const [name, { random, walk }] of Object.entries(fields)) {
    if (name === '__proto__') problems.push({ path: ['fields', name], message: '__proto__ is not allowed as a field name' })
    for (const [kind, range] of Object.entries({ random, walk })) {
      if (range?.min === undefined || range.max === undefined) continue
      const unit = 10 ** range.decimals
      if (Math.ceil(range.min * unit) <= Math.floor(range.max * unit)) continue
      const message = `no number with ${range.decimals} decimals is between ${range.min} and ${range.max}: widen the range or raise decimals`
      problems.push({ path: ['fields', name, kind, 'min'], message })
    }
  }
  return problems
}

const BATCH = 500
/** Longest sleep of a paced source, ms: a clock driven by a test may have moved meanwhile. */
const MAX_SLEEP = 20

function create(config: GenerateSourceConfig, ctx: SourceContext): Source {
  const { count, rate } = config
  const lane = ctx.step
  const origin: Origin = { lane, source: ctx.step, format: 'json' }
  const end = count === 0 ? Number.POSITIVE_INFINITY : count
  const timeOf = times(config, ctx)
  const keyOf = keys(config)
  const makers = fieldMakers(config)
  let next = 0
  /** When pacing started, and at which record. */
  let pace: { since: number; from: number } | undefined

  const restart = (index: number): void => {
    next = index
    pace = undefined
    for (const maker of makers) maker.restart?.(index)
  }
  const make = (index: number): Message => {
    const value: Record<string, unknown> = {}
    const message = new Message(value, null, timeOf(index), undefined, index, origin)
    try {
      for (const maker of makers) value[maker.name] = maker.make(index, message)
      message.key = keyOf(value)
    } catch (error) {
      if (!(error instanceof DataError)) throw error
      message.failure = error
    }
    return message
  }
  /** Number of records that are due now. */
  const due = (): number => {
    if (rate === undefined) return BATCH
    pace ??= { since: ctx.clock.monotonic(), from: next }
    return pace.from + 1 + Math.floor(((ctx.clock.monotonic() - pace.since) * rate) / 1000) - next
  }

  return {
    async open() {
      const positions = await ctx.assign([{ id: lane, source: ctx.step }])
      restart((positions.get(lane) as number | undefined) ?? 0)
    },

    async read(signal) {
      for (;;) {
        signal.throwIfAborted()
        if (next >= end) return null
        const n = Math.min(due(), BATCH, end - next)
        if (n >= 1) {
          const messages = Array.from({ length: n }, (_, i) => make(next + i))
          next += n
          return { lane, messages, position: next, lag: count === 0 ? undefined : end - next }
        }
        await sleep(Math.min(MAX_SLEEP, 1000 / rate!), undefined, { signal }).catch(() => signal.throwIfAborted())
      }
    },

    async seek(_, position) {
      restart((position as number | undefined) ?? 0)
    },

    caughtUp: () => next >= end || (rate !== undefined && due() < 1),
  }
}

/** Event times: from `start` in increments of `step`, else the time of generation. */
function times({ start, step = 1000 }: GenerateSourceConfig, ctx: SourceContext): (index: number) => number {
  if (start === undefined) return () => ctx.clock.now()
  const first = /^\d+$/.test(start) ? Number(start) : Date.parse(start)
  return index => first + index * step
}

function keys({ key }: GenerateSourceConfig): (value: unknown) => string | null {
  if (key === undefined) return () => null
  const get = getter(key)
  return value => {
    const k = get(value)
    return k === undefined || k === null ? null : typeof k === 'string' ? k : JSON.stringify(k)
  }
}
