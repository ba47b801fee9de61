/** Numbers in record batches: zigzag varints, and int64 as far as a number is exact. */
import { DecodeError } from '../../../contract/plugin.ts'

/** Size of the zigzag varint of an int32. */
export function varintSize(value: number): number {
  const z = ((value << 1) ^ (value >> 31)) >>> 0
  return z < 0x80 ? 1 : z < 0x4000 ? 2 : z < 0x200000 ? 3 : z < 0x10000000 ? 4 : 5
}

export function putVarint(b: Buffer, at: number, value: number): number {
  let z = ((value << 1) ^ (value >> 31)) >>> 0
  while (z > 0x7f) {
    b[at++] = (z & 0x7f) | 0x80
    z >>>= 7
  }
  b[at++] = z
  return at
}

const fits31 = (value: number): boolean => value >= -0x40000000 && value < 0x40000000

export function longSize(value: number): number {
  if (fits31(value)) return varintSize(value)
  let z = value < 0 ? -value * 2 - 1 : value * 2
  let n = 1
  while (z > 0x7f) {
    z = Math.floor(z / 128)
    n++
  }
  return n
}

/** Zigzag varint of an integer up to 2^52 in size. */
export function putLong(b: Buffer, at: number, value: number): number {
  if (fits31(value)) return putVarint(b, at, value)
  let z = value < 0 ? -value * 2 - 1 : value * 2
  while (z > 0x7f) {
    b[at++] = (z % 128) | 0x80
    z = Math.floor(z / 128)
  }
  b[at++] = z
  return at
}

export function writeInt64(b: Buffer, at: number, value: number): void {
  b.writeInt32BE(Math.floor(value / 4294967296), at)
  b.writeUInt32BE(value - Math.floor(value / 4294967296) * 4294967296, at + 4)
}
export const readInt64 = (b: Buffer, at: number): number => b.readInt32BE(at) * 4294967296 + b.readUInt32BE(at + 4)

/**
 * Slow but general reader of a part of a batch; the loop over records has its own inlined one. Every length and count is checked here,
 * once: none is negative, and none exceeds the bytes up to `end`.
 */
export class Cursor {
  readonly b: Buffer
  at: number
  end: number
  constructor(b: Buffer, at: number, end: number) {
    this.b = b
    this.at = at
    this.end = end
  }
  varint(): number {
    let z = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte()
      z |= (byte & 0x7f) << shift
      if (byte < 0x80) return (z >>> 1) ^ -(z & 1)
    }
    throw new DecodeError('a varint in the batch is too long')
  }
  long(): number {
    let z = 0
    let scale = 1
    for (let n = 0; n < 10; n++) {
      const byte = this.byte()
      z += (byte & 0x7f) * scale
      if (byte < 0x80) return z % 2 === 0 ? z / 2 : -(z + 1) / 2
      scale *= 128
    }
    throw new DecodeError('a varint in the batch is too long')
  }
  /** Bytes after their length; null: their length is -1. */
  bytes(): Buffer | null {
    const length = this.varint()
    if (length === -1) return null
    if (length < 0 || length > this.end - this.at) throw new DecodeError(`a length of ${length} does not fit into the record`)
    return this.b.subarray(this.at, (this.at += length))
  }
  /** Of things of at least `size` bytes each. */
  count(size: number): number {
    const count = this.varint()
    if (count < 0 || count * size > this.end - this.at) throw new DecodeError(`a count of ${count} does not fit into the record`)
    return count
  }
  private byte(): number {
    if (this.at >= this.end) throw new DecodeError('a number extends beyond the end of its record')
    return this.b[this.at++]
  }
}
