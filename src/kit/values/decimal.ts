/**
 * Exact decimals: a double where one represents the value (its shortest digits are the decimal), else a string of digits. `jsonDecimal` gives
 * the form for records; docs/adr/0005-exact-decimals.md explains why. Arithmetic is `m / 10^k` with a BigInt `m`.
 */
import { ExactNumber, isJsonNumber, isUnambiguous } from '../../contract/plugin.ts'

/** A decimal: a number while its shortest digits are exact, else its digits as text. */
export type Exact = number | string

/** `m / 10^k`. */
export interface Decimal {
  readonly m: bigint
  /** >= 0 */
  readonly k: number
}

/** Integers below this have at most 15 digits, and any decimal of at most 15 digits is the shortest one of its double. */
export const FAST_LIMIT = 1e15
/** The powers of ten that are doubles. */
export const POW10 = Array.from({ length: 23 }, (_, i) => Number(`1e${i}`))

const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/
/** Maximum length of text written by people; a JSON number may be longer. */
const MAX_LENGTH = 64
/** Characters of a JSON number that are read exactly. */
export const MAX_NUMBER_LENGTH = 400

/**
 * Reads decimal text as people and exchanges write it (`27123.45`, `1e-7`) into its one exact form: a number if a double represents it,
 * else plain digits. Undefined for anything else: NaN, hex, spaces, more than 64 characters (or `maxLength`), and values outside the range
 * of doubles.
 */
export function readDecimal(text: string, maxLength = MAX_LENGTH): Exact | undefined {
  const { length } = text
  // Up to 15 digits: the quotient of an integer and a power of ten, both exact, is rounded once and therefore correct.
  if (length <= 16) {
    let m = 0
    let point = -1
    let i = 0
    for (; i < length; i++) {
      const c = text.charCodeAt(i)
      if (c >= 48 && c <= 57) m = m * 10 + c - 48
      else if (c === 46 && point < 0 && i > 0 && i < length - 1) point = i
      else break
    }
    if (i === length && length > 0 && m < FAST_LIMIT) return point < 0 ? m : m / POW10[length - 1 - point]
  }
  return readSlowly(text, maxLength)
}

function readSlowly(text: string, maxLength: number): Exact | undefined {
  if (text.length > maxLength || !NUMBER.test(text) || !Number.isFinite(Number(text))) return undefined
  const { m, k } = decimalOf(text)
  // Too small for a double, but not zero.
  if (m !== 0n && Number(text) === 0) return undefined
  return toExact(m, k)
}

/** `m / 10^k` of a finite number (its shortest digits) or decimal text. */
export function decimalOf(x: Exact): Decimal {
  const match = NUMBER.exec(typeof x === 'number' ? String(x) : x)
  if (!match) throw new RangeError(`not a decimal: ${x}`)
  const fraction = (match[3] ?? '').replace(/0+$/, '')
  const m = BigInt(match[1] + match[2] + fraction)
  const k = fraction.length - Number(match[4] ?? 0)
  return k >= 0 ? { m, k } : { m: m * pow10(-k), k: 0 }
}

/** The decimal `m / 10^k`. */
export function toExact(m: bigint, k: number): Exact {
  if (m === 0n) return 0
  if (k < POW10.length && m < 1_000_000_000_000_000n && m > -1_000_000_000_000_000n) return Number(m) / POW10[k]
  const text = plainText(m, k)
  const n = Number(text)
  if (!Number.isFinite(n)) return text
  const back = decimalOf(n)
  const same = back.k <= k ? back.m * pow10(k - back.k) === m : back.m === m * pow10(back.k - k)
  return same ? n : text
}

/**
 * A result for a record: a JSON number with all its digits. If an input was text and no double represents the result, it is text too.
 * @param text an input was text
 */
export function jsonDecimal(x: Exact, text: boolean): Exact | ExactNumber {
  if (typeof x === 'number') return isUnambiguous(x) ? x : new ExactNumber(String(x))
  return text ? x : new ExactNumber(x)
}

/** Negative, zero or positive, as `sort` requires; exact for any two decimals. */
export function compareExact(a: Exact, b: Exact): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  const [x, y] = align(decimalOf(a), decimalOf(b))
  return x < y ? -1 : x > y ? 1 : 0
}

/** `n / d` to `digits` significant digits, ties to even. Both must be positive, or `n` zero. */
export function divideHalfEven(n: bigint, d: bigint, digits: number): Exact {
  if (n === 0n) return 0
  if (n < 0n) return negate(divideHalfEven(-n, d, digits))
  let shift = digits - (n.toString().length - d.toString().length)
  let q = scaled(n, d, shift)
  // The lengths leave one digit undetermined.
  if (q.quotient >= pow10(digits)) q = scaled(n, d, --shift)
  const twice = q.rest * 2n
  const up = twice > q.divisor || (twice === q.divisor && q.quotient % 2n === 1n)
  const m = up ? q.quotient + 1n : q.quotient
  return shift >= 0 ? toExact(m, shift) : toExact(m * pow10(-shift), 0)
}

function scaled(n: bigint, d: bigint, shift: number): { quotient: bigint; rest: bigint; divisor: bigint } {
  const dividend = shift > 0 ? n * pow10(shift) : n
  const divisor = shift < 0 ? d * pow10(-shift) : d
  return { quotient: dividend / divisor, rest: dividend % divisor, divisor }
}

function negate(x: Exact): Exact {
  return typeof x === 'number' ? -x : x.startsWith('-') ? x.slice(1) : `-${x}`
}

function align(a: Decimal, b: Decimal): [bigint, bigint] {
  if (a.k === b.k) return [a.m, b.m]
  return a.k < b.k ? [a.m * pow10(b.k - a.k), b.m] : [a.m, b.m * pow10(a.k - b.k)]
}

/** Digits with a point, no exponent, no trailing zeros. */
function plainText(m: bigint, k: number): string {
  const sign = m < 0n ? '-' : ''
  const digits = (m < 0n ? -m : m).toString().padStart(k + 1, '0')
  const whole = digits.slice(0, digits.length - k)
  const fraction = digits.slice(digits.length - k).replace(/0+$/, '')
  return fraction ? `${sign}${whole}.${fraction}` : sign + whole
}

const powers = Array.from({ length: 64 }, (_, i) => 10n ** BigInt(i))
/** `10^k`, for `k` from 0 on. */
export const pow10 = (k: number): bigint => powers[k] ?? 10n ** BigInt(k)

/** The smallest power of ten that makes `x` an integer of at most 15 digits; -1: none does. */
export function fastScale(x: number): number {
  for (let k = 0; k < POW10.length; k++) {
    const m = Math.round(x * POW10[k])
    if (!(m < FAST_LIMIT && m > -FAST_LIMIT)) return -1
    if (m / POW10[k] === x) return k
  }
  return -1
}

/** JSON of an integer sum: a number while that is exact, else its digits. */
export const encodeInteger = (n: bigint): number | string => {
  const small = Number(n)
  return Number.isSafeInteger(small) ? small : n.toString()
}

/** The decimal of a JSON number, whichever form it has. */
export const exactOf = (x: number | ExactNumber): Exact | undefined =>
  typeof x === 'number' ? x : (x.plain ?? readDecimal(x.text, MAX_NUMBER_LENGTH))

/** Why exact arithmetic is not possible with a number, for a message; undefined: it is possible, or the value is not a number. */
export function outOfRange(raw: unknown): string | undefined {
  const text = raw instanceof ExactNumber ? raw.text : typeof raw === 'string' && isJsonNumber(raw) ? raw : undefined
  if (text === undefined || readDecimal(text, raw instanceof ExactNumber ? MAX_NUMBER_LENGTH : MAX_LENGTH) !== undefined) return undefined
  const size = Math.abs(Number(text))
  if (size === Number.POSITIVE_INFINITY) return 'above 1.8e308, beyond the range of exact arithmetic'
  if (size === 0) return 'closer to 0 than 5e-324, beyond the range of exact arithmetic'
  return raw instanceof ExactNumber
    ? `longer than ${MAX_NUMBER_LENGTH} characters`
    : `a number as text of more than ${MAX_LENGTH} characters`
}
