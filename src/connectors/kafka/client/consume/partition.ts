/** One assigned partition: the next offset to fetch, and the records fetched but not polled. */
import type { Origin } from '../../../../contract/plugin.ts'
import { SetReader } from '../../codec/decode.ts'
import type { ConsumedBatch, TopicPartition } from '../../driver.ts'
import type { Fetched } from './fetcher.ts'

/** Approximate number of messages per poll: whole record batches until this number is reached. */
const POLL_RECORDS = 1000

export class PartitionState {
  readonly tp: TopicPartition
  private readonly origin: Origin
  private readonly committed: boolean
  private readonly buffered: SetReader[] = []
  /** Offset to fetch from; undefined while it is looked up or assigned. */
  fetchFrom: number | undefined
  /** Offset after the newest record that may be read; -1: not known yet. */
  endOffset = -1
  /** Fetches requested before a seek are ignored. */
  epoch = 0
  /** When the last fetch that found nothing left was sent, `monotonic` ms; undefined: there was more. */
  private emptyAt: number | undefined
  /** Bytes to request; grows when a record batch does not fit. */
  maxBytes: number
  /** No fetch before this time, after an error. */
  notBefore = 0
  /** Not fetched until it is known whether the topic is still the same. */
  suspect = false

  constructor(tp: TopicPartition, origin: Origin, committed: boolean, maxBytes: number) {
    this.tp = tp
    this.origin = origin
    this.committed = committed
    this.maxBytes = maxBytes
  }

  get bytes(): number {
    let n = 0
    for (const reader of this.buffered) n += reader.remaining
    return n
  }

  get ready(): boolean {
    return this.buffered.length > 0
  }

  /** Continues at `offset`; undefined: waits for a seek. */
  seek(offset: number | undefined): void {
    this.epoch++
    this.buffered.length = 0
    this.fetchFrom = offset
    this.emptyAt = undefined
    this.notBefore = 0
  }

  /** @param asked when the fetch was sent */
  take(fetched: Fetched, asked: number): void {
    this.endOffset = this.committed ? fetched.lastStableOffset : fetched.highWatermark
    const { records } = fetched
    if (records.length === 0) {
      if (this.fetchFrom! >= this.endOffset) this.emptyAt = asked
      return
    }
    const reader = new SetReader(records, this.fetchFrom!, this.origin, this.committed ? fetched.aborted : undefined)
    const last = reader.lastOffset()
    if (last === undefined) {
      this.maxBytes *= 2
      return
    }
    this.emptyAt = undefined
    this.buffered.push(reader)
    this.fetchFrom = Math.max(this.fetchFrom!, last + 1)
  }

  /** The decompressed bytes of a batch are in memory. */
  get midBatch(): boolean {
    return this.buffered[0]?.midBatch === true
  }

  next(): ConsumedBatch | undefined {
    const reader = this.buffered[0]
    if (reader === undefined) return undefined
    const { messages, done, missing } = reader.read(POLL_RECORDS)
    if (done) this.buffered.shift()
    return { ...this.tp, messages, missing, nextOffset: reader.nextOffset, endOffset: Math.max(this.endOffset, reader.nextOffset) }
  }

  /** When the last fetch was sent, if it found nothing and nothing is buffered. */
  caughtUp(): number | false {
    return this.buffered.length === 0 && this.emptyAt !== undefined && this.emptyAt
  }
}
