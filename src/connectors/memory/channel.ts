/** Records in this process that the `memory` source reads and the `memory` sink writes. For tests and for programs that embed the runner. */
import { randomUUID } from 'node:crypto'
import { InputAccount } from '../../kit/limits.ts'
import { encodeJson, type Header, type Json, keyTextOf, parseJson, PipelineError } from '../../contract/plugin.ts'
import { malformedJson } from '../../contract/json-scan.ts'

/** `payload` (bytes or text) or `value` (written as JSON); neither: a tombstone. */
export interface MemoryRecord {
  readonly payload?: Buffer | string | null
  readonly value?: Json
  readonly key?: Buffer | string | null
  /** Epoch ms. Default: 0. */
  readonly time?: number
  readonly headers?: readonly Header[]
}

/** One record of a channel, as it was sent or as a sink wrote it. */
export class StoredRecord {
  /** `null`: a tombstone. */
  readonly payload: Buffer | null
  readonly keyBytes: Buffer | null
  /** Epoch ms. */
  readonly time: number
  readonly headers: readonly Header[] | undefined

  constructor({ payload, value, key = null, time = 0, headers }: MemoryRecord) {
    this.payload = bytes(payload === undefined ? (value === undefined ? null : encodeJson(value)) : payload)
    this.keyBytes = bytes(key)
    this.time = time
    this.headers = headers
  }

  /** Bytes, about. */
  get size(): number {
    return 128 + (this.payload?.length ?? 0) + (this.keyBytes?.length ?? 0)
  }

  get key(): string | null {
    return this.keyBytes === null ? null : keyTextOf(this.keyBytes)
  }

  /** The payload, parsed as JSON; `null` for a tombstone. @throws {DecodeError} when it is not JSON. */
  get value(): Json {
    if (this.payload === null) return null
    try {
      return parseJson(this.payload.toString()) as Json
    } catch (error) {
      throw malformedJson(this.payload, error)
    }
  }
}

export interface ChannelOptions {
  /** Maximum number of records in the channel; when it is full, senders wait. Default: 10,000. */
  readonly capacity?: number
}

/**
 * A queue between a pipeline and the program around it, or between two pipelines: an input that the program sends to, or an output that it
 * iterates over. It holds `capacity` records, and bytes within `limits.input`; the faster side waits.
 * A record leaves an input when the pipeline has committed it, so a restored lane reads it again. A record leaves an output when it is
 * taken. The content of a channel is lost when the process ends.
 * @example
 * const orders = new MemoryChannel()
 * const alerts = new MemoryChannel({ capacity: 100 })
 * const pipeline = await run('pipelines/alerts.yaml', { memory: { orders, alerts } })
 * await orders.send({ value: { id: 1, amount: 250 }, key: 'acme' })
 * orders.end()
 * for await (const alert of alerts) console.log(alert.value)
 * await pipeline.completed
 */
export class MemoryChannel {
  private readonly account = new InputAccount()
  /** Positions in checkpoints count from the beginning of this channel and are not valid for another. */
  readonly id = randomUUID()
  readonly capacity: number
  /** Keeps everything, for any number of readers. */
  private readonly keeps: boolean
  private list: StoredRecord[] = []
  /** Index of the first record in `list`; the earlier ones have been removed. */
  private head = 0
  /** Offset of `list[0]`. */
  private base = 0
  /** `take` has returned everything before this offset. */
  private taken = 0
  private waiting: (() => void)[] = []
  /** The last `send`; the next one waits for it. */
  private sending: Promise<void> | undefined
  private over = false
  private failure: Error | undefined
  /** By reader: everything before this offset is durable. */
  private readonly committed = new Map<string, number>()
  private reader: string | undefined
  /** The pipeline that read the channel has ended. */
  private deserted: Error | undefined
  private writers = 0

  constructor({ capacity = 10_000 }: ChannelOptions = {}, keeps = false) {
    if (!(capacity >= 1)) throw new RangeError(`capacity must be at least 1, got ${capacity}`)
    this.capacity = capacity
    this.keeps = keeps
    forgotten.register(this, this.account)
  }

  /**
   * Adds records in order, as soon as there is room for each. Resolves when all are in the channel; `flushed` resolves when they are
   * committed.
   * @throws {PipelineError} `PIPE_CHANNEL`: the channel was ended, or the pipeline that reads it has ended.
   */
  send(records: MemoryRecord | readonly MemoryRecord[]): Promise<void> {
    const list = (Array.isArray(records) ? records : [records]) as readonly MemoryRecord[]
    const stored = list.map(r => new StoredRecord(r))
    const before = this.sending
    const mine = before ? before.then(() => this.fill(stored)) : this.fill(stored)
    // A failure is reported to the sender that caused it; the next send checks again.
    const settled = mine
      .catch(() => {})
      .then(() => {
        if (this.sending === settled) this.sending = undefined
      })
    this.sending = settled
    return mine
  }

  /**
   * Resolves when every sink has written, or the pipeline has dead-lettered, everything sent so far, and it is committed.
   * @throws {PipelineError} `PIPE_CHANNEL`: the pipeline has ended before.
   */
  async flushed(): Promise<void> {
    await this.sending
    const until = this.next
    while (!this.through(until)) {
      if (this.deserted) throw this.deserted
      await this.change()
    }
  }

  /** No more records will come: the pipeline that reads the channel ends when it has read everything. */
  end(): void {
    this.over = true
    this.wake()
  }

  /** All records in the channel that have not been taken. */
  take(): StoredRecord[] {
    const from = Math.max(this.taken, this.start)
    const news = this.list.slice(from - this.base)
    this.taken = this.next
    if (!this.keeps) this.release(this.next)
    return news
  }

  /**
   * Takes records as they arrive. Ends when the pipeline that writes to the channel has ended and everything is taken. @throws the error of
   * that pipeline.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<StoredRecord, void, undefined> {
    for (;;) {
      const at = Math.max(this.taken, this.start)
      if (at < this.next) {
        this.taken = at + 1
        const record = this.list[at - this.base]
        if (!this.keeps) this.release(at + 1)
        yield record
      } else if (this.failure) throw this.failure
      else if (this.over) return
      else await this.change()
    }
  }

  // For the source and the sink.

  /** Without a limit: for tests that hold all records anyway. */
  push(...records: readonly MemoryRecord[]): void {
    for (const record of records) this.list.push(new StoredRecord(record))
    this.wake()
  }

  /** Number of records in the channel. */
  get records(): readonly StoredRecord[] {
    return this.head === 0 ? this.list : this.list.slice(this.head)
  }

  get ended(): boolean {
    return this.over
  }

  /**
   * Records from offset `from` on, up to `limit`. @throws the error of the pipeline that writes to the channel, after everything is read.
   */
  read(from: number, limit: number): readonly StoredRecord[] {
    const at = from - this.base
    if (at >= this.list.length && this.failure) throw this.failure
    return this.list.slice(at, at + limit)
  }

  behind(position: number): number {
    return this.next - position
  }

  /** @returns where this reader continues: at `position` if it belongs to this channel, else after its last commit. */
  attach(reader: string, position: unknown): number {
    if (!this.keeps && this.reader !== undefined && this.reader !== reader)
      throw new PipelineError('PIPE_CHANNEL', `${this.reader} already reads this channel: use a separate channel for ${reader}`)
    this.reader = reader
    this.deserted = undefined
    return this.placeOf(reader, position)
  }

  placeOf(reader: string, position: unknown): number {
    const own = Array.isArray(position) && position[0] === this.id ? (position[1] as number) : undefined
    return Math.max(this.start, own ?? this.committed.get(reader) ?? 0)
  }

  commit(reader: string, position: number): void {
    this.committed.set(reader, position)
    if (!this.keeps) this.release(position)
    this.wake()
  }

  detach(reader: string, pipeline: string): void {
    if (this.keeps || (this.reader !== undefined && this.reader !== reader)) return
    this.reader = undefined
    this.deserted = new PipelineError('PIPE_CHANNEL', `pipeline '${pipeline}', which reads this channel, has ended`)
    this.wake()
  }

  /** Adds the records of a sink, as soon as there is room for each. */
  async write(records: readonly MemoryRecord[], signal: AbortSignal): Promise<void> {
    for (const record of records) {
      const stored = new StoredRecord(record)
      while (!this.fits(stored)) {
        signal.throwIfAborted()
        await this.change(signal)
      }
      this.add(stored)
    }
  }

  /** A pipeline writes to the channel: when the last such pipeline ends, the channel ends. */
  addWriter(): void {
    this.writers++
    this.over = false
    this.failure = undefined
  }

  removeWriter(error: Error | undefined): void {
    this.failure ??= error
    if (--this.writers === 0 || error) this.end()
  }

  /** Resolves at the next change, or when the signal is aborted. */
  async change(signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const aborted = (): void => resolve()
    this.waiting.push(resolve)
    signal?.addEventListener('abort', aborted, { once: true })
    await promise
    signal?.removeEventListener('abort', aborted)
  }

  private async fill(records: readonly StoredRecord[]): Promise<void> {
    for (const record of records) {
      for (;;) {
        if (this.deserted) throw this.deserted
        if (this.over)
          throw new PipelineError(
            'PIPE_CHANNEL',
            'the channel has ended and accepts no more records: send before end(), or create another channel',
          )
        if (this.fits(record)) break
        await this.change()
      }
      this.add(record)
    }
  }

  /** A change of this channel is the only wait: it holds records whenever another source uses up the limit of bytes. */
  private fits({ size }: StoredRecord): boolean {
    const count = this.next - this.start
    return count === 0 || this.keeps || (count < this.capacity && this.account.fits(size))
  }

  private add(record: StoredRecord): void {
    this.list.push(record)
    if (!this.keeps) this.account.add(record.size)
    this.wake()
  }

  /** Offset of the first record in the channel. */
  private get start(): number {
    return this.base + this.head
  }

  /** Offset after the last record. */
  private get next(): number {
    return this.base + this.list.length
  }

  private through(offset: number): boolean {
    if (!this.keeps) return this.start >= offset
    return this.committed.size > 0 && [...this.committed.values()].every(c => c >= offset)
  }

  private release(to: number): void {
    if (to <= this.start) return
    if (!this.keeps) for (let at = this.head; at < to - this.base; at++) this.account.add(-this.list[at].size)
    this.list.fill(undefined as unknown as StoredRecord, this.head, to - this.base)
    this.head = to - this.base
    if (this.head > 1024 && this.head * 2 > this.list.length) {
      this.list = this.list.slice(this.head)
      this.base += this.head
      this.head = 0
    }
    this.wake()
  }

  private wake(): void {
    const { waiting } = this
    if (waiting.length === 0) return
    this.waiting = []
    for (const resolve of waiting) resolve()
  }
}

/** A program may drop a channel that is not empty. */
const forgotten = new FinalizationRegistry<InputAccount>(account => account.add(-account.bytes))

const bytes = (text: Buffer | string | null): Buffer | null => (typeof text === 'string' ? Buffer.from(text) : text)

const channels = new Map<string, MemoryChannel>()

/** The channel with this name in this process, created at first use. It keeps all records. */
export function channel(name: string): MemoryChannel {
  let found = channels.get(name)
  if (!found) channels.set(name, (found = new MemoryChannel({ capacity: Number.POSITIVE_INFINITY }, true)))
  return found
}

/** What an embedding program adds to the config of a step: the channel with that name. */
export interface Given {
  readonly given?: MemoryChannel
}

/** Removes a channel; code that holds a reference keeps its content. */
export function removeChannel(name: string): void {
  channels.delete(name)
}
