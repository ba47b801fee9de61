/** Keys out of values. */
import { canonicalText, encodeJson, ExactNumber, type Message } from '../../contract/plugin.ts'
import { getter } from './fields.ts'

/** A text, a number, true or false as a key that is written: numbers with the digits they came with. Undefined: it is something else. */
export function keyText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (value instanceof ExactNumber) return value.text
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' ? String(value) : undefined
}

/** The same as a key to compare with others: numbers of one value are one key, however they are written (`1.10`, `1.1`). */
export const sameKeyText = (value: unknown): string | undefined => (value instanceof ExactNumber ? canonicalText(value) : keyText(value))

/** Any JSON value as a key to compare with others. @throws {DataError} for what is not JSON */
export function keyJson(value: unknown): string {
  if (typeof value === 'number') return String(value)
  if (value instanceof ExactNumber) return canonicalText(value)
  return encodeJson(typeof value === 'object' ? canonical(value) : value)
}

/** The same value with one spelling for each number; the very same when there is nothing to change. */
function canonical(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof ExactNumber) return value.plain ?? new ExactNumber(canonicalText(value))
  if (Array.isArray(value)) {
    const items = value.map(canonical)
    return items.some((item, i) => item !== value[i]) ? items : value
  }
  const entries = Object.entries(value)
  const parts = entries.map(([, item]) => canonical(item))
  return parts.some((part, i) => part !== entries[i][1]) ? Object.fromEntries(entries.map(([name], i) => [name, parts[i]])) : value
}

/** Reads what is to be a key at a path of the value. */
export function keyField(path: string): (m: Message) => unknown {
  const get = getter(path)
  return m => get(m.value)
}
