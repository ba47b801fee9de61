/** The file of the embedded store, and the parts that all its commands share: types and expiry of keys. */
import type { Sqlite, SqliteKind } from '../../../kit/sqlite/sqlite.ts'
import { type Arg, ReplyError } from '../driver.ts'

export type Type = 'string' | 'list' | 'hash' | 'zset' | 'stream'

export const kind: SqliteKind = {
  what: 'embedded Redis store',
  applicationId: 0x52524544,
  version: 1,
  schema: `
    CREATE TABLE keys (key TEXT PRIMARY KEY, type TEXT NOT NULL, expires INTEGER, ms INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    CREATE TABLE strings (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE list (key TEXT, pos INTEGER, value BLOB NOT NULL, PRIMARY KEY (key, pos)) WITHOUT ROWID;
    CREATE TABLE hash (key TEXT, field BLOB, value BLOB NOT NULL, PRIMARY KEY (key, field)) WITHOUT ROWID;
    CREATE TABLE zset (key TEXT, member BLOB, score REAL NOT NULL, PRIMARY KEY (key, member)) WITHOUT ROWID;
    CREATE INDEX zset_score ON zset (key, score, member);
    CREATE TABLE stream (key TEXT, ms INTEGER, seq INTEGER, fields TEXT NOT NULL, PRIMARY KEY (key, ms, seq)) WITHOUT ROWID;
    CREATE TABLE groups (key TEXT, name TEXT, ms INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (key, name)) WITHOUT ROWID;
    CREATE TABLE pending (key TEXT, name TEXT, ms INTEGER, seq INTEGER, consumer TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (key, name, ms, seq)) WITHOUT ROWID;
    CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, payload BLOB NOT NULL, time INTEGER NOT NULL)`,
}

const TABLES: Record<Type, readonly string[]> = {
  string: ['strings'],
  list: ['list'],
  hash: ['hash'],
  zset: ['zset'],
  stream: ['stream', 'groups', 'pending'],
}

/** The type of the key; `undefined` if it does not exist. An expired key is removed. */
export function typeOf(db: Sqlite, key: string): Type | undefined {
  const found = db.get<{ type: Type; expires: number | null }>('SELECT type, expires FROM keys WHERE key = ?', key)
  if (found === undefined) return undefined
  if (found.expires === null || found.expires > Date.now()) return found.type
  remove(db, key, found.type)
  return undefined
}

export function remove(db: Sqlite, key: string, type: Type): void {
  for (const table of TABLES[type]) db.prepare(`DELETE FROM ${table} WHERE key = ?`).run(key)
  db.prepare('DELETE FROM keys WHERE key = ?').run(key)
}

/** Afterwards the key exists with this type. */
export function ensure(db: Sqlite, key: string, type: Type): void {
  if (!expect(db, key, type)) db.prepare('INSERT INTO keys (key, type) VALUES (?, ?)').run(key, type)
}

/** False: the key does not exist. @throws {ReplyError} it has another type */
export function expect(db: Sqlite, key: string, type: Type): boolean {
  const found = typeOf(db, key)
  if (found !== undefined && found !== type) throw new ReplyError('WRONGTYPE Operation against a key holding the wrong kind of value')
  return found !== undefined
}

/** A key whose collection is empty is removed, as in Redis. */
export function dropEmpty(db: Sqlite, key: string, type: 'list' | 'hash' | 'zset'): void {
  if (count(db, type, key) === 0) remove(db, key, type)
}

export const count = (db: Sqlite, table: 'list' | 'hash' | 'zset' | 'stream', key: string): number =>
  db.get<{ n: number }>(`SELECT count(*) AS n FROM ${table} WHERE key = ?`, key)!.n

export const str = (arg: Arg | undefined): string => (Buffer.isBuffer(arg) ? arg.toString() : String(arg ?? ''))
export const bytes = (arg: Arg | undefined): Buffer => (Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg ?? '')))
export const blob = (value: unknown): Buffer => {
  const array = value as Uint8Array
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength)
}

export function int(arg: Arg | undefined): number {
  const n = Number(str(arg))
  if (!Number.isSafeInteger(n)) throw new ReplyError('ERR value is not an integer or out of range')
  return n
}

/** Converts Redis's start and stop, both inclusive and counted from the end when negative, to offset and limit. */
export function slice(start: number, stop: number, length: number): { offset: number; limit: number } {
  const from = Math.max(0, start < 0 ? length + start : start)
  const to = stop < 0 ? length + stop : Math.min(stop, length - 1)
  return { offset: from, limit: Math.max(0, to - from + 1) }
}
