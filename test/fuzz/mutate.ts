/** Changes of an input: bits and bytes, numbers at their limits in every width and byte order, varints, pieces taken out, doubled and swapped. */
import type { Random } from './random.ts'

/** Larger inputs find no additional errors. */
export const MAX_INPUT = 16_384

const LIMITS = [
  0, 1, -1, 2, -2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, -128, 255, 256, 1000, 1024, 4096, 32_767, -32_768, 65_535, 65_536,
]
const LIMITS32 = [...LIMITS, 0x7fffffff, -0x80000000, 0x7ffffffe, 0x10000000, 0x1000000, -1000, -65_536]

type Change = (input: Buffer, random: Random, other: Buffer) => Buffer

const at = (input: Buffer, random: Random, room = 1): number => random.below(Math.max(1, input.length - room + 1))

const splice = (input: Buffer, from: number, cut: number, put: Uint8Array): Buffer =>
  Buffer.concat([input.subarray(0, from), put, input.subarray(Math.min(input.length, from + cut))])

function varint(value: number): Buffer {
  const bytes: number[] = []
  let z = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
  while (z > 0x7fn) {
    bytes.push(Number(z & 0x7fn) | 0x80)
    z >>= 7n
  }
  bytes.push(Number(z))
  return Buffer.from(bytes)
}

const CHANGES: readonly Change[] = [
  (input, random) => {
    const out = Buffer.from(input)
    if (out.length > 0) out[at(out, random)] ^= 1 << random.below(8)
    return out
  },
  (input, random) => {
    const out = Buffer.from(input)
    if (out.length > 0)
      out[at(out, random)] = random.chance(0.5) ? random.below(256) : random.pick([0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x20, 0x0a])
    return out
  },
  (input, random) => {
    if (input.length < 2) return input
    const out = Buffer.from(input)
    const value = random.pick(LIMITS) & 0xffff
    const i = at(out, random, 2)
    return random.chance(0.5) ? (out.writeUInt16BE(value, i), out) : (out.writeUInt16LE(value, i), out)
  },
  (input, random) => {
    if (input.length < 4) return input
    const out = Buffer.from(input)
    const value = random.pick(LIMITS32) | 0
    const i = at(out, random, 4)
    return random.chance(0.5) ? (out.writeInt32BE(value, i), out) : (out.writeInt32LE(value, i), out)
  },
  (input, random) => splice(input, at(input, random), random.below(3), varint(random.pick(LIMITS32))),
  (input, random) => splice(input, at(input, random), 1, varint(random.pick(LIMITS))),
  // Taken out, from a place or to the end.
  (input, random) => splice(input, at(input, random), random.small(input.length), Buffer.alloc(0)),
  (input, random) => input.subarray(0, at(input, random)),
  // Doubled, once or often.
  (input, random) => {
    const from = at(input, random)
    const piece = input.subarray(from, from + random.small(64))
    return splice(input, from, 0, Buffer.concat(Array.from({ length: random.chance(0.8) ? 1 : random.small(1000) }, () => piece)))
  },
  (input, random) => splice(input, at(input, random), 0, Buffer.from([random.below(256)])),
  // A piece of another input, or of another place.
  (input, random, other) => {
    const from = at(other, random)
    return splice(input, at(input, random), random.below(16), other.subarray(from, from + random.small(256)))
  },
  (input, random, other) => Buffer.concat([input.subarray(0, at(input, random)), other.subarray(at(other, random))]),
]

/** One to a few changes, always another buffer. */
export function mutate(input: Buffer, other: Buffer, dictionary: readonly (Buffer | string)[], random: Random): Buffer {
  let out = input
  for (let n = random.small(8); n > 0; n--) {
    out =
      dictionary.length > 0 && random.chance(0.3)
        ? splice(out, at(out, random), random.chance(0.5) ? 0 : random.small(16), Buffer.from(random.pick(dictionary)))
        : random.pick(CHANGES)(out, random, other)
    if (out.length > MAX_INPUT) out = out.subarray(0, MAX_INPUT)
  }
  return Buffer.from(out)
}
