/** Objects as JSON.parse makes them, changed by copying: a message's value may be shared. */
import { ExactNumber } from '../../contract/plugin.ts'

/** A JSON object. */
export type Fields = Record<string, unknown>

/** Is it a JSON object: no list, no null, no ExactNumber? */
export const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber) && !Buffer.isBuffer(value)

/** A copy without some fields. A loop, because `delete` turns the copy into a slow dictionary: 0.1 µs instead of 0.4. */
export function without(record: Fields, names: ReadonlySet<string>): Fields {
  const copy: Fields = {}
  for (const name in record) {
    if (names.has(name)) continue
    if (name === '__proto__')
      Object.defineProperty(copy, name, { value: record[name], enumerable: true, configurable: true, writable: true })
    else copy[name] = record[name]
  }
  return copy
}

/**
 * The value with plain numbers only, for what knows no others: numbers beyond a double are rounded, or the largest there is. The very
 * same value when there is nothing to change.
 */
export function withPlainNumbers(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  if (value instanceof ExactNumber) return Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, Number(value)))
  if (Array.isArray(value)) {
    const items = value.map(withPlainNumbers)
    return items.some((item, i) => item !== value[i]) ? items : value
  }
  let copy: Fields | undefined
  for (const name in value) {
    const before = (value as Fields)[name]
    const after = withPlainNumbers(before)
    if (after !== before)
      Object.defineProperty((copy ??= { ...value }), name, { value: after, enumerable: true, configurable: true, writable: true })
  }
  return copy ?? value
}
