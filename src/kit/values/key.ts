/** Derives keys from values. */
import { canonicalText, DataError, encodeJson, ExactNumber, type Json, type Message, parseJson, type State } from '../../contract/plugin.ts'
import { getter, show } from './fields.ts'

/**
 * Text, a number, true or false as a key to write: numbers with their original digits. Undefined: any other value. @throws {DataError} for
 * text that UTF-8 cannot represent: written as U+FFFD, it would be the key of other records too
 */
export function keyText(value: unknown): string | undefined {
  if (typeof value === 'string') {
    if (value.isWellFormed()) return value
    throw new DataError(`${show(value)} is not valid Unicode (it has half of a surrogate pair), so it cannot be a key`)
  }
  if (value instanceof ExactNumber) return value.text
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' ? String(value) : undefined
}

/** The same as a key for comparison: numbers with equal values are one key, however they are written (`1.10`, `1.1`). */
export const sameKeyText = (value: unknown): string | undefined => (value instanceof ExactNumber ? canonicalText(value) : keyText(value))

/**
 * Any JSON value as a key for comparison: equal values have one key, whatever the order of names in their objects. @throws {DataError} for
 * values that are not JSON
 */
export function keyJson(value: unknown): string {
  if (typeof value === 'number') return String(value)
  if (value instanceof ExactNumber) return canonicalText(value)
  return encodeJson(typeof value === 'object' ? canonical(value) : value)
}

/**
 * Converts keys of an older state, which depended on the order of names, to those of `keyJson`.
 * If two become equal, the later one stays.
 */
export function renewKeys<V extends Json>(state: State<V>): void {
  let changed: [before: string, now: string, value: V][] | undefined
  for (const [before, value] of state.entries()) {
    if (before[0] !== '{' && before[0] !== '[') continue
    const now = keyJson(parseJson(before))
    if (now !== before) (changed ??= []).push([before, now, value])
  }
  for (const [before, now, value] of changed ?? []) {
    state.delete(before)
    state.set(now, value)
  }
}

/** The same value with one spelling for each number and one order of names; the original object if nothing changes. */
function canonical(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof ExactNumber) return value.plain ?? new ExactNumber(canonicalText(value))
  if (Array.isArray(value)) {
    const items = value.map(canonical)
    return items.some((item, i) => item !== value[i]) ? items : value
  }
  const names = Object.keys(value)
  const sorted = names.toSorted()
  const record = value as Record<string, unknown>
  const parts = sorted.map(name => canonical(record[name]))
  if (sorted.every((name, i) => name === names[i] && parts[i] === record[name])) return value
  return Object.fromEntries(sorted.map((name, i) => [name, parts[i]]))
}

/** Reads the key at a path of the value. */
export function keyField(path: string): (m: Message) => unknown {
  const get = getter(path)
  return m => get(m.value)
}
