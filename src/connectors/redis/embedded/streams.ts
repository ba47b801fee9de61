/** Streams of the embedded store: entries, groups, and the entries that a consumer has not acknowledged. */
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { type Arg, type Reply, ReplyError } from '../driver.ts'
import type { Implementation } from './commands.ts'
import { bytes, count, ensure, expect, int, str } from './store.ts'

interface Id {
  readonly ms: number
  readonly seq: number
}
interface StoredStreamEntry extends Id {
  readonly fields: string
}

const BEHIND = '(ms > ? OR (ms = ? AND seq > ?))'

export const streamCommands: Readonly<Record<string, Implementation>> = {
  XADD: (db, [name, ...rest]) => {
    const key = str(name)
    ensure(db, key, 'stream')
    let at = 0
    let max: number | undefined
    if (str(rest[at]).toUpperCase() === 'MAXLEN') {
      at += ['~', '='].includes(str(rest[1])) ? 2 : 1
      max = int(rest[at++])
    }
    const last = db.get<Id>('SELECT ms, seq FROM keys WHERE key = ?', key)!
    const given = str(rest[at++])
    const now = Math.max(Date.now(), last.ms)
    const id = given === '*' ? { ms: now, seq: now === last.ms ? last.seq + 1 : 0 } : parseId(given, 0)
    if (!isBehind(id, last)) throw new ReplyError('ERR The ID specified in XADD is equal or smaller than the target stream top item')
    const fields = rest.slice(at).map(part => bytes(part).toString('base64'))
    if (fields.length === 0 || fields.length % 2 === 1) throw new ReplyError("ERR wrong number of arguments for 'xadd' command")
    db.prepare('INSERT INTO stream VALUES (?, ?, ?, ?)').run(key, id.ms, id.seq, fields.join(' '))
    db.prepare('UPDATE keys SET ms = ?, seq = ? WHERE key = ?').run(id.ms, id.seq, key)
    if (max !== undefined) trim(db, key, max)
    return Buffer.from(`${id.ms}-${id.seq}`)
  },
  XLEN: (db, [key]) => (expect(db, str(key), 'stream') ? count(db, 'stream', str(key)) : 0),
  XRANGE: (db, [key, from, to, ...rest]) => {
    if (!expect(db, str(key), 'stream')) return []
    const low = str(from) === '-' ? { ms: 0, seq: 0 } : parseId(str(from), 0)
    const high = str(to) === '+' ? { ms: Number.MAX_SAFE_INTEGER, seq: 0 } : parseId(str(to), Number.MAX_SAFE_INTEGER)
    return db
      .all<StoredStreamEntry>(
        'SELECT ms, seq, fields FROM stream WHERE key = ? AND ms BETWEEN ? AND ? ORDER BY ms, seq',
        str(key),
        low.ms,
        high.ms,
      )
      .filter(e => (e.ms > low.ms || e.seq >= low.seq) && (e.ms < high.ms || e.seq <= high.seq))
      .slice(0, rest.length > 0 ? Number(str(rest[1])) : undefined)
      .map(reply)
  },
  XGROUP: (db, [, name, group, from]) => {
    const key = str(name)
    ensure(db, key, 'stream')
    const last = db.get<Id>('SELECT ms, seq FROM keys WHERE key = ?', key)!
    const { ms, seq } = str(from) === '$' ? last : parseId(str(from), 0)
    const { changes } = db.prepare('INSERT OR IGNORE INTO groups VALUES (?, ?, ?, ?)').run(key, str(group), ms, seq)
    if (changes === 0) throw new ReplyError('BUSYGROUP Consumer Group name already exists')
    return 'OK'
  },
  /** GROUP group consumer [COUNT n] [BLOCK ms] STREAMS key id; the driver handles BLOCK. */
  XREADGROUP: (db, [, groupName, consumer, ...rest]) => {
    const streams = rest.findIndex(a => str(a).toUpperCase() === 'STREAMS')
    const limit = option(rest, 'COUNT') ?? 1_000_000
    const key = str(rest[streams + 1])
    const from = str(rest[streams + 2])
    const group = groupOf(db, key, str(groupName))
    if (from !== '>') {
      const { ms, seq } = parseId(from, 0)
      const own = db.all<Id & { fields: string | null }>(
        `SELECT p.ms, p.seq, s.fields FROM pending p LEFT JOIN stream s ON s.key = p.key AND s.ms = p.ms AND s.seq = p.seq
         WHERE p.key = ? AND p.name = ? AND p.consumer = ? AND (p.ms > ? OR (p.ms = ? AND p.seq > ?)) ORDER BY p.ms, p.seq LIMIT ?`,
        key,
        str(groupName),
        str(consumer),
        ms,
        ms,
        seq,
        limit,
      )
      return [[Buffer.from(key), own.map(e => (e.fields === null ? [idOf(e), null] : reply(e as StoredStreamEntry)))]]
    }
    const entries = db.all<StoredStreamEntry>(
      `SELECT ms, seq, fields FROM stream WHERE key = ? AND ${BEHIND} ORDER BY ms, seq LIMIT ?`,
      key,
      group.ms,
      group.ms,
      group.seq,
      limit,
    )
    if (entries.length === 0) return null
    const now = Date.now()
    for (const e of entries)
      db.prepare('INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?, ?)').run(key, str(groupName), e.ms, e.seq, str(consumer), now)
    const last = entries.at(-1)!
    db.prepare('UPDATE groups SET ms = ?, seq = ? WHERE key = ? AND name = ?').run(last.ms, last.seq, key, str(groupName))
    return [[Buffer.from(key), entries.map(reply)]]
  },
  XACK: (db, [key, group, ...ids]) => {
    let n = 0
    for (const id of ids.map(i => parseId(str(i), 0)))
      n += Number(
        db.prepare('DELETE FROM pending WHERE key = ? AND name = ? AND ms = ? AND seq = ?').run(str(key), str(group), id.ms, id.seq)
          .changes,
      )
    return n
  },
  /** key group consumer min-idle start [COUNT n] */
  XAUTOCLAIM: (db, [name, groupName, consumer, idle, start, ...rest]) => {
    const key = str(name)
    groupOf(db, key, str(groupName))
    const { ms, seq } = parseId(str(start), 0)
    const now = Date.now()
    const limit = option(rest, 'COUNT') ?? 100
    const stale = db.all<Id & { fields: string | null }>(
      `SELECT p.ms, p.seq, s.fields FROM pending p LEFT JOIN stream s ON s.key = p.key AND s.ms = p.ms AND s.seq = p.seq
       WHERE p.key = ? AND p.name = ? AND p.time <= ? AND (p.ms > ? OR (p.ms = ? AND p.seq >= ?)) ORDER BY p.ms, p.seq LIMIT ?`,
      key,
      str(groupName),
      now - int(idle),
      ms,
      ms,
      seq,
      limit,
    )
    for (const e of stale) {
      if (e.fields === null)
        db.prepare('DELETE FROM pending WHERE key = ? AND name = ? AND ms = ? AND seq = ?').run(key, str(groupName), e.ms, e.seq)
      else
        db.prepare('UPDATE pending SET consumer = ?, time = ? WHERE key = ? AND name = ? AND ms = ? AND seq = ?').run(
          str(consumer),
          now,
          key,
          str(groupName),
          e.ms,
          e.seq,
        )
    }
    const last = stale.at(-1)
    const next = stale.length < limit || last === undefined ? { ms: 0, seq: 0 } : { ms: last.ms, seq: last.seq + 1 }
    return [
      idOf(next),
      stale.filter(e => e.fields !== null).map(e => reply(e as StoredStreamEntry)),
      stale.filter(e => e.fields === null).map(idOf),
    ]
  },
}

/** @returns whether the stream has entries that no consumer of the group has read. */
export function hasNews(db: Sqlite, key: string, group: string): boolean {
  const sql = `SELECT 1 FROM groups g JOIN stream s ON s.key = g.key AND (s.ms > g.ms OR (s.ms = g.ms AND s.seq > g.seq)) WHERE g.key = ? AND g.name = ? LIMIT 1`
  return db.get(sql, key, group) !== undefined
}

function option(args: readonly Arg[], name: string): number | undefined {
  const at = args.findIndex(a => str(a).toUpperCase() === name)
  return at === -1 ? undefined : int(args[at + 1])
}

function groupOf(db: Sqlite, key: string, name: string): Id {
  expect(db, key, 'stream')
  const group = db.get<Id>('SELECT ms, seq FROM groups WHERE key = ? AND name = ?', key, name)
  if (group === undefined) throw new ReplyError(`NOGROUP No such key '${key}' or consumer group '${name}'`)
  return group
}

function trim(db: Sqlite, key: string, max: number): void {
  const extra = count(db, 'stream', key) - max
  if (extra <= 0) return
  const last = db.get<Id>('SELECT ms, seq FROM stream WHERE key = ? ORDER BY ms, seq LIMIT 1 OFFSET ?', key, extra - 1)!
  db.prepare('DELETE FROM stream WHERE key = ? AND (ms < ? OR (ms = ? AND seq <= ?))').run(key, last.ms, last.ms, last.seq)
}

function parseId(id: string, seq: number): Id {
  const match = /^(\d+)(?:-(\d+))?$/.exec(id)
  if (match === null) throw new ReplyError('ERR Invalid stream ID specified as stream command argument')
  return { ms: Number(match[1]), seq: match[2] === undefined ? seq : Number(match[2]) }
}

const isBehind = (a: Id, b: Id): boolean => a.ms > b.ms || (a.ms === b.ms && a.seq > b.seq)
const idOf = (e: Id): Buffer => Buffer.from(`${e.ms}-${e.seq}`)
const reply = (e: StoredStreamEntry): Reply => [idOf(e), e.fields.split(' ').map(part => Buffer.from(part, 'base64'))]
