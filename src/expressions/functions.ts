/** Everything an expression may call: the one table behind the checker, the interpreter, the docs page and its test. */
import type { FunctionEntry } from './function-entry.ts'
import { FREE_FUNCTIONS } from './functions-free.ts'
import { METHODS } from './functions-methods.ts'

export type { FunctionEntry } from './function-entry.ts'

export const FUNCTIONS: readonly FunctionEntry[] = [...FREE_FUNCTIONS, ...METHODS]

const byName = (entries: readonly FunctionEntry[]): ReadonlyMap<string, FunctionEntry> => new Map(entries.map(f => [f.name, f]))
export const FUNCTION_BY_NAME = byName(FREE_FUNCTIONS)
export const METHOD_BY_NAME = byName(METHODS)

/** What people write out of habit, and what to write here. */
export const HABITS: Readonly<Record<string, string>> = {
  now: 'meta.time (a replay must give the same result, so there is no clock)',
  timestamp: 'parse_time(text)',
  duration: 'milliseconds as a number',
  matches: 'text.re("pattern")',
  upperAscii: 'text.upper()',
  lowerAscii: 'text.lower()',
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
  uint: 'int(x)',
  bool: 'x == "true"',
  lastIndexOf: 'text.split(separator)',
  coalesce: 'value.?a.orValue(default)',
  default: 'value.?a.orValue(default)',
}
