/** Strings as sequences of characters (code points), not UTF-16 units: 🙂 is one character. */

const PAIR = /[\ud800-\udfff]/

/** Number of characters, as in `size(text)`. */
export function characters(text: string): number {
  return before(text, text.length)
}

/** Number of characters before a UTF-16 index. */
function before(text: string, unit: number): number {
  let n = unit
  for (let i = 1; i < unit; i++) if (isLow(text.charCodeAt(i)) && isHigh(text.charCodeAt(i - 1))) n--
  return n
}

/**
 * Compares by code points, which is the order of UTF-8 bytes: 🙂 is after U+FFFD. `<` of JavaScript compares UTF-16 units, and the
 * surrogates of 🙂 are before U+FFFD. @returns a negative number, zero or a positive number
 */
export function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  let i = 0
  while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++
  if (i === length) return a.length - b.length
  const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)]
  // Surrogates represent a character above U+FFFF.
  return x >= 0xd800 && y >= 0xd800 ? beyond(a, i) - beyond(b, i) : x - y
}

/** The code point that contains a unit; a lone surrogate is returned unchanged. */
function beyond(text: string, i: number): number {
  const start = i > 0 && isLow(text.charCodeAt(i)) && isHigh(text.charCodeAt(i - 1)) ? i - 1 : i
  return text.codePointAt(start)!
}

const isHigh = (c: number): boolean => c >= 0xd800 && c <= 0xdbff
const isLow = (c: number): boolean => c >= 0xdc00 && c <= 0xdfff

/** The UTF-16 index of a character. @throws if it is beyond the end */
function unitOf(text: string, character: bigint, what: string): number {
  const at = Number(character)
  let unit = 0
  if (at >= 0 && !PAIR.test(text)) unit = at
  else for (let i = 0; i < at && unit <= text.length; i++) unit += isHigh(text.charCodeAt(unit)) && isLow(text.charCodeAt(unit + 1)) ? 2 : 1
  if (at < 0 || unit > text.length) throw new Error(`${what} ${character} is outside the text, which has ${characters(text)} characters`)
  return unit
}

export function substring(text: string, start: bigint, end?: bigint): string {
  const from = unitOf(text, start, 'the start')
  if (end === undefined) return text.slice(from)
  const to = unitOf(text, end, 'the end')
  if (to < from) throw new Error(`the end ${end} is before the start ${start}`)
  return text.slice(from, to)
}

export const charAt = (text: string, at: bigint): string => {
  const unit = unitOf(text, at, 'the position')
  return unit === text.length ? '' : String.fromCodePoint(text.codePointAt(unit)!)
}

/** -1: not found. */
export function indexOf(text: string, part: string, from?: bigint): number {
  const found = text.indexOf(part, from === undefined ? 0 : unitOf(text, from, 'the position'))
  return found <= 0 ? found : before(text, found)
}

export function lastIndexOf(text: string, part: string, from?: bigint): number {
  const found = text.lastIndexOf(part, from === undefined ? text.length : unitOf(text, from, 'the position'))
  return found <= 0 ? found : before(text, found)
}

export const split = (text: string, separator: string): string[] => (separator === '' ? Array.from(text) : text.split(separator))

export function splitInto(text: string, separator: string, limit: bigint): string[] {
  const parts = split(text, separator)
  if (limit === 0n) return []
  if (limit < 0n || limit >= parts.length) return parts
  const kept = Number(limit) - 1
  return [...parts.slice(0, kept), parts.slice(kept).join(separator)]
}

export function replace(text: string, from: string, to: string, limit: bigint = -1n): string {
  if (from === '' && (limit >= 0n || PAIR.test(text))) {
    // Between any two characters, and at both ends.
    const parts = Array.from(text)
    const places = limit < 0n ? parts.length + 1 : Number(limit)
    return [...parts, ''].map((part, i) => (i < places ? to + part : part)).join('')
  }
  if (limit < 0n) return text.replaceAll(from, () => to)
  let left = limit
  return text.replaceAll(from, found => (left-- > 0n ? to : found))
}

export const reverse = (text: string): string => (PAIR.test(text) ? Array.from(text).reverse().join('') : text.split('').reverse().join(''))

/** White space as defined by Unicode. JavaScript includes the byte order mark and excludes U+0085. */
const SPACE = '\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const SPACE_AT = new RegExp(`[${SPACE}]`)
export function trim(text: string): string {
  let [from, to] = [0, text.length]
  while (from < to && SPACE_AT.test(text[from])) from++
  while (to > from && SPACE_AT.test(text[to - 1])) to--
  return text.slice(from, to)
}

/** Changes only ASCII letters. */
export const lowerAscii = (text: string): string => text.replaceAll(/[A-Z]+/g, part => part.toLowerCase())
export const upperAscii = (text: string): string => text.replaceAll(/[a-z]+/g, part => part.toUpperCase())

const ESCAPES: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
  '"': '\\"',
}

/** The text as a CEL string literal. */
export const quoteText = (text: string): string => `"${Array.from(text.toWellFormed(), c => ESCAPES[c] ?? c).join('')}"`
