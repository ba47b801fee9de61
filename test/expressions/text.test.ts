/** Texts count characters: each function against the same on an array of them. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Message } from '../../src/contract/plugin.ts'
import { check, compile } from '../../src/expressions/index.ts'
import { character } from '../support/characters.ts'

const evaluate = (text: string, record: object) => compile(text).evaluate(new Message(record))
const characters = fc.array(fc.constantFrom('a', 'b', 'é', '🙂', '𝄞', '-', ' '), { maxLength: 8 })

/** Where a list of characters occurs in another. */
const positions = (of: string[], part: string[]): number[] =>
  Array.from({ length: of.length - part.length + 1 }, (_, i) => i).filter(i => part.every((c, j) => of[i + j] === c))

test('substring, charAt, indexOf, lastIndexOf, split, reverse, replace and size count characters', () => {
  fc.assert(
    fc.property(
      characters,
      characters.map(c => c.slice(0, 2)),
      fc.nat(8),
      fc.nat(8),
      (s, part, i, j) => {
        const record = { s: s.join(''), part: part.join(''), i, j }
        const [from, to] = [Math.min(i, j, s.length), Math.min(Math.max(i, j), s.length)]
        const given = { ...record, i: from, j: to }
        const found = positions(s, part)
        expect(evaluate('size(s)', record)).toBe(s.length)
        expect(evaluate('s.substring(int(i), int(j))', given)).toBe(s.slice(from, to).join(''))
        expect(evaluate('s.charAt(int(i))', given)).toBe(s[from] ?? '')
        expect(evaluate('s.indexOf(part)', record)).toBe(found[0] ?? -1)
        expect(evaluate('s.indexOf(part, int(i))', given)).toBe(found.find(at => at >= from) ?? -1)
        expect(evaluate('s.lastIndexOf(part)', record)).toBe(found.at(-1) ?? -1)
        expect(evaluate('s.lastIndexOf(part, int(i))', given)).toBe(found.findLast(at => at <= from) ?? -1)
        expect(evaluate('s.reverse()', record)).toBe(s.toReversed().join(''))
        expect(evaluate('s.split("")', record)).toEqual(s)
        expect(evaluate('s.replace("", "|")', record)).toBe(['', ...s, ''].join('|'))
      },
    ),
  )
})

test('a position outside the text is an error with the length of the text', () => {
  expect(() => evaluate('s.substring(4)', { s: '🙂ab' })).toThrow(
    "'s.substring(4)': the start 4 is outside the text, which has 3 characters",
  )
  expect(() => evaluate('s.charAt(-1)', { s: '🙂ab' })).toThrow('the position -1 is outside the text')
})

describe('format()', () => {
  test.each<[string, unknown, string]>([
    ['"%s %s".format([a, b])', { a: 1.5, b: 'x' }, '1.5 x'],
    ['"%.2f".format([price])', { price: 104204.445 }, '104204.44'],
    ['"%d".format([n])', { n: 9007199254740991 }, '9007199254740991'],
    ['"%.3e".format([n])', { n: 99999 }, '1.000e+05'],
    ['"%e".format([n])', { n: 0.000012 }, '1.200000e-05'],
    ['"%x %X %o %b".format([255, 255, 8, 5])', {}, 'ff FF 10 101'],
    ['"%s".format([value])', { b: [1, null], a: true }, '{a: true, b: [1, null]}'],
  ])('%s', (expression, record, text) => {
    expect(evaluate(expression, record as object)).toBe(text)
  })

  test.each([
    ['"%d".format([1.5])', "'%d' of format() takes a whole number, got 1.5"],
    ['"%s %s".format([1])', "format() has no value for clause 2, '%s'"],
    ['"%y".format([1])', "format() does not support '%y'"],
    ['"%f".format(["x"])', "'%f' of format() takes a number, got x"],
  ])('%s is an error', (expression, message) => {
    expect(() => evaluate(expression, {})).toThrow(message)
  })
})

test.each([
  ['list.transformMapEntry(i, x, x)', 'transformMapEntry() takes an expression that returns an object, such as {x: 1}'],
  ['[1, 2].transformMapEntry(i, x, {"a": x})', 'transformMapEntry() creates the key "a" twice'],
  ['math.greatest("a")', 'math.greatest() takes numbers, or a list of them that is not empty'],
  ['{value.x: 1}', 'a key of an object must be a string, a whole number or a boolean'],
  ['text.exists(c, c == "a")', "'text': text has no elements: only a list or an object has elements"],
  ['text.exists(i, c, c == "a")', "'text': text has no elements: only a list or an object has elements"],
  ['list.all(i, c, c)', "'c': must be true or false, not a number"],
  ['text.optMap(t, t).orValue(1)', "'text': must be an optional here, not text"],
  ['1u - 2u', 'unsigned integer overflow'],
  ['value.?a.value()', 'optional value is not present'],
  ['timestamp("9999-12-31T23:59:59Z") + duration("1s")', 'a timestamp must be in the years 1 to 9999'],
])('%s is an error of the record', (expression, message) => {
  expect(() => evaluate(expression, { x: null, list: [1], text: 'abc' })).toThrow(message)
})

describe('messages of the library are not shown', () => {
  test.each([
    '[].exists(e, e == 2)',
    '[].all(e, e > 0)',
    '[].map(e, e + 1)',
    '[].filter(e, e.x == "a")',
    '[][0] + 1 == 2',
    '{}["a"] == 1',
    '[[]].exists(e, e[0] == 1)',
    'ok ? [] : [1]',
    'ok ? [1] : []',
    'ok ? {} : {"a": 1}',
    'size([] + [1]) + size(list + [])',
    'value.?a.orValue([])',
    '[1, 2].filter(x, x > 1) == []',
  ])('%s can be checked', text => {
    expect(check(text)).not.toHaveProperty('problems')
  })
})

test('strings are ordered by character, which is the order of their UTF-8 bytes', () => {
  expect(evaluate('s < "🙂"', { s: '\ufffd' })).toBe(true)
  const text = fc.oneof(
    fc.string({ unit: character }),
    fc.array(fc.constantFrom('a', '\ud7ff', '\ue000', '\uffff', '🙂', '🙃', '𝄞', '\u{10ffff}'), { maxLength: 4 }).map(c => c.join('')),
  )
  const [plain, mapped] = ['[a < b, a <= b, a > b, a >= b]', '["x"].map(_, [list[0] < list[1], a <= b, a > list[1], a >= b])[0]'].map(t =>
    compile(t),
  )
  fc.assert(
    fc.property(text, text, text, (start, a, b) => {
      const record = { a: start + a, b: start + b, list: [start + a, start + b] }
      const order = Buffer.compare(Buffer.from(record.a), Buffer.from(record.b))
      const expected = [order < 0, order <= 0, order > 0, order >= 0]
      expect(plain.evaluate(new Message(record))).toEqual(expected)
      expect(mapped.evaluate(new Message(record))).toEqual(expected)
    }),
  )
})
