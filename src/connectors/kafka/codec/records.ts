/** The records of one record batch (message format v2), straight into messages: no intermediate objects, bytes are never copied. */
import { DecodeError, type Header, Message, type Origin } from '../../../contract/plugin.ts'
import { decompress } from './compression.ts'
import { crc32c } from './crc32c.ts'
import { HEADER_SIZE } from './encode.ts'
import { Cursor, readInt64 } from './numbers.ts'

export interface BatchHeader {
  readonly at: number
  /** First byte behind the batch. */
  readonly end: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly producerId: number
  readonly attributes: number
}

/** Appends the records of one data batch from offset `from` on. @throws {DecodeError} */
export function decodeBatch(set: Buffer, batch: BatchHeader, from: number, origin: Origin, messages: Message[]): void {
  const { at, end, baseOffset } = batch
  if (set[at + 16] !== 2) throw new DecodeError(`record format v${set[at + 16]} of brokers before 0.11 is not supported`)
  if (crc32c(set, at + 21, end) !== set.readUInt32BE(at + 17)) throw new DecodeError('the batch does not match its CRC')
  const count = set.readInt32BE(at + 57)
  const baseTime = readInt64(set, at + 27)
  // Bit 3: the broker's append time counts for all records, and it is stored as the batch's maximum.
  const appendTime = (batch.attributes & 8) !== 0 ? readInt64(set, at + 35) : undefined
  const codec = batch.attributes & 7
  const b = codec === 0 ? set : decompress(codec, set.subarray(at + HEADER_SIZE, end))
  const limit = codec === 0 ? end : b.length
  const cursor = new Cursor(b, codec === 0 ? at + HEADER_SIZE : 0)
  let p = cursor.at
  let lastKey: Buffer | null = null

  for (let i = 0; i < count; i++) {
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
    if (!(next <= limit) || (z & 1) !== 0) throw new DecodeError(`record ${i} of ${count} runs over the end of its batch`)
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
      // Neighbours often have the same key (one symbol, one wallet): one Buffer serves them all.
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
    if (p >= next) throw new DecodeError(`record ${i} of ${count} is longer than it says`)
    let headers: Header[] | undefined
    if (b[p] !== 0) {
      cursor.at = p
      headers = readHeaders(cursor, next)
      p = cursor.at
    } else p++
    if (p !== next) throw new DecodeError(`record ${i} of ${count} does not end where it says`)
    messages.push(Message.fromRecord(value, key, appendTime ?? baseTime + delta, headers, offset, origin))
  }
}

function same(key: Buffer, b: Buffer, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (key[i] !== b[at + i]) return false
  return true
}

function readHeaders(cursor: Cursor, end: number): Header[] {
  const count = cursor.varint()
  const headers: Header[] = []
  for (let i = 0; i < count; i++) {
    const nameLength = cursor.varint()
    const name = cursor.b.toString('utf8', cursor.at, cursor.at + nameLength)
    cursor.at += nameLength
    const length = cursor.varint()
    if (length < 0) headers.push([name, null])
    else {
      headers.push([name, cursor.b.subarray(cursor.at, cursor.at + length)])
      cursor.at += length
    }
    if (cursor.at > end) throw new DecodeError('a header runs over the end of its record')
  }
  return headers
}
