/** Assigns messages to windows: fixed windows (tumbling, hopping), or sessions that grow with each message. */
import type { Span, Timeline } from '../../kit/values/calendar.ts'
import { byEndStartKey, type Group, type GroupStore, groupId } from './group.ts'

export interface Windows {
  /** `take` returns nothing while the watermark is below this time. */
  nextDue: number
  /** The open groups of a message, created if missing. `late`: all closed; `full`: one has `limit` messages; `outside`: in no session. */
  place(key: string | null, time: number, watermark: number): Group[] | 'late' | 'full' | 'outside'
  /** Removes and returns the groups that end at or before the watermark, in output order. */
  take(watermark: number): Group[]
  /** The largest end at or before `until`. */
  lastEnd(until: number): number
  /** The newest window of a message; with sessions, the session of this message alone. */
  spanOf(time: number): Span
}

/** Groups with a fixed end. */
class OpenGroups {
  nextDue = Number.POSITIVE_INFINITY
  protected readonly groups = new Map<string, Group>()
  protected readonly store: GroupStore

  constructor(store: GroupStore) {
    this.store = store
    for (const group of store.restore()) this.keep(group)
  }

  take(watermark: number): Group[] {
    const due: Group[] = []
    this.nextDue = Number.POSITIVE_INFINITY
    for (const [id, group] of this.groups) {
      if (group.end <= watermark) {
        this.groups.delete(id)
        this.store.forget(group)
        due.push(group)
      } else if (group.end < this.nextDue) this.nextDue = group.end
    }
    return due.toSorted(byEndStartKey)
  }

  lastEnd(until: number): number {
    return lastEnd(this.groups.values(), until)
  }

  protected keep(group: Group): Group {
    this.groups.set(group.id, group)
    if (group.end < this.nextDue) this.nextDue = group.end
    return group
  }
}

export class FixedWindows extends OpenGroups implements Windows {
  private readonly size: number
  private readonly every: number
  private readonly align: number
  private readonly limit: number

  /** `size` and `every` in ms; `every` = `size`: tumbling. A window starts at `align`, epoch ms. */
  constructor(store: GroupStore, size: number, every: number, align: number, limit: number) {
    super(store)
    this.size = size
    this.every = every
    this.align = align
    this.limit = limit
  }

  place(key: string | null, time: number, watermark: number): Group[] | 'late' | 'full' {
    const starts: number[] = []
    for (let start = this.startOf(time); start > time - this.size && start + this.size > watermark; start -= this.every) starts.push(start)
    if (starts.length === 0) return 'late'
    const found = starts.map(start => this.groups.get(groupId(start, key)))
    if (found.some(group => group !== undefined && group.size >= this.limit)) return 'full'
    return found.map((group, i) => group ?? this.keep(this.store.create(key, starts[i], starts[i] + this.size)))
  }

  spanOf(time: number): Span {
    const start = this.startOf(time)
    return { start, end: start + this.size }
  }

  private startOf(time: number): number {
    return this.align + Math.floor((time - this.align) / this.every) * this.every
  }
}

/** Calendar windows, which do not overlap: days of a time zone, months, trading sessions. */
export class CalendarWindows extends OpenGroups implements Windows {
  private readonly timeline: Timeline
  private readonly limit: number

  constructor(store: GroupStore, timeline: Timeline, limit: number) {
    super(store)
    this.timeline = timeline
    this.limit = limit
  }

  place(key: string | null, time: number, watermark: number): Group[] | 'late' | 'full' | 'outside' {
    const span = this.timeline.at(time)
    if (span === undefined) return 'outside'
    if (span.end <= watermark) return 'late'
    const found = this.groups.get(groupId(span.start, key))
    if (found !== undefined && found.size >= this.limit) return 'full'
    return [found ?? this.keep(this.store.create(key, span.start, span.end))]
  }

  spanOf(time: number): Span {
    return this.timeline.at(time) ?? { start: time, end: time }
  }
}

export class SessionWindows implements Windows {
  nextDue = Number.POSITIVE_INFINITY
  /** Disjoint sessions per key; few, because only the allowed lateness keeps an old session open next to a new one. */
  private readonly sessions = new Map<string | null, Group[]>()
  private readonly store: GroupStore
  private readonly gap: number
  private readonly limit: number

  /** @param gap time without messages of a key that ends its session, ms */
  constructor(store: GroupStore, gap: number, limit: number) {
    this.store = store
    this.gap = gap
    this.limit = limit
    for (const group of store.restore()) this.keep(group)
  }

  place(key: string | null, time: number, watermark: number): Group[] | 'late' | 'full' {
    const end = time + this.gap
    const touching = (this.sessions.get(key) ?? []).filter(s => time < s.end && s.start < end)
    if (touching.length === 0) return end <= watermark ? 'late' : [this.keep(this.store.create(key, time, end))]
    if (touching.reduce((n, s) => n + s.size, 0) >= this.limit) return 'full'
    const [session, ...others] = touching
    for (const other of others) {
      session.absorb(other)
      this.remove(other)
      this.store.forget(other)
    }
    const start = Math.min(time, ...touching.map(s => s.start))
    if (start !== session.start) {
      this.store.forget(session)
      session.start = start
    }
    // `nextDue` may now be too early, which only costs an extra check.
    session.end = Math.max(end, ...touching.map(s => s.end))
    return [session]
  }

  spanOf(time: number): Span {
    return { start: time, end: time + this.gap }
  }

  take(watermark: number): Group[] {
    const due: Group[] = []
    let next = Number.POSITIVE_INFINITY
    for (const sessions of this.sessions.values()) {
      for (const session of sessions) {
        if (session.end <= watermark) due.push(session)
        else if (session.end < next) next = session.end
      }
    }
    this.nextDue = next
    for (const session of due) {
      this.remove(session)
      this.store.forget(session)
    }
    return due.toSorted(byEndStartKey)
  }

  lastEnd(until: number): number {
    return lastEnd([...this.sessions.values()].flat(), until)
  }

  private keep(session: Group): Group {
    const sessions = this.sessions.get(session.key)
    if (sessions) sessions.push(session)
    else this.sessions.set(session.key, [session])
    if (session.end < this.nextDue) this.nextDue = session.end
    return session
  }

  private remove(session: Group): void {
    const rest = this.sessions.get(session.key)!.filter(s => s !== session)
    if (rest.length === 0) this.sessions.delete(session.key)
    else this.sessions.set(session.key, rest)
  }
}

function lastEnd(groups: Iterable<Group>, until: number): number {
  let last = Number.NEGATIVE_INFINITY
  for (const { end } of groups) if (end <= until && end > last) last = end
  return last
}
