import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareExact, decimalOf, divideHalfEven, readDecimal, toExact } from '../../src/kit/values/decimal.ts'
import { Turnover } from '../../src/transforms/bars/turnover.ts'

/** value * 10^400 by string surgery, for comparing. */
function big(x: number | string): bigint {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e(.+))?$/.exec(String(x))!
  return BigInt(sign + whole + fraction) * 10n ** BigInt(400 - fraction.length + Number(exponent))
}

const anyDouble = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer().map(n => n / 100),
  fc.maxSafeInteger(),
)
const text = fc.stringMatching(/^-?[0-9]{1,22}(\.[0-9]{1,30})?$/)

describe('each decimal has one form', () => {
  test('a number becomes its shortest digits and converts back to the same number', () => {
    fc.assert(
      fc.property(anyDouble, x => {
        const { m, k } = decimalOf(x)
        expect(m * 10n ** BigInt(400 - k)).toBe(big(x))
        expect(toExact(m, k)).toBe(x === 0 ? 0 : x)
      }),
      { numRuns: 2000 },
    )
  })

  test('text is read without losing a digit: it is a number only if the number prints the same digits', () => {
    fc.assert(
      fc.property(text, t => {
        const x = readDecimal(t)!
        expect(big(x)).toBe(big(t))
        expect(typeof x === 'number').toBe(big(Number(t)) === big(t))
      }),
      { numRuns: 2000 },
    )
  })

  test.each([
    ['0.1', 0.1],
    ['100.50', 100.5],
    ['007', 7],
    ['-0', 0],
    ['0.000', 0],
    ['1e-7', 1e-7],
    ['1.5E3', 1500],
    ['999999999999999', 999_999_999_999_999],
    ['9007199254740993', '9007199254740993'],
    ['9007199254740993.0', '9007199254740993'],
    ['0.30000000000000004', 0.30000000000000004],
    ['0.300000000000000039', '0.300000000000000039'],
    ['1.23456789e-320', `0.${'0'.repeat(319)}123456789`],
    ['1e21', 1e21],
    ['1e308', 1e308],
  ])('%s is %s', (t, x) => expect(readDecimal(t)).toBe(x))

  test.each(['', '.', '-', '.5', '5.', '1,5', '+1', ' 1', '1 ', '0x1', 'NaN', 'Infinity', '1e', '1e999', '1e-999', '1'.repeat(65), '١'])(
    '%j is not a decimal',
    t => expect(readDecimal(t)).toBe(undefined),
  )

  test('comparison uses the value, independent of the form', () => {
    fc.assert(
      fc.property(fc.oneof(anyDouble, text), fc.oneof(anyDouble, text), (a, b) => {
        const sign = big(a) < big(b) ? -1 : big(a) > big(b) ? 1 : 0
        expect(Math.sign(compareExact(a, b))).toBe(sign === 0 ? 0 : sign)
      }),
    )
  })
})

test('a quotient of 12 digits is the nearest one, ties to even', () => {
  const positive = fc.bigInt({ min: 1n, max: 10n ** 40n })
  // q * d + d / 2 is a tie by construction
  const tie = fc.tuple(fc.bigInt({ min: 10n ** 11n, max: 10n ** 12n - 1n }), positive).map(([q, d]) => [q * 2n * d + d, 2n * d] as const)
  fc.assert(
    fc.property(fc.oneof(fc.tuple(positive, positive), tie), ([n, d]) => {
      const { m, k } = decimalOf(divideHalfEven(n, d, 12))
      // m is q * 10^j with a q of 12 digits at most: scale it to exactly 12 to get the weight of its last digit
      const digits = m.toString().replace(/0+$/, '')
      expect(digits.length).toBeLessThanOrEqual(12)
      const q = BigInt(digits.padEnd(12, '0'))
      const scale = k - (m.toString().length - 12) // q / 10^scale = m / 10^k
      const [left, right] = scale >= 0 ? [n * 10n ** BigInt(scale), d] : [n, d * 10n ** BigInt(-scale)]
      const error = (left - q * right) * 2n
      // 10^11 may have been reached by rounding up from below, where digits weigh a tenth
      const bound = q === 10n ** 11n && error < 0n ? right / 10n : right
      const off = error < 0n ? -error : error
      expect(off <= bound + (bound === right ? 0n : 1n)).toBe(true)
      if (off === right) expect(q % 2n).toBe(0n)
    }),
    { numRuns: 2000 },
  )
})

describe('Turnover', () => {
  /** Integers around every limit of the fast path, at scales that make it adapt. */
  const digits = fc.oneof(
    fc.integer({ min: 1, max: 1_000_000 }),
    fc.maxSafeInteger().map(n => (Math.abs(n) % (1e15 - 1)) + 1),
    fc.constantFrom(999_999_999_999_999, 2 ** 26 - 1, 2 ** 25 + 1, 94_906_265, 94_906_267, 1),
  )
  const value = fc.tuple(digits, fc.integer({ min: 0, max: 12 })).map(([n, k]) => n / 10 ** k)

  test('volume and notional are exact to the last digit, whatever the intermediate state is', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 60 }), fc.array(fc.nat(59)), (trades, saves) => {
        let turnover = new Turnover()
        let volume = 0n
        let notional = 0n
        trades.forEach(([p, v], i) => {
          turnover.add(p, v)
          volume += big(v)
          notional += big(p) * big(v)
          if (saves.includes(i)) turnover = Turnover.decode(JSON.parse(JSON.stringify(turnover.encode())))
        })
        const [pk, vk, v, n] = turnover.encode()
        expect(BigInt(v) * 10n ** BigInt(400 - vk)).toBe(volume)
        expect(BigInt(n) * 10n ** BigInt(800 - pk - vk)).toBe(notional)
        expect(big(String(turnover.totalVolume))).toBe(volume)
      }),
      { numRuns: 500 },
    )
  })

  test('a long run of the largest odd numbers overflows to the next part without losing a digit', () => {
    const turnover = new Turnover()
    const n = 2000
    for (let i = 0; i < n; i++) turnover.add(999_999_999_999_999, 999_999_999_999_997)
    expect(turnover.encode()[2]).toBe(String(999_999_999_999_997n * BigInt(n)))
    expect(turnover.encode()[3]).toBe(String(999_999_999_999_999n * 999_999_999_999_997n * BigInt(n)))
    const small = new Turnover()
    for (let i = 0; i < n; i++) small.add(94_906_267, 94_906_265) // product just above 2^53
    expect(small.encode()[3]).toBe(String(94_906_267n * 94_906_265n * BigInt(n)))
  })
})
