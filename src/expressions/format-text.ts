/** `"%s: %.2f".format([symbol, price])`: the format() of the CEL string extension. */
import { ExactNumber } from '../contract/plugin.ts'
import { decimal, isNumeric, type Numeric } from '../kit/values/arithmetic.ts'
import { pow10 } from '../kit/values/decimal.ts'
import { unsigned } from './cel.ts'
import { Duration, Timestamp } from './instants.ts'

/** @throws {Error} for an unknown clause or an invalid value */
export function formatText(pattern: string, values: readonly unknown[]): string {
  let next = 0
  return pattern.replaceAll(
    /%(?:%|(?:\.(\d+))?([\s\S])?)/g,
    (clause: string, precision: string | undefined, letter: string | undefined) => {
      if (clause === '%%') return '%'
      if (letter === undefined || !'sdfebxXo'.includes(letter) || (precision !== undefined && !'fe'.includes(letter)))
        throw new Error(`format() does not support '${clause}'; supported are %s %d %f %e %b %o %x %X and %%`)
      if (next >= values.length) throw new Error(`format() has no value for clause ${next + 1}, '${clause}'`)
      const value = values[next++]
      const places = Number(precision ?? 6)
      if (places > 100) throw new Error(`format() takes at most 100 places, got ${clause}`)
      return one(letter, places, value, clause)
    },
  )
}

function one(letter: string, places: number, value: unknown, clause: string): string {
  const number = unsigned(value) ?? value
  if (letter === 's') return asText(value)
  if (typeof number === 'number' && !Number.isFinite(number) && 'dfe'.includes(letter)) return String(number)
  if (isNumeric(number)) {
    if (letter === 'f') return fixed(number, places)
    if (letter === 'e') return scientific(number, places)
    const whole = wholeOf(number)
    if (whole !== undefined) return letter === 'X' ? whole.toString(16).toUpperCase() : whole.toString(BASES[letter])
  }
  if (letter === 'b' && typeof value === 'boolean') return value ? '1' : '0'
  if ((letter === 'x' || letter === 'X') && (typeof value === 'string' || value instanceof Uint8Array)) {
    const hex = Buffer.from(value as string).toString('hex')
    return letter === 'X' ? hex.toUpperCase() : hex
  }
  const takes = 'fe'.includes(letter)
    ? 'a number'
    : letter === 'b'
      ? 'a whole number or boolean'
      : 'xX'.includes(letter)
        ? 'a whole number, a string or bytes'
        : 'a whole number'
  throw new Error(`'${clause}' of format() takes ${takes}, got ${asText(value)}`)
}

const BASES: Readonly<Record<string, number>> = { d: 10, b: 2, o: 8, x: 16 }

function wholeOf(x: Numeric): bigint | undefined {
  if (typeof x === 'bigint') return x
  const { m, k } = decimal(x)
  return m % pow10(k) === 0n ? m / pow10(k) : undefined
}

/** `m / 10^k` as an integer number of `10^-places`, rounded half-even. */
function toPlaces(m: bigint, k: number, places: number): bigint {
  const [n, d] = places >= k ? [m * pow10(places - k), 1n] : [m, pow10(k - places)]
  const [whole, rest] = [n / d, (n % d) * 2n]
  return rest > d || (rest === d && whole % 2n === 1n) ? whole + 1n : whole
}

function fixed(x: Numeric, places: number): string {
  const { m, k } = decimal(x)
  const digits = String(toPlaces(m < 0n ? -m : m, k, places)).padStart(places + 1, '0')
  const [whole, fraction] = [digits.slice(0, digits.length - places), digits.slice(digits.length - places)]
  return `${m < 0n ? '-' : ''}${whole}${places > 0 ? `.${fraction}` : ''}`
}

function scientific(x: Numeric, places: number): string {
  const { m, k } = decimal(x)
  const size = m < 0n ? -m : m
  let exponent = size === 0n ? 0 : String(size).length - 1 - k
  const at = (e: number): string => String(toPlaces(size * pow10(Math.max(0, -e)), k + Math.max(0, e), places))
  let digits = at(exponent)
  // Rounding can add a digit: 9.996 with two places is 1.00e+01.
  if (digits.length > places + 1) digits = at(++exponent)
  digits = digits.padStart(places + 1, '0')
  const shown = `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  return `${m < 0n ? '-' : ''}${digits[0]}${places > 0 ? `.${digits.slice(1)}` : ''}e${shown}`
}

/** The result of `%s`. */
function asText(value: unknown): string {
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8')
  if (value instanceof Timestamp || value instanceof Duration || value instanceof ExactNumber) return String(value)
  if (Array.isArray(value)) return `[${value.map(asText).join(', ')}]`
  if (typeof value === 'object' && value !== null && unsigned(value) === undefined) {
    const entries = value instanceof Map ? [...value] : Object.entries(value)
    const pairs = entries.map(([key, item]) => [asText(key), asText(item)] as const).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    return `{${pairs.map(([key, item]) => `${key}: ${item}`).join(', ')}}`
  }
  return String(value)
}
