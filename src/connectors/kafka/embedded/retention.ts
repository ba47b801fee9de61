/** Deletes old chunks in the background, a few at a time, in one of the processes that have the file open. */
import { setImmediate as breathe } from 'node:timers/promises'
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'

/** Kafka's defaults: a week, no bound on size. */
export const DEFAULT_MS = 7 * 24 * 3600_000
export const DEFAULT_BYTES = -1
const EVERY_MS = 30_000
/** Chunks per transaction: some milliseconds of the write lock. */
const SLICE = 64
/** Pages (4 KiB) returned to the file system per transaction. */
const SHRINK = 256

/** Starts periodic deletion; the timer does not keep the process alive. */
export function startRetention(db: Sqlite, now: () => number): () => void {
  let stopped = false
  const timer = setInterval(() => {
    // An error here also occurs in producers, which report it; the next round tries again.
    applyRetention(db, now(), () => stopped).catch(() => {})
  }, EVERY_MS)
  timer.unref()
  return () => {
    stopped = true
    clearInterval(timer)
  }
}

interface Part {
  id: number
  first: number
  bytes: number
  config: string
}

/**
 * Deletes from the start of each partition the records outside of `retention.ms` and `retention.bytes` of its topic. Age counts from the
 * time of writing, not from the time of the record: a backfill of last year's events is not deleted immediately.
 * Compacted topics are not changed.
 */
async function applyRetention(db: Sqlite, now: number, stopped: () => boolean = () => false): Promise<void> {
  const mine = await db.write(
    () => db.prepare('UPDATE housekeeping SET at = ? WHERE id = 0 AND abs(? - at) >= ?').run(now, now, EVERY_MS / 2).changes === 1,
  )
  if (!mine) return
  const parts = db.all<Part>('SELECT p.id, p.first, p.bytes, t.config FROM part p JOIN topic t ON t.id = p.topic WHERE p.bytes > 0')
  let freed = false
  for (const part of parts) {
    const config = JSON.parse(part.config) as Record<string, string>
    if (config['cleanup.policy'] === 'compact') continue
    const age = Number(config['retention.ms'] ?? DEFAULT_MS)
    const size = Number(config['retention.bytes'] ?? DEFAULT_BYTES)
    while (!stopped() && (await deleteSlice(db, part.id, age < 0 ? -Infinity : now - age, size < 0 ? Infinity : size))) {
      freed = true
      await breathe()
    }
  }
  if (!freed) return
  while (!stopped() && (db.get<{ freelist_count: number }>('PRAGMA freelist_count')?.freelist_count ?? 0) > SHRINK) {
    db.shrink(SHRINK)
    await breathe()
  }
}

/** @returns true when there may be more to delete. */
async function deleteSlice(db: Sqlite, part: number, before: number, keepBytes: number): Promise<boolean> {
  const row = db.get<{ bytes: number }>('SELECT bytes FROM part WHERE id = ?', part)!
  const oldest = db.all<{ next: number; written: number; bytes: number }>(
    'SELECT next, written, bytes FROM chunk WHERE part = ? ORDER BY next LIMIT ?',
    part,
    SLICE,
  )
  let bytes = 0
  let until = -1
  for (const chunk of oldest) {
    // Kafka keeps at least `retention.bytes`: a chunk goes only if enough is left without it.
    if (chunk.written >= before && row.bytes - bytes - chunk.bytes < keepBytes) break
    bytes += chunk.bytes
    until = chunk.next
  }
  if (until < 0) return false
  await db.write(() => {
    const { changes } = db.prepare('DELETE FROM chunk WHERE part = ? AND next <= ?').run(part, until)
    if (changes > 0) db.prepare('UPDATE part SET first = max(first, ?), bytes = bytes - ? WHERE id = ?').run(until, bytes, part)
  })
  return until === oldest.at(-1)!.next && oldest.length === SLICE
}
