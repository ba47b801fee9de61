/** Objects as JSON.parse creates them, changed by copying: a message's value may be shared. */
import { ExactNumber } from '../../contract/plugin.ts'

/** A JSON object. */
export type Fields = Record<string, unknown>

/** @returns whether it is a JSON object: not a list, not null, not an ExactNumber. */
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
