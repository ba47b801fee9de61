/**
 * Exact decimal arithmetic on the numbers of records. A plain number stands for its shortest digits (`0.1` is 1/10), so
 * `100.49 * 0.22` is 22.1078. A result is a plain number when a double prints exactly those digits, else an `ExactNumber`.
 */
import { ExactNumber, partsOf } from '../../contract/plugin.ts'
import { jsonDecimal, type Decimal, FAST_LIMIT, fastScale, POW10, pow10, toExact } from './decimal.ts'

/** Every representation of a number. */
export type Numeric = number | bigint | ExactNumber

/** Maximum digits of a result: `1e400 * 1e400` is fine, `1e999999999 + 1` would fill the memory. */
const MAX_DIGITS = 2000

/** @returns whether the value is a number, in any representation. */
export const isNumeric = (x: unknown): x is Numeric => typeof x === 'number' || typeof x === 'bigint' || x instanceof ExactNumber

/** @throws {RangeError} for values that are not finite, or too large to be written out */
export function decimal(x: Numeric): Decimal {
  if (typeof x === 'bigint') return { m: x, k: 0 }
  if (typeof x === 'number' && !Number.isFinite(x)) throw new RangeError(`${x} is not a number`)
  const { negative, digits, point } = partsOf(String(x))
  if (digits === '') return { m: 0n, k: 0 }
  const k = digits.length - point
  if (Math.abs(point) > MAX_DIGITS || digits.length > MAX_DIGITS) throw new RangeError(`a number of more than ${MAX_DIGITS} digits`)
  const m = BigInt((negative ? '-' : '') + digits)
  return k >= 0 ? { m, k } : { m: m * pow10(-k), k: 0 }
}

/** The simplest number with that value: a double if it represents exactly that value, else its digits. */
export function numberOf({ m, k }: Decimal): number | ExactNumber {
  return jsonDecimal(toExact(m, k), false) as number | ExactNumber
}

/** The result of `exactly`; division has its own function, because it needs the number of places. */
export type Operator = '+' | '-' | '*' | '%'

/** @throws {RangeError} see `decimal`, and for a remainder of division by zero */
export function exactly(op: Operator, a: Numeric, b: Numeric): number | ExactNumber {
  if (typeof a === 'number' && typeof b === 'number') {
    const fast = FAST[op](a, b)
    if (!Number.isNaN(fast)) return fast
  }
  const [x, y] = [decimal(a), decimal(b)]
  if (op === '*') return numberOf({ m: x.m * y.m, k: x.k + y.k })
  const k = Math.max(x.k, y.k)
  const [p, q] = [x.m * pow10(k - x.k), y.m * pow10(k - y.k)]
  if (op === '%') {
    if (q === 0n) throw new RangeError('modulo by zero')
    return numberOf({ m: p % q, k })
  }
  return numberOf({ m: op === '+' ? p + q : p - q, k })
}

/** `a / b` to this many places, a half away from zero. @throws {RangeError} see `decimal`, and for division by zero */
export function divide(a: Numeric, b: Numeric, places: number): number | ExactNumber {
  checkPlaces(places)
  const [x, y] = [decimal(a), decimal(b)]
  if (y.m === 0n) throw new RangeError('division by zero')
  return numberOf({ m: halfAway(x.m * pow10(y.k + places), y.m * pow10(x.k)), k: places })
}

/** To this many places, a half away from zero. @throws {RangeError} see `decimal` */
export function roundTo(x: Numeric, places: number): number | ExactNumber {
  checkPlaces(places)
  const { m, k } = decimal(x)
  return k <= places ? numberOf({ m, k }) : numberOf({ m: halfAway(m, pow10(k - places)), k: places })
}

/** The whole number at or below (-1) or at or above (1). */
export function toWhole(x: Numeric, side: -1 | 1): number | ExactNumber {
  const { m, k } = decimal(x)
  const unit = pow10(k)
  const whole = m / unit
  const rest = m % unit
  const step = rest === 0n || rest > 0n !== side > 0 ? 0n : BigInt(side)
  return numberOf({ m: whole + step, k: 0 })
}

/** `-x`. */
export function negative(x: ExactNumber): number | ExactNumber {
  const { m, k } = decimal(x)
  return numberOf({ m: -m, k })
}

/** `x` without its sign. */
export const absolute = (x: Numeric): number | ExactNumber => {
  const { m, k } = decimal(x)
  return numberOf({ m: m < 0n ? -m : m, k })
}

/** Maximum number of places for a rounding or a division. */
export const MAX_PLACES = 100
function checkPlaces(places: number): void {
  if (!(Number.isInteger(places) && places >= 0 && places <= MAX_PLACES))
    throw new RangeError(`places must be a whole number from 0 to ${MAX_PLACES}, got ${places}`)
}

function halfAway(n: bigint, d: bigint): bigint {
  const [p, q] = [n < 0n ? -n : n, d < 0n ? -d : d]
  const rounded = (2n * p + q) / (2n * q)
  return n < 0n === d < 0n ? rounded : -rounded
}

/**
 * The same for two doubles with at most 15 digits whose result also has at most 15: takes a few nanoseconds, because it uses doubles only.
 * NaN: use the slow way. A whole number below 10^15 divided by a power of ten is the double of exactly that decimal.
 */
export function fastAdd(a: number, b: number): number {
  const whole = a + b
  // The difference of two large ones may be small.
  if (Number.isInteger(a) && Number.isInteger(b))
    return whole < FAST_LIMIT && whole > -FAST_LIMIT && a < FAST_LIMIT && a > -FAST_LIMIT ? whole + 0 : Number.NaN
  const [x, y] = [fastScale(a), fastScale(b)]
  if (x < 0 || y < 0) return Number.NaN
  const scale = POW10[x > y ? x : y]
  const [p, q] = [Math.round(a * scale), Math.round(b * scale)]
  const m = p + q
  return p < FAST_LIMIT && p > -FAST_LIMIT && q < FAST_LIMIT && q > -FAST_LIMIT && m < FAST_LIMIT && m > -FAST_LIMIT
    ? m / scale + 0
    : Number.NaN
}

/** As `fastAdd`. */
export const fastSubtract = (a: number, b: number): number => fastAdd(a, -b)

/** Makes factors whole with the power of ten that worked for the last one: it usually works for the next record. */
class Factor {
  /** May be more than a number needs: the product is the same. */
  places = 0

  /** `x` times the power of ten; NaN: see `fastScale`. */
  whole(x: number): number {
    const m = Math.round(x * POW10[this.places])
    if (m / POW10[this.places] === x && m < FAST_LIMIT && m > -FAST_LIMIT) return m
    const k = fastScale(x)
    if (k < 0) return Number.NaN
    this.places = k
    return Math.round(x * POW10[k])
  }
}
const left = new Factor()
const right = new Factor()

/** As `fastAdd`. */
export function fastMultiply(a: number, b: number): number {
  const m = left.whole(a) * right.whole(b)
  const places = left.places + right.places
  if (m < FAST_LIMIT && m > -FAST_LIMIT && places < POW10.length) return m / POW10[places] + 0
  if (Number.isNaN(m) || (left.places === fastScale(a) && right.places === fastScale(b))) return Number.NaN
  // Tries again with no more places than these two have.
  left.places = right.places = 0
  return fastMultiply(a, b)
}

/** As `fastAdd`. */
export function fastRemainder(a: number, b: number): number {
  const [x, y] = [fastScale(a), fastScale(b)]
  if (x < 0 || y < 0 || b === 0) return Number.NaN
  const scale = POW10[x > y ? x : y]
  const [p, q] = [Math.round(a * scale), Math.round(b * scale)]
  return p < FAST_LIMIT && p > -FAST_LIMIT && q < FAST_LIMIT && q > -FAST_LIMIT ? (p % q) / scale + 0 : Number.NaN
}

const FAST: Record<Operator, (a: number, b: number) => number> = {
  '+': fastAdd,
  '-': fastSubtract,
  '*': fastMultiply,
  '%': fastRemainder,
}
