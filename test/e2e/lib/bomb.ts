/**
 * Reads one hostile record batch in a process of its own, and prints what became of it and of the memory. `keys`: requests with millions of
 * idempotency keys instead.
 */
import zlib from 'node:zlib'
import { crc32c } from '../../../src/connectors/kafka/codec/crc32c.ts'
import { SetReader } from '../../../src/connectors/kafka/codec/decode.ts'
import { HEADER_SIZE } from '../../../src/connectors/kafka/codec/encode.ts'
import { putVarint, varintSize } from '../../../src/connectors/kafka/codec/numbers.ts'
import { lz4 } from '../../../src/connectors/kafka/codec/lz4.ts'
import { compress } from '../../../src/connectors/kafka/codec/compression.ts'
import { IdempotentRequests } from '../../../src/connectors/http/source/idempotent-requests.ts'
import { peakMemory } from '../../support/peak-memory.ts'

const GiB = 1024 ** 3
const BLOCK = 4 * 1024 * 1024
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const origin = { lane: 't/0', source: 's', topic: 't', partition: 0, format: 'bytes' as const }

/** Compressed data that holds 1 GiB, made without having it. */
const bombs: Record<string, () => Buffer> = {
  gzip: () => repeat(zlib.gzipSync(Buffer.alloc(BLOCK)), GiB / BLOCK),
  snappy() {
    const block = compress('snappy', Buffer.alloc(BLOCK))
    const size = Buffer.alloc(4)
    size.writeUInt32BE(block.length)
    const head = Buffer.from([130, 83, 78, 65, 80, 80, 89, 0, 0, 0, 0, 1, 0, 0, 0, 1])
    return Buffer.concat([head, repeat(Buffer.concat([size, block]), GiB / BLOCK)])
  },
  lz4() {
    const frame = lz4().compressFrameSync(Buffer.alloc(65_536))
    const at = 7 + ((frame[4] >> 3) & 1 ? 8 : 0)
    const end = at + 4 + (frame.readUInt32LE(at) & 0x7fffffff)
    // Without content size and checksum, so that the same block may follow again and again.
    return Buffer.concat([frame.subarray(0, at), repeat(frame.subarray(at, end), GiB / 65_536), Buffer.alloc(4)])
  },
  zstd() {
    // RFC 8878: a frame without content size, window of 128 KiB; blocks of one repeated byte.
    const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38])
    const size = 128 * 1024
    const block = (last: number): Buffer => {
      const b = Buffer.alloc(4)
      b.writeUIntLE((size << 3) | (1 << 1) | last, 0, 3)
      return b
    }
    return Buffer.concat([head, repeat(block(0), GiB / size - 1), block(1)])
  },
}

const repeat = (part: Buffer, times: number): Buffer => Buffer.concat(Array.from({ length: times }, () => part))

function batchOf(data: Buffer, codec: number, count: number): Buffer {
  const batch = Buffer.concat([Buffer.alloc(HEADER_SIZE), data])
  batch.writeInt32BE(batch.length - 12, 8)
  batch[16] = 2
  batch.writeInt16BE(codec, 21)
  batch.writeInt32BE(count - 1, 23)
  batch.writeInt32BE(count, 57)
  batch.writeUInt32BE(crc32c(batch, 21, batch.length), 17)
  return batch
}

const name = process.argv[2]
/** MB. */
const peak = (): number => peakMemory('self') / 1000
if (name === 'records') {
  const count = 4_000_000
  const records = Buffer.alloc(count * 11)
  let end = 0
  for (let i = 0; i < count; i++) {
    const length = 5 + varintSize(i)
    // Attributes, both deltas, no key, no value, no headers.
    end = putVarint(records, end, length)
    end = putVarint(records, end + 2, i)
    records[end++] = 1
    records[end++] = 1
    end++
  }
  const batch = batchOf(compress('zstd', records.subarray(0, end)), 4, count)
  const reader = new SetReader(batch, 0, origin, undefined)
  let read = 0
  let most = 0
  for (let done = false; !done; ) {
    const part = reader.read(1000)
    read += part.messages.length
    most = Math.max(most, part.messages.length)
    ;({ done } = part)
  }
  console.log(JSON.stringify({ bytes: batch.length, records: read, most, peak: peak() }))
} else if (name === 'keys') {
  // Webhooks that may not be forgotten: more than a million within their tolerance, with answers of 1 kB.
  const requests = new IdempotentRequests({ ttl: 1e9, max: 100_000, keep: 1e9 })
  const body = Buffer.from('{}')
  const answer = Promise.resolve({ status: 200, body: 'x'.repeat(1000) })
  const statuses: Record<number, number> = {}
  for (let i = 0; i < 1_001_000; i++) {
    const { status } = await requests.once(
      `${i}`.padEnd(64, 'k'),
      body,
      () => i,
      () => answer,
    ).outcome
    statuses[status] = (statuses[status] ?? 0) + 1
  }
  console.log(JSON.stringify({ statuses, peak: peak() }))
} else {
  const batch = batchOf(bombs[name](), CODECS.indexOf(name), 1)
  const start = performance.now()
  const { messages } = new SetReader(batch, 0, origin, undefined).read(1000)
  const ms = Math.round(performance.now() - start)
  console.log(JSON.stringify({ bytes: batch.length - HEADER_SIZE, failure: messages[0].failure?.message, peak: peak(), ms }))
}
