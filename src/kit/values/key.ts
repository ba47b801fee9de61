/** Keys out of values. */
import { DataError, type Message } from '../../contract/plugin.ts'
import { exactValue } from './exact-json.ts'
import { getter } from './fields.ts'

/**
 * A text, a number, true or false as a key; undefined: it is something else.
 * @throws {DataError} for a number from 2^53 on: others are read as the same one, and would be taken for it
 */
export function keyText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(distinct(value))
  return typeof value === 'boolean' || typeof value === 'bigint' ? String(value) : undefined
}

/** NaN and the infinities are not. */
const isDistinct = (value: number): boolean => Math.abs(value) <= Number.MAX_SAFE_INTEGER

/** @throws {DataError} see `keyText` */
export function distinct(value: number): number {
  if (isDistinct(value)) return value
  throw new DataError(`${value} can be no key: numbers from 2^53 on cannot be told apart; write them as texts`)
}

/** Any JSON value as a key. @throws {DataError} see `keyText` */
export function keyJson(value: unknown): string {
  check(value)
  return JSON.stringify(value)
}

function check(value: unknown): void {
  if (typeof value === 'number') distinct(value)
  else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) check(part)
}

/** Reads what is to be a key at a path of the value; of numbers that a double cannot hold it has the digits, as text. */
export function keyField(path: string): (m: Message) => unknown {
  const get = getter(path)
  return m => {
    const value = get(m.value)
    if (typeof value !== 'number' || isDistinct(value)) return value
    const exact = exactValue(m)
    // The same: it was changed since it was read, and the digits are gone.
    return exact === m.value ? value : String(get(exact))
  }
}
