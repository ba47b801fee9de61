/**
 * Between a peer that pushes and a pipeline that pulls: accepts everything immediately, in memory up to a limit, then by a configured
 * policy. Records that were read but not committed are kept, so that a lane can be restored without the help of the peer.
 */
import { EnvironmentError } from '../../contract/plugin.ts'
import { Backlog, CHUNK_BYTES } from './backlog.ts'
import { type Chunk, type PushRecord, type QueuedRecord, sizeOf } from './chunk.ts'
import { Report, type ReportOptions } from './report.ts'

export type { PushRecord, QueuedRecord } from './chunk.ts'

/** Limits are in bytes; `clock`, `log`, `metrics`, `step` come from the context of the source. */
export interface PushQueueOptions extends ReportOptions {
  /**
   * Directory for spilled records, only for this pipeline and step (several processes may share it):
   * `inStateDir('push/<pipeline>.<version>/<step>')`.
   */
  readonly dir: string
  /** Bytes in memory, including those being written downstream. All queues of the process together hold at most `limits.input`. */
  readonly maxBytes: number
  /** Bytes on disk. */
  readonly maxSpillBytes: number
  /** When memory is full: continue on disk, pause the peer, drop the oldest records, or stop the pipeline. */
  readonly onFull: 'spill' | 'block' | 'drop_oldest' | 'fail'
  /** For `spill`: when the disk limit is reached, or the disk cannot be written. */
  readonly onSpillFull?: 'block' | 'drop_oldest' | 'drop_newest' | 'fail'
  /** `block`: pause or resume reading from the peer. Records that still arrive are accepted. */
  onBlock?(blocked: boolean): void
}

/** Records in the order in which they were pushed. */
export interface PushBatch {
  readonly records: QueuedRecord[]
  /** Number after the last record: for `commit` and `seek`. */
  readonly position: number
  /** Records waiting after it. */
  readonly lag: number
}

/** Records per ms that a restarted process leaves room for: numbers never repeat, not even across restarts. */
const NUMBERS_PER_MS = 1024

/** A queue for one lane. Call `open` before the first `push`, `close` at the end. */
export const createPushQueue = (options: PushQueueOptions): PushQueue => new PushQueue(options)

/** Created by `createPushQueue`. */
export class PushQueue {
  private readonly options: PushQueueOptions
  private readonly report: Report
  private readonly backlog: Backlog
  private readonly chunkBytes: number
  private failure: Error | undefined
  private blocked = false
  private closed = false
  private wake: (() => void) | undefined

  constructor(options: PushQueueOptions) {
    this.options = options
    this.report = new Report(options)
    this.backlog = new Backlog(options.dir, options.clock.now() * NUMBERS_PER_MS, this.report)
    this.chunkBytes = Math.max(1024, Math.min(CHUNK_BYTES, Math.floor(options.maxBytes / 8)))
  }

  /** Takes over the records that a former process spilled and did not write. Call it once, before the first `push`. */
  open(): void {
    this.backlog.recover()
  }

  /** Accepts a record. Never waits, never throws for lack of room: the policy decides. */
  push(record: PushRecord): void {
    if (this.closed) return this.report.dropped('closed', 1)
    const size = sizeOf(record)
    if (!this.backlog.append(record, size)) {
      this.makeRoom(Math.max(size, this.chunkBytes))
      this.backlog.append(record, size)
    }
    this.wake?.()
  }

  /** Waits for records. Rejects with the signal's reason when aborted, with the failure of the policy, or with the disk's error. */
  async read(signal: AbortSignal, max = 2000): Promise<PushBatch> {
    for (;;) {
      signal.throwIfAborted()
      if (this.failure) throw this.failure
      const records = this.backlog.take(max)
      if (records.length > 0) return { records, position: this.backlog.cursor, lag: this.size }
      await this.wait(signal)
    }
  }

  /** Unread records. */
  get size(): number {
    return this.backlog.size
  }

  /** Records before `position` are written and need not be kept. */
  commit(position: number): void {
    if (this.backlog.commit(position)) this.unblock()
  }

  /** Continues reading from `position` (undefined, or one of a former process: from the first uncommitted record). */
  seek(position: number | undefined): void {
    this.backlog.seek(position)
  }

  /** With `spill`, all uncommitted records go to disk for the next process; otherwise they are dropped and counted. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.backlog.close(this.options.onFull === 'spill')
  }

  /** A new chunk of `size` bytes; the previous one stays in memory, or the policy moves it. */
  private makeRoom(size: number): void {
    const full = this.backlog.newest
    if (full !== undefined && !this.fits(size)) this.relieve(full, size)
    this.backlog.grow(size)
  }

  private relieve(full: Chunk, wanted: number): void {
    const { onFull, onSpillFull = 'drop_oldest' } = this.options
    if (onFull !== 'spill') return this.overflow(onFull, wanted)
    if (this.fitsOnDisk(full) && this.backlog.toDisk(full)) return
    if (onSpillFull === 'drop_oldest') {
      // The oldest unread chunks go to disk to make room, so that the newest can follow in order.
      while (!this.fitsOnDisk(full) && this.backlog.dropOldest('spill_full'));
      if (this.fits(wanted)) return
      if (this.fitsOnDisk(full) && this.backlog.toDisk(full)) return
    }
    this.overflow(onSpillFull, wanted)
  }

  private overflow(policy: 'block' | 'drop_oldest' | 'drop_newest' | 'fail', wanted: number): void {
    const { backlog } = this
    if (policy === 'block') {
      if (!this.blocked) this.options.onBlock?.((this.blocked = true))
    } else if (policy === 'fail') {
      this.failure ??= new EnvironmentError(
        `the queue of '${this.options.step}' is full (${backlog.bytes} bytes in memory, of at most ${this.options.maxBytes} and limits.input of all sources; ${backlog.spilled} on disk): the pipeline is slower than its input`,
      )
      backlog.dropNewest('full')
      this.wake?.()
    } else {
      if (policy === 'drop_oldest') while (!this.fits(wanted) && backlog.dropOldest('full'));
      // Nothing old to drop: all records are being written.
      if (!this.fits(wanted) && !backlog.readsNewest) backlog.dropNewest('full')
    }
  }

  private fits(bytes: number): boolean {
    return this.backlog.bytes + bytes <= this.options.maxBytes && this.backlog.fits(bytes)
  }

  private fitsOnDisk(chunk: Chunk): boolean {
    return this.backlog.spilled + chunk.used <= this.options.maxSpillBytes
  }

  private unblock(): void {
    const { bytes, settled } = this.backlog
    // When everything is committed, no later commit could unblock.
    if (!this.blocked || !(settled || (bytes <= this.options.maxBytes / 2 && this.backlog.fits(0)))) return
    this.blocked = false
    this.options.onBlock?.(false)
  }

  private wait(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        this.wake = undefined
        signal.removeEventListener('abort', done)
        resolve()
      }
      this.wake = done
      signal.addEventListener('abort', done, { once: true })
    })
  }
}
