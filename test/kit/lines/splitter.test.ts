import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatRecord, parseRecord, standard } from '../../../src/kit/lines/csv.ts'
import { type Line, Splitter } from '../../../src/kit/lines/splitter.ts'

/** Pushes the bytes in pieces cut at these fractions. */
function run(splitter: Splitter, bytes: Buffer, at: readonly number[] = []): Line[] {
  const edges = [0, ...at.map(x => Math.floor(x * bytes.length)).toSorted((a, b) => a - b), bytes.length]
  const lines = edges.slice(1).flatMap((end, i) => splitter.push(bytes.subarray(edges[i], end)))
  const last = splitter.end()
  return last ? [...lines, last] : lines
}
const csv = (delimiter: string) => ({ delimiter: delimiter.charCodeAt(0), quote: 34, backslash: false, preamble: 0 })
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 10 })

describe('Splitter', () => {
  test('lines, their numbers and their ends do not depend on the chunks', () => {
    const piece = fc.oneof(fc.constantFrom('\n', '\r\n', '\r', '"', 'é'), fc.string({ maxLength: 8 }))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), cuts, (pieces, at) => {
        const all = pieces.join('')
        const bytes = Buffer.from(all)
        const lines = run(new Splitter({ maxBytes: 1000 }), bytes, at)
        const expected = all.split('\n')
        if (expected.at(-1) === '') expected.pop()
        expect(lines.map(l => l.bytes.toString())).toEqual(expected.map(l => l.replace(/\r$/, '')))
        expect(lines.map(l => l.number)).toEqual(expected.map((_, i) => i + 1))
        for (const line of lines) {
          // Reading on behind any line gives the lines behind it.
          const rest = run(new Splitter({ maxBytes: 1000, offset: line.end, count: line.endNumber }), bytes.subarray(line.end))
          expect(rest.map(l => [l.bytes.toString(), l.number, l.end])).toEqual(
            lines.filter(l => l.number > line.number).map(l => [l.bytes.toString(), l.number, l.end]),
          )
        }
      }),
    )
  })

  test('a long line is truncated to its beginning, whatever follows', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { minLength: 1, maxLength: 12 }), cuts, (lengths, at) => {
        const texts = lengths.map((n, i) => String.fromCharCode(97 + i).repeat(n))
        const lines = run(new Splitter({ maxBytes: 20 }), Buffer.from(texts.map(t => `${t}\n`).join('')), at)
        expect(lines.map(l => l.bytes.toString())).toEqual(texts.map(t => t.slice(0, 20)))
        expect(lines.map(l => l.oversize)).toEqual(texts.map(t => (t.length > 20 ? t.length : undefined)))
      }),
    )
  })

  test('a line of exactly the limit is complete, also with a CR', () => {
    const lines = run(new Splitter({ maxBytes: 4 }), Buffer.from('abcd\nabcd\r\nabcde\r\n'))
    expect(lines.map(l => [l.bytes.toString(), l.oversize])).toEqual([
      ['abcd', undefined],
      ['abcd', undefined],
      // The CR counts once the line is too long anyway: its end is not read.
      ['abcd', 6],
    ])
  })
})

describe('CSV', () => {
  const field = fc.oneof(
    fc.string({ maxLength: 6 }),
    fc.array(fc.constantFrom('"', ',', ';', '\n', '\r\n', ' ', 'a', 'é'), { maxLength: 6 }).map(a => a.join('')),
  )
  const records = fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { maxLength: 8 })

  test('a written record is read back, with line breaks in fields, any chunks and any delimiter', () => {
    fc.assert(
      fc.property(records, cuts, fc.constantFrom(',', ';', '\t'), (all, at, delimiter) => {
        const bytes = Buffer.from(all.map(r => `${formatRecord(r, delimiter)}\n`).join(''))
        const lines = run(new Splitter({ maxBytes: 10_000, csv: csv(delimiter) }), bytes, at)
        expect(lines.map(l => parseRecord(l.bytes.toString(), standard(delimiter)))).toEqual(all)
        const breaks = all.map(r => formatRecord(r, delimiter).split('\n').length)
        expect(lines.map(l => l.number)).toEqual(breaks.map((_, i) => 1 + breaks.slice(0, i).reduce((a, b) => a + b, 0)))
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    ['a,"b', 'field 2 starts with a quote that is never closed'],
    ['"a"b,c', 'field 1: unexpected text after the closing quote'],
  ])('%s is rejected', (text, message) => expect(() => parseRecord(text, standard(','))).toThrow(message))

  test('a quote inside an unquoted field is text', () => expect(parseRecord('5" pipe,"x"', standard(','))).toEqual(['5" pipe', 'x']))

  test('values that are not text', () => {
    expect(formatRecord([null, undefined, '', ' a', 1.5, true, { a: 1 }, [1, 2]], ',')).toBe(',,""," a",1.5,true,"{""a"":1}","[1,2]"')
  })
})
