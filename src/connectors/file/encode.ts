/** From messages to lines. */
import { isUtf8 } from 'node:buffer'
import type { Message } from '../../plugin.ts'

/**
 * One line of JSON: the source's bytes as they are (also when they are no JSON: a mirror changes nothing) unless a line break is in them.
 * A tombstone is `null`; text is a JSON string.
 */
export function jsonLine(message: Message): Buffer | string {
  if (!message.changed && message.payload !== null && message.origin?.format === 'text') return JSON.stringify(message.payload.toString())
  if (message.changed && typeof message.value === 'string') return JSON.stringify(message.value)
  const encoded = message.encode()
  if (encoded === null) return 'null'
  return hasBreak(encoded) ? asJson(encoded) : encoded
}

/** The text itself; line breaks in it become spaces. */
export function textLine(message: Message): Buffer | string {
  const encoded = message.changed && typeof message.value === 'string' ? message.value : (message.encode() ?? '')
  return hasBreak(encoded) ? encoded.toString().replaceAll(/\r\n|\n|\r/g, ' ') : encoded
}

/** The whole record for people, `{time, key, headers, value}`: the value as JSON, as text when it is none, as `value_base64` when it is not even that. */
export function envelopeLine(message: Message): string {
  const headers = Object.fromEntries((message.headers ?? []).map(([name, value]) => [name, value === null ? null : value.toString()]))
  const key = message.encodeKey()
  const head = JSON.stringify({
    time: message.time > 0 ? new Date(message.time).toISOString() : null,
    key: key === null ? null : key.toString(),
    headers,
  })
  const value = message.encode()
  const tail =
    Buffer.isBuffer(value) && !isUtf8(value)
      ? `"value_base64":"${value.toString('base64')}"`
      : `"value":${value === null ? 'null' : asJson(value)}`
  return `${head.slice(0, -1)},${tail}}`
}

const hasBreak = (text: Buffer | string): boolean => text.includes('\n') || text.includes('\r')

/** JSON text on one line, digit for digit; other text as a JSON string. */
function asJson(encoded: Buffer | string): string {
  const text = encoded.toString()
  try {
    JSON.parse(text)
  } catch {
    return JSON.stringify(text)
  }
  // In JSON a line break can only stand between two tokens.
  return text.replaceAll(/[\r\n]+\s*/g, ' ').trim()
}
