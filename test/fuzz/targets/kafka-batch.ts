/** Record batches of a fetch response: valid CRCs and lengths around whatever is inside, compressed or not. */
import { ConnectionError, DecodeError, type Origin } from '../../../src/contract/plugin.ts'
import { compress, type Compression, decompress } from '../../../src/connectors/kafka/codec/compression.ts'
import { crc32c } from '../../../src/connectors/kafka/codec/crc32c.ts'
import { SetReader } from '../../../src/connectors/kafka/codec/decode.ts'
import { BatchBuilder, CONTROL, HEADER_SIZE } from '../../../src/connectors/kafka/codec/encode.ts'
import { mutate } from '../mutate.ts'
import type { Random } from '../random.ts'
import { assert, expected, type Target } from '../target.ts'

const origin: Origin = { lane: 't/0', source: 's', topic: 't', partition: 0, format: 'bytes' }
const CODECS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

function batch(compression: Compression, count: number): Buffer {
  const builder = new BatchBuilder()
  for (let i = 0; i < count; i++)
    builder.append({
      topic: 't',
      partition: 0,
      key: i % 3 === 0 ? null : `k${i}`,
      value: i % 5 === 4 ? null : `{"n":${i}}`,
      headers:
        i % 2 === 0
          ? [
              ['h', Buffer.from('v')],
              ['null', null],
            ]
          : undefined,
      time: 1_700_000_000_000 + i,
    })
  return sealed(Buffer.from(builder.seal(compression).bytes))
}

/** The header as a broker writes it. */
function sealed(bytes: Buffer): Buffer {
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes.writeUInt32BE(crc32c(bytes, 21, bytes.length), 17)
  return bytes
}

/** As a broker ends a transaction. */
function marker(): Buffer {
  const bytes = Buffer.from(batch('none', 1).subarray(0, HEADER_SIZE + 16))
  Buffer.from([30, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0]).copy(bytes, HEADER_SIZE)
  bytes.writeInt16BE(CONTROL | 0x10, 21)
  return sealed(bytes)
}

/** Only the bytes after the header are changed, then packed again: a damaged zlib stream would not test the reader of records. */
function inside(bytes: Buffer, random: Random): Buffer {
  const codec = bytes.readInt16BE(21) & 7
  try {
    const records = codec === 0 ? bytes.subarray(HEADER_SIZE) : decompress(codec, bytes.subarray(HEADER_SIZE))
    if (records.length > 65_536) return bytes
    const changed = mutate(records, records, [], random)
    return Buffer.concat([bytes.subarray(0, HEADER_SIZE), codec === 0 ? changed : compress(CODECS[codec], changed)])
  } catch {
    return bytes
  }
}

export const target: Target = {
  name: 'kafka-batch',
  seeds: () => [...CODECS.map(codec => batch(codec, 7)), marker(), Buffer.concat([batch('none', 2), marker(), batch('zstd', 3)])],
  repair(input, random) {
    if (input.length < HEADER_SIZE) return input
    const size = input.readInt32BE(8) + 12
    const whole = size >= HEADER_SIZE && size < input.length ? input.subarray(0, size) : input
    const rest = input.subarray(whole.length)
    let bytes: Buffer = Buffer.from(whole)
    bytes[16] = 2
    if (random.chance(0.5)) bytes = inside(bytes, random)
    return Buffer.concat([sealed(bytes), rest])
  },
  // An error of the connection is one of the whole answer: it is fetched again.
  run: input => expected([ConnectionError], () => read(input)),
}

function read(input: Buffer): string {
  const reader = new SetReader(input, 0, origin, input.length % 2 === 0 ? [] : undefined)
  const last = reader.lastOffset()
  let next = -1
  let outcome = last === undefined ? 'nothing' : ''
  for (;;) {
    const { messages, done } = reader.read(1000)
    for (const message of messages) {
      assert(message.offset > next, 'offsets go up')
      assert(message.offset < reader.nextOffset, 'what comes next lies behind the last record')
      next = message.offset
      if (message.failure !== undefined) {
        assert(message.failure instanceof DecodeError, 'a failure is a DecodeError')
        outcome += `${message.failure.message.replace(/\d+/g, 'N').slice(0, 60)};`
      } else outcome += message.headers === undefined ? 'r' : 'h'
    }
    if (done) return outcome.slice(0, 200)
  }
}
