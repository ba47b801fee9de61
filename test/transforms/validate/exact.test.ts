/** Numbers of any size against a reference in whole numbers. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseJson } from '../../../src/contract/plugin.ts'
import { compileSchema } from '../../../src/transforms/validate/json-schema.ts'

const fits = (schema: string, value: string): boolean => {
  const compiled = compileSchema({ schema: parseJson(schema) as any, formats: 'check', folder: '.' })
  if ('problem' in compiled) throw new Error(compiled.problem.message)
  return compiled.validate(parseJson(value)) === undefined
}

/** A decimal as a whole number times 10^-40, and one of its spellings. */
const PLACES = 40
const decimal = fc
  .tuple(
    fc.oneof(fc.bigInt(-1000n, 1000n), fc.bigInt(-(2n ** 55n), 2n ** 55n), fc.bigInt(-(10n ** 30n), 10n ** 30n)),
    fc.integer({ min: 0, max: 20 }),
    fc.constantFrom('plain', 'zeros', 'exponent'),
  )
  .map(([n, places, how]) => {
    const sign = n < 0n ? '-' : ''
    const digits = String(n < 0n ? -n : n).padStart(places + 1, '0')
    const [whole, fraction] = [digits.slice(0, digits.length - places), digits.slice(digits.length - places)]
    const plain = `${sign}${whole}${places > 0 ? `.${fraction}` : ''}`
    const text = how === 'plain' ? plain : how === 'zeros' ? `${plain}${places > 0 ? '' : '.'}00` : `${n}e-${places}`
    return { text, value: n * 10n ** BigInt(PLACES - places) }
  })

test('bounds, enum, const, multipleOf, integer and uniqueItems are exact', () => {
  fc.assert(
    fc.property(decimal, decimal, ({ text: a, value: x }, { text: b, value: y }) => {
      expect([a, b, fits(`{"minimum":${b}}`, a)]).toEqual([a, b, x >= y])
      expect([a, b, fits(`{"maximum":${b}}`, a)]).toEqual([a, b, x <= y])
      expect([a, b, fits(`{"exclusiveMinimum":${b}}`, a)]).toEqual([a, b, x > y])
      expect([a, b, fits(`{"exclusiveMaximum":${b}}`, a)]).toEqual([a, b, x < y])
      expect([a, b, fits(`{"const":${b}}`, a)]).toEqual([a, b, x === y])
      expect([a, b, fits(`{"enum":["x",{"k":[${b}]}]}`, `{"k":[${a}]}`)]).toEqual([a, b, x === y])
      expect([a, b, fits('{"uniqueItems":true}', `[${a},"${a}",[${a}],${b},[${b}]]`)]).toEqual([a, b, x !== y])
      expect([a, fits('{"type":"integer"}', a)]).toEqual([a, x % 10n ** BigInt(PLACES) === 0n])
      if (y > 0n) expect([a, b, fits(`{"multipleOf":${b}}`, a)]).toEqual([a, b, x % y === 0n])
    }),
    { numRuns: 500 },
  )
})

test('a product is a multiple of its factors, whatever the exponents', () => {
  fc.assert(
    fc.property(fc.bigInt(1n, 10n ** 20n), fc.bigInt(1n, 10n ** 12n), fc.integer({ min: -300, max: 300 }), (n, step, e) => {
      expect(fits(`{"multipleOf":${step}e${e}}`, `${n * step}e${e}`)).toBe(true)
      if (step > 1n) expect(fits(`{"multipleOf":${step}e${e}}`, `${n * step + 1n}e${e}`)).toBe(false)
    }),
    { numRuns: 300 },
  )
  for (const [step, value] of [
    ['0.01', '104204.45'],
    ['0.01', '0.07'],
    ['1e-8', '12391239123'],
    ['0.0001', '0.0075'],
    ['3', '1e1000000000'],
    ['3', `1e${'9'.repeat(400)}`],
    ['7', `7e${'9'.repeat(400)}`],
  ])
    expect([step, value, fits(`{"multipleOf":${step}}`, value)]).toEqual([step, value, step !== '3'])
})

test('uniqueItems takes linear time', () => {
  const items = Array.from({ length: 200_000 }, (_, i) => `{"b":${i},"a":"x"}`).join()
  expect(fits('{"uniqueItems":true}', `[${items}]`)).toBe(true)
  expect(fits('{"uniqueItems":true}', `[${items},{"a":"x","b":7.0}]`)).toBe(false)
})
