/** The messages of one key in one window. */
import type { Json, State } from '../../contract/plugin.ts'
import type { Aggregate, Spec } from './aggregates.ts'

export class Group {
  readonly key: string | null
  /** Epoch ms; the start of a session may become earlier. */
  start: number
  /** Exclusive; the end of an open session grows. */
  end: number
  readonly aggregates: readonly Aggregate[]
  /** Number of messages. */
  size: number
  /** Event time of the newest message, epoch ms: the time of the result. */
  newest: number
  dirty = false
  saved = false

  constructor(
    key: string | null,
    start: number,
    end: number,
    aggregates: readonly Aggregate[],
    size = 0,
    newest = Number.NEGATIVE_INFINITY,
  ) {
    this.key = key
    this.start = start
    this.end = end
    this.aggregates = aggregates
    this.size = size
    this.newest = newest
  }

  add(values: readonly Json[], time: number): void {
    this.size++
    if (time > this.newest) this.newest = time
    for (let i = 0; i < values.length; i++) this.aggregates[i].add(values[i], time)
  }

  /** Adds the contents of a disjoint group of the same key. */
  absorb(other: Group): void {
    this.size += other.size
    if (other.newest > this.newest) this.newest = other.newest
    this.aggregates.forEach((a, i) => a.merge(other.aggregates[i]))
  }

  record(specs: readonly Spec[]): Record<string, Json> {
    const record: Record<string, Json> = { key: this.key, start: this.start, end: this.end }
    specs.forEach((spec, i) => {
      record[spec.name] = this.aggregates[i].result()
    })
    return record
  }

  /** Key in the state. The time comes first, so any key text is unique. */
  get id(): string {
    return groupId(this.start, this.key)
  }

  encode(): Json {
    return [this.end, this.size, this.newest, ...this.aggregates.map(a => a.encode())]
  }

  static decode(id: string, state: Json, specs: readonly Spec[]): Group {
    const cut = id.indexOf('|')
    const [end, size, ...rest] = state as [number, number, ...Json[]]
    // Checkpoints of 0.1.0 have no time of the newest message: the last instant of the window replaces it.
    const newest = rest.length > specs.length ? (rest[0] as number) : end - 1
    const aggregates = rest.length > specs.length ? rest.slice(1) : rest
    const key = JSON.parse(id.slice(cut + 1)) as string | null
    const group = new Group(
      key,
      Number(id.slice(0, cut)),
      end,
      specs.map((spec, i) => spec.decode(aggregates[i])),
      size,
      newest,
    )
    group.saved = true
    return group
  }
}

export const groupId = (start: number, key: string | null): string => `${start}|${JSON.stringify(key)}`

/** The order in which closed groups are emitted. */
export function byEndStartKey(a: Group, b: Group): number {
  if (a.end !== b.end) return a.end - b.end
  if (a.start !== b.start) return a.start - b.start
  return a.key === b.key ? 0 : a.key === null || (b.key !== null && a.key < b.key) ? -1 : 1
}

/** Writes changed groups to the state of the lane. */
export class GroupStore {
  private readonly state: State
  private readonly specs: readonly Spec[]
  private dirty: Group[] = []

  constructor(state: State, specs: readonly Spec[]) {
    this.state = state
    this.specs = specs
  }

  restore(): Group[] {
    return [...this.state.entries()].map(([id, value]) => Group.decode(id, value, this.specs)).toSorted(byEndStartKey)
  }

  create(key: string | null, start: number, end: number): Group {
    const aggregates = this.specs.map(spec => spec.create())
    return new Group(key, start, end, aggregates)
  }

  /** Marks the group as changed. */
  touch(group: Group): void {
    if (group.dirty) return
    group.dirty = true
    this.dirty.push(group)
  }

  forget(group: Group): void {
    group.dirty = false
    if (group.saved) this.state.delete(group.id)
    group.saved = false
  }

  /** Once per call of the transform is sufficient: checkpoints are made only between calls. */
  flush(): void {
    for (const group of this.dirty) {
      if (!group.dirty) continue
      group.dirty = false
      group.saved = true
      this.state.set(group.id, group.encode())
    }
    this.dirty = []
  }
}
