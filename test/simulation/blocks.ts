/**
 * Building blocks of simulated pipelines: each is a step as a file would have it, and beside it what the documentation promises of the
 * step, computed over a whole lane at once. Nothing here uses the code of the runner's steps.
 */
import { defineTransform, type TransformPlugin } from '../../src/contract/plugin.ts'

/** A record on its way through the oracle; `gap`: records are missing in front of what follows. */
export type Item = { readonly gap: true } | OracleRecord

export interface OracleRecord {
  readonly gap?: undefined
  readonly offset: number
  readonly key: string | null
  readonly time: number
  readonly value: any
}

export interface ExpectedDeath {
  readonly offset: number
  readonly step: string
}

export interface Block {
  readonly step: object
  readonly stateful: boolean
  /** Undefined: gaps leave it as it is. */
  readonly stopsAtGap?: boolean
  /** Puts what is to be dead-lettered into `dead`. */
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

/** One record after the other; what `each` throws is a dead letter. */
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
    step: { name, map: { keep: true, fields: { tag: 'k + "/" + id', half: 'v > 50' } } },
    stateful: false,
    run: perRecord(name, r => [{ ...r, value: { ...r.value, tag: `${r.value.k}/${r.value.id}`, half: number(r.value.v) > 50 } }]),
  }
}

export function filterBlock(name: string): Block {
  return {
    step: { name, filter: 'v > 20' },
    stateful: false,
    run: perRecord(name, r => (number(r.value.v) > 20 ? [r] : [])),
  }
}

export function dedupeBlock(name: string): Block {
  return {
    step: { name, dedupe: { key: '[k, id]', ttl: '1d' } },
    stateful: true,
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
    step: { name, [stateful ? 'tally' : 'fragile']: {} },
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

interface OpenWindow {
  readonly key: string
  readonly start: number
  readonly end: number
  n: number
  sum: number
  ids: { id: string; time: number; at: number }[]
  newest: number
}

export function windowBlock(name: string, random: Random): Block {
  const size = pick(random, [2000, 5000, 20_000])
  const every = pick(random, [size, size, size / 2])
  const lateness = pick(random, [0, 2000])
  const onLate = pick(random, ['drop', 'dlq'])
  const onGap = pick(random, ['mark', 'withhold', 'dead_letter', 'stop'])
  const config = {
    size: `${size}ms`,
    ...(every !== size && { every: `${every}ms` }),
    by: 'k',
    time: 'ts',
    allowed_lateness: `${lateness}ms`,
    idle_timeout: '0s',
    on_late: onLate,
    on_gap: onGap,
    aggregates: { n: { count: '*' }, sum: { sum: 'v' }, ids: { collect: 'id' } },
  }
  return {
    step: { name, window: config },
    stateful: true,
    stopsAtGap: onGap === 'stop',
    run(items, dead) {
      const out: Item[] = []
      const open = new Map<string, OpenWindow>()
      const holes: [from: number, to: number][] = []
      let max = Number.NEGATIVE_INFINITY
      let watermark = Number.NEGATIVE_INFINITY
      let order = 0
      for (const item of items) {
        if (item.gap) {
          if (holes.at(-1)?.[1] !== Number.POSITIVE_INFINITY) holes.push([watermark, Number.POSITIVE_INFINITY])
          continue
        }
        const { ts, v, k, id } = item.value
        if (typeof v !== 'number') {
          dead.push({ offset: item.offset, step: name })
          continue
        }
        if (ts > max) {
          max = ts
          if (holes.length > 0 && holes.at(-1)![1] === Number.POSITIVE_INFINITY) holes.at(-1)![1] = ts + lateness
          watermark = Math.max(watermark, ts - lateness)
          const due = [...open.values()].filter(w => w.end <= watermark)
          due.sort((a, b) => a.end - b.end || a.start - b.start || (a.key < b.key ? -1 : 1))
          for (const w of due) {
            open.delete(`${w.start} ${w.key}`)
            const hole = holes.some(([from, to]) => w.end > from && w.start <= to)
            if (hole && onGap === 'dead_letter') dead.push({ offset: -1, step: name })
            if (hole && onGap !== 'mark') continue
            const ids = w.ids.toSorted((a, b) => a.time - b.time || a.at - b.at).map(i => i.id)
            const value = { key: w.key, start: w.start, end: w.end, n: w.n, sum: w.sum, ids, ...(hole && { incomplete: true }) }
            out.push({ offset: -1, key: w.key, time: w.newest, value })
          }
        }
        let placed = false
        for (let start = Math.floor(ts / every) * every; start > ts - size; start -= every) {
          if (start + size <= watermark) continue
          placed = true
          const id_ = `${start} ${k}`
          let w = open.get(id_)
          if (!w) open.set(id_, (w = { key: k, start, end: start + size, n: 0, sum: 0, ids: [], newest: ts }))
          w.n++
          w.sum += v
          w.ids.push({ id, time: ts, at: order++ })
          w.newest = Math.max(w.newest, ts)
        }
        if (!placed && onLate === 'dlq') dead.push({ offset: item.offset, step: name })
      }
      return out
    },
  }
}
