/** The expected contents of the sinks and of the dead-letter queue, computed from the input and its committed part; and the comparison. */
import { type Block, type ExpectedDeath, type Item, Poison } from './blocks.ts'
import { comparePushed } from './push.ts'
import type { Scenario } from './scenario.ts'
import { arrivals, isLink, sourceOf } from './link-oracle.ts'
import { type DeadRow, type LaneLog, LINK, type Row, type Segment, topicOf, type World } from './world.ts'

interface Expected {
  /** Key and value of each output, in order. */
  readonly rows: readonly string[]
  readonly keys: readonly (string | null)[]
  /** Offset and step. */
  readonly dead: readonly string[]
}

/** The records of a segment as they enter the chain. */
function readOf(log: LaneLog, { offsets, records }: Segment, dead: ExpectedDeath[]): Item[] {
  return offsets.flatMap((offset): Item[] => {
    if (offset === null) return [{ gap: true }]
    const { key, payload, time } = records[offset]
    try {
      return [{ offset, key, time, value: JSON.parse(payload.toString()) }]
    } catch {
      dead.push({ offset, step: topicOf(log.id) })
      return []
    }
  })
}

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  )

const shown = (key: string | null, value: unknown): string => `${String(key)} ${canonical(value)}`

/** @param refuses name of the sink, which rejects some records; undefined: it takes all */
function expectedOf(log: LaneLog, blocks: readonly Block[], refuses: string | undefined, sources: readonly string[] = []): Expected {
  const rows: string[] = []
  const keys: (string | null)[] = []
  const dead: ExpectedDeath[] = []
  for (const segment of log.segments) {
    const records = isLink(log.id) ? [] : readOf(log, segment, dead)
    const read = (without: ReadonlySet<number>): readonly Item[] => {
      if (isLink(log.id))
        return arrivals(
          log,
          segment.offsets.filter(o => !without.has(o!)),
          sources,
        )
      return records.filter(item => item.gap || !without.has(item.offset))
    }
    const items = throughAll(blocks, read, dead)
    for (const item of items) {
      if (item.gap) continue
      if (refuses !== undefined && item.value?.f === 'refuse' && !blocks.some(b => b.closesWhenIdle))
        dead.push({ offset: item.offset, step: refuses })
      else {
        rows.push(shown(item.key, item.value))
        keys.push(item.key)
      }
    }
  }
  return { rows, keys, dead: dead.map(d => `${nameOf(log, d.offset)} ${d.step}`) }
}

/** Of a record in the dead-letter queue: its offset, in front of a link with its lane. */
const nameOf = (log: LaneLog, offset: number): string => {
  if (offset < 0 || !isLink(log.id)) return String(offset)
  const { lane, offset: at } = sourceOf(log.records[offset])
  return `${lane}@${at}`
}
const deadName = ({ lane, from, offset }: DeadRow): string => (offset < 0 || !isLink(lane) ? String(offset) : `${from}@${offset}`)

/** @param read the records without some offsets */
function throughAll(
  blocks: readonly Block[],
  read: (without: ReadonlySet<number>) => readonly Item[],
  dead: ExpectedDeath[],
): readonly Item[] {
  const poison = new Set<number>()
  for (;;) {
    let items = read(poison)
    const failed: ExpectedDeath[] = []
    try {
      for (const block of blocks) items = block.run(items, failed)
    } catch (error) {
      if (!(error instanceof Poison)) throw error
      const { offset, step } = error
      dead.push({ offset, step })
      poison.add(offset)
      continue
    }
    dead.push(...failed)
    return items
  }
}

const unique = (list: readonly string[]): string[] => [...new Set(list)]

/** Reports every difference as a violation. */
export function compare(world: World, scenario: Scenario): void {
  const { behind, push } = scenario
  if (push) return comparePushed(world, scenario.blocks, push.waits, scenario.commitInterval)
  for (const log of world.lanes.values()) {
    const rows = world.dead.filter(d => d.lane === log.id)
    const found = rows.map(d => `${deadName(d)} ${d.step}`)
    for (const d of rows) {
      const source = world.lanes.get(isLink(log.id) && d.offset >= 0 ? d.from : log.id)!
      const originals = [source.records, ...source.former].map(records => records[d.offset]?.payload)
      if (d.offset >= 0 && !originals.some(original => original && d.payload?.equals(original)))
        world.violate(`${log.id}: the dead letter of offset ${d.offset} has other bytes than its record`)
    }
    if (behind && !isLink(log.id)) compareLink(world, log, scenario, found)
    else compareSinks(world, log, scenario, found)
  }
}

/** What a lane has passed on: each record once and in order, and all records of a key in one partition. */
function compareLink(world: World, log: LaneLog, { blocks, queueInTransaction }: Scenario, found: readonly string[]): void {
  const { rows, keys, dead } = expectedOf(log, blocks, undefined)
  const partitions = new Map<string, string>()
  const actual = new Map<string, string[]>()
  for (const link of world.lanes.values()) {
    if (!isLink(link.id)) continue
    const own = arrivals(
      link,
      Array.from(link.records, r => r.offset),
    ).filter(item => !item.gap && sourceOf(link.records[item.offset]).through === log.id)
    actual.set(
      link.id,
      own.map(item => {
        if (item.gap) return ''
        const other = partitions.get(item.key!)
        if (other !== undefined && other !== link.id) world.violate(`${log.id}: key ${item.key} is in ${other} and in ${link.id}`)
        partitions.set(item.key!, link.id)
        return shown(item.key, item.value)
      }),
    )
  }
  const keysOf = rows.map((row, i) => [row, passedKey(row, keys[i])] as const)
  for (const [id, passed] of actual) {
    const expected = keysOf
      .filter(([, key]) => (partitions.get(key) ?? id) === id)
      .map(([row, key]) => `${key} ${row.slice(row.indexOf(' ') + 1)}`)
    difference(world, `${log.id} => ${id}`, passed, expected)
  }
  compareDead(world, log, found, dead, queueInTransaction)
}

/** `by: g` */
const passedKey = (row: string, key: string | null): string => {
  const { g } = JSON.parse(row.slice(String(key).length + 1)) as { g: string }
  return g
}

function compareSinks(world: World, log: LaneLog, scenario: Scenario, found: readonly string[]): void {
  const { behind, delivery, sinks, queueInTransaction } = scenario
  const blocks = behind ?? scenario.blocks
  const once = delivery === 'exactly_once'
  const sources = [...new Set(scenario.lanes.map(topicOf))].filter(topic => topic !== LINK)
  const wanted: string[] = []
  const deleted = log.start > 0 || log.former.length > 0
  for (const { name, kind } of sinks) {
    const expected = expectedOf(log, blocks, name, sources)
    const rows = world.rows.filter(r => r.lane === log.id && r.sink === name)
    const actual = rows.map(rowText)
    // Records read again with `--fresh` have the same names. At least once, records that were written and then deleted are missing in what is
    // written again: a window is marked as incomplete, a count is lower.
    if (log.segments.length < 2 && (once || log.start === 0)) compareIds(world, `${log.id} -> ${name}`, rows, once)
    const idle = blocks.find(b => b.closesWhenIdle)?.closesWhenIdle
    if (idle) {
      if (log.segments.length < 2) conserve(world, `${log.id} -> ${name}`, rows, expected, found, idle)
      continue
    }
    if (once) difference(world, `${log.id} -> ${name}`, actual, expected.rows)
    else if (deleted) within(world, `${log.id} -> ${name}`, actual, expected.rows)
    else difference(world, `${log.id} -> ${name}, first of each`, unique(actual), unique(expected.rows))
    if (kind === 'upsert') compareTable(world, log.id, name, expected, deleted)
    wanted.push(...expected.dead.filter(d => name === sinks[0].name || d.endsWith(` ${name}`)))
  }
  if (!blocks.some(b => b.closesWhenIdle)) compareDead(world, log, found, wanted, queueInTransaction)
}

function compareDead(world: World, log: LaneLog, found: readonly string[], wanted: readonly string[], inTransaction: boolean): void {
  const what = `${log.id} -> dead letters`
  if (inTransaction) difference(world, what, found.toSorted(), wanted.toSorted())
  else if (log.start > 0 || log.former.length > 0) within(world, what, found.toSorted(), unique(wanted).toSorted())
  else difference(world, `${what}, each once`, unique(found).toSorted(), unique(wanted).toSorted())
}

/** A result has one name, however often it is written, and shares it with no other. */
function compareIds(world: World, what: string, rows: readonly Row[], once: boolean): void {
  const texts = new Map<string, string>()
  for (const { id, text } of rows) {
    const other = texts.get(id)
    if (other !== undefined && (once || other !== text)) return world.violate(`${what}: ${id} names ${other} and ${text}`)
    texts.set(id, text)
  }
}

/** Windows that may close by idle time: each record is in one window or in the dead-letter queue, and each emitted window is complete. */
function conserve(
  world: World,
  what: string,
  rows: readonly Row[],
  { rows: inputs }: Expected,
  dead: readonly string[],
  { name, size }: NonNullable<Block['closesWhenIdle']>,
): void {
  const place = ({ k, ts }: { k: string; ts: number }): string => `${k} ${Math.floor(ts / size) * size}`
  const closed = new Map<string, string[]>()
  for (const { text } of rows) {
    const { key, start, n, ids } = JSON.parse(text) as { key: string; start: number; n: number; ids: string[] }
    const id = `${key} ${start}`
    if (closed.has(id)) world.violate(`${what}: window ${id} came out twice`)
    if (n !== ids.length) world.violate(`${what}: window ${id} counts ${n} of ${ids.length}`)
    closed.set(id, ids)
  }
  let left = 0
  for (const input of inputs) {
    const value = JSON.parse(input.slice(input.indexOf(' ') + 1)) as { id: string; k: string; ts: number }
    const ids = closed.get(place(value))
    const at = ids?.indexOf(value.id) ?? -1
    if (ids && at >= 0) ids.splice(at, 1)
    else if (ids) left++
  }
  const extra = [...closed].find(([, ids]) => ids.length > 0)
  if (extra) world.violate(`${what}: window ${extra[0]} holds ${extra[1].join(', ')}, which is not its own`)
  const late = new Set(dead.filter(d => d.endsWith(` ${name}`))).size
  if (late < left) world.violate(`${what}: ${left} records are not in their windows, which are closed; ${late} of them are dead letters`)
}

const rowText = ({ key, text }: Row): string => shown(key, JSON.parse(text))

/**
 * The result of upserts is the last record of each key.
 * @param deleted some written records were deleted before they were committed: they may be present instead, but no older ones
 */
function compareTable(world: World, lane: string, sink: string, { rows, keys }: Expected, deleted: boolean): void {
  const last = new Map(keys.map((key, i) => [key, rows[i]]))
  for (const [key, row] of last) {
    const there = world.tables.get(`${sink} ${String(key)}`)
    if (there && deleted && !rows.includes(rowText(there))) continue
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

/** At least once, and some written records were deleted before they were committed: additional records may be present before the gap. */
function within(world: World, what: string, actual: readonly string[], expected: readonly string[]): void {
  let at = 0
  for (const row of actual) if (row === expected[at]) at++
  if (at < expected.length) world.violate(`${what}: ${expected[at]} is missing, or out of order`)
}
