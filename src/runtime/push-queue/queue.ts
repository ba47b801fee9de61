/**
 * Between a peer that pushes and a pipeline that pulls: takes everything at once, in memory up to a bound, then by a stated
 * policy. What was read and not yet committed is kept, so that a lane can be sent back without the peer's help.
 */
import { EnvironmentError, type Logger, type Metrics } from '../../plugin.ts'
import { Chunk, type PushRecord, type QueuedRecord, sizeOf } from './chunk.ts'
import { Spill } from './spill.ts'

export type { PushRecord, QueuedRecord } from './chunk.ts'

export interface PushQueueOptions {
  /** Directory for what is spilled, of this pipeline and step alone (several processes may share it): `inStateDir('push/<pipeline>.<version>/<step>')`. */
  readonly dir: string
  /** Bytes in memory, what is being written downstream included. */
  readonly maxBytes: number
  /** Bytes on disk. */
  readonly maxSpillBytes: number
  /** When memory is full: go on on disk, ask the peer to wait, drop the oldest, or stop the pipeline. */
  readonly onFull: 'spill' | 'block' | 'drop_oldest' | 'fail'
  /** `spill`: when the disk's share is full, or cannot be written, too. */
  readonly onSpillFull?: 'block' | 'drop_oldest' | 'drop_newest' | 'fail'
  /** `block`: stop or go on reading from the peer. What it pushes all the same is taken. */
  onBlock?(blocked: boolean): void
  readonly metrics: Metrics
  readonly log: Logger
  /** Step's name, for the metrics. */
  readonly step: string
  readonly clock: { now(): number }
}

export interface PushBatch {
  readonly records: QueuedRecord[]
  /** Number behind the last record: for `commit` and `seek`. */
  readonly position: number
  /** Records waiting behind it. */
  readonly lag: number
}

const CHUNK_BYTES = 256 * 1024
/** Records per ms that a restarted process leaves room for: numbers never come twice, not even across restarts. */
const NUMBERS_PER_MS = 1024
const WARN_EVERY = 60_000

export const createPushQueue = (options: PushQueueOptions): PushQueue => new PushQueue(options)

export class PushQueue {
  private readonly options: PushQueueOptions
  private readonly spill: Spill
  private readonly meter: Meter
  private readonly chunkBytes: number
  /** In order: read and not committed, then unread. */
  private readonly chunks: Chunk[] = []
  /** Index of the chunk being read, and the byte in it. */
  private at = 0
  private offset = 0
  /** Number of the next record to read, of the next to come, and the first that is not committed. */
  private cursor: number
  private next: number
  private done: number
  private bytes = 0
  private failure: Error | undefined
  private blocked = false
  private closed = false
  private wake: (() => void) | undefined
  private warned = Number.NEGATIVE_INFINITY

  constructor(options: PushQueueOptions) {
    this.options = options
    this.spill = new Spill(options.dir)
    this.chunkBytes = Math.max(1024, Math.min(CHUNK_BYTES, Math.floor(options.maxBytes / 8)))
    this.meter = new Meter(options.metrics, options.step)
    this.cursor = this.next = this.done = options.clock.now() * NUMBERS_PER_MS
  }

  /** Takes over what a former process has spilled and not written. Call it once, before the first `push`. */
  open(): void {
    const { chunks, done } = this.spill.recover()
    if (chunks.length === 0) return
    this.chunks.push(...chunks)
    this.done = Math.max(done, chunks[0].first)
    this.next = Math.max(this.next, chunks.at(-1)!.end)
    this.seek(undefined)
    this.report()
  }

  /** Takes a record. Never waits, never throws for want of room: the policy decides. */
  push(record: PushRecord): void {
    if (this.closed) return this.meter.dropped('closed', 1)
    const size = sizeOf(record)
    let tail = this.tail
    if (tail === undefined || !tail.append(record, size)) {
      tail = this.add(Math.max(size, this.chunkBytes))
      tail.append(record, size)
    }
    this.next++
    this.wake?.()
  }

  /** Waits for records. Rejects with the signal's reason when aborted, with what made the policy fail, or the disk's error. */
  async read(signal: AbortSignal, max = 2000): Promise<PushBatch> {
    for (;;) {
      signal.throwIfAborted()
      if (this.failure) throw this.failure
      const records = this.take(max)
      if (records.length > 0) return { records, position: this.cursor, lag: this.size }
      await this.wait(signal)
    }
  }

  /** Records unread. */
  get size(): number {
    let n = 0
    for (let i = this.at; i < this.chunks.length; i++) n += this.chunks[i].end - Math.max(this.cursor, this.chunks[i].first)
    return n
  }

  /** What lies before `position` is written: it is not kept any longer. */
  commit(position: number): void {
    if (position <= this.done) return
    this.done = position
    for (; this.at > 0 && this.chunks[0].end <= position; this.at--) this.remove(0)
    if (!this.spill.empty) this.spill.markDone(position)
    this.unblock()
    this.report()
  }

  /** Reads on from `position` (undefined, or one of a former process: from the first that is not committed). */
  seek(position: number | undefined): void {
    const to = Math.max(position ?? 0, this.done)
    this.leave()
    const found = this.chunks.findIndex(c => c.end > to)
    this.at = found === -1 ? Math.max(0, this.chunks.length - 1) : found
    const chunk = this.chunks[this.at]
    this.cursor = chunk === undefined ? this.next : found === -1 ? chunk.end : Math.max(to, chunk.first)
    this.offset = chunk === undefined ? 0 : this.load(chunk).offsetOf(this.cursor)
  }

  /** With `spill` all that is not committed goes to disk, for the next process; otherwise it is dropped and counted. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.leave()
    for (const chunk of this.chunks) {
      if (chunk.end <= this.done) this.spill.forget(chunk)
      else if (chunk.place === undefined && chunk.count > 0 && !(this.options.onFull === 'spill' && this.toDisk(chunk)))
        this.meter.dropped('closed', chunk.end - Math.max(chunk.first, this.done))
    }
    if (!this.spill.empty) this.spill.markDone(this.done)
    this.spill.close()
  }

  private get tail(): Chunk | undefined {
    const last = this.chunks.at(-1)
    // What came from the disk is closed.
    return last?.buf === undefined || last.place !== undefined ? undefined : last
  }

  private take(max: number): QueuedRecord[] {
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

  /** A chunk that is on disk needs no memory when nobody reads it. */
  private leave(): void {
    const chunk = this.chunks[this.at]
    if (chunk?.place !== undefined) chunk.buf = undefined
  }

  private load(chunk: Chunk): Chunk {
    if (chunk.buf === undefined) chunk.buf = this.spill.load(chunk)
    return chunk
  }

  /** A new last chunk; the one before it stays in memory, or goes where the policy says. */
  private add(size: number): Chunk {
    const full = this.tail
    if (full !== undefined && full.count > 0 && this.bytes + size > this.options.maxBytes) this.relieve(full, size)
    const chunk = new Chunk(this.next, Buffer.allocUnsafeSlow(size))
    this.chunks.push(chunk)
    this.bytes += chunk.held
    this.report()
    return chunk
  }

  private relieve(full: Chunk, wanted: number): void {
    const { onFull, onSpillFull = 'drop_oldest', maxSpillBytes, maxBytes } = this.options
    if (onFull !== 'spill') return this.overflow(onFull, full, wanted)
    if (this.spill.bytes + full.used <= maxSpillBytes && this.toDisk(full)) return
    if (onSpillFull === 'drop_oldest') {
      // The oldest unread make room on disk, so that the newest can follow in order.
      while (this.spill.bytes + full.used > maxSpillBytes && this.dropOldest('spill_full', full));
      if (this.bytes + wanted <= maxBytes) return
      if (this.spill.bytes + full.used <= maxSpillBytes && this.toDisk(full)) return
    }
    this.overflow(onSpillFull, full, wanted)
  }

  private overflow(policy: 'block' | 'drop_oldest' | 'drop_newest' | 'fail', full: Chunk, wanted: number): void {
    if (policy === 'block') {
      if (!this.blocked) this.options.onBlock?.((this.blocked = true))
    } else if (policy === 'fail') {
      this.failure ??= new EnvironmentError(
        `the queue of '${this.options.step}' is full (${this.options.maxBytes} bytes in memory, ${this.spill.bytes} on disk): the pipeline is slower than its input`,
      )
      this.drop(this.chunks.length - 1, 'full')
      this.wake?.()
    } else {
      if (policy === 'drop_oldest') while (this.bytes + wanted > this.options.maxBytes && this.dropOldest('full', full));
      // Nothing old to drop: all of it is being written.
      if (this.bytes + wanted > this.options.maxBytes && this.chunks.at(-1) === full && this.at < this.chunks.length - 1)
        this.drop(this.chunks.length - 1, 'full')
    }
  }

  /** @returns false when there is none but `keep`. */
  private dropOldest(reason: string, keep: Chunk): boolean {
    // The one being read may be half out already.
    const i = this.chunks[this.at]?.first >= this.cursor ? this.at : this.at + 1
    if (i >= this.chunks.length || this.chunks[i] === keep) return false
    this.drop(i, reason)
    return true
  }

  private drop(index: number, reason: string): void {
    const { count } = this.chunks[index]
    this.remove(index)
    this.meter.dropped(reason, count)
    const now = this.options.clock.now()
    if (now - this.warned < WARN_EVERY) return
    this.warned = now
    this.options.log.warn(
      { step: this.options.step, reason, records: count },
      'the queue is full: records are dropped, see runner_push_dropped_total',
    )
  }

  private remove(index: number): void {
    const [chunk] = this.chunks.splice(index, 1)
    if (chunk.place === undefined) this.bytes -= chunk.held
    if (index === this.at) this.offset = 0
    this.spill.forget(chunk)
  }

  /** False: the disk could not take it. */
  private toDisk(chunk: Chunk): boolean {
    try {
      this.spill.write(chunk)
    } catch (error) {
      this.meter.spillErrors.inc()
      const now = this.options.clock.now()
      if (now - this.warned >= WARN_EVERY) {
        this.warned = now
        this.options.log.warn({ step: this.options.step, error: (error as Error).message }, 'the queue cannot spill to disk')
      }
      return false
    }
    this.bytes -= chunk.held
    if (this.chunks[this.at] !== chunk) chunk.buf = undefined
    return true
  }

  private unblock(): void {
    if (!this.blocked || this.bytes > this.options.maxBytes / 2) return
    this.blocked = false
    this.options.onBlock?.(false)
  }

  private report(): void {
    this.meter.queued.set(this.bytes)
    this.meter.spilled.set(this.spill.bytes)
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

class Meter {
  readonly queued: { set(n: number): void }
  readonly spilled: { set(n: number): void }
  readonly spillErrors: { inc(n?: number): void }
  private readonly metrics: Metrics
  private readonly step: string

  constructor(metrics: Metrics, step: string) {
    this.metrics = metrics
    this.step = step
    this.queued = metrics.gauge(
      'runner_push_queued_bytes',
      'Memory taken up by records that a peer has pushed and that are not committed.',
      { step },
    )
    this.spilled = metrics.gauge('runner_push_spilled_bytes', 'Bytes of pushed records on disk, not yet committed.', { step })
    this.spillErrors = metrics.counter('runner_push_spill_errors_total', 'Writes of pushed records to disk that failed.', { step })
    // Present from the start: an alert needs a first value.
    for (const reason of ['full', 'spill_full', 'closed']) this.dropped(reason, 0)
  }

  dropped(reason: string, n: number): void {
    this.metrics.counter('runner_push_dropped_total', 'Pushed records that were dropped.', { step: this.step, reason }).inc(n)
  }
}
