/** Bytes and times in the notation of test files. */

/** A text, `{ base64 }`, `{ hex }`, or `{ text, repeat }`. */
export function bytes(written: unknown): Buffer | null {
  const value = written as null | string | { base64: string } | { hex: string } | { text: string; repeat?: number }
  if (value === null) return null
  if (typeof value === 'string') return Buffer.from(value)
  if ('base64' in value) return Buffer.from(value.base64, 'base64')
  if ('hex' in value) return Buffer.from(value.hex.replaceAll(/\s/g, ''), 'hex')
  return Buffer.from(value.text.repeat(value.repeat ?? 1))
}

/** Epoch ms, or an ISO date. @returns epoch ms */
export const time = (value: unknown): number =>
  typeof value === 'number' ? value : /^\d+$/.test(String(value)) ? Number(value) : Date.parse(String(value))
