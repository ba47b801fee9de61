/** Chunks of the embedded log, as SQLite hands them back from a damaged disk; half of them with a checksum that matches. */
import { crc32 } from 'node:zlib'
import type { Message, Origin } from '../../../src/contract/plugin.ts'
import { ChunkWriter, DamagedChunk, decodeChunk, findTime, placeChunk } from '../../../src/connectors/kafka/embedded/codec.ts'
import { assert, expected, type Target } from '../target.ts'

const origin: Origin = { lane: 't/0', source: 's', topic: 't', partition: 0, format: 'bytes' }

function chunk(count: number, headers: boolean): Buffer {
  const writer = new ChunkWriter()
  for (let i = 0; i < count; i++)
    writer.add(
      i % 3 === 0 ? null : 'key',
      i % 4 === 3 ? null : `{"n":${i}}`,
      headers && i % 2 === 0
        ? [
            ['h', 'v'],
            ['n', null],
          ]
        : undefined,
      1_700_000_000_000 + i,
    )
  writer.cut()
  placeChunk(writer.chunks[0], 0, count)
  return Buffer.from(writer.chunks[0].data)
}

export const target: Target = {
  name: 'log-page',
  seeds: () => [chunk(5, false), chunk(9, true), chunk(1, true)],
  repair(input, random) {
    if (input.length < 16) return input
    const out = Buffer.from(input)
    // Without a checksum, as 0.1.0 wrote them, or with one that matches.
    if (random.chance(0.5)) {
      out[1] &= ~2
      return out.subarray(0, out.length - 4)
    }
    out[0] = 1
    out[1] |= 2
    const size = out.length - 4
    const place = new Float64Array([0, 9])
    out.writeUInt32LE(crc32(new Uint8Array(place.buffer), crc32(out.subarray(0, size))), size)
    return out
  },
  run: input =>
    expected([DamagedChunk], () => {
      const messages: Message[] = []
      // Of its own memory, as SQLite gives it.
      const blob = Uint8Array.from(input)
      decodeChunk(blob, { part: 0, next: 9 }, 0, origin, messages)
      let bytes = 0
      for (const message of messages)
        bytes += (message.payload?.length ?? 0) + (message.headers ?? []).reduce((n, [name]) => n + name.length, 0)
      assert(messages.length <= input.length, 'no more records than bytes')
      assert(bytes <= input.length, 'no more content than bytes')
      const found = findTime(blob, 9, 1_700_000_000_003)
      return `${messages.length}:${found}`
    }),
}
