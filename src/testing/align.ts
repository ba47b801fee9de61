/** Aligns expected and actual messages: pairs, missing and unexpected messages. */
import { compare, type Difference } from './compare.ts'
import type { Channel, Expected } from './model.ts'
import type { Written } from './in-memory-sinks.ts'

export type Row =
  | { readonly kind: 'same'; readonly expected: Expected; readonly actual: Written }
  | { readonly kind: 'changed'; readonly expected: Expected; readonly actual: Written; readonly differences: readonly Difference[] }
  | { readonly kind: 'missing'; readonly expected: Expected }
  | { readonly kind: 'unexpected'; readonly actual: Written }

/** Above this number of pairs, messages are compared by index. */
const MAX_PAIRS = 1_000_000

export function align(expected: readonly Expected[], actual: readonly Written[], options: Pick<Channel, 'match' | 'order'>): Row[] {
  return options.order === 'any' ? alignUnordered(expected, actual, options.match) : alignOrdered(expected, actual, options.match)
}

function alignOrdered(expected: readonly Expected[], actual: readonly Written[], match: Channel['match']): Row[] {
  // Equal messages at both ends (usually all) need no search.
  let start = 0
  while (start < expected.length && start < actual.length && compare(expected[start], actual[start], match).length === 0) start++
  let end = 0
  while (
    end < Math.min(expected.length, actual.length) - start &&
    compare(expected.at(-1 - end)!, actual.at(-1 - end)!, match).length === 0
  )
    end++
  const same = (i: number, j: number): Row => ({ kind: 'same', expected: expected[i], actual: actual[j] })
  return [
    ...Array.from({ length: start }, (_, i) => same(i, i)),
    ...alignMiddle(expected.slice(start, expected.length - end), actual.slice(start, actual.length - end), match),
    ...Array.from({ length: end }, (_, i) => same(expected.length - end + i, actual.length - end + i)),
  ]
}

/** The alignment with the lowest cost; the cost of a changed message depends on how much of it differs. */
function alignMiddle(expected: readonly Expected[], actual: readonly Written[], match: Channel['match']): Row[] {
  const n = expected.length
  const m = actual.length
  if (n * m > MAX_PAIRS) return byPlace(expected, actual, match)
  const found = expected.map(e => actual.map(a => compare(e, a, match)))
  const cost = Array.from({ length: n + 1 }, () => new Float64Array(m + 1))
  for (let i = n; i >= 0; i--) {
    for (let j = m; j >= 0; j--) {
      if (i === n || j === m) cost[i][j] = n - i + (m - j)
      else cost[i][j] = Math.min(cost[i + 1][j + 1] + change(found[i][j], expected[i]), cost[i + 1][j] + 1, cost[i][j + 1] + 1)
    }
  }
  const rows: Row[] = []
  let i = 0
  let j = 0
  while (i < n || j < m) {
    if (i < n && j < m && cost[i][j] === cost[i + 1][j + 1] + change(found[i][j], expected[i])) {
      rows.push(pair(expected[i++], actual[j++], match))
    } else if (i < n && (j === m || cost[i][j] === cost[i + 1][j] + 1)) rows.push({ kind: 'missing', expected: expected[i++] })
    else rows.push({ kind: 'unexpected', actual: actual[j++] })
  }
  return rows
}

/** 0: equal; above 2 (the cost of one missing and one unexpected message): nothing in common. */
function change(differences: readonly Difference[], expected: Expected): number {
  if (differences.length === 0) return 0
  const named = countNamed(expected)
  if (named > 1 && differences.length >= named) return 2.5
  return 0.5 + (1.4 * differences.length) / Math.max(named, differences.length)
}

/** Number of fields in an expectation. */
function countNamed({ at: _at, path: _path, ...named }: Expected): number {
  let n = 0
  for (const value of Object.values(named))
    n += typeof value === 'object' && value !== null && !Buffer.isBuffer(value) ? Object.keys(value).length : 1
  return n
}

function byPlace(expected: readonly Expected[], actual: readonly Written[], match: Channel['match']): Row[] {
  return Array.from({ length: Math.max(expected.length, actual.length) }, (_, i): Row => {
    if (i >= expected.length) return { kind: 'unexpected', actual: actual[i] }
    if (i >= actual.length) return { kind: 'missing', expected: expected[i] }
    return pair(expected[i], actual[i], match)
  })
}

function alignUnordered(expected: readonly Expected[], actual: readonly Written[], match: Channel['match']): Row[] {
  const rest = new Set(actual)
  const rows: Row[] = []
  const open: Expected[] = []
  for (const e of expected) {
    const a = rest.values().find(candidate => compare(e, candidate, match).length === 0)
    if (a) {
      rest.delete(a)
      rows.push({ kind: 'same', expected: e, actual: a })
    } else open.push(e)
  }
  return [...rows, ...alignMiddle(open, [...rest], match)]
}

function pair(expected: Expected, actual: Written, match: Channel['match']): Row {
  const differences = compare(expected, actual, match)
  return differences.length === 0 ? { kind: 'same', expected, actual } : { kind: 'changed', expected, actual, differences }
}
