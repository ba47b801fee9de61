/** Redis commands on the embedded store: those that the source, the sink and their tests use. Each runs within a transaction. */
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { type Arg, type Reply, ReplyError } from '../driver.ts'
import { blob, bytes, count, dropEmpty, ensure, expect, int, remove, slice, str, typeOf } from './store.ts'
import { streamCommands } from './streams.ts'

export type Implementation = (db: Sqlite, args: readonly Arg[]) => Reply

/** Subscribers poll every few ms, so older messages have been read. */
const KEEP_MESSAGES_MS = 30_000
let published = 0

const push =
  (side: 'left' | 'right'): Implementation =>
  (db, [name, ...values]) => {
    const key = str(name)
    ensure(db, key, 'list')
    const edge = db.get<{ low: number | null; high: number | null }>(
      'SELECT min(pos) AS low, max(pos) AS high FROM list WHERE key = ?',
      key,
    )!
    let pos = side === 'left' ? (edge.low ?? 1) - 1 : (edge.high ?? 0) + 1
    for (const value of values) {
      db.prepare('INSERT INTO list VALUES (?, ?, ?)').run(key, pos, bytes(value))
      pos += side === 'left' ? -1 : 1
    }
    return count(db, 'list', key)
  }

export const commands: Readonly<Record<string, Implementation>> = {
  ...streamCommands,
  PING: () => 'PONG',
  TYPE: (db, [key]) => typeOf(db, str(key)) ?? 'none',
  DEL: (db, keys) =>
    keys.reduce<number>((n, k) => {
      const type = typeOf(db, str(k))
      if (type !== undefined) remove(db, str(k), type)
      return n + (type === undefined ? 0 : 1)
    }, 0),
  PEXPIRE: (db, [key, ms]) =>
    typeOf(db, str(key)) === undefined
      ? 0
      : Number(db.prepare('UPDATE keys SET expires = ? WHERE key = ?').run(Date.now() + int(ms), str(key)).changes),
  PTTL: (db, [key]) => {
    if (typeOf(db, str(key)) === undefined) return -2
    const { expires } = db.get<{ expires: number | null }>('SELECT expires FROM keys WHERE key = ?', str(key))!
    return expires === null ? -1 : expires - Date.now()
  },

  PUBLISH: (db, [channel, payload]) => {
    const now = Date.now()
    db.prepare('INSERT INTO messages (channel, payload, time) VALUES (?, ?, ?)').run(str(channel), bytes(payload), now)
    if (published++ % 1000 === 0) db.prepare('DELETE FROM messages WHERE time < ?').run(now - KEEP_MESSAGES_MS)
    return 0
  },

  SET: (db, [name, value, ...options]) => {
    const key = str(name)
    const old = typeOf(db, key)
    if (old !== undefined) remove(db, key, old)
    ensure(db, key, 'string')
    db.prepare('INSERT INTO strings VALUES (?, ?)').run(key, bytes(value))
    if (str(options[0]).toUpperCase() === 'PX')
      db.prepare('UPDATE keys SET expires = ? WHERE key = ?').run(Date.now() + int(options[1]), key)
    return 'OK'
  },
  GET: (db, [key]) => {
    expect(db, str(key), 'string')
    const row = db.get<{ value: unknown }>('SELECT value FROM strings WHERE key = ?', str(key))
    return row === undefined ? null : blob(row.value)
  },

  RPUSH: push('right'),
  LPUSH: push('left'),
  LLEN: (db, [key]) => (expect(db, str(key), 'list') ? count(db, 'list', str(key)) : 0),
  LRANGE: (db, [key, start, stop]) => {
    if (!expect(db, str(key), 'list')) return []
    const { offset, limit } = slice(int(start), int(stop), count(db, 'list', str(key)))
    return db
      .all<{ value: unknown }>('SELECT value FROM list WHERE key = ? ORDER BY pos LIMIT ? OFFSET ?', str(key), limit, offset)
      .map(r => blob(r.value))
  },
  LTRIM: (db, [name, start, stop]) => {
    const key = str(name)
    if (!expect(db, key, 'list')) return 'OK'
    const { offset, limit } = slice(int(start), int(stop), count(db, 'list', key))
    db.prepare(`DELETE FROM list WHERE key = ? AND pos NOT IN (SELECT pos FROM list WHERE key = ? ORDER BY pos LIMIT ? OFFSET ?)`).run(
      key,
      key,
      limit,
      offset,
    )
    dropEmpty(db, key, 'list')
    return 'OK'
  },

  HSET: (db, [name, ...pairs]) => {
    const key = str(name)
    ensure(db, key, 'hash')
    const before = count(db, 'hash', key)
    for (let i = 0; i < pairs.length; i += 2)
      db.prepare('INSERT OR REPLACE INTO hash VALUES (?, ?, ?)').run(key, bytes(pairs[i]), bytes(pairs[i + 1]))
    return count(db, 'hash', key) - before
  },
  HDEL: (db, [name, ...fields]) => {
    const key = str(name)
    if (!expect(db, key, 'hash')) return 0
    let n = 0
    for (const field of fields) n += Number(db.prepare('DELETE FROM hash WHERE key = ? AND field = ?').run(key, bytes(field)).changes)
    dropEmpty(db, key, 'hash')
    return n
  },
  HGET: (db, [key, field]) => {
    if (!expect(db, str(key), 'hash')) return null
    const row = db.get<{ value: unknown }>('SELECT value FROM hash WHERE key = ? AND field = ?', str(key), bytes(field))
    return row === undefined ? null : blob(row.value)
  },
  HGETALL: (db, [key]) => {
    if (!expect(db, str(key), 'hash')) return []
    return db
      .all<{ field: unknown; value: unknown }>('SELECT field, value FROM hash WHERE key = ?', str(key))
      .flatMap(r => [blob(r.field), blob(r.value)])
  },
  HLEN: (db, [key]) => (expect(db, str(key), 'hash') ? count(db, 'hash', str(key)) : 0),

  ZADD: (db, [name, ...pairs]) => {
    const key = str(name)
    ensure(db, key, 'zset')
    const before = count(db, 'zset', key)
    for (let i = 0; i < pairs.length; i += 2) {
      const score = Number(str(pairs[i]))
      if (Number.isNaN(score)) throw new ReplyError('ERR value is not a valid float')
      db.prepare('INSERT OR REPLACE INTO zset (key, score, member) VALUES (?, ?, ?)').run(key, score, bytes(pairs[i + 1]))
    }
    return count(db, 'zset', key) - before
  },
  ZCARD: (db, [key]) => (expect(db, str(key), 'zset') ? count(db, 'zset', str(key)) : 0),
  ZRANGE: (db, [key, start, stop, withScores]) => {
    if (!expect(db, str(key), 'zset')) return []
    const { offset, limit } = slice(int(start), int(stop), count(db, 'zset', str(key)))
    const rows = db.all<{ member: unknown; score: number }>(
      'SELECT member, score FROM zset WHERE key = ? ORDER BY score, member LIMIT ? OFFSET ?',
      str(key),
      limit,
      offset,
    )
    return rows.flatMap(r => (withScores === undefined ? [blob(r.member)] : [blob(r.member), Buffer.from(String(r.score))]))
  },
  ZREMRANGEBYSCORE: (db, [name, min, max]) => {
    const key = str(name)
    if (!expect(db, key, 'zset')) return 0
    const n = db.prepare('DELETE FROM zset WHERE key = ? AND score BETWEEN ? AND ?').run(key, Number(str(min)), Number(str(max))).changes
    dropEmpty(db, key, 'zset')
    return Number(n)
  },
  ZREMRANGEBYRANK: (db, [name, start, stop]) => {
    const key = str(name)
    if (!expect(db, key, 'zset')) return 0
    const { offset, limit } = slice(int(start), int(stop), count(db, 'zset', key))
    const n = db
      .prepare(
        'DELETE FROM zset WHERE key = ? AND member IN (SELECT member FROM zset WHERE key = ? ORDER BY score, member LIMIT ? OFFSET ?)',
      )
      .run(key, key, limit, offset).changes
    dropEmpty(db, key, 'zset')
    return Number(n)
  },
}
