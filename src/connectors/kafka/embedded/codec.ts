/**
 * Records of one partition as one blob, in columns, so that decoding needs no parsing:
 *
 *     u32 format, u32 count, f64 time[count], i32 keyLength[count], i32 valueLength[count],
 *     i32 headersLength[count] (only with HAS_HEADERS), then per record: key, value, headers; at the end u32 CRC-32 (only with HAS_CRC)
 *
 * A length of -1 is null; a key length of -2 means the key of the previous record. Little-endian, like all platforms of Node.
 * The checksum covers all bytes before it and the position of the chunk; chunks of 0.1.0 have none.
 */
import { crc32 } from 'node:zlib'
import { type Header, Message, type Origin } from '../../../contract/plugin.ts'

const FORMAT = 1
const HAS_HEADERS = 0x100
const HAS_CRC = 0x200
const CRC_BYTES = 4
const NULL = -1
const SAME_KEY = -2

/** A chunk is full at either limit: large enough to spread the cost of a row, small enough that a seek into one wastes little. */
const MAX_DATA = 128 * 1024
const MAX_RECORDS = 4096

export interface Chunk {
  readonly count: number
  readonly newest: number
  /** Complete after `placeChunk`. */
  readonly data: Buffer
  /** CRC of `data` without its checksum. */
  readonly crc: number
}

/** Writers for reuse: allocating their buffers costs more than filling them with a few records. */
const spare: ChunkWriter[] = []
const MAX_SPARE = 16

/** Collects records of one partition and splits them into chunks. */
export class ChunkWriter {
  chunks: Chunk[] = []
  private times = new Float64Array(256)
  private keys = new Int32Array(256)
  private values = new Int32Array(256)
  private headers = new Int32Array(256)
  private count = 0
  private data = Buffer.allocUnsafeSlow(16 * 1024)
  private used = 0
  private newest = -Infinity
  private hasHeaders = false
  private lastKey: Buffer | string | null = null

  add(key: Buffer | string | null, value: Buffer | string | null, headers: readonly Header[] | undefined, time: number): void {
    if (this.count === MAX_RECORDS || this.used >= MAX_DATA) this.cut()
    if (this.count === this.times.length) this.grow()
    const i = this.count++
    this.times[i] = time
    if (time > this.newest) this.newest = time
    // Neighbors often share their key, and comparing with `===` is cheaper than writing it again.
    if (i > 0 && key !== null && key === this.lastKey) this.keys[i] = SAME_KEY
    else this.keys[i] = this.put(key)
    this.lastKey = key
    this.values[i] = this.put(value)
    if (headers !== undefined && headers.length > 0) {
      this.hasHeaders = true
      this.headers[i] = this.putHeaders(headers)
    } else this.headers[i] = 0
  }

  static take(): ChunkWriter {
    return spare.pop() ?? new ChunkWriter()
  }

  /** Returns the buffers for reuse. Call it when all chunks are written. */
  recycle(): void {
    this.cut()
    this.chunks = []
    if (spare.length < MAX_SPARE && this.data.length <= 2 * MAX_DATA) spare.push(this)
  }

  /** Closes the current chunk; afterwards all records are in `chunks`. */
  cut(): void {
    const n = this.count
    if (n === 0) return
    const head = 8 + n * (this.hasHeaders ? 20 : 16)
    const out = Buffer.allocUnsafeSlow(head + this.used + CRC_BYTES)
    const bytes = out.buffer
    new Uint32Array(bytes, 0, 2).set([FORMAT | HAS_CRC | (this.hasHeaders ? HAS_HEADERS : 0), n])
    new Float64Array(bytes, 8, n).set(this.times.subarray(0, n))
    new Int32Array(bytes, 8 + 8 * n, n).set(this.keys.subarray(0, n))
    new Int32Array(bytes, 8 + 12 * n, n).set(this.values.subarray(0, n))
    if (this.hasHeaders) new Int32Array(bytes, 8 + 16 * n, n).set(this.headers.subarray(0, n))
    this.data.copy(out, head, 0, this.used)
    this.chunks.push({ count: n, newest: this.newest, data: out, crc: crc32(out.subarray(0, -CRC_BYTES)) })
    this.count = 0
    this.used = 0
    this.newest = -Infinity
    this.hasHeaders = false
    this.lastKey = null
  }

  private put(bytes: Buffer | string | null): number {
    if (bytes === null) return NULL
    if (typeof bytes === 'string') {
      this.reserve(bytes.length * 3)
      const written = this.data.write(bytes, this.used)
      this.used += written
      return written
    }
    this.reserve(bytes.length)
    this.data.set(bytes, this.used)
    this.used += bytes.length
    return bytes.length
  }

  private putHeaders(headers: readonly Header[]): number {
    const start = this.used
    this.putInt(headers.length)
    for (const [name, value] of headers) {
      this.putSized(name)
      this.putSized(value)
    }
    return this.used - start
  }

  private putSized(bytes: Buffer | string | null): void {
    const at = this.used
    this.putInt(0)
    // Read `this.data` after `put`, which may replace the buffer.
    const length = this.put(bytes)
    this.data.writeInt32LE(length, at)
  }

  private putInt(n: number): void {
    this.reserve(4)
    this.used = this.data.writeInt32LE(n, this.used)
  }

  private reserve(bytes: number): void {
    if (this.used + bytes <= this.data.length) return
    const bigger = Buffer.allocUnsafeSlow(Math.max(this.data.length * 2, this.used + bytes))
    this.data.copy(bigger, 0, 0, this.used)
    this.data = bigger
  }

  private grow(): void {
    const size = this.times.length * 2
    this.times = longer(this.times, new Float64Array(size))
    this.keys = longer(this.keys, new Int32Array(size))
    this.values = longer(this.values, new Int32Array(size))
    this.headers = longer(this.headers, new Int32Array(size))
  }
}

function longer<A extends Float64Array | Int32Array>(array: A, bigger: A): A {
  bigger.set(array)
  return bigger
}

/** Includes the position of the chunk: a chunk at another offset or in another partition does not match. */
function placed(crc: number, part: number, next: number): number {
  const place = new Float64Array([part, next])
  return crc32(new Uint8Array(place.buffer), crc)
}

/** Sets the position of a chunk. Call it last before it is written. */
export function placeChunk({ data, crc }: Chunk, part: number, next: number): void {
  data.writeUInt32LE(placed(crc, part, next), data.length - CRC_BYTES)
}

/** The position of a chunk. `next`: the offset after its last record. */
export interface ChunkPlace {
  readonly part: number
  readonly next: number
}

/** Appends the records of a chunk to `into`, starting at offset `from`. */
export function decodeChunk(blob: Uint8Array, { part, next }: ChunkPlace, from: number, origin: Origin, into: Message[]): void {
  // The typed views below need an aligned buffer. Buffers of SQLite are aligned; others are copied.
  const data =
    blob.byteOffset % 8 === 0 ? Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength) : Buffer.from(Uint8Array.from(blob).buffer)
  if (data.length < 8) throw new DamagedChunk('it is too short')
  const start = data.byteOffset
  const format = data.readUInt32LE(0)
  const n = data.readUInt32LE(4)
  const checked = (format & HAS_CRC) !== 0
  const size = data.length - (checked ? CRC_BYTES : 0)
  if (checked && data.readUInt32LE(size) !== placed(crc32(data.subarray(0, size)), part, next))
    throw new DamagedChunk('its checksum does not match')
  if ((format & 0xff) !== FORMAT) throw new DamagedChunk(`it has format ${format & 0xff}, and this version reads ${FORMAT}`)
  const withHeaders = (format & HAS_HEADERS) !== 0
  const head = 8 + n * (withHeaders ? 20 : 16)
  if (head > size) throw new DamagedChunk('it is too short')
  const times = new Float64Array(data.buffer, start + 8, n)
  const keys = new Int32Array(data.buffer, start + 8 + 8 * n, n)
  const values = new Int32Array(data.buffer, start + 8 + 12 * n, n)
  const headers = withHeaders ? new Int32Array(data.buffer, start + 8 + 16 * n, n) : undefined
  const skip = from - (next - n)
  let at = head
  let key: Buffer | null = null
  for (let i = 0; i < n; i++) {
    const keyLength = keys[i]
    if (keyLength >= 0) key = data.subarray(at, (at += keyLength))
    else if (keyLength === NULL) key = null
    else if (keyLength !== SAME_KEY) throw new DamagedChunk(`a key has a length of ${keyLength}`)
    const valueLength = values[i]
    const valueAt = at
    if (valueLength > 0) at += valueLength
    const headersAt = at
    if (headers !== undefined) at += headers[i]
    // Checks without a checksum, or if its format bit has flipped: positions must increase.
    if (at > size || at < headersAt || valueLength < NULL) throw new DamagedChunk('its lengths do not match')
    if (i < skip) continue
    const value = valueLength === NULL ? null : data.subarray(valueAt, valueAt + valueLength)
    const list = headers !== undefined && headers[i] > 0 ? decodeHeaders(data, headersAt, at) : undefined
    into.push(Message.fromRecord(value, key, times[i], list, next - n + i, origin))
  }
  if (at !== size) throw new DamagedChunk('its lengths do not match')
}

/** The bytes read differ from those written. */
export class DamagedChunk extends Error {}

function decodeHeaders(data: Buffer, at: number, end: number): Header[] {
  let position = at
  const int = (): number => {
    if (position + 4 > end) throw new DamagedChunk('its lengths do not match')
    position += 4
    return data.readInt32LE(position - 4)
  }
  const sized = (): Buffer | null => {
    const length = int()
    if (length === NULL) return null
    if (length < 0 || length > end - position) throw new DamagedChunk('its lengths do not match')
    return data.subarray(position, (position += length))
  }
  const count = int()
  if (count < 0 || count * 8 > end - position) throw new DamagedChunk('its lengths do not match')
  return Array.from({ length: count }, () => {
    const name = sized()
    if (name === null) throw new DamagedChunk('a header has no name')
    return [name.toString(), sized()] as const
  })
}

/** First offset in the chunk with a time at or after `time`. */
export function findTime(blob: Uint8Array, next: number, time: number): number {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength)
  const n = Math.min(view.getUint32(4, true), (blob.byteLength - 8) >> 3)
  for (let i = 0; i < n; i++) if (view.getFloat64(8 + 8 * i, true) >= time) return next - n + i
  return next
}
