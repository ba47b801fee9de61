/** Equality and division of JSON values, exact for numbers of any size. */
import { canonicalText, ExactNumber, partsOf } from '../../contract/plugin.ts'

/** The same text for all values that are equal in JSON Schema: `{a: 1, b: 2.0}` and `{b: 2, a: 1}`. */
export function canonical(value: unknown): string {
  if (typeof value === 'number' || value instanceof ExactNumber) return canonicalText(value)
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  const fields = value as Record<string, unknown>
  const names = Object.keys(fields).filter(n => fields[n] !== undefined)
  return `{${names
    .toSorted()
    .map(n => `${JSON.stringify(n)}:${canonical(fields[n])}`)
    .join()}}`
}

/** The key of a primitive or a number: equal values have the same key. Undefined for other values. */
function keyOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof ExactNumber && value.plain !== undefined) return value.plain
  return undefined
}

/** @returns a function that checks whether a value equals one of `values` */
export function oneOf(values: readonly unknown[]): (value: unknown) => boolean {
  const plain = new Set<unknown>()
  const other = new Set<string>()
  for (const v of values) {
    const key = keyOf(v)
    if (key === undefined) other.add(canonical(v))
    else plain.add(key)
  }
  return value => {
    const key = keyOf(value)
    if (key !== undefined) return plain.has(key)
    return other.size > 0 && other.has(canonical(value))
  }
}

/** The index of the first value that equals an earlier one, and the index of that one; in linear time. */
export function firstDouble(values: readonly unknown[]): readonly [number, number] | undefined {
  const plain = new Map<unknown, number>()
  const other = new Map<string, number>()
  for (let i = 0; i < values.length; i++) {
    const key = keyOf(values[i])
    const seen: Map<unknown, number> = key === undefined ? other : plain
    const at = key === undefined ? canonical(values[i]) : key
    const before = seen.get(at)
    if (before !== undefined) return [before, i]
    seen.set(at, i)
  }
  return undefined
}

/** A number as integer digits times a power of ten. */
function scaled(x: number | ExactNumber): { digits: string; exponent: bigint } {
  const { digits, point, far } = partsOf(String(x))
  return { digits, exponent: (far ?? BigInt(point)) - BigInt(digits.length) }
}

/** Checks for a whole multiple of `step`, in decimal. Linear in the number of digits, independent of the exponent. */
export function multipleOf(step: number | ExactNumber): (value: number | ExactNumber) => boolean {
  const { digits, exponent } = scaled(step)
  const divisor = BigInt(digits)
  const scale = Number(exponent)
  // With few enough digits, a double is n / 10^places exactly if the division returns it.
  const places = Math.max(0, -scale)
  const power = 10 ** places
  const small = places <= 15 && digits.length + Math.max(0, scale) <= 15 ? Number(digits) * 10 ** Math.max(0, scale) : 0
  return value => {
    if (small > 0 && typeof value === 'number') {
      const n = Math.round(value * power)
      if (n < 1e15 && n > -1e15) return n / power === value && n % small === 0
    }
    const v = scaled(value)
    if (v.digits === '') return true
    // The digits do not end in zero, so a smaller exponent than that of the divisor leaves a remainder.
    if (v.exponent < exponent) return false
    return (remainder(v.digits, divisor) * powerOfTen(v.exponent - exponent, divisor)) % divisor === 0n
  }
}

function remainder(digits: string, divisor: bigint): bigint {
  let rest = 0n
  for (let i = 0; i < digits.length; i += 15) {
    const part = digits.slice(i, i + 15)
    rest = (rest * 10n ** BigInt(part.length) + BigInt(part)) % divisor
  }
  return rest
}

/** 10^n modulo a divisor. */
function powerOfTen(n: bigint, divisor: bigint): bigint {
  let result = 1n
  let base = 10n % divisor
  for (let rest = n; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * base) % divisor
    base = (base * base) % divisor
  }
  return result
}

export function isInteger(value: number | ExactNumber): boolean {
  if (typeof value === 'number') return Number.isInteger(value)
  const { digits, point } = partsOf(value.text)
  return digits.length <= point || digits === ''
}

/** Number of code points; a surrogate pair is one. */
export function codePoints(text: string): number {
  let count = text.length
  for (let i = 0; i + 1 < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c < 0xd800 || c > 0xdbff) continue
    const next = text.charCodeAt(i + 1)
    if (next >= 0xdc00 && next <= 0xdfff) {
      count--
      i++
    }
  }
  return count
}
