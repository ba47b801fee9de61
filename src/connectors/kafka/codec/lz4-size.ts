/**
 * The content size of LZ4 frames, found by walking through them without decompressing: the add-on that decompresses them has no limit.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, and lz4_Block_format.md
 */

const MAGIC = 0x184d2204
/** 16 values, whose frames are to be skipped. */
const SKIPPABLE = 0x184d2a50

/** @returns whether the frames decompress to more than `max` bytes. The decoder detects damaged frames. */
export function lz4Exceeds(data: Buffer, max: number): boolean {
  // A block contains at most 255 times its bytes.
  if (data.length * 255 <= max) return false
  let room = max
  for (let at = 0; at + 7 <= data.length; ) {
    const magic = data.readUInt32LE(at)
    if (magic >= SKIPPABLE && magic < SKIPPABLE + 16) {
      at += 8 + data.readUInt32LE(at + 4 <= data.length - 4 ? at + 4 : at)
      continue
    }
    if (magic !== MAGIC) return false
    const flags = data[at + 4]
    const blockChecksum = (flags >> 4) & 1 ? 4 : 0
    const contentChecksum = (flags >> 2) & 1 ? 4 : 0
    at += 7 + ((flags >> 3) & 1 ? 8 : 0) + (flags & 1 ? 4 : 0)
    for (;;) {
      if (at + 4 > data.length) return false
      const word = data.readUInt32LE(at)
      at += 4
      if (word === 0) break
      const size = word & 0x7fffffff
      const end = Math.min(data.length, at + size)
      room -= word >= 0x80000000 ? end - at : blockSize(data, at, end, room)
      if (room < 0) return true
      at += size + blockChecksum
    }
    at += contentChecksum
  }
  return false
}

/** The content size of a block; may stop counting above `enough`. */
function blockSize(data: Buffer, from: number, end: number, enough: number): number {
  let at = from
  let size = 0
  const length = (nibble: number): number => {
    let n = nibble
    if (nibble === 15) {
      let byte: number
      do n += byte = at < end ? data[at++] : 0
      while (byte === 255)
    }
    return n
  }
  while (at < end && size <= enough) {
    const token = data[at++]
    const literals = length(token >> 4)
    at += literals
    size += literals
    // The last sequence has literals only.
    if (at >= end) break
    at += 2
    size += 4 + length(token & 15)
  }
  return size
}
