/** Converts messages to lines. */
import { encodeJson, type Message } from '../../contract/plugin.ts'

/**
 * One line of JSON: the bytes of the source unchanged (even if they are not JSON: a mirror changes nothing), unless they contain a line
 * break. A tombstone is `null`; text is a JSON string.
 */
export function jsonLine(message: Message): Buffer | string {
  if (!message.changed && message.payload !== null && message.origin?.format === 'text') return JSON.stringify(message.payload.toString())
  if (message.changed && typeof message.value === 'string') return encodeJson(message.value)
  const encoded = message.encode()
  if (encoded === null) return 'null'
  return hasBreak(encoded) ? asJson(encoded) : encoded
}

/** The text itself; line breaks in it become spaces. */
export function textLine(message: Message): Buffer | string {
  const encoded = message.changed && typeof message.value === 'string' ? message.value : (message.encode() ?? '')
  return hasBreak(encoded) ? encoded.toString().replaceAll(/\r\n|\n|\r/g, ' ') : encoded
}

const hasBreak = (text: Buffer | string): boolean => text.includes('\n') || text.includes('\r')

/** JSON text on one line, digit for digit; other text as a JSON string. */
export function asJson(encoded: Buffer | string): string {
  const text = encoded.toString()
  try {
    JSON.parse(text)
  } catch {
    return JSON.stringify(text)
  }
  // In JSON, a line break can occur only between two tokens.
  return text.replaceAll(/[\r\n]+\s*/g, ' ').trim()
}
