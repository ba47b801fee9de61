/**
 * Compares two sources. The transform of each lane collects; that of the last lane to end compares all rows.
 * Only for pipelines whose inputs end.
 */
import { randomUUID } from 'node:crypto'
import type { ReconcileConfig } from '../generated/config-types.ts'
import {
  canonicalText,
  type ConfigProblem,
  compareNumbers,
  DataError,
  defineTransform,
  ExactNumber,
  type Json,
  Message,
  type Report,
} from '../contract/plugin.ts'
import { compareRecords, type Difference } from './reconcile/differences.ts'
import { failOn } from '../kit/fail.ts'
import { getter, show } from '../kit/values/fields.ts'
import { isRecord } from '../kit/values/records.ts'
import schema from './reconcile.schema.json' with { type: 'json' }

export default defineTransform<ReconcileConfig>({
  type: 'reconcile',
  varies: 'compares again, at another time',
  schema,
  validateConfig: ({ left, right }): ConfigProblem[] =>
    left === right ? [{ path: ['right'], message: `is the same source as left: '${left}' cannot differ from itself` }] : [],
  create(config, ctx) {
    const book = bookOf(config)
    const { id, source } = ctx.lane
    const rows = new Rows(config.window)
    book.set(id, { source, rows, ended: false })
    const keyOf = getter(config.key)
    return {
      process(messages, out) {
        for (const m of messages) {
          try {
            rows.put(readKey(keyOf(m.value), config), record(m.value))
          } catch (error) {
            failOn(m, error, out)
          }
        }
      },
      onEnd(out) {
        book.get(id)!.ended = true
        const sides = [config.left, config.right].map(name => [...book.values()].filter(l => l.source === name))
        // A source without lanes has not started yet.
        if (sides.some(lanes => lanes.length === 0 || lanes.some(l => !l.ended))) return
        const [left, right] = sides.map(lanes => merged(lanes.map(l => l.rows)))
        const { report, messages, parity } = reconcile(left, right, config)
        ctx.report(report)
        const labels = { pipeline: ctx.pipeline, step: ctx.step }
        ctx.metrics.gauge('reconcile_parity_ratio', 'Share of the compared records that are equal on both sides', labels).set(parity)
        ctx.metrics.gauge('reconcile_min_parity_ratio', 'Required share', labels).set(config.min_parity)
        // Each run compares again, so its results have their own identity.
        const run = randomUUID()
        const now = ctx.clock.now()
        messages.forEach((value, i) => {
          const message = new Message(value, String(value.key ?? ''), now)
          message.result = { step: ctx.step, key: message.key, start: now, end: now, pane: i, generation: run }
          out.emit(message)
        })
      },
    }
  },
})

type Key = number | string | ExactNumber
type Fields = Record<string, unknown>

interface LaneRows {
  readonly source: string
  readonly rows: Rows
  ended: boolean
}

/** Shared by the lanes of a pipeline. A restored lane replaces its entry. */
const books = new WeakMap<ReconcileConfig, Map<string, LaneRows>>()

function bookOf(config: ReconcileConfig): Map<string, LaneRows> {
  let book = books.get(config)
  if (!book) books.set(config, (book = new Map()))
  return book
}

/** The rows of one lane; with a window, at most twice its size. */
class Rows {
  readonly byKey = new Map<Key, Fields>()
  private readonly window: number

  constructor(window = Number.POSITIVE_INFINITY) {
    this.window = window
  }

  put(key: Key, value: Fields): void {
    this.byKey.set(key, value)
    if (this.byKey.size < 2 * this.window + 1000) return
    for (const old of [...this.byKey.keys()].sort(ascending).slice(0, -this.window)) this.byKey.delete(old)
  }
}

function merged(lanes: readonly Rows[]): Map<Key, Fields> {
  return new Map(lanes.flatMap(({ byKey }) => [...byKey]))
}

/** Sorts numbers numerically and before strings. */
function ascending(a: Key, b: Key): number {
  if (typeof a === 'string') return typeof b !== 'string' ? 1 : a < b ? -1 : a > b ? 1 : 0
  return typeof b === 'string' ? -1 : compareNumbers(a, b)
}

/** One object per value that no double represents, so it can be a map key. */
const exactKeys = new WeakMap<ReconcileConfig, Map<string, ExactNumber>>()

function readKey(key: unknown, config: ReconcileConfig): Key {
  if (typeof key === 'string' || (typeof key === 'number' && Number.isFinite(key))) return key
  if (key instanceof ExactNumber) {
    if (key.plain !== undefined) return key.plain
    let known = exactKeys.get(config)
    if (!known) exactKeys.set(config, (known = new Map()))
    const id = canonicalText(key)
    if (!known.has(id)) known.set(id, key)
    return known.get(id)!
  }
  throw new DataError(`the key field ${config.key} is ${show(key)}; it must be a string or a number`)
}

function record(value: unknown): Fields {
  if (isRecord(value)) return value
  throw new DataError(`a record to compare must be an object, is ${show(value)}`)
}

type Fault = { kind: 'missing'; key: Key; missing_in: string } | ({ kind: 'mismatch'; key: Key } & Difference)

function reconcile(
  left: ReadonlyMap<Key, Fields>,
  right: ReadonlyMap<Key, Fields>,
  config: ReconcileConfig,
): { report: Report; messages: Fields[]; parity: number } {
  const all = [...new Set([...left.keys(), ...right.keys()])].sort(ascending)
  const keys = config.window === undefined ? all : all.slice(-config.window)
  const faults: Fault[] = []
  let equal = 0
  for (const key of keys) {
    const [l, r] = [left.get(key), right.get(key)]
    const found: Fault[] =
      l === undefined || r === undefined
        ? [{ kind: 'missing', key, missing_in: l === undefined ? config.left : config.right }]
        : compareRecords(l, r, config).map(d => ({ kind: 'mismatch', key, ...d }))
    if (found.length === 0) equal++
    faults.push(...found)
  }
  const parity = keys.length === 0 ? 0 : equal / keys.length
  const ok = keys.length > 0 && parity >= config.min_parity
  const missing = (side: string): number => faults.filter(f => f.kind === 'missing' && f.missing_in === side).length
  const summary = {
    parity: percent(parity),
    min_parity: percent(config.min_parity),
    compared: keys.length,
    equal,
    [`missing_in_${config.left}`]: missing(config.left),
    [`missing_in_${config.right}`]: missing(config.right),
    mismatches: faults.filter(f => f.kind === 'mismatch').length,
  }
  const bound = `${percent(config.min_parity)} is required`
  const verdict =
    keys.length === 0
      ? `nothing to compare: neither ${config.left} nor ${config.right} has a record`
      : `parity ${percent(parity)}, ${bound}: ${equal} of ${keys.length} are equal in ${config.left} and ${config.right}`
  const report: Report = {
    title: `${config.left} and ${config.right} by ${config.key}`,
    ok,
    verdict,
    summary,
    findings: faults.map(finding),
  }
  return {
    report,
    parity,
    messages: [...faults.map(f => ({ ...f })), { kind: 'summary', ok, ...summary, parity, min_parity: config.min_parity }],
  }
}

function finding(fault: Fault): Report['findings'][number] {
  const subject = String(fault.key)
  if (fault.kind === 'missing') return { subject, problem: `missing in ${fault.missing_in}` }
  return {
    subject,
    problem: `${fault.field} differs`,
    details: { left: (fault.left ?? null) as Json, right: (fault.right ?? null) as Json },
  }
}

/** Rounded down, so that only 1 is 100 %. */
const percent = (share: number): string => `${(Math.floor(share * 1e6 + 1e-6) / 1e4).toFixed(4).replace(/\.?0+$/, '')} %`
