import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ChunkWriter, decodeChunk, findTime, placeChunk } from '../../../../src/connectors/kafka/embedded/codec.ts'
import type { Header, Message } from '../../../../src/contract/plugin.ts'
import { character } from '../../../support/characters.ts'

interface Sample {
  key: Buffer | string | null
  value: Buffer | string | null
  headers: Header[] | undefined
  time: number
}

const origin = { lane: 't/0', source: 's', format: 'bytes' } as const
const bytes = fc.uint8Array({ maxLength: 50 }).map(a => Buffer.from(a))
const content = fc.oneof(fc.constant(null), fc.string({ unit: character, maxLength: 30 }), bytes, fc.constantFrom('k1', 'k2'))
const header = fc.tuple(fc.string({ unit: 'grapheme', maxLength: 10 }), content)
const sample: fc.Arbitrary<Sample> = fc.record({
  key: content,
  value: content,
  headers: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.array(header, { maxLength: 4 }) }),
  time: fc.maxSafeInteger(),
})

const hex = (b: Buffer | string | null) => (b === null ? null : Buffer.from(b as string).toString('hex'))
const plain = (s: Sample) => ({
  key: hex(s.key),
  value: hex(s.value),
  headers: (s.headers ?? []).map(([name, value]) => [Buffer.from(name).toString(), hex(value)]),
  time: s.time,
})
const read = (m: Message) => plain({ key: m.keyBytes, value: m.payload, headers: m.headers as Header[] | undefined, time: m.time })

function write(samples: readonly Sample[]) {
  const writer = ChunkWriter.take()
  for (const s of samples) writer.add(s.key, s.value, s.headers, s.time)
  writer.cut()
  const { chunks } = writer
  writer.recycle()
  return chunks
}

test('records are read back unchanged, from any offset, also from reused buffers', () => {
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 40 }), fc.nat(1000), fc.nat(60), (samples, base, skip) => {
      const [chunk] = write(samples)
      const from = base + skip
      const messages: Message[] = []
      const place = { part: 3, next: base + samples.length }
      placeChunk(chunk, place.part, place.next)
      decodeChunk(Uint8Array.from(chunk.data), place, from, origin, messages)
      expect(messages.map(read)).toEqual(samples.slice(skip).map(plain))
      expect(messages.map(m => m.offset)).toEqual(samples.slice(skip).map((_, i) => from + i))
      expect(chunk.newest).toBe(Math.max(...samples.map(s => s.time)))
    }),
    { numRuns: 500 },
  )
})

test('many and large records are split into chunks, in order', () => {
  const samples = Array.from({ length: 20_000 }, (_, i) => ({
    key: `k${i >> 8}`,
    value: `${i}`.padEnd(i === 7 ? 900_000 : 40),
    headers: undefined,
    time: i,
  }))
  const chunks = write(samples)
  expect(chunks.length).toBeGreaterThan(5)
  const messages: Message[] = []
  let next = 0
  for (const chunk of chunks) {
    next += chunk.count
    placeChunk(chunk, 3, next)
    decodeChunk(chunk.data, { part: 3, next }, 0, origin, messages)
  }
  expect(messages.map(m => [m.offset, m.keyBytes!.toString(), m.payload!.toString()])).toEqual(samples.map((s, i) => [i, s.key, s.value]))
})

test('an unaligned blob is read; a blob of another format is an error', () => {
  const [chunk] = write([{ key: 'k', value: 'v', headers: [['h', 'x']], time: 5 }])
  placeChunk(chunk, 3, 1)
  const shifted = new Uint8Array(chunk.data.length + 3)
  shifted.set(chunk.data, 3)
  const messages: Message[] = []
  decodeChunk(shifted.subarray(3), { part: 3, next: 1 }, 0, origin, messages)
  expect(messages.map(read)).toEqual([plain({ key: 'k', value: 'v', headers: [['h', 'x']], time: 5 })])
  expect(() => decodeChunk(Uint8Array.of(9, 0, 0, 0, 1, 0, 0, 0), { part: 3, next: 1 }, 0, origin, [])).toThrow('format 9')
})

test('lookup by time finds the first record at or after it, also when timestamps decrease', () => {
  const [chunk] = write([10, 30, 20, 40].map(time => ({ key: null, value: null, headers: undefined, time })))
  expect([5, 10, 11, 31, 41].map(time => findTime(chunk.data, 104, time))).toEqual([100, 100, 101, 103, 104])
})

test('a buffer that grows in the middle of a header keeps its length', () => {
  // A fresh buffer of 16 KiB is filled so far that one of the header's parts makes it grow, whichever it is.
  for (let filled = 16 * 1024 - 100; filled <= 16 * 1024; filled++) {
    const writer = new ChunkWriter()
    writer.add(null, Buffer.alloc(filled, 'x'), undefined, 0)
    writer.add(
      'key',
      'value',
      [
        ['error_message', 'a'.repeat(40)],
        ['step', 'bars'],
      ],
      1,
    )
    writer.cut()
    const messages: Message[] = []
    placeChunk(writer.chunks[0], 3, 2)
    decodeChunk(writer.chunks[0].data, { part: 3, next: 2 }, 1, origin, messages)
    expect(messages.map(m => m.headers!.map(([name, value]) => [name, value!.toString()]))).toEqual([
      [
        ['error_message', 'a'.repeat(40)],
        ['step', 'bars'],
      ],
    ])
  }
})

test('any flipped bit and any wrong location is detected; a chunk of 0.1.0, without a checksum, is read', () => {
  const samples = [
    { key: 'k', value: 'value', headers: [['h', 'x']] as Header[], time: 5 },
    { key: 'k', value: null, headers: undefined, time: 6 },
  ]
  const [chunk] = write(samples)
  placeChunk(chunk, 3, 12)
  const decode = (data: Uint8Array, part = 3, next = 12): unknown[] => {
    const messages: Message[] = []
    decodeChunk(data, { part, next }, next - 2, origin, messages)
    return messages.map(read)
  }
  expect(decode(chunk.data)).toEqual(samples.map(plain))
  for (let bit = 0; bit < chunk.data.length * 8; bit++) {
    const flipped = Uint8Array.from(chunk.data)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    expect(() => decode(flipped), `bit ${bit}`).toThrow()
  }
  expect(() => decode(chunk.data, 4)).toThrow('checksum')
  expect(() => decode(chunk.data, 3, 13)).toThrow('checksum')
  const old = Uint8Array.from(chunk.data.subarray(0, -4))
  old[1] &= ~2
  expect(decode(old)).toEqual(samples.map(plain))
})
