/** JSON in and out, with every number as it was written: the one place where records and state are parsed and written. */
import { DataError, DecodeError } from './errors.ts'
import { ExactNumber, isJsonNumber, isUnambiguous } from './exact-number.ts'

/** How deep a record may be nested unless the pipeline's `limits.depth` says otherwise. */
export const DEFAULT_DEPTH = 256

/**
 * What it takes to parse some bytes. `whole`: plain, and one object or array from the first byte to the last, without escapes.
 */
export const Need = { plain: 0, unicode: 1, exact: 2, tooDeep: 3, whole: 4 } as const
export type Need = (typeof Need)[keyof typeof Need]

const QUOTE = 34
const BACKSLASH = 92
const MINUS = 45
const POINT = 46
const ZERO = 48
const NINE = 57
const isExponent = (c: number): boolean => c === 101 || c === 69
/** Of fewer characters a double keeps all digits. */
const LONG = 16

/**
 * Looks for what `JSON.parse` would lose: long numbers, exponents, zeros at the end of a fraction, `-0`, and names with an escape
 * (see `readValid`). It sees every byte once, at less than 1 ns each, so that the common record costs no more. It errs only toward `exact`,
 * and leaves validity to the parser.
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
 * JSON text as a value: like JSON.parse, with an `ExactNumber` for each number that a double would change.
 * @throws {SyntaxError} as JSON.parse does
 * @throws {DecodeError} when it is nested more than `limit` levels deep
 */
export function parseJson(text: string, limit = Number.POSITIVE_INFINITY): unknown {
  const marked = markExact(text, limit)
  if (marked === ESCAPED_NAME) {
    // For its error, where there is one.
    JSON.parse(text)
    return readValid(text)
  }
  if (marked === undefined) return JSON.parse(text)
  // A text of the record could be taken for one of ours.
  if (text.includes(MARK) || /\\u007f/i.test(text)) return JSON.parse(text, keepSource as Parameters<typeof JSON.parse>[1])
  let value: unknown
  try {
    value = JSON.parse(marked)
  } catch {
    // For an error with the right position.
    return JSON.parse(text)
  }
  return unmark(value)
}

export const tooDeep = (limit: number): DecodeError =>
  new DecodeError(`the record is nested more than ${limit} levels deep; to allow more, set \`limits: { depth: … }\` in the pipeline`)

/** In front of digits that pass JSON.parse as a string. */
const MARK = '\x7f'
const MARK_CODE = 127

/**
 * The text with the numbers that need it as marked strings, so that the native parser does the rest: several times faster than a
 * reviver. Undefined: there are none.
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
      // In the place of a key, or not a number at all: for the parser to refuse.
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
 * Reads JSON that is known to be valid, without the engine's reader of objects. That takes a name with an escape for another one: V8
 * compares the text of a name with the next name of an object that it has seen before, and if that has a backslash in the place of the
 * escape, `{"x":1,"\\u0061":5}` becomes `{"x":1,"\\":5}` (Node 24).
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
  /** Behind an opening bracket. */
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
/** What ends a number or a word: white space, a comma, a bracket. */
const END: ReadonlySet<number> = new Set([9, 10, 13, 32, COMMA, 93, 125])
const ESCAPED_NAME = Symbol('a name has an escape')

/** Does a double print a short number, written without an exponent, as it is? */
function isKept(text: string, start: number, point: number, end: number): boolean {
  if (point === 0) return !(text.charCodeAt(start) === MINUS && text.charCodeAt(start + 1) === ZERO)
  // Below 0.000001 it prints an exponent.
  return text.charCodeAt(end - 1) !== ZERO && !(end - point > 7 && text.startsWith('000000', point + 1))
}

/** The next character that is not white space. */
function nextOf(text: string, at: number): number {
  let i = at
  while (text.charCodeAt(i) <= 32) i++
  return text.charCodeAt(i)
}

/** In place: the value has no other reference yet. */
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

/** Is nothing lost when the double takes the place of the number as it was written? */
export const isPlain = (x: number, text: string): boolean => String(x) === text && isUnambiguous(x)

/**
 * A value as JSON text, exact numbers digit for digit.
 * @throws {DataError} for whatever JSON cannot say or hold: a BigInt, a cycle, a function, nesting or length beyond what the engine takes
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

/** Far beyond any record; a value that contains itself gets there, too. */
const PLUGIN_DEPTH = 1000

/**
 * Why a value that a plugin made is not JSON, or would not be what it was: NaN becomes null, a Map `{}`. Undefined: it is JSON.
 * What a step emits is checked once, where it is made, so that no sink and no state has to expect anything else.
 */
export function jsonProblem(value: unknown): string | undefined {
  if (value === undefined) return 'it is undefined'
  try {
    return problemIn(value, 0)
  } catch (error) {
    // A getter, a Proxy.
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
