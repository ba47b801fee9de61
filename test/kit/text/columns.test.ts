import fc from 'fast-check'
import { expect, test } from 'vitest'
import { displayWidth, fit, tableLines, wrap } from '../../../src/kit/text/columns.ts'

test('the width of a text is the number of terminal columns', () => {
  expect(['abc', '東京', 'e\u0301', '\u001b[36mab\u001b[39m', '👩‍👩‍👧', ''].map(displayWidth)).toEqual([3, 4, 1, 2, 2, 0])
})

test('a text that is too wide is truncated between characters, with a mark', () => {
  expect([fit('abcdef', 6), fit('abcdef', 5), fit('東京都', 5), fit('e\u0301e\u0301e\u0301', 2)]).toEqual([
    'abcdef',
    'abcd…',
    '東京…',
    'e\u0301…',
  ])
})

test('wrapped lines keep the order of words; only a single word can be wider than a line', () => {
  const word = fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('a', 'b', '東') })
  fc.assert(
    fc.property(fc.array(word, { minLength: 1 }), fc.integer({ min: 5, max: 30 }), (words, width) => {
      const lines = wrap(words.join(' '), width)
      expect(lines.join(' ')).toBe(words.join(' '))
      for (const line of lines) expect(displayWidth(line) <= width || !line.includes(' ')).toBe(true)
    }),
  )
})

const COLUMNS = [{ head: 'TOPIC' }, { head: 'END', kind: 'position' }, { head: 'LAG', kind: 'count' }, { head: 'NOTE' }] as const
const ROWS = [
  ['ticks.v1', 1234567, 12345, 'a note of many words that no narrow terminal has room for'],
  ['東京', '-', 0, ''],
]

test('a table aligns its columns: counts are grouped, positions match command arguments, and no text is truncated', () => {
  expect(tableLines(COLUMNS, ROWS)).toEqual([
    'TOPIC         END     LAG  NOTE',
    'ticks.v1  1234567  12,345  a note of many words that no narrow terminal has room for',
    '東京            -       0',
  ])
})

test('in a narrow terminal the widest text is truncated first, numbers never', () => {
  expect(tableLines(COLUMNS, ROWS, 50)).toEqual([
    'TOPIC         END     LAG  NOTE',
    'ticks.v1  1234567  12,345  a note of many words t…',
    '東京            -       0',
  ])
  expect(
    tableLines(COLUMNS, ROWS, 10)
      .map(displayWidth)
      .every(width => width <= 35),
  ).toBe(true)
  expect(tableLines(COLUMNS, ROWS, 10)[1]).toContain('1234567  12,345')
})

test('lines of a table fit the width if every text column fits its minimum width', () => {
  const cell = fc.oneof(fc.string({ maxLength: 60, unit: fc.constantFrom('x', ' ', '東') }), fc.nat({ max: 1e9 }))
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell)), fc.integer({ min: 60, max: 120 }), (rows, width) => {
      const columns = [{ head: 'A' }, { head: 'B' }, { head: 'C' }]
      for (const line of tableLines(columns, rows, width)) expect(displayWidth(line)).toBeLessThanOrEqual(width)
    }),
  )
})
