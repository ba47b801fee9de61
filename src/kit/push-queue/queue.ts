/**
 * Between a peer that pushes and a pipeline that pulls: takes everything at once, in memory up to a bound, then by a stated
 * policy. What was read and not yet committed is kept, so that a lane can be sent back without the peer's help.
 */
import { EnvironmentError } from '../../contract/plugin.ts'
import { Backlog, CHUNK_BYTES } from './backlog.ts'
import { type Chunk, type PushRecord, type QueuedRecord, sizeOf } from './chunk.ts'
import { Report, type ReportOptions } from './report.ts'

export type { PushRecord, QueuedRecord } from './chunk.ts'

/** Bounds are in bytes; `clock`, `log`, `metrics`, `step` are those of the source's context. */
export interface PushQueueOptions extends ReportOptions {
  /** Directory for what is spilled, of this pipeline and step alone (several processes may share it): `inStateDir('push/<pipeline>.<version>/<step>')`. */
  readonly dir: string
  /** Bytes in memory, what is being written downstream included. All queues of the process together hold at most `limits.input`. */
  readonly maxBytes: number
  /** Bytes on disk. */
  readonly maxSpillBytes: number
  /** When memory is full: go on on disk, ask the peer to wait, drop the oldest, or stop the pipeline. */
  readonly onFull: 'spill' | 'block' | 'drop_oldest' | 'fail'
  /** `spill`: when the disk's share is full, or cannot be written, too. */
  readonly onSpillFull?: 'block' | 'drop_oldest' | 'drop_newest' | 'fail'
  /** `block`: stop or go on reading from the peer. What it pushes all the same is taken. */
  onBlock?(blocked: boolean): void
}

/** Records in the order in which they were pushed. */
export interface PushBatch {
  readonly records: QueuedRecord[]
  /** Number behind the last record: for `commit` and `seek`. */
  readonly position: number
  /** Records waiting behind it. */
  readonly lag: number
}

/** Records per ms that a restarted process leaves room for: numbers never come twice, not even across restarts. */
const NUMBERS_PER_MS = 1024

/** A queue for one lane. Call `open` before the first `push`, `close` at the end. */
export const createPushQueue = (options: PushQueueOptions): PushQueue => new PushQueue(options)

/** Made by `createPushQueue`. */
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

  /** Takes over what a former process has spilled and not written. Call it once, before the first `push`. */
  open(): void {
    this.backlog.recover()
  }

  /** Takes a record. Never waits, never throws for want of room: the policy decides. */
  push(record: PushRecord): void {
    if (this.closed) return this.report.dropped('closed', 1)
    const size = sizeOf(record)
    if (!this.backlog.append(record, size)) {
      this.makeRoom(Math.max(size, this.chunkBytes))
      this.backlog.append(record, size)
    }
    this.wake?.()
  }

  /** Waits for records. Rejects with the signal's reason when aborted, with what made the policy fail, or the disk's error. */
  async read(signal: AbortSignal, max = 2000): Promise<PushBatch> {
    for (;;) {
      signal.throwIfAborted()
      if (this.failure) throw this.failure
      const records = this.backlog.take(max)
      if (records.length > 0) return { records, position: this.backlog.cursor, lag: this.size }
      await this.wait(signal)
    }
  }

  /** Records unread. */
  get size(): number {
    return this.backlog.size
  }

  /** What lies before `position` is written: it is not kept any longer. */
  commit(position: number): void {
    if (this.backlog.commit(position)) this.unblock()
  }

  /** Reads on from `position` (undefined, or one of a former process: from the first that is not committed). */
  seek(position: number | undefined): void {
    this.backlog.seek(position)
  }

  /** With `spill` all that is not committed goes to disk, for the next process; otherwise it is dropped and counted. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.backlog.close(this.options.onFull === 'spill')
  }

  /** A new chunk of `size` bytes; the one before it stays in memory, or goes where the policy says. */
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
      // The oldest unread make room on disk, so that the newest can follow in order.
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
      // Nothing old to drop: all of it is being written.
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
    // When everything is committed, no other commit comes that could unblock.
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
