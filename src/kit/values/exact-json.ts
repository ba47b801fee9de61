/** JSON whose numbers keep the digits they were written with: `0.10` must not become 0.1, nor 17 digits 16. */
import { isAscii } from 'node:buffer'
import type { Message } from '../../contract/plugin.ts'

/** A number outside of a text that a double might print differently: with a point, an exponent, or very long. */
const DELICATE = /[:,[]\s*-?(?:\d+[.eE]|\d{16})/

/** The value of a message that is still JSON text; such numbers come as texts. @throws {DecodeError} */
export function exactValue(message: Message): unknown {
  const { value } = message
  const { payload } = message
  if (message.changed || payload === null || typeof value !== 'object') return value
  const text = isAscii(payload) ? payload.toString('latin1') : payload.toString()
  return DELICATE.test(text) ? (JSON.parse(text, keepSource as Parameters<typeof JSON.parse>[1]) as unknown) : value
}

function keepSource(_: string, value: unknown, context: { readonly source?: string }): unknown {
  return typeof value === 'number' && String(value) !== context.source ? context.source : value
}
