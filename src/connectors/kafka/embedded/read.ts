/** Reading chunks of a partition. */
import type { Message, Origin } from '../../../contract/plugin.ts'
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { decodeChunk, findTime } from './codec.ts'

export interface Bounds {
  /** First offset that is still there. */
  readonly first: number
  /** Offset the next record will get. */
  readonly next: number
}

export const bounds = (db: Sqlite, part: number): Bounds => db.get<Bounds>('SELECT first, next FROM part WHERE id = ?', part)!

/** Whole chunks from the one that holds `from`, until `maxBytes` is passed. @returns the offset to read on from. */
export function readChunks(db: Sqlite, part: number, from: number, maxBytes: number, origin: Origin, into: Message[]): number {
  return db.guard(() => {
    let next = from
    let bytes = 0
    const rows = db.prepare('SELECT next, data FROM chunk WHERE part = ? AND next > ? ORDER BY next').iterate(part, from)
    for (const row of rows as Iterable<{ next: number; data: Uint8Array }>) {
      decodeChunk(row.data, row.next, next, origin, into)
      next = row.next
      bytes += row.data.length
      if (bytes >= maxBytes) break
    }
    return next
  })
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
