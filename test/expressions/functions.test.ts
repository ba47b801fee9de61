import { readFileSync } from 'node:fs'
import Big from 'big.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { interpreted, prepared } from '../../src/expressions/compile.ts'
import { round } from '../../src/expressions/implementations.ts'
import { check, compile, FUNCTIONS } from '../../src/expressions/index.ts'
import { Message } from '../../src/contract/plugin.ts'

describe('the table of functions', () => {
  const examples = FUNCTIONS.flatMap(f => f.examples)

  test.each(examples)('%s', (expression, result) => {
    expect(compile(expression).evaluate(new Message({}))).toEqual(result)
    expect(interpreted(prepared(expression))(new Message({}))).toEqual(result)
  })

  test('every entry has an example that uses it, and a complete description', () => {
    for (const f of FUNCTIONS) {
      expect(f.examples.some(([e]) => e.includes(f.name))).toBe(true)
      expect(f.description).toMatch(/[.?]$/)
    }
  })

  test('the table matches the guide', () => {
    const cell = (text: string) => text.replaceAll('|', '\\|')
    const example = ([expression, result]: readonly [string, unknown]) => `\`${cell(expression)}\` is \`${JSON.stringify(result)}\``
    const rows = FUNCTIONS.map(f => `| \`${cell(f.usage)}\` | ${cell(f.description)} | ${f.examples.map(example).join('<br>')} |`)
    const guide = readFileSync(new URL('../../docs/guide/expressions.md', import.meta.url), 'utf8')
    const table = guide
      .slice(guide.indexOf('<!-- functions'), guide.indexOf('## Failures'))
      .split('\n')
      .filter(line => line.startsWith('|'))
    expect(table.slice(2)).toEqual(rows)
  })

  test('other functions cannot be called', () => {
    for (const text of ['type(1)', 'to_int(1)', 'trimmed("a")', '"a".trimmed()', 'math.sin(1)', 'cel.block([1], 2)', 'optional.unwrap([])'])
      expect(check(text)).toMatchObject({ problems: [{ message: expect.stringContaining('unknown function') }] })
  })
})

describe('round', () => {
  test('matches exact decimal arithmetic on the written digits', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.double({ noNaN: true, noDefaultInfinity: true }),
          fc.double({ min: -1e6, max: 1e6, noNaN: true }),
          fc.tuple(fc.integer(), fc.nat(6)).map(([m, e]) => Number(`${m}5e-${e}`)),
        ),
        fc.nat(15),
        (x, places) => {
          expect(round(x, places) + 0).toBe(Number(new Big(`${x}`).round(places, Big.roundHalfUp).toString()) + 0)
        },
      ),
      { numRuns: 20_000 },
    )
  })

  test('rounds halves', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5].map(x => round(x, 0) + 0)).toEqual([1, 2, 3, -1, -2])
    expect([round(1.005, 2), round(2.675, 2), round(1.45, 1), round(8.345, 2)]).toEqual([1.01, 2.68, 1.5, 8.35])
  })
})

describe('times', () => {
  const time = (text: string) => compile('parse_time(t)').evaluate(new Message({ t: text }))

  test.each([
    '2026-01-31',
    '2026-01-31T12:00:00',
    '2026-02-30T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '31 Jan 2026',
    '',
    '2026-01-31T12:00:61Z',
    '1769860800000',
  ])('%j is not a valid time', text => {
    expect(() => time(text)).toThrow('parse_time() cannot read')
  })

  test('convert leap days and offsets in both directions', () => {
    expect(time('2024-02-29T00:00:00Z')).toBe(Date.UTC(2024, 1, 29))
    expect(time('2026-01-01T00:00:00-05:30')).toBe(Date.UTC(2026, 0, 1, 5, 30))
    fc.assert(
      fc.property(fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }), ms => {
        expect(compile('parse_time(format_time(ms))').evaluate(new Message({ ms }))).toBe(ms)
      }),
    )
  })
})

test.each([
  ['int(s)', ['', ' 1', '1.5', '0x10', '1e3', '99999999999999999999', '--1']],
  ['double(s)', ['', ' 1', '0x10', 'NaN', 'Infinity', '1e999', '1_000', '1,5', '.']],
])('%s rejects text that is not a decimal number', (expression, texts) => {
  for (const s of texts) expect(() => compile(expression).evaluate(new Message({ s }))).toThrow('cannot read')
})
