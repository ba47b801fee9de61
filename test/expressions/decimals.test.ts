/** `decimal(x)` with each operator: of numbers that a double holds and of others, from records and from literals. */
import { describe, expect, test } from 'vitest'
import { Message } from '../../src/contract/plugin.ts'
import { compile } from '../../src/expressions/index.ts'

const evaluate = (text: string, record: unknown): unknown => compile(text).evaluate(new Message(record))
const compared = {
  '<': (a: number, b: number) => a < b,
  '<=': (a: number, b: number) => a <= b,
  '>': (a: number, b: number) => a > b,
  '>=': (a: number, b: number) => a >= b,
  '==': (a: number, b: number) => a === b,
  '!=': (a: number, b: number) => a !== b,
}

describe.each(Object.entries(compared))('%s', (op, of) => {
  test.each([
    [1, 2],
    [2, 2],
    [3, 2],
    [-0.5, 1.5],
    [2.5, 2.5],
  ])('%d and %d', (a, b) => {
    const expected = of(a, b)
    // Each form of the left with each of the right; a whole literal is an integer.
    for (const left of [`decimal("${a}")`, 'decimal(text)', 'decimal(number)'])
      for (const right of [`${b}`, `decimal("${b}")`, 'other', 'double(other)'])
        expect([left, right, evaluate(`${left} ${op} ${right}`, { text: `${a}`, number: a, other: b })]).toEqual([left, right, expected])
    expect(evaluate(`${b} ${op} decimal(text)`, { text: `${a}` })).toBe(of(b, a))
  })
})

test('more digits than a double has', () => {
  expect(evaluate('decimal(a) > 9007199254740992', { a: '9007199254740993' })).toBe(true)
  expect(evaluate('decimal("0.1") < decimal("1e400")', {})).toBe(true)
})

test.each([
  ['-decimal("2.5")', -2.5],
  ['1 - decimal("3") * -decimal("2")', 7],
  ['-decimal(a) + 1', -1],
])('%s', (text, expected) => expect(evaluate(text, { a: '2' })).toBe(expected))
