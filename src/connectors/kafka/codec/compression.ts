/** The five compressions of Kafka record batches, all synchronous: a batch is at most a few hundred KB. */
import zlib from 'node:zlib'
import snappy from 'snappyjs'
import { DecodeError, EnvironmentError } from '../../../contract/plugin.ts'
import { limits } from '../../../kit/limits.ts'
import { lz4 } from './lz4.ts'
import { lz4Exceeds } from './lz4-size.ts'
import { decodeBlock } from './unsnappy.ts'

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** Low three bits of a batch's attributes. */
export const codecIds: Record<Compression, number> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }

const ZSTD_PARAMS = { [zlib.constants.ZSTD_c_compressionLevel]: 1 }

/** @throws {EnvironmentError} when this Node.js has no zstd. */
export function compress(type: Compression, data: Buffer): Buffer {
  switch (type) {
    case 'none':
      return data
    case 'gzip':
      return zlib.gzipSync(data, { level: 1, chunkSize: 65_536 })
    case 'snappy':
      return snappy.compress(data)
    case 'lz4':
      return lz4().compressFrameSync(data)
    case 'zstd':
      needZstd()
      return zlib.zstdCompressSync(data, { chunkSize: 65_536, params: ZSTD_PARAMS })
  }
}

/** @throws {DecodeError} for an unknown codec, damaged data, or more than `limits.batch` bytes, of which no more are produced. */
export function decompress(codec: number, data: Buffer): Buffer {
  if (codec === 0) return data
  if (codec > 4) throw new DecodeError(`unknown compression codec ${codec}`)
  if (codec === 3) lz4()
  if (codec === 4) needZstd()
  const max = limits().batch
  try {
    if (codec === 1) return zlib.gunzipSync(data, { chunkSize: 131_072, maxOutputLength: max })
    if (codec === 2) return unsnappy(data, max)
    if (codec === 3) {
      if (lz4Exceeds(data, max)) throw new TooLargeError()
      return lz4().decompressFrameSync(data)
    }
    // The frame header usually contains the length of the content; one output chunk of that size saves a copy.
    return zlib.zstdDecompressSync(data, { chunkSize: zstdContentSize(data) + 1, maxOutputLength: max })
  } catch (error) {
    if (error instanceof TooLargeError || (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new DecodeError(`the batch has ${data.length} bytes and decompresses to more than ${max}; raise limits.batch to read it`, error)
    throw new DecodeError(`the compressed data of the batch is damaged (${Object.keys(codecIds)[codec]})`, error)
  }
}

class TooLargeError extends Error {}

function needZstd(): void {
  if (typeof zlib.zstdCompressSync !== 'function') {
    throw new EnvironmentError(
      `zstd needs Node.js 22.15 or later, and this is ${process.version}; set compression: gzip or use a newer Node.js`,
    )
  }
}

/** Content size from a zstd frame header (RFC 8878 3.1.1.1), or a middle-sized guess. */
function zstdContentSize(data: Buffer): number {
  const fallback = 131_072
  if (data.length < 14 || data.readUInt32LE(0) !== 0xfd2fb528) return fallback
  const descriptor = data[4]
  const sizeFlag = descriptor >> 6
  const single = (descriptor >> 5) & 1
  let at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]
  if (at + 8 > data.length) return fallback
  let size: number
  if (sizeFlag === 0) {
    if (!single) return fallback
    size = data[at]
  } else if (sizeFlag === 1) size = data.readUInt16LE(at) + 256
  else size = data.readUInt32LE(at)
  return size < 64 || size > 16_777_216 ? fallback : size
}

const XERIAL = Buffer.from([130, 83, 78, 65, 80, 80, 89, 0])

/** Java writes snappy in the xerial framing, librdkafka and others as one raw block. */
function unsnappy(data: Buffer, max: number): Buffer {
  if (data.length < 16 || !data.subarray(0, 8).equals(XERIAL)) return unsnappyBlock(data, max)
  const blocks: Buffer[] = []
  let room = max
  for (let at = 16; at + 4 <= data.length; ) {
    const size = data.readUInt32BE(at)
    const block = unsnappyBlock(data.subarray(at + 4, at + 4 + size), room)
    blocks.push(block)
    room -= block.length
    at += 4 + size
  }
  return Buffer.concat(blocks)
}

function unsnappyBlock(block: Buffer, max: number): Buffer {
  let size = 0
  let at = 0
  for (let scale = 1, more = true; more && at < 5; scale *= 128) {
    more = block[at] >= 0x80
    size += (block[at++] & 0x7f) * scale
  }
  // The format cannot shrink data to less than about a twentieth.
  if (size > max && size <= block.length * 64) throw new TooLargeError()
  if (!(size <= block.length * 64)) throw new Error(`a block of ${block.length} bytes claims to hold ${size}`)
  return decodeBlock(block, at, size)
}
