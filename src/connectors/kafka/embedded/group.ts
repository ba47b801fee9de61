/**
 * Consumer groups as rows. There is no coordinator process: a process that changes the membership computes the targets of all members
 * in the same transaction. Each member then moves from its owned partitions to its targets:
 *
 *     join, leave, eviction  ->  targets are computed, `grp.version` grows
 *     the target of an owned partition is another member  ->  the owner drains, then releases the partition
 *     the target of a partition without owner  ->  claims it
 *
 * Only partitions that move are interrupted, and a partition never has two owners. `Sqlite.write` around every change makes
 * these steps atomic across processes.
 */
import type { LiveContent } from '../../../contract/plugin.ts'
import { liveConflict, liveContentOf } from '../../../kit/live-content.ts'
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { mustAgree } from '../driver.ts'
import { assign } from './assign.ts'
import { mayBeAlive, processName, processToken } from '../liveness.ts'

/** A member that does not release a partition within this time (or its session timeout, if longer) is evicted. */
const REBALANCE_MS = 60_000

export interface Part {
  readonly part: number
  readonly topic: string
  readonly partition: number
}

export interface View {
  readonly version: number
  /** Owned by the member, by row id. */
  readonly owned: ReadonlySet<number>
  /** Owned or free, and assigned to the member. */
  readonly target: ReadonlySet<number>
  /** Assigned to the member, and without an owner now. */
  readonly free: boolean
}

interface MemberRow {
  id: string
  topics: string
  seen: number
  session: number
  process: string
}

/** Monotonic clock of the machine, ms: the same for all processes, and independent of changes of the wall clock. */
const uptime = (): number => {
  const [s, ns] = process.hrtime()
  return s * 1000 + ns / 1e6
}

/** Row id of a group, created on first use. Only inside `Sqlite.write`. */
export function groupId(db: Sqlite, name: string): number {
  const row = db.prepare('SELECT id FROM grp WHERE name = ?').get(name) as { id: number } | undefined
  if (row) return row.id
  return (db.prepare('INSERT INTO grp (name) VALUES (?) RETURNING id').get(name) as { id: number }).id
}

/** Only inside `Sqlite.write`. */
export function commitOffset(db: Sqlite, group: number, part: number, next: number, metadata: string | null): void {
  db.prepare(
    `INSERT INTO committed (grp, part, next, metadata) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET next = excluded.next, metadata = excluded.metadata`,
  ).run(group, part, next, metadata)
}

export function committedOffset(db: Sqlite, group: string, part: number): { offset: number; metadata: string | null } | undefined {
  const row = db.get<{ next: number; metadata: string | null }>(
    'SELECT c.next, c.metadata FROM committed c JOIN grp g ON g.id = c.grp WHERE g.name = ? AND c.part = ?',
    group,
    part,
  )
  return row && { offset: row.next, metadata: row.metadata }
}

/** Members that count as alive. */
export function liveMembers(db: Sqlite, group: string): { id: string; process: string; owner?: string }[] {
  const now = uptime()
  const said = db.get("SELECT 1 FROM sqlite_master WHERE name = 'member_live'")
    ? new Map(db.all<{ member: string; live: string }>('SELECT member, live FROM member_live').map(r => [r.member, r.live]))
    : new Map<string, string>()
  return db
    .all<MemberRow>('SELECT m.* FROM member m JOIN grp g ON g.id = m.grp WHERE g.name = ?', group)
    .filter(m => now - m.seen <= m.session && m.seen <= now + 1000 && mayBeAlive(m.process))
    .map(({ id, process: token }) => ({ id, process: token, owner: liveContentOf(JSON.parse(said.get(id) ?? 'null'))?.owner }))
}

export class Group {
  private readonly db: Sqlite
  private readonly name: string
  private id = -1

  constructor(db: Sqlite, name: string) {
    this.db = db
    this.name = name
  }

  /** Rebalances the groups of a topic that has more partitions or was deleted. Only inside `Sqlite.write`. */
  static topicChanged(db: Sqlite, topic: string): void {
    for (const { id, name } of db.prepare('SELECT id, name FROM grp').all() as { id: number; name: string }[]) {
      const members = db.prepare('SELECT topics FROM member WHERE grp = ?').all(id) as { topics: string }[]
      if (!members.some(m => (JSON.parse(m.topics) as string[]).includes(topic))) continue
      const group = new Group(db, name)
      group.id = id
      group.retarget()
    }
  }

  /** @throws {LiveConflictError} if the members have different settings */
  async join(member: string, topics: readonly string[], sessionMs: number, live?: LiveContent): Promise<void> {
    await this.db.write(() => {
      this.id = groupId(this.db, this.name)
      this.expire()
      if (live) this.announce(member, topics, live)
      this.db
        .prepare('INSERT INTO member (id, grp, topics, seen, session, process) VALUES (?, ?, ?, ?, ?, ?)')
        .run(member, this.id, JSON.stringify(topics), uptime(), sessionMs, processToken())
      this.retarget()
    })
  }

  async leave(member: string): Promise<void> {
    await this.db.write(() => {
      this.remove(member)
      this.expire()
      this.retarget()
    })
  }

  /** Renews the member and evicts dead ones. @returns false if the member was evicted */
  async heartbeat(member: string): Promise<boolean> {
    return this.db.write(() => {
      if (this.db.prepare('UPDATE member SET seen = ? WHERE id = ?').run(uptime(), member).changes === 0) return false
      if (this.expire()) this.retarget()
      return true
    })
  }

  /** Grows with every change of members, targets and owners. */
  version(): number {
    return this.db.get<{ version: number }>('SELECT version FROM grp WHERE id = ?', this.id)?.version ?? -1
  }

  /** The owned and target partitions of the member; undefined if it was evicted. */
  view(member: string): View | undefined {
    const version = this.version()
    if (!this.db.get('SELECT 1 FROM member WHERE id = ?', member)) return undefined
    const rows = this.db.all<{ part: number; owner: string | null; target: string | null }>(
      'SELECT part, owner, target FROM claim WHERE grp = ? AND (owner = ? OR target = ?)',
      this.id,
      member,
      member,
    )
    return {
      version,
      owned: new Set(rows.filter(r => r.owner === member).map(r => r.part)),
      target: new Set(rows.filter(r => r.target === member && (r.owner === member || r.owner === null)).map(r => r.part)),
      free: rows.some(r => r.target === member && r.owner === null),
    }
  }

  /** Claims the free partitions that are assigned to the member. */
  async acquire(member: string): Promise<Part[]> {
    return this.db.write(() => {
      const rows = this.db
        .prepare('UPDATE claim SET owner = ? WHERE grp = ? AND target = ? AND owner IS NULL RETURNING part')
        .all(member, this.id, member) as { part: number }[]
      if (rows.length > 0) this.bump()
      const name = this.db.prepare(
        'SELECT p.id AS part, t.name AS topic, p.num AS partition FROM part p JOIN topic t ON t.id = p.topic WHERE p.id = ?',
      )
      return rows.map(r => name.get(r.part) as unknown as Part)
    })
  }

  /** Releases partitions to the members to which they are assigned. */
  async release(member: string, parts: readonly number[]): Promise<void> {
    await this.db.write(() => {
      const release = this.db.prepare('UPDATE claim SET owner = NULL WHERE grp = ? AND part = ? AND owner = ?')
      for (const part of parts) release.run(this.id, part, member)
      this.bump()
    })
  }

  /** Stores offsets if the member owns all these partitions. @returns the first partition that it does not own */
  async commit(member: string, offsets: readonly { part: number; offset: number; metadata: string | null }[]): Promise<number | undefined> {
    return this.db.write(() => {
      const owner = this.db.prepare('SELECT owner FROM claim WHERE grp = ? AND part = ?')
      for (const { part } of offsets) if ((owner.get(this.id, part) as { owner: string | null } | undefined)?.owner !== member) return part
      for (const { part, offset, metadata } of offsets) commitOffset(this.db, this.id, part, offset, metadata)
      return undefined
    })
  }

  /** In a separate table, which 0.1.0 does not use. */
  private announce(member: string, topics: readonly string[], live: LiveContent): void {
    const { db } = this
    db.prepare('CREATE TABLE IF NOT EXISTS member_live (member TEXT PRIMARY KEY, live TEXT NOT NULL) WITHOUT ROWID').run()
    db.prepare('DELETE FROM member_live WHERE member NOT IN (SELECT id FROM member)').run()
    const others = db
      .prepare('SELECT m.topics, m.process, l.live FROM member m JOIN member_live l ON l.member = m.id WHERE m.grp = ? AND m.id <> ?')
      .all(this.id, member) as { topics: string; process: string; live: string }[]
    for (const other of others) {
      const running = liveContentOf(JSON.parse(other.live))
      if (!running || !mustAgree({ topics: JSON.parse(other.topics), live: running }, { topics, live })) continue
      const conflict = liveConflict(running, processName(other.process), live, `group ${this.name}`)
      if (conflict) throw conflict
    }
    db.prepare('INSERT INTO member_live (member, live) VALUES (?, ?)').run(member, JSON.stringify(live))
  }

  private bump(): void {
    this.db.prepare('UPDATE grp SET version = version + 1 WHERE id = ?').run(this.id)
  }

  private remove(member: string): void {
    this.db.prepare('DELETE FROM member WHERE id = ?').run(member)
    this.db.prepare('UPDATE claim SET owner = NULL WHERE grp = ? AND owner = ?').run(this.id, member)
  }

  /** Evicts dead members, silent ones, and those that do not release a partition. @returns whether there were any */
  private expire(): boolean {
    const now = uptime()
    const members = this.db.prepare('SELECT * FROM member WHERE grp = ?').all(this.id) as unknown as MemberRow[]
    const stuck = this.db
      .prepare('SELECT owner, min(since) AS since FROM claim WHERE grp = ? AND owner IS NOT target GROUP BY owner')
      .all(this.id) as {
      owner: string | null
      since: number
    }[]
    const since = new Map(stuck.map(s => [s.owner, s.since]))
    const gone = members.filter(
      m =>
        now - m.seen > m.session ||
        // A time in the future: the machine has been restarted.
        m.seen > now + 1000 ||
        now - (since.get(m.id) ?? now) > Math.max(REBALANCE_MS, m.session) ||
        !mayBeAlive(m.process),
    )
    for (const m of gone) this.remove(m.id)
    return gone.length > 0
  }

  /** Computes the targets of all members. */
  private retarget(): void {
    const rows = this.db.prepare('SELECT id, topics FROM member WHERE grp = ?').all(this.id) as { id: string; topics: string }[]
    const members = rows.map(m => ({ id: m.id, topics: new Set(JSON.parse(m.topics) as string[]) }))
    const topics = new Set(members.flatMap(m => [...m.topics]))
    const held = new Map(
      (
        this.db.prepare('SELECT part, owner, target FROM claim WHERE grp = ?').all(this.id) as {
          part: number
          owner: string | null
          target: string | null
        }[]
      ).map(c => [c.part, c]),
    )
    const list = this.db.prepare('SELECT p.id AS part FROM part p JOIN topic t ON t.id = p.topic WHERE t.name = ?')
    const holdings = [...topics].flatMap(topic =>
      (list.all(topic) as { part: number }[]).map(({ part }) => ({
        part,
        topic,
        holder: held.get(part)?.target ?? held.get(part)?.owner ?? null,
      })),
    )
    const targets = assign(members, holdings)
    const put = this.db.prepare(
      `INSERT INTO claim (grp, part, owner, target, since) VALUES (?, ?, NULL, ?, ?)
       ON CONFLICT DO UPDATE SET since = CASE WHEN target IS excluded.target THEN since ELSE excluded.since END, target = excluded.target`,
    )
    const now = uptime()
    for (const part of new Set([...held.keys(), ...targets.keys()])) put.run(this.id, part, targets.get(part) ?? null, now)
    this.db.prepare('DELETE FROM claim WHERE grp = ? AND owner IS NULL AND target IS NULL').run(this.id)
    this.bump()
  }
}
