/**
 * The records of an internal topic as the documentation of `repartition` has them: which lane they came through, and the event time that
 * all lanes have reached. Nothing here uses the code of the step.
 */
import type { Item } from './blocks.ts'
import { type LaneLog, LINK, type SimRecord, topicOf } from './world.ts'

interface Wire {
  readonly lane: string
  readonly source: string
  readonly lanes: number
  readonly time: number | null
  readonly mark?: 'time' | 'idle'
  readonly from?: { readonly lane: string; readonly offset: number }
}

export const isLink = (lane: string): boolean => topicOf(lane) === LINK

const wires = new WeakMap<SimRecord, Wire>()

function wireOf(record: SimRecord): Wire {
  let wire = wires.get(record)
  if (!wire) {
    wire = JSON.parse(String(record.link!.headers.findLast(([name]) => name === 'runner_link')![1])) as Wire
    wires.set(record, wire)
  }
  return wire
}

/** `lane` and `offset` of the record in its source; `through`: the lane that passed it on. */
export function sourceOf(record: SimRecord): { lane: string; offset: number; through: string } {
  const { from, lane } = wireOf(record)
  return { lane: from?.lane ?? lane, offset: from?.offset ?? -1, through: lane }
}

interface Progress {
  readonly source: string
  readonly lanes: number
  readonly time: number | null
  readonly idle: boolean
}

/**
 * In the order of the log, each with the time that all lanes of all sources have reached. An idle lane holds nothing back. A record that makes
 * a step throw does not count.
 */
export function arrivals(log: LaneLog, offsets: readonly (number | null)[], sources: readonly string[] = []): Item[] {
  const lanes = new Map<string, Progress>()
  let clock = Number.NEGATIVE_INFINITY
  const items: Item[] = []
  for (const offset of offsets) {
    const record = log.records[offset!]
    const { lane, source, lanes: count, time, mark } = wireOf(record)
    const before = lanes.get(lane)?.time ?? null
    lanes.set(lane, {
      source,
      lanes: count,
      time: before !== null && (time === null || before > time) ? before : time,
      idle: mark === 'idle',
    })
    clock = Math.max(clock, reached([...lanes.values()], sources))
    if (mark === undefined) {
      const value = JSON.parse(record.payload.toString()) as { ts: number }
      items.push({ offset: record.offset, key: record.key, time: value.ts, clock, value })
    } else items.push({ gap: true, clock })
  }
  return items
}

function reached(lanes: readonly Progress[], sources: readonly string[]): number {
  const isMissing = sources.some(source => {
    const known = lanes.filter(l => l.source === source)
    return known.length === 0 || known.length < Math.max(...known.map(l => l.lanes))
  })
  if (isMissing) return Number.NEGATIVE_INFINITY
  const active = lanes.filter(l => !l.idle)
  const times = (of: readonly Progress[]): number[] => of.map(l => l.time ?? Number.NEGATIVE_INFINITY)
  return active.length > 0 ? Math.min(...times(active)) : Math.max(...times(lanes))
}
