/**
 * Decompresses one snappy block. snappyjs does not check what a block claims: a literal of negative length (4 bytes, the highest bit set)
 * moves its reader backwards, without end, and a block that ends early leaves zeros where bytes are missing.
 */

/** @param at behind the length of the content. @param size the length of the content. @throws {Error} for a damaged block */
export function decodeBlock(block: Buffer, at: number, size: number): Buffer {
  const out = Buffer.allocUnsafe(size)
  let to = 0
  let pos = at
  while (pos < block.length) {
    const tag = block[pos++]
    const kind = tag & 3
    if (kind === 0) {
      let length = (tag >>> 2) + 1
      if (length > 60) {
        const bytes = length - 60
        need(pos + bytes <= block.length)
        length = block.readUIntLE(pos, bytes) + 1
        pos += bytes
      }
      need(length <= block.length - pos && length <= size - to)
      // A call costs more than a few bytes.
      if (length > 40) block.copy(out, to, pos, pos + length)
      else for (let i = 0; i < length; i++) out[to + i] = block[pos + i]
      pos += length
      to += length
      continue
    }
    const bytes = kind === 3 ? 4 : kind
    need(pos + bytes <= block.length)
    const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1
    const distance = kind === 1 ? ((tag >>> 5) << 8) | block[pos] : block.readUIntLE(pos, bytes)
    pos += bytes
    need(distance > 0 && distance <= to && length <= size - to)
    // Byte by byte: a copy may overlap what it writes.
    for (const end = to + length; to < end; to++) out[to] = out[to - distance]
  }
  need(to === size)
  return out
}

function need(holds: boolean): void {
  if (!holds) throw new Error('a snappy block is damaged')
}
