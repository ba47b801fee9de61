/**
 * Exact decimal arithmetic on the numbers of records. A plain number stands for its shortest digits (`0.1` is 1/10), so
 * `100.49 * 0.22` is 22.1078. A result is a plain number when a double prints exactly those digits, else an `ExactNumber`.
 */
import { ExactNumber, isUnambiguous, partsOf } from '../../contract/plugin.ts'
import { type Decimal, FAST_LIMIT, fastScale, POW10, pow10, toExact } from './decimal.ts'

/** Every form in which a number comes. */
export type Numeric = number | bigint | ExactNumber

/** Digits a result may have: `1e400 * 1e400` is fine, `1e999999999 + 1` would fill the memory. */
const MAX_DIGITS = 2000

/** Is it a number, in any of its forms? */
export const isNumeric = (x: unknown): x is Numeric => typeof x === 'number' || typeof x === 'bigint' || x instanceof ExactNumber

/** @throws {RangeError} for what is not finite, or too large to be written out */
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

/** The simplest number of that value: a double that means nothing else, or its digits. */
export function numberOf({ m, k }: Decimal): number | ExactNumber {
  const exact = toExact(m, k)
  return typeof exact === 'number' && isUnambiguous(exact) ? exact : new ExactNumber(String(exact))
}

/** What `exactly` calculates; division has its own function, for it needs to know how many places. */
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

/** `a / b` to so many places, a half away from zero. @throws {RangeError} see `decimal`, and for division by zero */
export function divide(a: Numeric, b: Numeric, places: number): number | ExactNumber {
  checkPlaces(places)
  const [x, y] = [decimal(a), decimal(b)]
  if (y.m === 0n) throw new RangeError('division by zero')
  return numberOf({ m: halfAway(x.m * pow10(y.k + places), y.m * pow10(x.k)), k: places })
}

/** To so many places, a half away from zero. @throws {RangeError} see `decimal` */
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

/** Places a rounding or a division may be asked for. */
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
 * The same for two doubles that have at most 15 digits and whose result has: at a few nanoseconds, since it stays with doubles. NaN:
 * it takes the long way. A whole number below 10^15 over a power of ten is the double of exactly that decimal.
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

/** Makes factors whole with the power of ten that did so for the last one: it does for the next record's, as a rule. */
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
  // Once more, with no more places than these two have.
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
