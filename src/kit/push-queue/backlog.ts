/**
 * The records of a push queue, in memory and on disk, and how far they are read and committed. It has no limits of its own: the queue
 * decides which records go to disk and which are dropped.
 */
import { InputAccount } from '../limits.ts'
import { Chunk, type PushRecord, type QueuedRecord } from './chunk.ts'
import type { DropReason, Report } from './report.ts'
import { Spill } from './spill.ts'

/** Bytes of a chunk, unless one record is larger. */
export const CHUNK_BYTES = 256 * 1024

export class Backlog {
  /** Bytes in memory. */
  private readonly account = new InputAccount()
  /** Number of the next record to read. */
  cursor: number
  /** Number of the next record, and of the first uncommitted one. */
  private next: number
  private done: number
  private readonly spill: Spill
  private readonly report: Report
  /** In order: read but not committed, then unread. */
  private readonly chunks: Chunk[] = []
  /** Index of the chunk being read, and the byte position in it. */
  private at = 0
  private offset = 0

  /** @param dir for spilled records. @param first the number of the first record */
  constructor(dir: string, first: number, report: Report) {
    this.spill = new Spill(dir)
    this.report = report
    this.cursor = this.next = this.done = first
  }

  /** Takes over the records that a former process spilled and did not write. */
  recover(): void {
    const { chunks, done } = this.spill.recover()
    if (chunks.length === 0) return
    this.chunks.push(...chunks)
    this.done = Math.max(done, chunks[0].first)
    this.next = Math.max(this.next, chunks.at(-1)!.end)
    this.seek(undefined)
    this.tell()
  }

  /** Bytes in memory. */
  get bytes(): number {
    return this.account.bytes
  }

  /** @returns whether the process may hold this many more bytes. */
  fits(bytes: number): boolean {
    return this.account.fits(bytes)
  }

  /** All records are committed. */
  get settled(): boolean {
    return this.done >= this.next
  }

  /** Bytes on disk. */
  get spilled(): number {
    return this.spill.bytes
  }

  /** Unread records. */
  get size(): number {
    let n = 0
    for (let i = this.at; i < this.chunks.length; i++) n += this.chunks[i].end - Math.max(this.cursor, this.chunks[i].first)
    return n
  }

  /** The chunk that accepts new records; undefined: the last one is on disk, or there is none. */
  get newest(): Chunk | undefined {
    const last = this.chunks.at(-1)
    // A chunk from disk is closed.
    return last?.buf === undefined || last.place !== undefined ? undefined : last
  }

  /** @returns whether the last chunk is being read. */
  get readsNewest(): boolean {
    return this.at >= this.chunks.length - 1
  }

  /** False: the newest chunk has no room for the record, see `grow`. */
  append(record: PushRecord, size: number): boolean {
    if (this.newest?.append(record, size) !== true) return false
    this.next++
    return true
  }

  /** A new last chunk, of `size` bytes. */
  grow(size: number): void {
    const chunk = new Chunk(this.next, Buffer.allocUnsafeSlow(size))
    this.chunks.push(chunk)
    this.account.add(chunk.held)
    this.tell()
  }

  /** Up to `max` records, of one chunk. */
  take(max: number): QueuedRecord[] {
    const records: QueuedRecord[] = []
    while (this.at < this.chunks.length) {
      const chunk = this.load(this.chunks[this.at])
      if (this.cursor < chunk.first) this.cursor = chunk.first
      this.offset = chunk.read(this.offset, this.cursor, max, records)
      this.cursor += records.length
      if (records.length > 0 || this.at === this.chunks.length - 1) break
      this.leave()
      this.at++
      this.offset = 0
    }
    return records
  }

  /** Records before `position` need not be kept. @returns false when nothing changed. */
  commit(position: number): boolean {
    if (position <= this.done) return false
    this.done = position
    for (; this.at > 0 && this.chunks[0].end <= position; this.at--) this.remove(0)
    // The chunk of a large record is not reused for later records.
    if (this.settled && (this.newest?.held ?? 0) > CHUNK_BYTES) this.remove(this.chunks.length - 1)
    if (!this.spill.empty) this.spill.markDone(position)
    this.tell()
    return true
  }

  /** Continues reading from `position` (undefined, or one of a former process: from the first uncommitted record). */
  seek(position: number | undefined): void {
    const to = Math.max(position ?? 0, this.done)
    this.leave()
    const found = this.chunks.findIndex(c => c.end > to)
    this.at = found === -1 ? Math.max(0, this.chunks.length - 1) : found
    const chunk = this.chunks[this.at]
    this.cursor = chunk === undefined ? this.next : found === -1 ? chunk.end : Math.max(to, chunk.first)
    this.offset = chunk === undefined ? 0 : this.load(chunk).offsetOf(this.cursor)
  }

  /** Moves a chunk to disk. False: the disk could not store it. */
  toDisk(chunk: Chunk): boolean {
    try {
      this.spill.write(chunk)
    } catch (error) {
      this.report.spillFailed(error as Error)
      return false
    }
    this.account.add(-chunk.held)
    if (this.chunks[this.at] !== chunk) chunk.buf = undefined
    return true
  }

  /** Drops the oldest unread chunk. @returns false when only the newest is left. */
  dropOldest(reason: DropReason): boolean {
    // The chunk being read may be partly delivered already.
    const i = this.chunks[this.at]?.first >= this.cursor ? this.at : this.at + 1
    if (i >= this.chunks.length - 1) return false
    this.drop(i, reason)
    return true
  }

  dropNewest(reason: DropReason): void {
    this.drop(this.chunks.length - 1, reason)
  }

  /** @param keep uncommitted records go to disk for the next process; otherwise they are dropped. */
  close(keep: boolean): void {
    this.leave()
    for (const chunk of this.chunks) {
      if (chunk.end <= this.done) this.spill.forget(chunk)
      else if (chunk.place === undefined && chunk.count > 0 && !(keep && this.toDisk(chunk)))
        this.report.dropped('closed', chunk.end - Math.max(chunk.first, this.done))
    }
    if (!this.spill.empty) this.spill.markDone(this.done)
    this.spill.close()
    this.account.add(-this.account.bytes)
  }

  private load(chunk: Chunk): Chunk {
    if (chunk.buf === undefined) chunk.buf = this.spill.load(chunk)
    return chunk
  }

  /** A chunk that is on disk needs no memory until it is read. */
  private leave(): void {
    const chunk = this.chunks[this.at]
    if (chunk?.place !== undefined) chunk.buf = undefined
  }

  private drop(index: number, reason: DropReason): void {
    const { count } = this.chunks[index]
    this.remove(index)
    this.report.dropped(reason, count)
  }

  private remove(index: number): void {
    const [chunk] = this.chunks.splice(index, 1)
    if (chunk.place === undefined) this.account.add(-chunk.held)
    if (index === this.at) this.offset = 0
    this.spill.forget(chunk)
  }

  private tell(): void {
    this.report.held(this.bytes, this.spill.bytes)
  }
}
