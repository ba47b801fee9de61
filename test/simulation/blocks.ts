/**
 * Building blocks of simulated pipelines: each is a step as a file would have it, and next to it the documented behavior of the
 * step, computed over a whole lane at once. Nothing here uses the code of the runner's steps.
 */
import { defineTransform, type TransformPlugin } from '../../src/contract/plugin.ts'

/** A record on its way through the oracle; `gap`: records are missing in front of what follows, or, with `clock`, only the time goes on. */
export type Item = { readonly gap: true; readonly clock?: number } | OracleRecord

export interface OracleRecord {
  readonly gap?: undefined
  readonly offset: number
  readonly key: string | null
  readonly time: number
  /** Behind a link: the time that all its lanes have reached. */
  readonly clock?: number
  readonly value: any
}

export interface ExpectedDeath {
  readonly offset: number
  readonly step: string
}

export interface Block {
  readonly steps: readonly object[]
  readonly stateful: boolean
  /** The run stops at a gap where there is state. */
  readonly stopsAtGap?: boolean
  /** Passes a record once. */
  readonly remembers?: boolean
  /** Messages of several lanes may leave with one key. */
  readonly mixesKeys?: boolean
  /** The closing of a window depends on the idle time of its lane: `run` returns the input, and the oracle checks that it is emitted. */
  readonly closesWhenIdle?: { readonly name: string; readonly size: number }
  /** Adds dead letters to `dead`. */
  run(items: readonly Item[], dead: ExpectedDeath[]): Item[]
}

/** A record that makes a step throw: it is dead-lettered, and the steps in front of that one are left as if it had never come. */
export class Poison extends Error {
  readonly offset: number
  readonly step: string
  constructor(offset: number, step: string) {
    super()
    this.offset = offset
    this.step = step
  }
}

type Random = () => number
const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]

/** One record after the other; an error of `each` is a dead letter. */
function perRecord(name: string, each: (r: OracleRecord) => OracleRecord[]): Block['run'] {
  return (items, dead) =>
    items.flatMap((item): Item[] => {
      if (item.gap) return [item]
      try {
        return each(item)
      } catch {
        dead.push({ offset: item.offset, step: name })
        return []
      }
    })
}

const number = (value: unknown): number => {
  if (typeof value !== 'number') throw new Error('not a number')
  return value
}

export function mapBlock(name: string): Block {
  return {
    steps: [{ name, map: { keep: true, fields: { tag: 'k + "/" + id', half: 'v > 50' } } }],
    stateful: false,
    run: perRecord(name, r => [{ ...r, value: { ...r.value, tag: `${r.value.k}/${r.value.id}`, half: number(r.value.v) > 50 } }]),
  }
}

export function filterBlock(name: string): Block {
  return {
    steps: [{ name, filter: 'v > 20' }],
    stateful: false,
    run: perRecord(name, r => (number(r.value.v) > 20 ? [r] : [])),
  }
}

export function dedupeBlock(name: string): Block {
  return {
    steps: [{ name, dedupe: { key: '[k, id]', ttl: '1d' } }],
    stateful: true,
    remembers: true,
    run(items) {
      const seen = new Set<string>()
      return items.filter(item => {
        if (item.gap) return true
        const known = seen.has(item.value.id)
        seen.add(item.value.id)
        return !known
      })
    },
  }
}

/** A plugin of the user: counts per key, and throws on some records after it has changed its state. */
export const tally = (stateful: boolean): TransformPlugin =>
  defineTransform({
    type: stateful ? 'tally' : 'fragile',
    schema: {},
    stateful,
    survivesGap: true,
    create: (_config, ctx) => {
      const counts = stateful ? ctx.state<number>('counts') : undefined
      return {
        process(messages, out) {
          for (const m of messages) {
            const value = m.value as { k: string; f?: string }
            const n = (counts?.get(value.k) ?? 0) + 1
            counts?.set(value.k, n)
            if (value.f === 'boom') throw new Error('the plugin has a bug')
            out.emit(m.derive({ ...value, ...(stateful && { n }) }))
          }
        },
      }
    },
  }) as TransformPlugin

export function tallyBlock(name: string, stateful: boolean): Block {
  return {
    steps: [{ name, [stateful ? 'tally' : 'fragile']: {} }],
    stateful,
    run(items) {
      const counts = new Map<string, number>()
      return items.flatMap((item): Item[] => {
        if (item.gap) return [item]
        if (item.value.f === 'boom') throw new Poison(item.offset, name)
        if (!stateful) return [item]
        const n = (counts.get(item.value.k) ?? 0) + 1
        counts.set(item.value.k, n)
        return [{ ...item, value: { ...item.value, n } }]
      })
    },
  }
}

export function unnestBlock(name: string): Block {
  return {
    steps: [{ name, unnest: { field: 'parts', as: 'part', keep: ['id', 'k', 'ts', 'v'] } }],
    stateful: false,
    run: perRecord(name, r => {
      const { id, k, ts, v, parts } = r.value
      if (!Array.isArray(parts) || v === undefined) throw new Error('a field is missing')
      return parts.map(part => ({ ...r, value: { id, k, ts, v, part } }))
    }),
  }
}

export function groupBlock(name: string): Block {
  return {
    steps: [{ name, group: { field: 'parts', key: 'p', keep: ['id', 'k', 'ts', 'v'], key_as: 'p', as: 'items' } }],
    stateful: false,
    mixesKeys: true,
    run: perRecord(name, r => {
      const { id, k, ts, v, parts } = r.value
      if (!Array.isArray(parts) || v === undefined) throw new Error('a field is missing')
      const names: string[] = [...new Set(parts.map(part => part.p as string))]
      return names.map(p => ({ ...r, key: p, value: { p, id, k, ts, v, items: parts.filter(part => part.p === p) } }))
    }),
  }
}

export function rekeyBlock(name: string): Block {
  return {
    steps: [{ name, rekey: 'k + "-" + id' }],
    stateful: false,
    run: perRecord(name, r => [{ ...r, key: `${r.value.k}-${r.value.id}` }]),
  }
}

export function joinBlock(name: string, random: Random): Block {
  const onMissing = pick(random, ['pass', 'drop', 'fail'])
  const config = { table: 'has(value.f) && f == "table"', key: 'k', value: 'v', as: 'latest', on_missing: onMissing }
  return {
    steps: [{ name, join_latest: config }],
    stateful: true,
    stopsAtGap: true,
    run(items, dead) {
      const table = new Map<string, unknown>()
      return perRecord(name, r => {
        const { k, v, f } = r.value
        if (f === 'table') {
          table.set(k, number(v))
          return []
        }
        const latest = table.get(k)
        if (latest === undefined && onMissing === 'drop') return []
        if (latest === undefined && onMissing === 'fail') throw new Error('missing')
        return [{ ...r, value: { ...r.value, latest: latest ?? null } }]
      })(items, dead)
    },
  }
}

type OnGap = 'mark' | 'withhold' | 'dead_letter' | 'stop'

/** Event time of a lane and the holes in it, as docs/guide/time.md and `on_gap` have it. */
class Watermark {
  now = Number.NEGATIVE_INFINITY
  private max = Number.NEGATIVE_INFINITY
  private readonly holes: [from: number, to: number][] = []
  private readonly lateness: number

  constructor(lateness: number) {
    this.lateness = lateness
  }

  gap(): void {
    if (this.holes.at(-1)?.[1] !== Number.POSITIVE_INFINITY) this.holes.push([this.now, Number.POSITIVE_INFINITY])
  }

  see(time: number): void {
    if (time <= this.max) return
    this.max = time
    const last = this.holes.at(-1)
    if (last && last[1] === Number.POSITIVE_INFINITY) last[1] = time + this.lateness
    this.now = Math.max(this.now, time - this.lateness)
  }

  /** Behind a link, time is what the records say. */
  follow(clock: number): void {
    this.now = Math.max(this.now, clock - this.lateness)
  }

  /** @param reach how long before its start a record would still have belonged to it */
  isWhole(start: number, end: number, reach: number): boolean {
    return !this.holes.some(([from, to]) => end > from && start <= to + reach)
  }
}

interface OpenWindow {
  readonly key: string
  start: number
  end: number
  entries: { id: string; v: number; time: number; at: number }[]
}

const byTime = (a: { time: number; at: number }, b: { time: number; at: number }): number => a.time - b.time || a.at - b.at

interface WindowRules {
  readonly lateness: number
  readonly onLate: string
  readonly onGap: OnGap
  readonly reach: number
  /** Field of the key; default: `k`. */
  readonly by?: string
  readonly accepts: (v: unknown) => boolean
  /** The windows of a record, new ones included, and which of the open ones they replace; none: it is late. */
  place(open: readonly OpenWindow[], key: string, time: number, watermark: number): { into: OpenWindow[]; replaced: OpenWindow[] }
  result(window: OpenWindow): object
}

const windowed =
  (name: string, rules: WindowRules): Block['run'] =>
  (items, dead) => {
    const out: Item[] = []
    const watermark = new Watermark(rules.lateness)
    let open: OpenWindow[] = []
    let order = 0
    for (const item of items) {
      if (item.gap) {
        if (item.clock === undefined) watermark.gap()
        else {
          watermark.follow(item.clock)
          close()
        }
        continue
      }
      const { ts, v, id, [rules.by ?? 'k']: k } = item.value
      if (!rules.accepts(v)) {
        dead.push({ offset: item.offset, step: name })
        continue
      }
      if (item.clock === undefined) watermark.see(ts)
      else watermark.follow(item.clock)
      close()
      const { into, replaced } = rules.place(open, k, ts, watermark.now)
      open = open.filter(w => !replaced.includes(w) && !into.includes(w)).concat(into)
      for (const w of into) w.entries.push({ id, v, time: ts, at: order })
      order++
      if (into.length === 0 && rules.onLate === 'dlq') dead.push({ offset: item.offset, step: name })
    }
    return out
    function close(): void {
      const due = open.filter(w => w.end <= watermark.now)
      open = open.filter(w => w.end > watermark.now)
      for (const w of due.toSorted((a, b) => a.end - b.end || a.start - b.start || (a.key < b.key ? -1 : 1))) {
        const whole = watermark.isWhole(w.start, w.end, rules.reach)
        if (!whole && rules.onGap === 'dead_letter') dead.push({ offset: -1, step: name })
        if (!whole && rules.onGap !== 'mark') continue
        const value = { ...rules.result(w), ...(!whole && { incomplete: true }) }
        out.push({ offset: -1, key: w.key, time: Math.max(...w.entries.map(e => e.time)), value })
      }
    }
  }

const aligned =
  (size: number, every: number): WindowRules['place'] =>
  (open, key, time, watermark) => {
    const into: OpenWindow[] = []
    for (let start = Math.floor(time / every) * every; start > time - size; start -= every) {
      if (start + size <= watermark) continue
      into.push(open.find(w => w.start === start && w.key === key) ?? { key, start, end: start + size, entries: [] })
    }
    return { into, replaced: [] }
  }

const sessions =
  (gap: number): WindowRules['place'] =>
  (open, key, time, watermark) => {
    const touching = open.filter(w => w.key === key && time < w.end && w.start < time + gap)
    if (touching.length === 0 && time + gap <= watermark) return { into: [], replaced: [] }
    const start = Math.min(time, ...touching.map(w => w.start))
    const end = Math.max(time + gap, ...touching.map(w => w.end))
    return { into: [{ key, start, end, entries: touching.flatMap(w => w.entries) }], replaced: touching }
  }

const ON_GAP: readonly OnGap[] = ['mark', 'withhold', 'dead_letter', 'stop']

export function windowBlock(name: string, random: Random, by = 'k'): Block {
  const size = pick(random, [2000, 5000, 20_000])
  const shape = pick(random, ['tumbling', 'hopping', 'session', 'tumbling'])
  const lateness = pick(random, [0, 2000])
  const onLate = pick(random, ['drop', 'dlq'])
  const onGap = pick(random, ON_GAP)
  const shapes: Record<string, { config: object; place: WindowRules['place']; reach: number }> = {
    tumbling: { config: { size: `${size}ms` }, place: aligned(size, size), reach: 0 },
    hopping: { config: { size: `${size}ms`, every: `${size / 2}ms` }, place: aligned(size, size / 2), reach: 0 },
    session: { config: { gap: `${size}ms` }, place: sessions(size), reach: size },
  }
  const { config, place, reach } = shapes[shape]
  const rules: WindowRules = {
    lateness,
    onLate,
    onGap,
    reach,
    by,
    accepts: v => typeof v === 'number',
    place,
    result: ({ key, start, end, entries }) => {
      const sum = entries.reduce((n, e) => n + e.v, 0)
      return { key, start, end, n: entries.length, sum, ids: entries.toSorted(byTime).map(e => e.id) }
    },
  }
  const common = { by, time: 'ts', allowed_lateness: `${lateness}ms`, on_late: onLate, on_gap: onGap }
  const aggregates = { n: { count: '*' }, sum: { sum: 'v' }, ids: { collect: 'id' } }
  return {
    steps: [{ name, window: { ...config, ...common, idle_timeout: '0s', aggregates } }],
    stateful: true,
    stopsAtGap: onGap === 'stop',
    run: windowed(name, rules),
  }
}

/** Windows closed by idle time are not computed: every input record must be emitted or dead-lettered, once. */
export function idleWindowBlock(name: string, random: Random): Block {
  const size = pick(random, [2000, 5000])
  const config = {
    size: `${size}ms`,
    by: 'k',
    time: 'ts',
    allowed_lateness: '1s',
    idle_timeout: pick(random, ['1s', '3s']),
    on_late: 'dlq',
    on_gap: 'withhold',
    aggregates: { n: { count: '*' }, ids: { collect: 'id' } },
  }
  return {
    steps: [{ name, window: config }],
    stateful: true,
    closesWhenIdle: { name, size },
    run: items => [...items],
  }
}

export function barsBlock(name: string, random: Random, by = 'k'): Block {
  const size = pick(random, [1000, 5000, 10_000])
  const lateness = pick(random, [0, 2000])
  const onLate = pick(random, ['drop', 'dlq'])
  const onGap = pick(random, ON_GAP)
  const interval = `${size / 1000}s`
  const config = {
    interval,
    allowed_lateness: `${lateness}ms`,
    idle_timeout: '0s',
    on_late: onLate,
    on_gap: onGap,
    fields: { symbol: by, price: 'v', volume: 'v' },
  }
  const rules: WindowRules = {
    lateness,
    onLate,
    onGap,
    reach: 0,
    by,
    accepts: v => typeof v === 'number' && v > 0,
    place: aligned(size, size),
    result: ({ key, start, end, entries }) => {
      const prices = entries.toSorted(byTime).map(e => e.v)
      const volume = prices.reduce((n, v) => n + v, 0)
      const [open, close] = [prices[0], prices.at(-1)]
      return {
        symbol: key,
        interval,
        start,
        end,
        open,
        high: Math.max(...prices),
        low: Math.min(...prices),
        close,
        volume,
        count: prices.length,
      }
    },
  }
  return {
    // The mean is rounded, which is not the question here.
    steps: [
      { name, bars: config },
      { name: `${name}-rest`, map: { keep: true, drop: ['vwap'] } },
    ],
    stateful: true,
    stopsAtGap: onGap === 'stop',
    run: windowed(name, rules),
  }
}
