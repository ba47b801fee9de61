import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Compression, compress, decompress } from '../../../src/connectors/kafka/codec/compression.ts'
import { crc32c } from '../../../src/connectors/kafka/codec/crc32c.ts'
import { batchHeader, SetReader } from '../../../src/connectors/kafka/codec/decode.ts'
import { lz4Exceeds } from '../../../src/connectors/kafka/codec/lz4-size.ts'
import { BatchBuilder, stamp } from '../../../src/connectors/kafka/codec/encode.ts'
import type { OutRecord } from '../../../src/connectors/kafka/driver.ts'
import type { Header, Message } from '../../../src/contract/plugin.ts'
import { useLimits } from '../../../src/kit/limits.ts'
import { character } from '../../support/characters.ts'

const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const origin = { lane: 't/0', source: 's', topic: 't', partition: 0, format: 'bytes' as const }
const identity = { producerId: 4_294_967_297, epoch: 7 }

function encode(records: readonly OutRecord[], compression: Compression = 'none', baseOffset = 0, transactional = false): Buffer {
  const builder = new BatchBuilder()
  for (const record of records) builder.append(record)
  const { bytes } = builder.seal(compression)
  stamp(bytes, identity, 5, transactional)
  bytes.writeBigInt64BE(BigInt(baseOffset), 0)
  return Buffer.from(bytes)
}

const read = (set: Buffer, from = 0): Message[] => new SetReader(set, from, origin, undefined).read(Infinity).messages
const record = (value: OutRecord['value'], more: Partial<OutRecord> = {}): OutRecord => ({
  topic: 't',
  key: null,
  value,
  headers: undefined,
  time: 1,
  ...more,
})
const bytes = (data: Buffer | string | null): Buffer | null => (typeof data === 'string' ? Buffer.from(data) : data)

const text = fc.oneof(
  fc.string({ maxLength: 300 }),
  fc.string({ unit: character, maxLength: 300 }),
  fc.string({ unit: fc.constantFrom('a', 'é', '価', '🎈', '\ud800') }),
)
const data = fc.oneof(
  text,
  fc.uint8Array({ maxLength: 300 }).map(a => Buffer.from(a)),
  fc.constant(null),
)
const headers = fc.option(fc.array(fc.tuple(text, data) as fc.Arbitrary<Header>, { maxLength: 4 }), { nil: undefined })
const time = fc.oneof(fc.integer({ min: 0, max: 4_102_444_800_000 }), fc.integer({ min: 1_700_000_000_000, max: 1_700_000_001_000 }))
const outRecord: fc.Arbitrary<OutRecord> = fc.record({ topic: fc.constant('t'), key: data, value: data, headers, time })

test('CRC-32C gives the published check value, at any alignment', () => {
  const nine = Buffer.from('123456789')
  expect(crc32c(nine)).toBe(0xe3069283)
  for (let shift = 0; shift < 9; shift++) {
    const padded = Buffer.concat([Buffer.alloc(shift, 0xaa), nine, Buffer.alloc(shift)])
    expect(crc32c(padded, shift, shift + 9)).toBe(0xe3069283)
  }
})

describe.each(COMPRESSIONS)('%s', compression => {
  test('written records are read back: keys, values, headers and times of any kind', () => {
    fc.assert(
      fc.property(fc.array(outRecord, { minLength: 1, maxLength: 40 }), fc.integer({ min: 0, max: 2 ** 50 }), (records, base) => {
        const messages = read(encode(records, compression, base))
        expect(messages.map(m => [m.keyBytes, m.payload, m.headers?.map(([n, v]) => [n, v]), m.time, m.offset, m.failure])).toEqual(
          records.map((r, i) => [
            bytes(r.key),
            bytes(r.value),
            r.headers === undefined || r.headers.length === 0
              ? undefined
              : r.headers.map(([n, v]) => [Buffer.from(n).toString(), bytes(v)]),
            r.time,
            base + i,
            undefined,
          ]),
        )
      }),
      { numRuns: 200 },
    )
  })

  test('a damaged batch neither throws nor stalls: it is one failed message, or the damage is outside the CRC', () => {
    const set = encode([record('first', { key: 'k' }), record('x'.repeat(500)), record(null)], compression, 100)
    for (let at = 12; at < set.length; at++) {
      const damaged = Buffer.from(set)
      damaged[at] ^= 0x55
      const reader = new SetReader(damaged, 100, origin, undefined)
      const { messages, done } = reader.read(Infinity)
      expect(done).toBe(true)
      expect(reader.nextOffset).toBeGreaterThan(100)
      // Leader epoch (12-15) is the only field outside the CRC besides magic and the CRC itself.
      if (at < 16) expect(messages).toHaveLength(3)
      else {
        expect(messages).toHaveLength(1)
        expect(messages[0].failure, `byte ${at}`).toBeDefined()
        expect(messages[0].payload!.equals(damaged)).toBe(true)
        expect(messages[0].offset).toBe(100)
      }
    }
  })

  test('data that does not decompress is an error', () => {
    if (compression === 'none') return
    expect(() =>
      decompress(['none', 'gzip', 'snappy', 'lz4', 'zstd'].indexOf(compression), Buffer.from('this was never compressed')),
    ).toThrow(/damaged/)
    const packed = compress(compression, Buffer.alloc(200_000, 'abc'))
    expect(() =>
      decompress(['none', 'gzip', 'snappy', 'lz4', 'zstd'].indexOf(compression), packed.subarray(0, packed.length >> 1)),
    ).toThrow(/damaged/)
  })
})

test('an unknown compression fails only its batch; the batches around it are read', () => {
  const strange = encode([record('b'), record('c')], 'none', 1)
  strange.writeInt16BE(6, 21)
  strange.writeUInt32BE(crc32c(strange, 21), 17)
  const messages = read(Buffer.concat([encode([record('a')], 'none', 0), strange, encode([record('d')], 'zstd', 3)]))
  expect(messages.map(m => [m.offset, m.failure?.message])).toEqual([
    [0, undefined],
    [1, 'unknown compression codec 6'],
    [3, undefined],
  ])
  expect(messages[1].payload!.equals(strange)).toBe(true)
})

test('a record format of old brokers fails the message, not the reader', () => {
  const old = encode([record('b')], 'none', 1)
  old[16] = 1
  const messages = read(Buffer.concat([old, encode([record('c')], 'none', 2)]))
  expect(messages.map(m => m.failure?.message)).toEqual([expect.stringMatching(/record format v1/), undefined])
})

test('a set that ends in the middle of a batch gives its complete batches', () => {
  const set = Buffer.concat([encode([record('a')], 'none', 0), encode([record('b')], 'none', 1)])
  const first = encode([record('a')], 'none', 0).length
  for (let size = 0; size < set.length; size++) expect(read(set.subarray(0, size))).toHaveLength(size < first ? 0 : 1)
})

test('records before the requested offset are omitted; the set is returned batch by batch', () => {
  const set = Buffer.concat(
    [0, 10, 20].map(base =>
      encode(
        Array.from({ length: 10 }, (_, i) => record(`${base + i}`)),
        'zstd',
        base,
      ),
    ),
  )
  expect(read(set, 15).map(m => m.offset)).toEqual(Array.from({ length: 15 }, (_, i) => 15 + i))
  const reader = new SetReader(set, 0, origin, undefined)
  expect(reader.lastOffset()).toBe(29)
  const sizes: number[] = []
  for (let done = false; !done; ) {
    const piece = reader.read(1)
    sizes.push(piece.messages.length)
    done = piece.done
  }
  expect(sizes).toEqual([10, 10, 10])
  expect(reader.nextOffset).toBe(30)
})

test('records of aborted transactions are omitted by their markers, whatever lies between', () => {
  const data = (producerId: number, base: number, value: string): Buffer => {
    const set = encode([record(value)], 'none', base, true)
    set.writeBigInt64BE(BigInt(producerId), 43)
    set.writeUInt32BE(crc32c(set, 21), 17)
    return set
  }
  const marker = (producerId: number, base: number, commit: boolean): Buffer => {
    const set = encode([record(Buffer.alloc(6), { key: Buffer.from([0, 0, 0, commit ? 1 : 0]) })], 'none', base, true)
    set.writeInt16BE(set.readInt16BE(21) | 0x20, 21)
    set.writeBigInt64BE(BigInt(producerId), 43)
    set.writeUInt32BE(crc32c(set, 21), 17)
    return set
  }
  const set = Buffer.concat([
    data(1, 0, 'a1'),
    data(2, 1, 'c1'),
    marker(2, 2, true),
    data(1, 3, 'a2'),
    marker(1, 4, false),
    data(1, 5, 'c2'),
    marker(1, 6, true),
    data(1, 7, 'a3'),
  ])
  const aborted = [
    { producerId: 1, firstOffset: 7 },
    { producerId: 1, firstOffset: 0 },
  ]
  const reader = new SetReader(set, 0, origin, aborted)
  expect(reader.read(Infinity).messages.map(m => m.payload!.toString())).toEqual(['c1', 'c2'])
  expect(reader.nextOffset).toBe(8)
  expect(new SetReader(set, 0, origin, undefined).read(Infinity).messages).toHaveLength(5)
})

test('the header has the fields that the broker needs: count, times, producer, sequence, attributes', () => {
  const set = encode([record('a', { time: 50 }), record('b', { time: 20 }), record('c', { time: 70 })], 'zstd', 9, true)
  expect(batchHeader(set, 0)).toEqual({
    at: 0,
    end: set.length,
    baseOffset: 9,
    lastOffset: 11,
    producerId: identity.producerId,
    attributes: 4 | 0x10,
  })
  expect(Number(set.readBigInt64BE(27))).toBe(50)
  expect(Number(set.readBigInt64BE(35))).toBe(70)
  expect(set.readInt16BE(51)).toBe(7)
  expect(set.readInt32BE(53)).toBe(5)
  expect(set.readInt32BE(57)).toBe(3)
})

test('LZ4: the uncompressed size of frames is computed exactly', () => {
  const parts = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 2000 }),
      fc.nat(200_000).map(n => new Uint8Array(n)),
    ),
    { maxLength: 8 },
  )
  fc.assert(
    fc.property(parts, list => {
      const plain = Buffer.concat(list)
      const frame = compress('lz4', plain)
      expect(lz4Exceeds(frame, plain.length)).toBe(false)
      if (plain.length > 0) expect(lz4Exceeds(frame, plain.length - 1)).toBe(true)
    }),
    { numRuns: 100 },
  )
})

test.each(COMPRESSIONS.slice(1))(
  '%s: a batch larger than limits.batch is dead-lettered with its original bytes, and the next one is read',
  compression => {
    const release = useLimits({ batch: 1000 })
    try {
      const bomb = encode([record(Buffer.alloc(2000))], compression)
      const set = Buffer.concat([bomb, encode([record('next')], compression, 1)])
      const [dead, next] = read(set)
      expect(dead.failure?.message).toMatch(/^the batch has \d+ bytes and decompresses to more than 1000; raise limits.batch to read it$/)
      expect(dead.payload).toEqual(bomb)
      expect([next.offset, next.payload?.toString()]).toEqual([1, 'next'])
    } finally {
      release()
    }
  },
)

test('a large batch is returned in portions, with the same records', () => {
  const set = encode(
    Array.from({ length: 25_001 }, (_, i) => record(String(i))),
    'gzip',
  )
  const reader = new SetReader(set, 7, origin, undefined)
  const parts: number[] = []
  const values: string[] = []
  for (let done = false; !done; ) {
    const part = reader.read(1000)
    parts.push(part.messages.length)
    values.push(...part.messages.map(m => String(m.payload)))
    expect(reader.nextOffset).toBe(7 + values.length)
    ;({ done } = part)
  }
  expect(parts).toEqual([10_000, 10_000, 4994])
  expect(values).toEqual(Array.from({ length: 24_994 }, (_, i) => String(i + 7)))
})
