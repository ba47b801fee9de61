/** Conditions on a few fields of a value: cheap enough for every message, and never an error for missing fields. */
import { ExactNumber } from '../../contract/plugin.ts'
import { getter } from './fields.ts'

type Scalar = string | number | boolean | null
/** Field path -> the required value: a value, one of several, or `*` for any value. All must match. */
export type Match = Readonly<Record<string, Scalar | readonly Scalar[]>>

/** True for values in which every field has the value, or one of the values, given in `match`. */
export function matcher(match: Match): (value: unknown) => boolean {
  const tests = Object.entries(match).map(([path, wanted]) => {
    const get = getter(path)
    const allowed = new Set(Array.isArray(wanted) ? (wanted as unknown[]) : [wanted])
    return wanted === '*' ? (value: unknown) => get(value) !== undefined : (value: unknown) => allowed.has(plain(get(value)))
  })
  return value => {
    for (const test of tests) if (!test(value)) return false
    return true
  }
}

/** `1.10` equals the 1.1 of a condition. */
const plain = (value: unknown): unknown => (value instanceof ExactNumber ? (value.plain ?? value.text) : value)

/** @returns whether one of them matches; false for an empty list. */
export function anyOf(matches: readonly Match[]): (value: unknown) => boolean {
  const tests = matches.map(matcher)
  return value => {
    for (const test of tests) if (test(value)) return true
    return false
  }
}
