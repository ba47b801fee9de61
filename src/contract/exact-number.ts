/** JSON numbers that a JavaScript number cannot represent exactly: it would round them or print them with other digits. */

/** The grammar of a JSON number. */
const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/

/**
 * A number of a record with its original text: `9007199254740993`, `12345678901234567.89`, `1.10`, `1e400`, `-0`.
 *
 * A decoded value contains an `ExactNumber` only where a plain number would lose the value or the original text, and for whole numbers
 * beyond 2^53. All other numbers are plain. `JSON.stringify` writes it digit for digit. `Number(x)`, `x + 1` and `x < y` use the nearest
 * double. Use `compareNumbers` where all digits matter, and `toDouble` instead of `typeof x === 'number'`.
 */
export class ExactNumber {
  /** A JSON number. */
  readonly text: string
  private known: number | undefined | null = null

  /** @throws {TypeError} when the text is not a JSON number */
  constructor(text: string) {
    if (!NUMBER.test(text)) throw new TypeError(`not a JSON number: ${text.slice(0, 80)}`)
    this.text = text
  }

  /** The double with the same decimal value (`1.1` for `1.10`); undefined if no double has it. */
  get plain(): number | undefined {
    if (this.known === null) {
      const nearest = Number(this.text)
      this.known = Number.isFinite(nearest) && sameParts(partsOf(this.text), partsOf(String(nearest))) ? nearest + 0 : undefined
    }
    return this.known
  }

  /**
   * As `plain`, but only up to 2^53. Beyond it, the digits that a double prints can differ from its binary value, which `x - y` and
   * `BigInt(x)` use.
   */
  get safe(): number | undefined {
    const { plain } = this
    return plain !== undefined && isUnambiguous(plain) ? plain : undefined
  }

  /** The nearest double; infinity for a number beyond its range. */
  valueOf(): number {
    return Number(this.text)
  }

  toString(): string {
    return this.text
  }

  toJSON(): unknown {
    return raw(this.text)
  }
}

const raw = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON

export const isJsonNumber = (text: string): boolean => NUMBER.test(text)

/**
 * True for a finite double within ±(2^53 - 1). Beyond it, the shortest digits of a double can differ from its binary value:
 * 1234567890123456800 is 1234567890123456768 in binary.
 */
export const isUnambiguous = (x: number): boolean => x <= Number.MAX_SAFE_INTEGER && x >= -Number.MAX_SAFE_INTEGER

/** The nearest double of a plain or exact number; undefined for other values. */
export function toDouble(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  return value instanceof ExactNumber ? Number(value.text) : undefined
}

/** The plain number if it has the same decimal value, otherwise the exact number. */
export function simplest(x: ExactNumber): number | ExactNumber {
  return x.plain ?? x
}

/**
 * Compares by decimal value; the value of a plain number is its shortest digits. `1.10` equals 1.1, and 2^53 + 1 is greater than 2^53. NaN
 * is less than all others.
 */
export function compareNumbers(a: number | ExactNumber, b: number | ExactNumber): number {
  const [x, y] = [typeof a === 'number' ? a : a.plain, typeof b === 'number' ? b : b.plain]
  if (x !== undefined && y !== undefined) return x < y ? -1 : x > y ? 1 : x === y ? 0 : Number.isNaN(x) ? (Number.isNaN(y) ? 0 : -1) : 1
  if (x !== undefined && !Number.isFinite(x)) return Number.isNaN(x) ? -1 : Math.sign(x)
  if (y !== undefined && !Number.isFinite(y)) return Number.isNaN(y) ? 1 : -Math.sign(y)
  return compareParts(partsOf(String(a)), partsOf(String(b)))
}

/** One text for all spellings of a value, for state keys: `1.10`, `1.1` and `11e-1` give `1.1`. */
export function canonicalText(x: number | ExactNumber): string {
  const plain = typeof x === 'number' ? x : x.plain
  if (plain !== undefined) return String(plain)
  const parts = partsOf(String(x))
  const { negative, digits, point } = parts
  const sign = negative ? '-' : ''
  if (point >= digits.length && point <= 100) return sign + digits.padEnd(point, '0')
  if (point > 0 && point <= 100) return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
  if (point <= 0 && point > -100) return `${sign}0.${'0'.repeat(-point)}${digits}`
  return `${sign}${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${exactPoint(parts) - 1n}`
}

/** `0.DIGITS * 10^point`. `digits` has no zeros at either end and is empty for zero. */
export interface Parts {
  readonly negative: boolean
  readonly digits: string
  readonly point: number
  /** The point, if a double cannot represent it: `1e99999999999999999999` is a valid JSON number. */
  readonly far?: bigint
}

/** The parts of a JSON number, or of a finite number as JavaScript prints it. */
export function partsOf(text: string): Parts {
  const match = NUMBER.exec(text)
  if (!match) throw new TypeError(`not a number: ${text.slice(0, 80)}`)
  const [, sign, whole, fraction = '', exponent = '0'] = match
  const all = whole + fraction
  let from = 0
  let to = all.length
  while (from < to && all.charCodeAt(from) === 48) from++
  while (to > from && all.charCodeAt(to - 1) === 48) to--
  if (from === to) return { negative: false, digits: '', point: 0 }
  const point = whole.length - from + Number(exponent)
  const far = Number.isSafeInteger(point) ? undefined : BigInt(whole.length - from) + BigInt(exponent)
  return { negative: sign === '-', digits: all.slice(from, to), point, far }
}

/** The point of a number of any size. */
const exactPoint = ({ point, far }: Parts): bigint => far ?? BigInt(point)

function comparePoints(a: Parts, b: Parts): number {
  if (a.far === undefined && b.far === undefined) return a.point - b.point
  const [x, y] = [exactPoint(a), exactPoint(b)]
  return x < y ? -1 : x > y ? 1 : 0
}

const sameParts = (a: Parts, b: Parts): boolean => a.negative === b.negative && comparePoints(a, b) === 0 && a.digits === b.digits

function compareParts(a: Parts, b: Parts): number {
  const [x, y] = [a, b].map(p => (p.digits === '' ? 0 : p.negative ? -1 : 1))
  if (x !== y || x === 0) return x < y ? -1 : x > y ? 1 : 0
  const size = comparePoints(a, b) || (a.digits === b.digits ? 0 : a.digits < b.digits ? -1 : 1)
  return size === 0 ? 0 : size > 0 === x > 0 ? 1 : -1
}
