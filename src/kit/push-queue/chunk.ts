/**
 * Records packed into one Buffer, in memory as on disk: memory is bounded exactly by bytes, spilling is one write, and hundreds of
 * thousands of waiting records do not burden the garbage collector.
 */
import type { Header } from '../../contract/plugin.ts'

/** A record that a peer pushed. Its bytes are copied. */
export interface PushRecord {
  readonly payload: Buffer
  readonly key?: Buffer | string | null
  /** Channel, subject, stream… */
  readonly topic?: Buffer | string
  /** Arrival time, epoch ms. */
  readonly time: number
  readonly headers?: readonly Header[]
}

export interface QueuedRecord {
  readonly payload: Buffer
  readonly key: Buffer | null
  readonly topic: string | undefined
  readonly time: number
  readonly headers: readonly Header[] | undefined
  /** Ascending by one, also across restarts; with gaps where records were dropped. */
  readonly seq: number
}

/** size of the record, time, key + 1 (0: none), topic + 1, headers */
const FIXED = 4 + 8 + 4 + 4 + 4

export class Chunk {
  /** `undefined` while it is only on disk. */
  buf: Buffer | undefined
  /** Bytes in use. */
  used: number
  count: number
  /** Number of the first record. */
  readonly first: number
  /** Its position on disk. */
  place: { readonly file: object; readonly at: number } | undefined

  constructor(first: number, buf: Buffer | undefined, used = 0, count = 0) {
    this.first = first
    this.buf = buf
    this.used = used
    this.count = count
  }

  /** Number after the last record. */
  get end(): number {
    return this.first + this.count
  }

  /** Bytes of memory used. */
  get held(): number {
    return this.buf?.length ?? 0
  }

  /** False: there is no room for the record. */
  append(r: PushRecord, size: number): boolean {
    const buf = this.buf!
    if (this.used + size > buf.length) return false
    let at = this.used
    buf.writeUInt32LE(size, at)
    buf.writeDoubleLE(r.time, at + 4)
    const sizes = at + 12
    at += FIXED
    at = put(buf, r.key, sizes, at)
    at = put(buf, r.topic, sizes + 4, at)
    at = put(buf, r.headers && encodeHeaders(r.headers), sizes + 8, at)
    r.payload.copy(buf, at)
    this.used += size
    this.count++
    return true
  }

  /** The start of record number `seq`. */
  offsetOf(seq: number): number {
    let at = 0
    for (let n = this.first; n < seq && at < this.used; n++) at += this.buf!.readUInt32LE(at)
    return at
  }

  /** Adds up to `max` records from byte `at` on to `into`. @returns the byte after them. */
  read(at: number, seq: number, max: number, into: QueuedRecord[]): number {
    const buf = this.buf!
    for (let n = 0; n < max && at < this.used; n++) {
      const end = at + buf.readUInt32LE(at)
      const time = buf.readDoubleLE(at + 4)
      const keySize = buf.readUInt32LE(at + 12)
      const topicSize = buf.readUInt32LE(at + 16)
      const headersSize = buf.readUInt32LE(at + 20)
      const key = at + FIXED
      const topic = key + Math.max(0, keySize - 1)
      const headers = topic + Math.max(0, topicSize - 1)
      const payload = headers + Math.max(0, headersSize - 1)
      into.push({
        payload: buf.subarray(payload, end),
        key: keySize === 0 ? null : buf.subarray(key, topic),
        topic: topicSize === 0 ? undefined : buf.toString('utf8', topic, headers),
        time,
        headers: headersSize === 0 ? undefined : decodeHeaders(buf.toString('utf8', headers, payload)),
        seq: seq + n,
      })
      at = end
    }
    return at
  }
}

/** Bytes that a record occupies in a chunk. */
export function sizeOf(r: PushRecord): number {
  const headers = r.headers === undefined ? 0 : Buffer.byteLength(encodeHeaders(r.headers))
  return FIXED + length(r.key) + length(r.topic) + headers + r.payload.length
}

const length = (part: Buffer | string | null | undefined): number =>
  typeof part === 'string' ? Buffer.byteLength(part) : (part?.length ?? 0)

function put(buf: Buffer, part: Buffer | string | null | undefined, sizeAt: number, at: number): number {
  if (part === undefined || part === null) {
    buf.writeUInt32LE(0, sizeAt)
    return at
  }
  const size = typeof part === 'string' ? buf.write(part, at) : part.copy(buf, at)
  buf.writeUInt32LE(size + 1, sizeAt)
  return at + size
}

const encodeHeaders = (headers: readonly Header[]): string =>
  JSON.stringify(headers.map(([name, value]) => (Buffer.isBuffer(value) ? [name, null, value.toString('base64')] : [name, value])))

const decodeHeaders = (json: string): Header[] =>
  (JSON.parse(json) as [string, string | null, string?][]).map(([name, text, bytes]) => [
    name,
    bytes === undefined ? text : Buffer.from(bytes, 'base64'),
  ])
