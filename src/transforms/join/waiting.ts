/** Records that wait for a match, by key and in the order of their times. They are the state of the lane. */
import type { Json, Message, State } from '../../contract/plugin.ts'
import { park, type Parked, unpark } from '../join_latest/parked.ts'

export type Side = 0 | 1

export interface Held {
  readonly id: number
  readonly side: Side
  readonly key: string
  /** Event time, epoch ms. */
  readonly time: number
  readonly message: Message
  matched: boolean
}

/** Lane, source, topic and partition of the source record: a `repartition` is between it and the join. */
type From = [lane: string, source: string, topic: string | null, partition: number | null]
export type Stored = [side: Side, key: string, time: number, matched: 0 | 1, parked: Parked, from: From]

export class WaitingRecords {
  private readonly state: State<Stored>
  private readonly meta: State<Json>
  private readonly byKey = new Map<string, Set<Held>[]>()
  private readonly queue: Held[] = []
  private readonly within: number
  private readonly depth: number
  private next: number
  private count = 0

  constructor(state: State<Stored>, meta: State<Json>, within: number, depth: number) {
    this.state = state
    this.meta = meta
    this.within = within
    this.depth = depth
    this.next = (meta.get('next') as number | undefined) ?? 0
    for (const [id, stored] of inOrder(state)) this.insert(heldOf(Number(id), stored, depth))
  }

  get size(): number {
    return this.count
  }

  /** The watermark at which the first record expires. */
  get nextDue(): number {
    return this.queue.length === 0 ? Number.POSITIVE_INFINITY : this.endOf(this.queue[0])
  }

  /** Records of the other side that match, in order of their arrival. */
  matches(side: Side, key: string, time: number): Held[] {
    const others = this.byKey.get(key)?.[1 - side]
    return others === undefined ? [] : [...others].filter(h => Math.abs(h.time - time) <= this.within)
  }

  add(side: Side, key: string, time: number, message: Message, matched: boolean): void {
    const id = this.next++
    const stored = storedOf({ id, side, key, time, message, matched })
    // As after a restart: the message itself would keep the bytes of the whole batch in memory that it was read with.
    this.insert(heldOf(id, stored, this.depth))
    this.state.set(String(id), stored)
    this.meta.set('next', this.next)
  }

  match(held: Held): void {
    if (held.matched) return
    held.matched = true
    this.state.set(String(held.id), storedOf(held))
  }

  /** Removes and returns what has expired, oldest first. */
  take(watermark: number): Held[] {
    const taken: Held[] = []
    while (this.queue.length > 0 && this.endOf(this.queue[0]) <= watermark) {
      const held = this.pop()
      const sides = this.byKey.get(held.key)!
      sides[held.side].delete(held)
      if (sides[0].size + sides[1].size === 0) this.byKey.delete(held.key)
      this.count--
      this.state.delete(String(held.id))
      taken.push(held)
    }
    return taken
  }

  /** The largest expiry at or before a time; -Infinity: none. */
  lastEnd(until: number): number {
    let last = Number.NEGATIVE_INFINITY
    for (const held of this.queue) if (this.endOf(held) <= until) last = Math.max(last, this.endOf(held))
    return last
  }

  /** A record at this time is late for the held one: no match can arrive any more. */
  private endOf({ time }: Held): number {
    return time + this.within + 1
  }

  private insert(held: Held): void {
    let sides = this.byKey.get(held.key)
    if (!sides) this.byKey.set(held.key, (sides = [new Set(), new Set()]))
    sides[held.side].add(held)
    this.count++
    // A binary heap.
    const { queue } = this
    let at = queue.push(held) - 1
    for (let above = (at - 1) >> 1; at > 0 && before(queue[at], queue[above]); at = above, above = (at - 1) >> 1) swap(queue, at, above)
  }

  private pop(): Held {
    const { queue } = this
    const first = queue[0]
    const last = queue.pop()!
    if (queue.length === 0) return first
    queue[0] = last
    for (let at = 0; ; ) {
      let least = at
      for (const below of [2 * at + 1, 2 * at + 2]) if (below < queue.length && before(queue[below], queue[least])) least = below
      if (least === at) return first
      swap(queue, at, least)
      at = least
    }
  }
}

function storedOf({ side, key, time, matched, message }: Held): Stored {
  const { lane = '', source = '', topic = null, partition = null } = message.origin ?? {}
  return [side, key, time, matched ? 1 : 0, park(message), [lane, source, topic, partition]]
}

function heldOf(id: number, [side, key, time, matched, parked, [lane, source, topic, partition]]: Stored, depth: number): Held {
  const from = { id: lane, source, topic: topic ?? undefined, partition: partition ?? undefined }
  return { id, side, key, time, matched: matched === 1, message: unpark(parked, from, depth) }
}

/** In the order of arrival, which decides the order of pairs. */
const inOrder = (state: State<Stored>): [string, Stored][] => [...state.entries()].toSorted(([a], [b]) => Number(a) - Number(b))

const before = (a: Held, b: Held): boolean => a.time < b.time || (a.time === b.time && a.id < b.id)

function swap(list: Held[], a: number, b: number): void {
  ;[list[a], list[b]] = [list[b], list[a]]
}
