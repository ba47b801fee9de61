/** What must be in the sinks and in the dead-letter queue, computed from the input and from what was committed of it; and the comparison. */
import { type Block, type ExpectedDeath, type Item, Poison } from './blocks.ts'
import type { Scenario } from './scenario.ts'
import type { LaneLog, Row, World } from './world.ts'

interface Expected {
  /** Key and value of each output, in order. */
  readonly rows: readonly string[]
  readonly keys: readonly (string | null)[]
  /** Offset and step. */
  readonly dead: readonly string[]
}

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  )

const shown = (key: string | null, value: unknown): string => `${String(key)} ${canonical(value)}`

/** @param refuses name of the sink, which rejects some records */
function expectedOf(log: LaneLog, blocks: readonly Block[], refuses: string): Expected {
  const rows: string[] = []
  const keys: (string | null)[] = []
  const dead: ExpectedDeath[] = []
  for (const { offsets } of log.segments) {
    const read = offsets.flatMap((offset): Item[] => {
      if (offset === null) return [{ gap: true }]
      const { key, payload, time } = log.records[offset]
      try {
        return [{ offset, key, time, value: JSON.parse(payload.toString()) }]
      } catch {
        dead.push({ offset, step: 'in' })
        return []
      }
    })
    const items = throughAll(blocks, read, dead)
    for (const item of items) {
      if (item.gap) continue
      if (item.value?.f === 'refuse') dead.push({ offset: item.offset, step: refuses })
      else {
        rows.push(shown(item.key, item.value))
        keys.push(item.key)
      }
    }
  }
  return { rows, keys, dead: dead.map(d => `${d.offset} ${d.step}`) }
}

function throughAll(blocks: readonly Block[], read: readonly Item[], dead: ExpectedDeath[]): readonly Item[] {
  let items = read
  const failed: ExpectedDeath[] = []
  try {
    for (const block of blocks) items = block.run(items, failed)
  } catch (error) {
    if (!(error instanceof Poison)) throw error
    const { offset, step } = error
    dead.push({ offset, step })
    return throughAll(
      blocks,
      read.filter(item => item.gap || item.offset !== offset),
      dead,
    )
  }
  dead.push(...failed)
  return items
}

const unique = (list: readonly string[]): string[] => [...new Set(list)]

/** Reports every difference as a violation. */
export function compare(world: World, { blocks, delivery, sinks, queueInTransaction }: Scenario): void {
  const once = delivery === 'exactly_once'
  for (const log of world.lanes.values()) {
    const seen = new Map<string, string[]>()
    for (const d of world.dead) {
      if (d.lane !== log.id) continue
      const id = `${d.offset} ${d.step}`
      seen.set(d.step, [...(seen.get(d.step) ?? []), id])
      const original = log.records[d.offset]?.payload
      if (d.offset >= 0 && !(original && d.payload?.equals(original)))
        world.violate(`${log.id}: the dead letter of offset ${d.offset} has other bytes than its record`)
    }
    const found = [...seen.values()].flat()
    const wanted: string[] = []
    for (const { name, kind } of sinks) {
      const expected = expectedOf(log, blocks, name)
      const rows = world.rows.filter(r => r.lane === log.id && r.sink === name)
      const actual = rows.map(rowText)
      if (once) difference(world, `${log.id} -> ${name}`, actual, expected.rows)
      else if (log.start > 0) within(world, `${log.id} -> ${name}`, actual, expected.rows)
      else difference(world, `${log.id} -> ${name}, first of each`, unique(actual), unique(expected.rows))
      if (kind === 'upsert') compareTable(world, log.id, name, expected)
      wanted.push(...expected.dead.filter(d => name === sinks[0].name || d.endsWith(` ${name}`)))
    }
    if (queueInTransaction) difference(world, `${log.id} -> dead letters`, found.toSorted(), wanted.toSorted())
    else if (log.start > 0) within(world, `${log.id} -> dead letters`, found.toSorted(), unique(wanted).toSorted())
    else difference(world, `${log.id} -> dead letters, each once`, unique(found).toSorted(), unique(wanted).toSorted())
  }
}

const rowText = ({ key, text }: Row): string => shown(key, JSON.parse(text))

/** What an upsert has left is the last of each key. */
function compareTable(world: World, lane: string, sink: string, { rows, keys }: Expected): void {
  const last = new Map(keys.map((key, i) => [key, rows[i]]))
  for (const [key, row] of last) {
    const there = world.tables.get(`${sink} ${String(key)}`)
    if (!there || rowText(there) !== row)
      world.violate(`${lane} -> ${sink}: key ${String(key)} was left as ${there ? rowText(there) : 'nothing'}, expected ${row}`)
  }
}

function difference(world: World, what: string, actual: readonly string[], expected: readonly string[]): void {
  const at = expected.findIndex((row, i) => row !== actual[i])
  if (at < 0 && actual.length === expected.length) return
  const i = at < 0 ? expected.length : at
  const count = `${actual.length} instead of ${expected.length}`
  world.violate(`${what}: ${count}; number ${i + 1} is ${actual[i] ?? 'missing'}, expected ${expected[i] ?? 'nothing'}`)
}

/** At least once, and some of what was written was deleted before it was committed: more than expected may be there, in front of the gap. */
function within(world: World, what: string, actual: readonly string[], expected: readonly string[]): void {
  let at = 0
  for (const row of actual) if (row === expected[at]) at++
  if (at < expected.length) world.violate(`${what}: ${expected[at]} is missing, or out of order`)
}
