/** Reads chunks of a partition. */
import { EnvironmentError, type Message, type Origin } from '../../../contract/plugin.ts'
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { DamagedChunk, decodeChunk, findTime } from './codec.ts'

export interface Bounds {
  /** The first offset that still exists. */
  readonly first: number
  /** Offset the next record will get. */
  readonly next: number
}

export const bounds = (db: Sqlite, part: number): Bounds => db.get<Bounds>('SELECT first, next FROM part WHERE id = ?', part)!

/** Whole chunks from the one that contains `from`, until `maxBytes` is exceeded. @returns the offset at which reading continues. */
export function readChunks(db: Sqlite, part: number, from: number, maxBytes: number, origin: Origin, into: Message[]): number {
  return db.guard(() => {
    let next = from
    let bytes = 0
    const rows = db.prepare('SELECT next, count, data FROM chunk WHERE part = ? AND next > ? ORDER BY next').iterate(part, from)
    for (const row of rows as Iterable<{ next: number; count: number; data: Uint8Array }>) {
      if (row.next - row.count > next) return missing(db, part, next, origin)
      try {
        decodeChunk(row.data, { part, next: row.next }, next, origin, into)
      } catch (error) {
        throw error instanceof DamagedChunk ? damaged(db, origin.lane, next, error.message) : error
      }
      next = row.next
      bytes += row.data.length
      if (bytes >= maxBytes) return next
    }
    return next === from ? missing(db, part, next, origin) : next
  })
}

/** No chunk has the records at `from`. @returns `from` when retention has deleted them meanwhile, or the log ends there. @throws {EnvironmentError} otherwise */
function missing(db: Sqlite, part: number, from: number, origin: Origin): number {
  const { first, next } = bounds(db, part)
  if (from < first || from === next) return from
  throw damaged(db, origin.lane, from, 'they are missing')
}

export const damaged = (db: Sqlite, lane: string, offset: number, why: string): EnvironmentError =>
  new EnvironmentError(
    `the embedded log ${db.file} is damaged: the records of ${lane} from offset ${offset} on cannot be read (${why}). ` +
      'Restore the file from a copy, or skip these records with runner offsets reset',
  )

/** The ends of each partition, as stored and according to the chunks. @throws {EnvironmentError} where they differ */
export function checkEnds(db: Sqlite): void {
  const rows = db.all<{ name: string; num: number; first: number; next: number; oldest: number | null; last: number | null }>(
    `SELECT t.name, p.num, p.first, p.next, (SELECT max(next) FROM chunk WHERE part = p.id) AS last,
       (SELECT next - count FROM chunk WHERE part = p.id ORDER BY next LIMIT 1) AS oldest
     FROM part p JOIN topic t ON t.id = p.topic`,
  )
  for (const { name, num, first, next, oldest, last } of rows) {
    if ((oldest ?? next) !== first) throw damaged(db, `${name}/${num}`, first, `they start at ${oldest}`)
    if ((last ?? first) !== next) throw damaged(db, `${name}/${num}`, last ?? first, `they end at ${next}`)
  }
}

/** First offset whose record is at or after `time`; the end of the log when there is none. */
export function offsetAt(db: Sqlite, part: number, time: number): number {
  const row = db.get<{ next: number; data: Uint8Array }>(
    'SELECT next, data FROM chunk WHERE part = ? AND newest >= ? ORDER BY next LIMIT 1',
    part,
    time,
  )
  return row ? Math.max(findTime(row.data, row.next, time), bounds(db, part).first) : bounds(db, part).next
}
