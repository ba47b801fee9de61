/**
 * Writing Kafka record batches (message format v2), straight from records into one buffer.
 * https://kafka.apache.org/documentation/#recordbatch
 */
import type { OutRecord } from '../driver.ts'
import { codecIds, compress, type Compression } from './compression.ts'
import { crc32c } from './crc32c.ts'
import { longSize, putLong, putVarint, varintSize, writeInt64 } from './numbers.ts'

export const HEADER_SIZE = 61
export const TRANSACTIONAL = 0x10
export const CONTROL = 0x20

const START_SIZE = 16_384
const POOL_SIZE = 32
/** Buffers of finished batches: allocating and zero-paging 128 KiB per batch costs more than filling it. */
const pool: Buffer[] = []

export function recycle(buffer: Buffer): void {
  if (pool.length < POOL_SIZE && buffer.length <= 1_048_576) pool.push(buffer)
}

/** A sealed batch, complete but for the producer's identity, which `stamp` writes when it is sent. */
export interface SealedBatch {
  readonly bytes: Buffer
  readonly count: number
  /** Return `bytes` to the pool when it will not be sent again. */
  release(): void
}

export class BatchBuilder {
  private buffer: Buffer
  private at = HEADER_SIZE
  private firstTime = 0
  private maxTime = 0
  count = 0

  constructor() {
    this.buffer = pool.pop() ?? Buffer.allocUnsafeSlow(START_SIZE)
  }

  /** Bytes so far, uncompressed, header included. */
  get size(): number {
    return this.at
  }

  append(record: OutRecord): void {
    const { key, value, headers, time } = record
    const keyRoom = key === null ? 0 : typeof key === 'string' ? key.length * 3 : key.length
    const valueRoom = value === null ? 0 : typeof value === 'string' ? value.length * 3 : value.length
    this.reserve(40 + keyRoom + valueRoom + (headers === undefined ? 0 : headersRoom(headers)))
    const index = this.count
    if (index === 0) {
      this.firstTime = time
      this.maxTime = time
    } else if (time > this.maxTime) this.maxTime = time
    const delta = time - this.firstTime

    // A string's length in bytes equals its length unless it has a non-ASCII character, so that is tried first:
    // finding out beforehand would cost a pass over every string.
    let keyBytes = key === null ? -1 : key.length
    let valueBytes = value === null ? -1 : value.length
    for (;;) {
      const headerBytes = headers === undefined ? 1 : headersSize(headers)
      const body =
        1 +
        longSize(delta) +
        varintSize(index) +
        varintSize(keyBytes) +
        (keyBytes > 0 ? keyBytes : 0) +
        varintSize(valueBytes) +
        (valueBytes > 0 ? valueBytes : 0) +
        headerBytes
      const b = this.buffer
      let p = putVarint(b, this.at, body)
      b[p++] = 0
      p = putLong(b, p, delta)
      p = putVarint(b, p, index)
      p = putVarint(b, p, keyBytes)
      if (key !== null) {
        const written = put(b, p, key)
        if (written !== keyBytes) {
          keyBytes = written
          continue
        }
        p += written
      }
      p = putVarint(b, p, valueBytes)
      if (value !== null) {
        const written = put(b, p, value)
        if (written !== valueBytes) {
          valueBytes = written
          continue
        }
        p += written
      }
      if (headers === undefined) b[p++] = 0
      else p = putHeaders(b, p, headers)
      this.at = p
      break
    }
    this.count = index + 1
  }

  /** Compress and write the header; the builder is spent. `leaderEpoch`, CRC and producer fields come with `stamp`. */
  seal(compression: Compression): SealedBatch {
    const full = this.buffer
    let bytes: Buffer
    let release = (): void => {}
    if (compression === 'none') {
      bytes = full.subarray(0, this.at)
      release = () => recycle(full)
    } else {
      const packed = compress(compression, full.subarray(HEADER_SIZE, this.at))
      bytes = Buffer.allocUnsafeSlow(HEADER_SIZE + packed.length)
      bytes.set(packed, HEADER_SIZE)
      recycle(full)
    }
    bytes.writeInt32BE(0, 0)
    bytes.writeInt32BE(0, 4)
    bytes.writeInt32BE(bytes.length - 12, 8)
    bytes.writeInt32BE(-1, 12)
    bytes[16] = 2
    bytes.writeInt16BE(codecIds[compression], 21)
    bytes.writeInt32BE(this.count - 1, 23)
    writeInt64(bytes, 27, this.firstTime)
    writeInt64(bytes, 35, this.maxTime)
    bytes.writeInt32BE(this.count, 57)
    return { bytes, count: this.count, release }
  }

  /** Give the buffer back without sealing. */
  discard(): void {
    recycle(this.buffer)
  }

  private reserve(room: number): void {
    const need = this.at + room
    if (need <= this.buffer.length) return
    let size = this.buffer.length * 2
    while (size < need) size *= 2
    const bigger = Buffer.allocUnsafeSlow(size)
    this.buffer.copy(bigger, 0, 0, this.at)
    recycle(this.buffer)
    this.buffer = bigger
  }
}

/** Who sends a batch: -1 for a producer that is not idempotent. */
export interface Identity {
  readonly producerId: number
  readonly epoch: number
}

/** Write the producer's fields and the CRC over them. */
export function stamp(bytes: Buffer, identity: Identity, sequence: number, transactional: boolean): void {
  bytes[22] = transactional ? bytes[22] | TRANSACTIONAL : bytes[22] & ~TRANSACTIONAL
  writeInt64(bytes, 43, identity.producerId)
  bytes.writeInt16BE(identity.epoch, 51)
  bytes.writeInt32BE(sequence, 53)
  bytes.writeUInt32BE(crc32c(bytes, 21), 17)
}

/** Node's fast path under `buf.write`, missing in its type definitions. */
interface Utf8Writer {
  utf8Write(text: string, at: number): number
}

function put(b: Buffer, at: number, data: Buffer | string): number {
  if (typeof data === 'string') return (b as unknown as Utf8Writer).utf8Write(data, at)
  b.set(data, at)
  return data.length
}

function headersRoom(headers: NonNullable<OutRecord['headers']>): number {
  let n = 5
  for (const [name, value] of headers) n += 10 + name.length * 3 + (value === null ? 0 : value.length * (typeof value === 'string' ? 3 : 1))
  return n
}

const bytesOf = (data: Buffer | string): number => (typeof data === 'string' ? Buffer.byteLength(data) : data.length)

function headersSize(headers: NonNullable<OutRecord['headers']>): number {
  let n = varintSize(headers.length)
  for (const [name, value] of headers) {
    const nameBytes = Buffer.byteLength(name)
    n += varintSize(nameBytes) + nameBytes
    if (value === null) n += 1
    else {
      const valueBytes = bytesOf(value)
      n += varintSize(valueBytes) + valueBytes
    }
  }
  return n
}

function putHeaders(b: Buffer, at: number, headers: NonNullable<OutRecord['headers']>): number {
  let p = putVarint(b, at, headers.length)
  for (const [name, value] of headers) {
    p = putVarint(b, p, Buffer.byteLength(name))
    p += put(b, p, name)
    if (value === null) b[p++] = 1
    else {
      p = putVarint(b, p, bytesOf(value))
      p += put(b, p, value)
    }
  }
  return p
}
