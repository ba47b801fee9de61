/** Parses and writes the JSON of records and state, and preserves the text of every number. */
import { DataError, DecodeError } from './errors.ts'
import { ExactNumber, isJsonNumber, isUnambiguous } from './exact-number.ts'

/** Maximum nesting depth of a record unless `limits.depth` is set. */
export const DEFAULT_DEPTH = 256

/** The kind of parsing that the bytes need. `whole`: plain, and one object or array from the first byte to the last, without escapes. */
export const Need = { plain: 0, unicode: 1, exact: 2, tooDeep: 3, whole: 4 } as const
export type Need = (typeof Need)[keyof typeof Need]

const QUOTE = 34
const BACKSLASH = 92
const MINUS = 45
const POINT = 46
const ZERO = 48
const NINE = 57
const isExponent = (c: number): boolean => c === 101 || c === 69
/** A double preserves all digits of shorter numbers. */
const LONG = 16

/**
 * Finds input that `JSON.parse` would change: long numbers, exponents, zeros at the end of a fraction, `-0`, and names with an escape (see
 * `readValid`). It reads each byte once, in less than 1 ns. It errs only toward `exact`, and leaves validation to the parser.
 */
export function inspect(p: Uint8Array, limit: number): Need {
  const n = p.length
  let depth = 0
  let bits = 0
  let isWhole = p[0] === 123 || p[0] === 91
  let escaped = false
  for (let i = 0; i < n; ) {
    let c = p[i++]
    if (c === QUOTE) {
      while (i < n && (c = p[i++]) !== QUOTE) {
        bits |= c
        if (c === BACKSLASH) {
          i++
          isWhole = false
          escaped = true
        }
      }
      if (escaped) {
        if (colonAt(p, i)) return Need.exact
        escaped = false
      }
    } else if (c <= NINE) {
      if (c >= ZERO || c === MINUS) {
        const start = i - 1
        let point = 0
        if (c === MINUS && p[i] === ZERO && p[i + 1] !== POINT) return Need.exact
        for (; i < n; i++) {
          c = p[i]
          if (c < ZERO || c > NINE) {
            if (c !== POINT) break
            point = i
          }
        }
        if (
          point !== 0 &&
          (p[i - 1] === ZERO || (p[point + 1] === ZERO && p[point + 2] === ZERO && p[point + 3] === ZERO && i - point > 7))
        )
          return Need.exact
        if (isExponent(c) || i - start >= LONG) return Need.exact
      }
    } else if (c === 91 || c === 123) {
      if (++depth > limit) return Need.tooDeep
    } else if (c === 93 || c === 125) {
      if (--depth === 0 && i < n) isWhole = false
    } else bits |= c
  }
  if (bits >= 128) return Need.unicode
  return isWhole && depth === 0 ? Need.whole : Need.plain
}

function colonAt(p: Uint8Array, at: number): boolean {
  let i = at
  while (p[i] <= 32) i++
  return p[i] === 58
}

/**
 * Parses JSON text like `JSON.parse`, with an `ExactNumber` for each number that a double would change.
 * @throws {SyntaxError} as `JSON.parse` does
 * @throws {DecodeError} when the text is nested more than `limit` levels deep
 */
export function parseJson(text: string, limit = Number.POSITIVE_INFINITY): unknown {
  const marked = markExact(text, limit)
  if (marked === ESCAPED_NAME) {
    // Throws the error of malformed JSON.
    JSON.parse(text)
    return readValid(text)
  }
  if (marked === undefined) return JSON.parse(text)
  // A text of the record could look like a marked number.
  if (text.includes(MARK) || /\\u007f/i.test(text)) return JSON.parse(text, keepSource as Parameters<typeof JSON.parse>[1])
  let value: unknown
  try {
    value = JSON.parse(marked)
  } catch {
    // Parses the original text, so that the error has the right position.
    return JSON.parse(text)
  }
  return unmark(value)
}

export const tooDeep = (limit: number): DecodeError =>
  new DecodeError(`the record is nested more than ${limit} levels deep; to allow more, set \`limits: { depth: … }\` in the pipeline`)

/** Prefix of the strings that carry the digits of exact numbers through `JSON.parse`. */
const MARK = '\x7f'
const MARK_CODE = 127

/**
 * The text with exact numbers replaced by marked strings, so that the native parser can read it: several times faster than a reviver.
 * Undefined: there are no exact numbers.
 */
function markExact(text: string, limit: number): string | typeof ESCAPED_NAME | undefined {
  const n = text.length
  let out = ''
  let copied = 0
  let depth = 0
  let escapedName = false
  for (let i = 0; i < n; ) {
    let c = text.charCodeAt(i++)
    if (c === QUOTE) {
      let escaped = false
      while (i < n && (c = text.charCodeAt(i++)) !== QUOTE)
        if (c === BACKSLASH) {
          escaped = true
          i++
        }
      if (escaped && nextOf(text, i) === 58) escapedName = true
    } else if (c <= NINE) {
      if (c < ZERO && c !== MINUS) continue
      const start = i - 1
      let point = 0
      let digits = true
      for (; i < n; i++) {
        c = text.charCodeAt(i)
        if (c >= ZERO && c <= NINE) continue
        if (c === POINT) point = i
        else if (isExponent(c) || c === 43 || c === MINUS) digits = false
        else break
      }
      if (digits && i - start < LONG && isKept(text, start, point, i)) continue
      const token = text.slice(start, i)
      // A token in the place of a key, or an invalid number, is left to the parser, which rejects it.
      if (isPlain(Number(token), token) || !isJsonNumber(token) || nextOf(text, i) === 58) continue
      out += `${text.slice(copied, start)}"${MARK}${token}"`
      copied = i
    } else if (c === 91 || c === 123) {
      if (++depth > limit) throw tooDeep(limit)
    } else if (c === 93 || c === 125) depth--
  }
  if (escapedName) return ESCAPED_NAME
  return copied === 0 ? undefined : out + text.slice(copied)
}

/**
 * Reads valid JSON without the object reader of the engine, which can confuse a name that has an escape with another name. V8 compares the
 * text of a name with the next name of a known object. If that name has a backslash in the place of the escape, `{"x":1,"\\u0061":5}`
 * becomes `{"x":1,"\\":5}` (Node.js 24).
 */
function readValid(text: string): unknown {
  let i = 0
  const next = (): number => {
    while (text.charCodeAt(i) <= 32) i++
    return text.charCodeAt(i)
  }
  const string = (): string => {
    const start = i++
    let escaped = false
    for (let c = text.charCodeAt(i); c !== QUOTE; c = text.charCodeAt(++i)) {
      if (c !== BACKSLASH) continue
      escaped = true
      i++
    }
    i++
    return escaped ? (JSON.parse(text.slice(start, i)) as string) : text.slice(start + 1, i - 1)
  }
  const scalar = (): unknown => {
    const start = i
    while (i < text.length && !END.has(text.charCodeAt(i))) i++
    const token = text.slice(start, i)
    if (token === 'true' || token === 'false') return token === 'true'
    if (token === 'null') return null
    const x = Number(token)
    return isPlain(x, token) ? x : new ExactNumber(token)
  }
  /** Reads the items between brackets; starts at the opening bracket. */
  const items = (close: number, read: () => void): void => {
    i++
    while (next() !== close) {
      read()
      if (next() === COMMA) i++
    }
    i++
  }
  const value = (): unknown => {
    const c = next()
    if (c === QUOTE) return string()
    if (c === 91) {
      const list: unknown[] = []
      items(93, () => list.push(value()))
      return list
    }
    if (c !== 123) return scalar()
    const record: Record<string, unknown> = {}
    items(125, () => {
      next()
      const name = string()
      next()
      i++
      const item = value()
      if (name === '__proto__') Object.defineProperty(record, name, { value: item, writable: true, enumerable: true, configurable: true })
      else record[name] = item
    })
    return record
  }
  return value()
}

const COMMA = 44
/** The bytes that end a number or a word: white space, a comma, a closing bracket. */
const END: ReadonlySet<number> = new Set([9, 10, 13, 32, COMMA, 93, 125])
const ESCAPED_NAME = Symbol('a name has an escape')

/** True if a double prints a short number without an exponent unchanged. */
function isKept(text: string, start: number, point: number, end: number): boolean {
  if (point === 0) return !(text.charCodeAt(start) === MINUS && text.charCodeAt(start + 1) === ZERO)
  // Below 0.000001 a double prints an exponent.
  return text.charCodeAt(end - 1) !== ZERO && !(end - point > 7 && text.startsWith('000000', point + 1))
}

/** The first character at or after `at` that is not white space. */
function nextOf(text: string, at: number): number {
  let i = at
  while (text.charCodeAt(i) <= 32) i++
  return text.charCodeAt(i)
}

/** Changes the value in place, because it has no other reference yet. */
function unmark(value: unknown): unknown {
  if (typeof value === 'string') return value.charCodeAt(0) === MARK_CODE ? new ExactNumber(value.slice(1)) : value
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      if (typeof item === 'string' ? item.charCodeAt(0) === MARK_CODE : typeof item === 'object') value[i] = unmark(item)
    }
    return value
  }
  const fields = value as Record<string, unknown>
  for (const name in fields) {
    const item = fields[name]
    if (typeof item === 'string' ? item.charCodeAt(0) === MARK_CODE : typeof item === 'object') fields[name] = unmark(item)
  }
  return value
}

function keepSource(_: string, value: unknown, context: { readonly source?: string }): unknown {
  return typeof value === 'number' && !isPlain(value, context.source!) ? new ExactNumber(context.source!) : value
}

/** True if a double prints the number exactly as written. */
export const isPlain = (x: number, text: string): boolean => String(x) === text && isUnambiguous(x)

/** A copy of a JSON value that shares no object or list with it. Not `structuredClone`, which would lose the class of an `ExactNumber`. */
export function detached(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(detached)
  const isObject = typeof value === 'object' && value !== null && !(value instanceof ExactNumber) && !Buffer.isBuffer(value)
  return isObject ? Object.fromEntries(Object.entries(value).map(([name, v]) => [name, detached(v)])) : value
}

/**
 * A value as JSON text; exact numbers keep their digits.
 * @throws {DataError} for a value that JSON cannot represent (a BigInt, a cycle, a function), and for nesting or length beyond the limits
 * of the engine
 */
export function encodeJson(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw new DataError(`the value cannot be written as JSON: ${reason(error)}`, error)
  }
  if (text === undefined)
    throw new DataError(`the value cannot be written as JSON: it is ${value === undefined ? 'undefined' : `a ${typeof value}`}`)
  return text
}

/** Nesting limit for values of plugins. A value that contains itself exceeds it, too. */
const PLUGIN_DEPTH = 1000

/**
 * Why a value of a plugin is not JSON, or would change as JSON: NaN becomes null, a Map becomes `{}`. Undefined: it is JSON. Values are
 * checked once, when a step emits them, so sinks and state receive only JSON.
 */
export function jsonProblem(value: unknown): string | undefined {
  if (value === undefined) return 'it is undefined'
  try {
    return problemIn(value, 0)
  } catch (error) {
    // Thrown by a getter or a Proxy.
    return `reading it failed: ${reason(error)}`
  }
}

function problemIn(value: unknown, depth: number): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : `it contains ${value}, which JSON cannot represent`
    case 'bigint':
      return BIGINT
    case 'object':
      break
    default:
      return `it contains a ${typeof value}`
  }
  if (value === null || value instanceof ExactNumber || (depth === 0 && Buffer.isBuffer(value))) return undefined
  if (depth >= PLUGIN_DEPTH) return 'it contains itself, or is nested more than 1000 levels deep'
  if (Array.isArray(value)) {
    for (const item of value) {
      const problem = problemIn(item, depth + 1)
      if (problem !== undefined) return problem
    }
    return undefined
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function')
    return JSON.stringify(value) === undefined ? 'its toJSON returns undefined' : undefined
  if (value instanceof Map || value instanceof Set) return `it contains a ${value.constructor.name}, which JSON cannot represent`
  for (const name in value) {
    const problem = problemIn((value as Record<string, unknown>)[name], depth + 1)
    if (problem !== undefined) return problem
  }
  return undefined
}

const BIGINT = 'it contains a BigInt: use ExactNumber for integers of any size'

function reason(error: unknown): string {
  const { message } = error as Error
  if (error instanceof RangeError) return /string length/i.test(message) ? 'the text would be too long' : 'it is nested too deeply'
  if (/circular/i.test(message)) return 'it contains itself'
  return /BigInt/.test(message) ? BIGINT : message
}
