/** All functions of expressions: the table for the checker, the interpreter, the docs page and its test. */
import type { FunctionEntry } from './function-entry.ts'
import { FREE_FUNCTIONS } from './functions-free.ts'
import { MATH } from './functions-math.ts'
import { METHODS } from './functions-methods.ts'
import { NAMESPACED } from './functions-namespaced.ts'
import { TIME_FUNCTIONS, TIME_METHODS } from './functions-times.ts'

export type { FunctionEntry } from './function-entry.ts'

const FREE = [...FREE_FUNCTIONS, ...TIME_FUNCTIONS, ...NAMESPACED, ...MATH]
const OF_VALUES = [...METHODS, ...TIME_METHODS]
export const FUNCTIONS: readonly FunctionEntry[] = [...FREE, ...OF_VALUES]

const byName = (entries: readonly FunctionEntry[]): ReadonlyMap<string, FunctionEntry> => new Map(entries.map(f => [f.name, f]))
export const FUNCTION_BY_NAME = byName(FREE)
export const METHOD_BY_NAME = byName(OF_VALUES)

/** Namespaces of functions, such as `math` in `math.sqrt(x)`; a field of that name is `value.math`. */
export const NAMESPACES: ReadonlySet<string> = new Set(FREE.flatMap(f => (f.name.includes('.') ? [f.name.split('.')[0]] : [])))

/** Functions of other languages, and their replacement here. */
export const HABITS: Readonly<Record<string, string>> = {
  now: 'meta.time (there is no clock, because a replay must give the same result)',
  toUpperCase: 'text.upper()',
  toLowerCase: 'text.lower()',
  includes: 'text.contains(part), or part in list',
  substr: 'text.substring(start, end)',
  slice: 'text.substring(start, end)',
  len: 'size(x)',
  length: 'size(x)',
  count: 'size(x)',
  str: 'string(x)',
  float: 'double(x)',
  number: 'double(x)',
  coalesce: 'value.?a.orValue(default)',
  default: 'value.?a.orValue(default)',
}
