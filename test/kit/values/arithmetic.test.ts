import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ExactNumber } from '../../../src/contract/plugin.ts'
import { exactly, fastMultiply, numberOf } from '../../../src/kit/values/arithmetic.ts'

/** The product by long multiplication of the digits as they print. */
function product(a: string, b: string): string {
  const parts = (text: string): [bigint, number] => {
    const [whole, fraction = ''] = text.split('.')
    return [BigInt(whole + fraction), fraction.length]
  }
  const [[m, k], [n, l]] = [parts(a), parts(b)]
  const result = numberOf({ m: m * n, k: k + l })
  return result instanceof ExactNumber ? result.text : String(result)
}

const decimalText = fc
  .tuple(fc.boolean(), fc.bigInt({ min: 0n, max: 999_999_999_999_999n }), fc.integer({ min: 0, max: 6 }))
  .map(([minus, m, places]) => {
    const digits = m.toString().padStart(places + 1, '0')
    const text = places === 0 ? digits : `${digits.slice(0, -places)}.${digits.slice(-places)}`.replace(/\.?0+$/, '')
    return minus && m !== 0n ? `-${text}` : text
  })
  .filter(text => String(Number(text)) === text)

describe('multiplication of plain numbers', () => {
  it('is exact for any sequence of pairs', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(decimalText, decimalText), { minLength: 1, maxLength: 20 }), pairs => {
        for (const [a, b] of pairs) {
          const result = exactly('*', Number(a), Number(b))
          expect(result instanceof ExactNumber ? result.text : String(result)).toBe(product(a, b))
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('continues to use doubles after a factor with many digits', () => {
    fastMultiply(0.00000001, 0.00000001)
    expect(fastMultiply(1_000_000, 1_000_000)).toBe(1e12)
    expect(fastMultiply(100.49, 0.22)).toBe(22.1078)
    expect(fastMultiply(-0.5, 0)).toBe(0)
  })

  it('leaves other results to exact arithmetic', () => {
    for (const [a, b] of [
      [Number.NaN, 1],
      [1, Number.POSITIVE_INFINITY],
      [123_456_789.123, 987_654_321.321],
      [1e300, 2],
    ] as const)
      expect(fastMultiply(a, b)).toBeNaN()
  })
})
