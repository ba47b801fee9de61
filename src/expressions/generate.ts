/** Builds functions from the code of `emit`: once per pipeline start, to run per record. */
import { ExactNumber, type Message } from '../contract/plugin.ts'
import { fastAdd, fastMultiply, fastRemainder, fastSubtract } from '../kit/values/arithmetic.ts'
import type { Code } from './code.ts'
import { formatTime, parseDouble, round } from './implementations.ts'
import { readTime } from './functions-times.ts'
import { isJson, isJsonType } from './interpreter.ts'
import { characters, compareTexts, indexOf, replace, split, trim } from './text.ts'

/** Returned by generated code that does not support the record: the interpreter evaluates it. */
export const BAIL = Symbol('bail')

/** @returns BAIL, or the same as the interpreter. Throwing is equivalent to BAIL. */
export type Fast = (value: unknown, message: Message, base?: object) => unknown

const helpers = {
  B: BAIL,
  OBJECT: Object.prototype,
  prototypeOf: Object.getPrototypeOf,
  hasOwn: Object.hasOwn,
  isArray: Array.isArray,
  isFinite: Number.isFinite,
  isSafe: Number.isSafeInteger,
  isJson,
  isJsonType,
  round,
  formatTime,
  replace,
  split,
  trim,
  indexOf,
  characters,
  compareTexts,
  fastAdd,
  fastSubtract,
  fastMultiply,
  fastRemainder,
  /** A number of a record as a double of the same value; NaN: not a number, or no double has its value. */
  plainOf: (x: unknown): number => (x instanceof ExactNumber ? (x.safe ?? Number.NaN) : Number.NaN),
  lightOf: (x: unknown): unknown => (x instanceof ExactNumber ? (x.safe ?? x) : x),
  /** NaN: unreadable; the interpreter reports the reason. */
  readTime(text: string, second?: string, zone?: string): number {
    try {
      return readTime(text, second, zone)
    } catch {
      return Number.NaN
    }
  },
  readDouble(text: string): number {
    try {
      return parseDouble(text)
    } catch {
      return Number.NaN
    }
  },
}

/**
 * All text in the code is either constant or encoded with JSON.stringify (`emit`, `read`), so text of an expression cannot become code.
 * @param end last statement
 */
export function generate(code: Code, end: string, more: Record<string, unknown> = {}): Fast {
  const scope = { ...helpers, ...more }
  const source = `'use strict'\nconst { ${Object.keys(scope).join(', ')} } = scope\nreturn function (r, m, base) {\n${code.body(end)}\n}`
  return new Function('scope', 'k', source)(scope, code.constants)
}
