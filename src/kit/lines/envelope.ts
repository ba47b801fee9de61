/**
 * A whole record as one line of JSON, for people and for `runner dlq`: `{time, key, headers, value}`. The readable form does not always
 * preserve every byte; if it does not, `key_base64`, `headers_base64` and `value_base64` contain the exact bytes.
 */
import { isUtf8 } from 'node:buffer'
import { type Header, type Message, parseJson } from '../../contract/plugin.ts'
import { asJson } from './encode.ts'

/** A line of an `envelope` file: every byte of a record, its key and its headers. */
export interface Enveloped {
  /** Epoch ms; 0: none. */
  readonly time: number
  readonly key: Buffer | null
  readonly headers: readonly Header[]
  readonly value: Buffer | null
}

interface Head {
  readonly time: string | null
  readonly key: string | null
  readonly key_base64?: string
  readonly headers: Record<string, string | null>
  readonly headers_base64?: readonly (readonly [string, string | null])[]
}

/** The line for a message, without its line break. */
export function envelopeLine(message: Message): string {
  const key = message.encodeKey()
  const headers = message.headers ?? []
  const head: Head = {
    time: message.time > 0 ? new Date(message.time).toISOString() : null,
    key: key === null ? null : key.toString(),
    ...(isText(key) ? {} : { key_base64: base64(key) }),
    headers: Object.fromEntries(headers.map(([name, value]) => [name, value === null ? null : value.toString()])),
    ...(isPlain(headers) ? {} : { headers_base64: headers.map(([name, value]) => [name, value === null ? null : base64(value)] as const) }),
  }
  return `${JSON.stringify(head).slice(0, -1)},${tail(message.encode())}}`
}

function tail(value: Buffer | string | null): string {
  if (value === null) return '"value":null'
  const exact = `"value_base64":"${base64(value)}"`
  if (!isText(value)) return exact
  const json = asJson(value)
  const text = value.toString()
  // A JSON string represents text, null a tombstone; a payload that is itself one of them would be mistaken for it.
  const same = json.startsWith('"') ? !text.startsWith('"') : json === text && json !== 'null'
  return same ? `"value":${json}` : `${exact},"value":${json}`
}

/** @throws {Error} the line is not such a record. */
export function readEnvelope(line: string): Enveloped {
  const found = parseJson(line) as Head & { readonly value?: unknown; readonly value_base64?: string }
  if (typeof found !== 'object' || found === null || typeof found.headers !== 'object' || found.headers === null)
    throw new Error('the line must be a record in an envelope')
  const { time, key, key_base64, headers, headers_base64, value, value_base64 } = found
  return {
    time: time === null ? 0 : Date.parse(time) || 0,
    key: key_base64 === undefined ? bytes(key) : Buffer.from(key_base64, 'base64'),
    headers: headers_base64
      ? headers_base64.map(([name, v]) => [name, v === null ? null : Buffer.from(v, 'base64')] as const)
      : Object.entries(headers).map(([name, v]) => [name, bytes(v)] as const),
    value: value_base64 === undefined ? plainValue(line, value) : Buffer.from(value_base64, 'base64'),
  }
}

function plainValue(line: string, value: unknown): Buffer | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return Buffer.from(value)
  // Compares digit for digit, which a parsed number may not preserve.
  const { value: _, ...head } = parseJson(line) as Record<string, unknown>
  const before = `${JSON.stringify(head).slice(0, -1)},"value":`
  return Buffer.from(line.startsWith(before) ? line.slice(before.length, line.lastIndexOf('}')) : JSON.stringify(value))
}

const bytes = (text: string | null | undefined): Buffer | null => (text === null || text === undefined ? null : Buffer.from(text))
const base64 = (data: Buffer | string | null): string => Buffer.from(data ?? '').toString('base64')
const isText = (data: Buffer | string | null): boolean => data === null || typeof data === 'string' || isUtf8(data)

/** An object preserves the headers: no duplicate names, text only, and no name that JavaScript would move to the front. */
function isPlain(headers: readonly Header[]): boolean {
  const names = new Set(headers.map(([name]) => name))
  return names.size === headers.length && headers.every(([name, value]) => isText(value) && !/^(\d+|__proto__)$/.test(name))
}
