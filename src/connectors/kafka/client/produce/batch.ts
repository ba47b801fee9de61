/** A record batch, the calls of `send` that wait for it, and the queue of a partition's batches. */
import type { OutRecord } from '../../driver.ts'
import { BatchError, type Origin } from '../../../../contract/plugin.ts'
import { BatchBuilder, type Identity, type SealedBatch, stamp } from '../../codec/encode.ts'
import { SetReader } from '../../codec/decode.ts'
import type { Compression } from '../../codec/compression.ts'

/** One call of `send`: settled when all its records are. */
export class Call {
  private left: number
  private failed: Map<number, Error> | undefined
  private readonly resolve: () => void
  private readonly reject: (error: Error) => void
  readonly done: Promise<void>

  constructor(records: number) {
    this.left = records
    let resolve!: () => void
    let reject!: (error: Error) => void
    this.done = new Promise<void>((res, rej) => {
      resolve = res
      reject = rej
    })
    // The caller awaits `done`, but perhaps only after other work; the rejection must not count as unhandled until then.
    this.done.catch(() => {})
    this.resolve = resolve
    this.reject = reject
    if (records === 0) resolve()
  }

  acked(records: number): void {
    this.left -= records
    this.settle()
  }

  failRecord(index: number, error: Error): void {
    this.failed ??= new Map()
    this.failed.set(index, error)
    this.acked(1)
  }

  /** The outcome of its records is unknown, or they cannot be written. */
  abort(error: Error): void {
    this.reject(error)
  }

  private settle(): void {
    if (this.left > 0) return
    if (this.failed === undefined) this.resolve()
    else this.reject(new BatchError(new Map([...this.failed].sort((a, b) => a[0] - b[0]))))
  }
}

export class Batch {
  /** Undefined once sealed. */
  private builder: BatchBuilder | undefined = new BatchBuilder()
  private sealed: SealedBatch | undefined
  private readonly calls: Call[] = []
  /** Number of the first record of `calls[i]`. */
  private readonly starts: number[] = []
  /** Position of each record in its call. */
  private readonly indexes: number[] = []
  readonly createdAt: number
  readonly compression: Compression
  /** Assigned when it is first sent, kept for every repeat, by which the broker recognizes it. */
  sequence = -1
  attempts = 0

  constructor(now: number, compression: Compression) {
    this.createdAt = now
    this.compression = compression
  }

  get count(): number {
    return this.indexes.length
  }
  get size(): number {
    return this.builder?.size ?? this.sealed!.bytes.length
  }

  add(record: OutRecord, call: Call, index: number): void {
    const { calls } = this
    if (calls[calls.length - 1] !== call) {
      calls.push(call)
      this.starts.push(this.indexes.length)
    }
    this.builder!.append(record)
    this.indexes.push(index)
  }

  seal(): Buffer {
    if (this.sealed === undefined) {
      this.sealed = this.builder!.seal(this.compression)
      this.builder = undefined
    }
    return this.sealed.bytes
  }

  acked(): void {
    this.eachCall((call, count) => call.acked(count))
    this.free()
  }

  /** None of its records can ever be written. */
  reject(error: Error): void {
    for (let i = 0; i < this.count; i++) this.callOf(i).failRecord(this.indexes[i], error)
    this.free()
  }

  /** Its bytes are not returned to the pool: a request that is being built may still read them. */
  abort(error: Error): void {
    this.eachCall(call => call.abort(error))
  }

  /** Two batches with half of the records each, in order. */
  split(topic: string): [Batch, Batch] {
    const halves: [Batch, Batch] = [new Batch(this.createdAt, this.compression), new Batch(this.createdAt, this.compression)]
    // No read of `value` happens, so the format does not matter.
    const origin: Origin = { lane: '', source: '', format: 'bytes' }
    const { messages } = new SetReader(this.sealed!.bytes, 0, origin, undefined).read(Infinity)
    if (messages.length !== this.count) throw new Error(`a batch of ${this.count} records reads back as ${messages.length}`)
    messages.forEach((m, i) => {
      const record = { topic, key: m.keyBytes, value: m.payload, headers: m.headers, time: m.time }
      halves[i < this.count >> 1 ? 0 : 1].add(record, this.callOf(i), this.indexes[i])
    })
    this.free()
    return halves
  }

  private callOf(record: number): Call {
    let i = this.starts.length - 1
    while (this.starts[i] > record) i--
    return this.calls[i]
  }

  private eachCall(fn: (call: Call, count: number) => void): void {
    const { calls, starts } = this
    for (let i = 0; i < calls.length; i++) fn(calls[i], (i + 1 < starts.length ? starts[i + 1] : this.count) - starts[i])
  }

  private free(): void {
    this.builder?.discard()
    this.sealed?.release()
    this.builder = undefined
  }
}

/** Brokers remember the last five batches of a producer: with more in flight, they could not detect a repeat. */
export const REQUESTS_PER_BROKER = 5

/** The batches that wait for, or are in transit to, one partition. */
export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  /** Being filled. */
  open: Batch | undefined
  /** Full, or to be sent again; in order. */
  ready: Batch[] = []
  /** Sent and not answered; in order. */
  sent: Batch[] = []
  /** Requests in progress that contain a batch of this partition. */
  outstanding = 0
  /** A batch must be repeated: nothing more is sent until every request has returned, then all are repeated in order. */
  recovering = false
  /** A batch was rejected permanently, so the sequence numbers after it are void. */
  resequenceFrom = -1
  /** When a repeat may start, `monotonic` ms. */
  notBefore = 0
  nextSequence = 0
  /** The broker has accepted a batch of this producer; before that it accepts any sequence number, so only one may be in progress. */
  known = false
  /** Part of the current transaction. Always true without transactions. */
  enrolled = true

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get idle(): boolean {
    return this.open === undefined && this.ready.length === 0 && this.sent.length === 0
  }

  /** When the next batch may be sent: now or earlier, a time, or Infinity when a response has to come first. */
  due(now: number, lingerMs: number, { producerId }: Identity): number {
    if (!this.enrolled || this.recovering) return Infinity
    const limit = producerId < 0 || !this.known ? 1 : REQUESTS_PER_BROKER
    if (this.outstanding >= limit) return Infinity
    if (this.notBefore > now) return this.notBefore
    if (this.ready.length > 0) return now
    return this.open === undefined ? Infinity : this.open.createdAt + lingerMs
  }

  /** The next batch, finished and numbered, counted as sent. */
  take(identity: Identity, transactional: boolean): Batch {
    let batch = this.ready.shift()
    if (batch === undefined) {
      batch = this.open!
      this.open = undefined
    }
    const bytes = batch.seal()
    if (batch.sequence < 0) {
      const idempotent = identity.producerId >= 0
      batch.sequence = idempotent ? this.nextSequence : -1
      if (idempotent) this.nextSequence = sequenceAfter(this.nextSequence, batch.count)
      stamp(bytes, identity, batch.sequence, transactional)
    }
    batch.attempts++
    this.sent.push(batch)
    this.outstanding++
    return batch
  }

  /** Drops a settled batch. */
  remove(batch: Batch): void {
    const i = this.sent.indexOf(batch)
    if (i >= 0) this.sent.splice(i, 1)
  }

  /** Every request has returned: puts failed batches in front again, in order. */
  requeue(): void {
    this.ready = [...this.sent, ...this.ready]
    this.sent = []
    this.recovering = false
    if (this.resequenceFrom >= 0) {
      this.nextSequence = this.resequenceFrom
      for (const batch of this.ready) batch.sequence = -1
      this.resequenceFrom = -1
    }
  }

  /** A new producer id starts counting at 0. */
  forget(): void {
    this.requeue()
    this.nextSequence = 0
    this.known = false
    for (const batch of this.ready) batch.sequence = -1
  }

  takeAll(): Batch[] {
    const all = [...this.sent, ...this.ready, ...(this.open ? [this.open] : [])]
    this.open = undefined
    this.ready = []
    this.sent = []
    this.recovering = false
    this.resequenceFrom = -1
    return all
  }
}

/** Batch sequence numbers are int32 and wrap to 0. */
export const sequenceAfter = (sequence: number, count: number): number => (sequence + count) % 2147483648
