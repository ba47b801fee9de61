/** Walking through fetched sets of Kafka record batches (message format v2). */
import { DecodeError, Message, type Origin } from '../../../contract/plugin.ts'
import { CONTROL, HEADER_SIZE, TRANSACTIONAL } from './encode.ts'
import { Cursor, readInt64 } from './numbers.ts'
import { type BatchHeader, decodeBatch } from './records.ts'

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

/** The batch at `at`, or undefined when the set ends before the batch does. */
export function batchHeader(set: Buffer, at: number): BatchHeader | undefined {
  if (at + 17 > set.length) return undefined
  const end = at + 12 + set.readInt32BE(at + 8)
  if (end > set.length || end <= at + 12) return undefined
  const baseOffset = readInt64(set, at)
  if (set[at + 16] !== 2 || end - at < HEADER_SIZE) return { at, end, baseOffset, lastOffset: baseOffset, producerId: -1, attributes: 0 }
  const delta = set.readInt32BE(at + 23)
  return {
    at,
    end,
    baseOffset,
    lastOffset: baseOffset + (delta > 0 ? delta : 0),
    producerId: readInt64(set, at + 43),
    attributes: set.readInt16BE(at + 21),
  }
}

/** True when the control batch ends a transaction by commit, false for an abort, undefined for other control records. */
export function commitMarker(set: Buffer, batch: BatchHeader): boolean | undefined {
  // length, attributes, timestamp delta and offset delta are one byte each in a marker; the key is version int16, type int16.
  const p = new Cursor(set, batch.at + HEADER_SIZE)
  p.varint()
  p.at++
  p.long()
  p.varint()
  if (p.varint() < 4) return undefined
  const type = set.readInt16BE(p.at + 2)
  return type === 1 ? true : type === 0 ? false : undefined
}

/**
 * Reads a fetched record set piece by piece. One per partition and fetch response, because the list of aborted
 * transactions belongs to the response.
 */
export class SetReader {
  readonly set: Buffer
  /** Offset of the next record to deliver. */
  nextOffset: number
  private at = 0
  private readonly origin: Origin
  private readonly aborted: AbortedTransaction[] | undefined
  private readonly open = new Set<number>()

  /** @param aborted in read_committed mode, else undefined. */
  constructor(set: Buffer, fetchOffset: number, origin: Origin, aborted: AbortedTransaction[] | undefined) {
    this.set = set
    this.nextOffset = fetchOffset
    this.origin = origin
    this.aborted = aborted?.sort((a, b) => a.firstOffset - b.firstOffset)
  }

  get remaining(): number {
    return this.set.length - this.at
  }

  /** Of the last whole batch in the set; undefined: there is none. */
  lastOffset(): number | undefined {
    let last: number | undefined
    for (let batch = batchHeader(this.set, 0); batch !== undefined; batch = batchHeader(this.set, batch.end)) last = batch.lastOffset
    return last
  }

  /** Whole batches until at least `records` messages are there or the set ends. `done` once nothing whole is left. */
  read(records: number): { messages: Message[]; done: boolean } {
    const messages: Message[] = []
    for (;;) {
      const batch = batchHeader(this.set, this.at)
      if (batch === undefined) {
        this.at = this.set.length
        return { messages, done: true }
      }
      this.at = batch.end
      if (batch.lastOffset < this.nextOffset) continue
      this.one(batch, messages)
      this.nextOffset = Math.max(this.nextOffset, batch.lastOffset + 1)
      if (messages.length >= records) return { messages, done: batchHeader(this.set, this.at) === undefined }
    }
  }

  private one(batch: BatchHeader, messages: Message[]): void {
    if (this.skipped(batch)) return
    try {
      decodeBatch(this.set, batch, this.nextOffset, this.origin, messages)
    } catch (error) {
      const failure = error instanceof DecodeError ? error : new DecodeError(`the batch is malformed: ${(error as Error).message}`, error)
      const offset = Math.max(batch.baseOffset, this.nextOffset)
      while (messages.length > 0 && messages[messages.length - 1].offset >= offset) messages.pop()
      const broken = Message.fromRecord(
        this.set.subarray(batch.at, batch.end),
        null,
        brokenTime(this.set, batch),
        undefined,
        offset,
        this.origin,
      )
      broken.failure = failure
      messages.push(broken)
    }
  }

  /** Control batches, and records of aborted transactions. */
  private skipped(batch: BatchHeader): boolean {
    if (this.aborted !== undefined) {
      while (this.aborted.length > 0 && this.aborted[0].firstOffset <= batch.lastOffset) this.open.add(this.aborted.shift()!.producerId)
    }
    if ((batch.attributes & CONTROL) !== 0) {
      if (commitMarker(this.set, batch) === false) this.open.delete(batch.producerId)
      return true
    }
    return (batch.attributes & TRANSACTIONAL) !== 0 && this.open.has(batch.producerId)
  }
}

function brokenTime(set: Buffer, batch: BatchHeader): number {
  const time = batch.end - batch.at >= HEADER_SIZE && set[batch.at + 16] === 2 ? readInt64(set, batch.at + 35) : 0
  return time > 0 && time < 8.64e15 ? time : 0
}
