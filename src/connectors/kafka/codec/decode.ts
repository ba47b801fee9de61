/** Reading fetched sets of Kafka record batches (message format v2), and the records in each. */
import { ConnectionError, DecodeError, type Header, Message, type Origin } from '../../../contract/plugin.ts'
import { MAX_TIME } from '../../../kit/values/time.ts'
import { decompress } from './compression.ts'
import { crc32c } from './crc32c.ts'
import { CONTROL, HEADER_SIZE, TRANSACTIONAL } from './encode.ts'
import { Cursor, readInt64 } from './numbers.ts'

export interface BatchHeader {
  readonly at: number
  /** First byte after the batch. */
  readonly end: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly producerId: number
  readonly attributes: number
}

/** Of the first record; those of later records are exact numbers, too. */
const MAX_OFFSET = Number.MAX_SAFE_INTEGER - 2 ** 31

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

/**
 * The batch at `at`, or undefined when the set ends before the batch does.
 * @throws {ConnectionError} the bytes are not a batch, so the start of the next one is unknown
 */
export function batchHeader(set: Buffer, at: number): BatchHeader | undefined {
  if (at + 17 > set.length) return undefined
  const size = set.readInt32BE(at + 8)
  const baseOffset = readInt64(set, at)
  if (size < 17 - 12 || baseOffset < 0 || baseOffset > MAX_OFFSET)
    throw new ConnectionError(`the broker sent a malformed record batch (${size} bytes at offset ${baseOffset})`)
  const end = at + 12 + size
  if (end > set.length) return undefined
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

/**
 * True when the control batch ends a transaction by commit, false for an abort, undefined for other control records.
 * @throws {DecodeError} the batch is damaged
 */
export function commitMarker(set: Buffer, batch: BatchHeader): boolean | undefined {
  checkCrc(set, batch)
  const p = new Cursor(set, batch.at + HEADER_SIZE, batch.end)
  p.varint() // length
  p.varint() // attributes
  p.long()
  p.varint()
  // Version int16, type int16.
  const key = p.bytes()
  if (key === null || key.length < 4) return undefined
  const type = key.readInt16BE(2)
  return type === 1 ? true : type === 0 ? false : undefined
}

function checkCrc(set: Buffer, { at, end }: BatchHeader): void {
  if (crc32c(set, at + 21, end) !== set.readUInt32BE(at + 17)) throw new DecodeError('the batch does not match its CRC')
}

/** Maximum number of messages that one read takes from a batch. */
const PORTION = 10_000

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
  /** A batch that was read in part. */
  private begun: { readonly batch: BatchHeader; readonly records: OpenBatch; readonly from: number } | undefined

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

  /** In the middle of a batch, whose decompressed bytes are held until its end. */
  get midBatch(): boolean {
    return this.begun !== undefined
  }

  /** Of the last complete batch in the set; undefined: there is none. */
  lastOffset(): number | undefined {
    let last: number | undefined
    for (let batch = batchHeader(this.set, 0); batch !== undefined; batch = batchHeader(this.set, batch.end)) last = batch.lastOffset
    return last
  }

  /**
   * Reads batches until at least `records` messages are collected or the set ends; a batch of more than `PORTION` records is returned in
   * portions. `done` when no complete batch is left. `missing`: the number of offsets before the first message that belong to no batch.
   */
  read(records: number): { messages: Message[]; done: boolean; missing?: number } {
    const messages: Message[] = []
    let missing: number | undefined
    const most = Math.max(records, PORTION)
    for (;;) {
      if (this.begun !== undefined) {
        this.one(this.begun.batch, messages, most)
        if (messages.length >= records) return { messages, done: !this.midBatch && batchHeader(this.set, this.at) === undefined, missing }
        continue
      }
      const batch = batchHeader(this.set, this.at)
      if (batch === undefined) {
        this.at = this.set.length
        return { messages, done: true, missing }
      }
      if (batch.baseOffset > this.nextOffset) {
        // Reported with the records after it.
        if (messages.length > 0) return { messages, done: false, missing }
        missing = (missing ?? 0) + batch.baseOffset - this.nextOffset
        this.nextOffset = batch.baseOffset
      }
      this.at = batch.end
      if (batch.lastOffset < this.nextOffset) continue
      this.one(batch, messages, most)
      if (messages.length >= records) return { messages, done: !this.midBatch && batchHeader(this.set, this.at) === undefined, missing }
    }
  }

  private one(batch: BatchHeader, messages: Message[], most: number): void {
    const { begun } = this
    this.begun = undefined
    const from = begun?.from ?? this.nextOffset
    try {
      if (begun === undefined && this.skipped(batch)) return
      const records = begun?.records ?? openBatch(this.set, batch)
      if (!decodeRecords(records, from, this.origin, messages, most)) {
        this.begun = { batch, records, from }
        this.nextOffset = Math.min(messages[messages.length - 1].offset + 1, batch.lastOffset)
        return
      }
    } catch (error) {
      const failure =
        error instanceof DecodeError ? error : new DecodeError('the batch is malformed: its lengths and its bytes do not agree', error)
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
    } finally {
      if (this.begun === undefined) this.nextOffset = Math.max(this.nextOffset, batch.lastOffset + 1)
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
  return time > 0 && time < MAX_TIME ? time : 0
}

/** A batch whose bytes are checked and decompressed, and the position up to which its records were read. */
interface OpenBatch {
  readonly b: Buffer
  /** First byte behind the records. */
  readonly limit: number
  readonly count: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly baseTime: number
  readonly appendTime: number | undefined
  /** Of the next record. */
  at: number
  i: number
  /** Offset of the previous one. */
  previous: number
}

/** All records of one data batch from offset `from` on. @throws {DecodeError} */
export function decodeBatch(set: Buffer, batch: BatchHeader, from: number, origin: Origin, messages: Message[]): void {
  decodeRecords(openBatch(set, batch), from, origin, messages, Number.POSITIVE_INFINITY)
}

/** @throws {DecodeError} */
function openBatch(set: Buffer, batch: BatchHeader): OpenBatch {
  const { at, end, baseOffset, lastOffset, attributes } = batch
  if (set[at + 16] !== 2) throw new DecodeError(`record format v${set[at + 16]} of brokers before 0.11 is not supported`)
  checkCrc(set, batch)
  const count = set.readInt32BE(at + 57)
  if (count < 0) throw new DecodeError(`the batch has a count of ${count} records`)
  const baseTime = readInt64(set, at + 27)
  // Bit 3: the broker's append time applies to all records, and is stored as the maximum of the batch.
  const appendTime = (attributes & 8) !== 0 ? readInt64(set, at + 35) : undefined
  const codec = attributes & 7
  const b = codec === 0 ? set : decompress(codec, set.subarray(at + HEADER_SIZE, end))
  const limit = codec === 0 ? end : b.length
  const first = codec === 0 ? at + HEADER_SIZE : 0
  return { b, limit, count, baseOffset, lastOffset, baseTime, appendTime, at: first, i: 0, previous: baseOffset - 1 }
}

/**
 * Appends records from offset `from` on, directly as messages: no intermediate objects, bytes are never copied. True: these were the last
 * ones; false: `most` messages are collected. @throws {DecodeError}
 */
function decodeRecords(open: OpenBatch, from: number, origin: Origin, messages: Message[], most: number): boolean {
  const { b, limit, count, baseOffset, lastOffset, baseTime, appendTime } = open
  const cursor = new Cursor(b, open.at, limit)
  let p = cursor.at
  let { previous } = open
  let lastKey: Buffer | null = null

  for (let i = open.i; i < count; i++) {
    if (messages.length >= most) {
      open.at = p
      open.i = i
      open.previous = previous
      return false
    }
    let byte: number
    let z: number
    // length of the record
    if ((byte = b[p++]) < 0x80) z = byte
    else {
      cursor.at = p - 1
      z = cursor.varint() << 1
      p = cursor.at
    }
    const next = p + (z >>> 1)
    if (!(next <= limit) || (z & 1) !== 0) throw new DecodeError(`record ${i} of ${count} extends beyond the end of its batch`)
    p++ // attributes, unused
    let delta: number
    if ((byte = b[p++]) < 0x80) delta = (byte >>> 1) ^ -(byte & 1)
    else {
      cursor.at = p - 1
      delta = cursor.long()
      p = cursor.at
    }
    let offsetDelta: number
    if ((byte = b[p++]) < 0x80) offsetDelta = (byte >>> 1) ^ -(byte & 1)
    else if ((z = b[p++]) < 0x80) {
      z = (byte & 0x7f) | (z << 7)
      offsetDelta = (z >>> 1) ^ -(z & 1)
    } else {
      cursor.at = p - 2
      offsetDelta = cursor.varint()
      p = cursor.at
    }
    const offset = baseOffset + offsetDelta
    // A decreasing offset would be skipped, or read twice.
    if (offset <= previous || offset > lastOffset) throw new DecodeError(`record ${i} of ${count} has an offset out of order`)
    previous = offset
    if (offset < from) {
      p = next
      continue
    }
    let length: number
    if ((byte = b[p++]) < 0x80) length = (byte >>> 1) ^ -(byte & 1)
    else {
      cursor.at = p - 1
      length = cursor.varint()
      p = cursor.at
    }
    let key: Buffer | null = null
    if (length >= 0) {
      // Neighbors often have the same key (one symbol, one wallet), so they share one Buffer.
      if (lastKey !== null && lastKey.length === length && same(lastKey, b, p, length)) key = lastKey
      else lastKey = key = b.subarray(p, p + length)
      p += length
    }
    if ((byte = b[p++]) < 0x80) length = (byte >>> 1) ^ -(byte & 1)
    else if ((z = b[p++]) < 0x80) {
      z = (byte & 0x7f) | (z << 7)
      length = (z >>> 1) ^ -(z & 1)
    } else {
      cursor.at = p - 2
      length = cursor.varint()
      p = cursor.at
    }
    let value: Buffer | null = null
    if (length >= 0) {
      value = b.subarray(p, p + length)
      p += length
    }
    if (p >= next) throw new DecodeError(`record ${i} of ${count} is longer than its declared length`)
    let headers: Header[] | undefined
    if (b[p] !== 0) {
      cursor.at = p
      cursor.end = next
      headers = readHeaders(cursor)
      cursor.end = limit
      p = cursor.at
    } else p++
    if (p !== next) throw new DecodeError(`record ${i} of ${count} does not match its declared length`)
    messages.push(Message.fromRecord(value, key, appendTime ?? baseTime + delta, headers, offset, origin))
  }
  if (p !== limit) throw new DecodeError(`the batch has more records than the declared ${count}`)
  return true
}

function same(key: Buffer, b: Buffer, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (key[i] !== b[at + i]) return false
  return true
}

function readHeaders(cursor: Cursor): Header[] {
  // A header has at least two lengths.
  const count = cursor.count(2)
  const headers: Header[] = []
  for (let i = 0; i < count; i++) {
    const name = cursor.bytes()
    if (name === null) throw new DecodeError('a header has no name')
    headers.push([name.toString(), cursor.bytes()])
  }
  return headers
}
