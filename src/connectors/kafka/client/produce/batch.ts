/** A record batch on its way, and the calls of `send` that wait for it. */
import type { OutRecord } from '../../driver.ts'
import { BatchError, type Origin } from '../../../../contract/plugin.ts'
import { BatchBuilder, type SealedBatch } from '../../codec/encode.ts'
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

  /** The fate of its records is unknown or hopeless. */
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
  /** Position of each record within its call. */
  private readonly indexes: number[] = []
  readonly createdAt: number
  readonly compression: Compression
  /** Assigned when it is first sent, kept for every repetition: that is how the broker recognises them. */
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

  /** Every record of it can never be written. */
  reject(error: Error): void {
    for (let i = 0; i < this.count; i++) this.callOf(i).failRecord(this.indexes[i], error)
    this.free()
  }

  /** Its bytes are not given back: a request that is being built may still read them. */
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
