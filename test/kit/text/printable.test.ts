import { expect, test } from 'vitest'
import { tableLines } from '../../../src/kit/text/columns.ts'
import { forTerminal, jsonText, printable, safeJson } from '../../../src/kit/text/printable.ts'

const HOSTILE = 'a\x1b]0;title\x07\x1b[2J\x9b8m\u202eb'
const ESCAPED = 'a\\x1b]0;title\\x07\\x1b[2J\\x9b8m\\u202eb'

test('the colors of the output stay, control sequences of data are escaped', () => {
  expect(forTerminal(`\x1b[36m${HOSTILE}\x1b[39m\n\tb\x1b[8mc`, true)).toBe(`\x1b[36m${ESCAPED}\x1b[39m\n\tb\\x1b[8mc`)
  expect(forTerminal(`\x1b[36m${HOSTILE}`, false)).toBe(`\\x1b[36m${ESCAPED}`)
  expect(forTerminal('plain', false)).toBe('plain')
})

test('text of data starts no line that a workflow runner executes', () => {
  expect(printable('ok\n::error::x\n  ::set-env\n##[group]\na::b')).toBe('ok\n\\::error::x\n  \\::set-env\n#\\#[group]\na::b')
})

test('JSON stays the same value', () => {
  const value = { [HOSTILE]: [HOSTILE, 1.5] }
  for (const text of [jsonText(value), safeJson(JSON.stringify(value, null, 2))]) {
    expect(text).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
    expect(JSON.parse(text)).toEqual(value)
  }
})

test('a cell of a table is one line', () => {
  expect(tableLines([{ head: 'LANE' }], [['in/a\n::error::\t.jsonl']])).toEqual(['LANE', 'in/a\\n::error::\\t.jsonl'])
})
