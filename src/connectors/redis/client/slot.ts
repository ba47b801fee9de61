/** Computes which of a cluster's 16,384 slots a command belongs to. */
import type { Command } from '../driver.ts'

/** CRC16 (XMODEM) of the key, or of the text in its first pair of braces. Commands without a key use slot 0. */
export function slotOf([name, ...args]: Command): number {
  const at =
    name === 'XGROUP' || name === 'XINFO' ? 1 : name === 'XREADGROUP' ? args.findIndex(a => String(a).toUpperCase() === 'STREAMS') + 1 : 0
  const arg = args[at]
  if (arg === undefined) return 0
  let key = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg))
  const open = key.indexOf('{')
  const close = open === -1 ? -1 : key.indexOf('}', open + 1)
  if (close > open + 1) key = key.subarray(open + 1, close)
  let crc = 0
  for (const byte of key) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc % 16_384
}
