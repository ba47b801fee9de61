/** Fields in which two records differ. */
import { isDeepStrictEqual } from 'node:util'
import { canonicalText, ExactNumber } from '../../contract/plugin.ts'
import { decimalOf, type Exact, exactOf, readDecimal } from '../../kit/values/decimal.ts'
import { getter } from '../../kit/values/fields.ts'
import { isRecord } from '../../kit/values/records.ts'

export interface Difference {
  readonly field: string
  /** Undefined: the record has no such field. */
  readonly left: unknown
  readonly right: unknown
}

export interface Comparison {
  /** Undefined: all fields of either record. */
  readonly fields?: readonly string[]
  readonly tolerance: number
  readonly tolerances: Readonly<Record<string, number>>
}

type Fields = Readonly<Record<string, unknown>>

export function compareRecords(left: Fields, right: Fields, { fields, tolerance, tolerances }: Comparison): Difference[] {
  const names = fields ?? [...new Set([...Object.keys(left), ...Object.keys(right)])]
  const differences: Difference[] = []
  for (const field of names) {
    const get = fields ? getter(field) : (record: unknown) => (record as Fields)[field]
    const [l, r] = [get(left), get(right)]
    if (!same(l, r, Object.hasOwn(tolerances, field) ? tolerances[field] : tolerance)) differences.push({ field, left: l, right: r })
  }
  return differences
}

function same(left: unknown, right: unknown, tolerance: number): boolean {
  if (left === right) return true
  const [l, r] = [exact(left), exact(right)]
  return l === undefined || r === undefined ? isDeepStrictEqual(canonical(left), canonical(right)) : within(l, r, tolerance)
}

/** A number, or a decimal string: one side may have strings where the other has numbers. */
function exact(value: unknown): Exact | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (value instanceof ExactNumber) return exactOf(value)
  return typeof value === 'string' ? readDecimal(value) : undefined
}

function within(left: Exact, right: Exact, tolerance: number): boolean {
  const [l, r, t] = [left, right, tolerance].map(decimalOf)
  const k = Math.max(l.k, r.k, t.k)
  const [x, y, z] = [l, r, t].map(d => d.m * 10n ** BigInt(k - d.k))
  const apart = x > y ? x - y : y - x
  return apart <= z
}

/** Numbers in one notation: 1.10 in a list becomes 1.1. */
function canonical(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof ExactNumber) return value.plain ?? new ExactNumber(canonicalText(value))
  if (Array.isArray(value)) return value.map(canonical)
  return isRecord(value) ? Object.fromEntries(Object.entries(value).map(([name, v]) => [name, canonical(v)])) : value
}
