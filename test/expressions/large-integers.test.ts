/**
 * Whole numbers of records from 2^53 on: ids, amounts in wei, times in nanoseconds. A double prints some of them digit for digit
 * (1234567890123456800) and is another number in binary (1234567890123456768); the reference is BigInt arithmetic.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Message, parseJson, partsOf } from '../../src/contract/plugin.ts'
import { compile } from '../../src/expressions/index.ts'

const evaluate = (text: string, json: string): unknown => compile(text).evaluate(new Message(parseJson(json)))
const printed = (value: unknown): string => JSON.stringify(value)
/** Of those that a double prints as they are, and of others; as long as 64 bits, and longer. */
const digits = (most: number) =>
  fc.oneof(
    fc.bigInt(2n ** 53n, 10n ** BigInt(most) - 1n),
    fc
      .tuple(fc.bigInt(10n ** 15n, 10n ** 16n - 1n), fc.integer({ min: 1, max: most - 16 }))
      .map(([head, zeros]) => head * 10n ** BigInt(zeros)),
  )

test('an id is found by all its digits', () => {
  for (const id of ['1234567890123456800', '9007199254740992', '9223372036854774000', '1000000000000000100']) {
    const next = String(BigInt(id) + 1n)
    for (const text of [
      `id == ${id}`,
      `id in [1, ${id}]`,
      `id < ${next}`,
      `id > ${BigInt(id) - 1n}`,
      `int(id) == ${id}`,
      `[id] == [${id}]`,
    ])
      expect([text, evaluate(text, `{"id":${id}}`)]).toEqual([text, true])
    expect(evaluate(`id == ${next}`, `{"id":${id}}`)).toBe(false)
    expect(printed(evaluate('{"a": id, "b": int(id)}', `{"id":${id}}`))).toBe(`{"a":${id},"b":${id}}`)
    expect(evaluate(`{${id}: "found"}[int(id)]`, `{"id":${id}}`)).toBe('found')
  }
})

test('sums and differences of amounts are exact, whatever the size of operands and result', () => {
  fc.assert(
    fc.property(digits(26), digits(26), (a, b) => {
      const record = `{"a":${a},"b":${b}}`
      for (const [op, result] of [
        ['+', a + b],
        ['-', a - b],
        ['*', a * b],
        ['%', a % b],
      ] as const)
        expect([op, whole(printed(evaluate(`a ${op} b`, record)))]).toEqual([op, result])
      expect(evaluate('[a < b, a <= b, a == b, a > b - 1, a + 1 > a]', record)).toEqual([a < b, a <= b, a === b, a > b - 1n, true])
    }),
    { numRuns: 2000 },
  )
})

test('64-bit comparisons with literals are exact', () => {
  fc.assert(
    fc.property(
      digits(18).filter(n => n < 2n ** 63n - 300n),
      fc.integer({ min: -300, max: 300 }),
      (id, off) => {
        const other = id + BigInt(off)
        const found = evaluate(
          `[id == ${other}, id < ${other}, id >= ${other}, id in [${other}], int(id) - ${other} == ${-off}]`,
          `{"id":${id}}`,
        )
        expect(found).toEqual([off === 0, off > 0, off <= 0, off === 0, true])
      },
    ),
    { numRuns: 500 },
  )
})

/** Also of `1.5e+25`. */
function whole(text: string): bigint {
  const { negative, digits, point } = partsOf(text)
  return BigInt(digits.padEnd(point, '0') || '0') * (negative ? -1n : 1n)
}

test('a number of a record is an index and a key by its value, in any spelling', () => {
  for (const [text, json, expected] of [
    ['[10, 20][a]', '{"a":1.0}', '20'],
    ['{1: "x"}[a]', '{"a":1.00}', '"x"'],
    ['{9007199254740993: "x"}[a]', '{"a":9007199254740993}', '"x"'],
    ['a in {1: "x"}', '{"a":1e0}', 'true'],
  ])
    expect([text, printed(evaluate(text, json))]).toEqual([text, expected])
  expect(() => evaluate('[10, 20][a]', '{"a":1.5}')).toThrow("'[10, 20][a]' is missing")
})
