/** The benchmark's own check of numbers with many digits, against the arithmetic that it checks. */
import { expect, test } from 'vitest'
import { Dataset } from '../../bench/lib/dataset.ts'
import { checkDigits } from '../../bench/lib/verify.ts'
import { encodeJson, type ExactNumber, parseJson } from '../../src/contract/plugin.ts'
import { exactly } from '../../src/kit/values/arithmetic.ts'

/** Two in front of the first tick whose volume has an exponent, that one, and one behind it. */
const ticks = [...new Dataset(71_587, true).lines()].slice(-4)
const data = { count: ticks.length, lines: () => ticks.values() as Generator<string> }

const mapped = ticks.map(line => {
  const { symbol, price, volume, ts } = parseJson(line) as unknown as Record<'symbol' | 'ts', string> &
    Record<'price' | 'volume', ExactNumber>
  return encodeJson({ symbol, price, size: volume, value: exactly('*', price, volume), time: ts }) as string
})
const closing = '{}'

test('a tick with an exponent passes like the others', () => {
  expect(ticks.filter(line => line.includes('e-'))).toEqual([
    '{"symbol":"BTCUSDT","price":104128.28000000715857,"volume":5.7000000715857e-7,"ts":1748823115850,"side":"buy","id":"000000000000071585"}',
  ])
  expect(() => checkDigits([...mapped, closing], data)).not.toThrow()
})

test.each([
  ['the size', /("size":\d+\.\d+)7/],
  ['the product', /("value":\d+\.\d+)9/],
])('another last digit of %s is a difference in each of them', (_, last) => {
  for (const i of ticks.keys()) {
    const lines = mapped.with(i, mapped[i].replace(last, '$18'))
    expect(lines[i]).not.toBe(mapped[i])
    expect(() => checkDigits([...lines, closing], data)).toThrow(`record ${i} differs`)
  }
})

test('a missing record is a difference', () => {
  expect(() => checkDigits(mapped, data)).toThrow('4 records, expected 5')
})
