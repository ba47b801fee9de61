/** Implementations of the functions: pure, and used by the interpreter and generated code. They throw `Error` for invalid arguments. */
import { ExactNumber, isUnambiguous } from '../contract/plugin.ts'
import { type Numeric, toWhole } from '../kit/values/arithmetic.ts'
import { MAX_TIME } from '../kit/values/time.ts'
import { loadRe2, makeUnsigned } from './cel.ts'
import type { Timestamp } from './instants.ts'

/** Rounds the decimal text of a number half away from zero. @throws if places is not 0 to 15 */
export function round(x: number, places: number): number {
  if (!(Number.isInteger(places) && places >= 0 && places <= 15)) throw new Error(`round() takes 0 to 15 places, got ${places}`)
  const scale = POWERS[places]
  const scaled = Math.abs(x) * scale
  // From 2^49 the product is too imprecise to detect a half. From 2^53, and for NaN and infinity, there are no decimals.
  if (!(scaled < 2 ** 49)) return Math.abs(x) < 2 ** 53 ? roundText(x, places) : x
  const whole = Math.floor(scaled)
  const rest = scaled - whole
  // x and the product are each off by at most half a unit in the last place, so only values close to a half need the slow, exact way.
  if (Math.abs(rest - 0.5) < scaled * 2 ** -50) return roundText(x, places)
  const result = (rest < 0.5 ? whole : whole + 1) / scale
  return x < 0 ? -result : result
}

const POWERS = Array.from({ length: 16 }, (_, n) => Number(`1e${n}`))

/** Rounds the shortest decimal text of x, digit by digit. */
function roundText(x: number, places: number): number {
  const [mantissa, exponent = '0'] = `${Math.abs(x)}`.split('e')
  const [whole, decimals = ''] = mantissa.split('.')
  const digits = whole + decimals
  // The value is 0.DIGITS * 10^point; keep `cut` digits of it.
  const point = whole.length + Number(exponent)
  const cut = point + places
  if (cut < 0) return 0
  if (cut >= digits.length) return x
  const up = digits.charCodeAt(cut) >= 53 ? 1n : 0n
  const kept = BigInt(digits.slice(0, cut) || '0') + up
  const result = Number(`${kept}e${-places}`)
  return x < 0 ? -result : result
}

const DOUBLE = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/

export function parseDouble(text: string): number {
  const x = DOUBLE.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(x)) throw new Error(`double() cannot read ${quote(text)} as a number`)
  return x
}

/** @throws if the value is outside the range of a double */
export function nearest(x: Numeric): number {
  const n = Number(x)
  if (!Number.isFinite(n)) throw new Error(`double() cannot hold ${x}`)
  return n
}

/** Truncates to a 64-bit integer. */
export const truncate = (x: number | ExactNumber): bigint => int64(wholeNumber(x))

/** @throws beyond 64 bits */
export function int64(x: bigint): bigint {
  if (BigInt.asIntN(64, x) !== x) throw new Error(`int() cannot hold ${x}`)
  return x
}

/** Truncated to a whole number. @throws if far beyond 64 bits */
export function wholeNumber(x: number | ExactNumber, name = 'int'): bigint {
  if (!(Math.abs(Number(x)) <= 2 ** 64)) throw new Error(`${name}() cannot hold ${x}`)
  return BigInt(typeof x === 'number' ? Math.trunc(x) : String(toWhole(x, x.text.startsWith('-') ? 1 : -1)))
}

/** @throws for a negative number or one beyond 64 bits */
export function unsignedOf(x: bigint): unknown {
  if (BigInt.asUintN(64, x) !== x) throw new Error(`uint() cannot hold ${x}`)
  return makeUnsigned(x)
}

export function parseUnsigned(text: string): unknown {
  if (!/^\d{1,20}$/.test(text)) throw new Error(`uint() cannot read ${quote(text)} as a whole number`)
  return unsignedOf(BigInt(text))
}

const BOOLEANS: Readonly<Record<string, boolean>> = {
  ...Object.fromEntries(['true', 'True', 'TRUE', 't', '1'].map(text => [text, true])),
  ...Object.fromEntries(['false', 'False', 'FALSE', 'f', '0'].map(text => [text, false])),
}

export function parseBoolean(text: string): boolean {
  if (!Object.hasOwn(BOOLEANS, text)) throw new Error(`bool() cannot read ${quote(text)} as true or false`)
  return BOOLEANS[text]
}

/** @throws for bytes that are not UTF-8 */
export function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Error('string() cannot read bytes that are not UTF-8; base64.encode(x) accepts any bytes')
  }
}

/** Seconds since 1970. */
export const secondsOf = (t: Timestamp): bigint => {
  const seconds = t.ns / 1_000_000_000n
  return t.ns < 0n && t.ns % 1_000_000_000n !== 0n ? seconds - 1n : seconds
}

/** Decimal text as a number with all its digits. */
export function parseDecimal(text: string): number | ExactNumber {
  const match = DECIMAL.exec(text)
  if (!match || text.length > 2000) throw new Error(`decimal() cannot read ${quote(text)} as a number`)
  const [, sign, whole, fraction, exponent = ''] = match
  const written = `${sign === '-' ? '-' : ''}${whole.replace(/^0+(?=\d)/, '') || '0'}${fraction ? `.${fraction}` : ''}${exponent}`
  const n = Number(written)
  return String(n) === written && isUnambiguous(n) ? n : new ExactNumber(written)
}

const DECIMAL = /^([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?([eE][+-]?\d{1,9})?$/

export function parseInteger(text: string): bigint {
  if (/^[+-]?\d{1,19}$/.test(text)) {
    const x = text.startsWith('+') ? BigInt(text.slice(1)) : BigInt(text)
    if (BigInt.asIntN(64, x) === x) return x
  }
  throw new Error(`int() cannot read ${quote(text)} as a whole number`)
}

export function formatTime(ms: number): string {
  if (Math.abs(ms) <= MAX_TIME) return new Date(ms).toISOString()
  throw new Error(`format_time() takes epoch milliseconds, got ${ms}`)
}

/** A cache. Patterns are literals of expressions, so there are few. */
const patterns = new Map<string, { test(text: string): boolean }>()

/** @throws with the reason if the pattern is invalid */
export function pattern(source: string): { test(text: string): boolean } {
  let compiled = patterns.get(source)
  if (!compiled) patterns.set(source, (compiled = loadRe2().RE2JS.compile(source)))
  return compiled
}

export const matches = (text: string, source: string): boolean => pattern(source).test(text)

const quote = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text)
