/** Records of a known shape have the values of the parser; all others go to the parser. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ExactNumber, parseJson } from '../../src/contract/plugin.ts'
import { RecordShapes } from '../../src/contract/record-shapes.ts'

const number = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(x => JSON.stringify(x)),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.bigInt(0n, 10n ** 20n),
      fc.stringMatching(/^(\.\d{1,22})?$/),
      fc.constantFrom('', '', '', 'e5', 'E-400'),
    )
    .map(([sign, whole, fraction, exponent]) => `${sign}${whole}${fraction}${exponent}`),
  fc.stringMatching(/^-?[0-9.eE+-]{1,18}$/),
  fc.stringMatching(/^-?[1-9]\d{11,17}$/),
  fc.stringMatching(/^-?\d\.0{0,7}\d{1,15}$/),
  fc.constantFrom(
    '0',
    '-0',
    '-0.0',
    '1.10',
    '0.000001',
    '0.0000001',
    '0.00000012',
    '00',
    '01',
    '-',
    '1.',
    '.5',
    '1e',
    '999999999999999',
    '99999999999999.9',
  ),
)
const text = fc.oneof(
  fc.string().map(s => JSON.stringify(s)),
  fc.constantFrom('"a"', '"b"', '"', '"a', '"\\u0061"', '"é"', '"\x7f"', '"\x01"'),
)
const scalar = fc.oneof(number, text, fc.constantFrom('true', 'false', 'null', 'tru', 'nul', 'NaN', '{}', '[]', ''))
/** `#` is a scalar. */
const form = fc.constantFrom(
  '{"symbol":#,"price":#,"volume":#,"ts":#}',
  '{ "a" : # , "b" : { "c" : [ # , # ] , "d" : {} } }\n',
  '[#,#,[#]]',
  '#',
  '{"__proto__":#,"a":#}',
  '{"a":#,"a":#}',
  '{"1":#,"0":#,"toString":#}',
  '{"a\\n":#}',
  '[[[[[[[[[#]]]]]]]]]',
)

const read = (p: Buffer, depth: number): unknown => {
  try {
    return parseJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(p), depth)
  } catch {
    return undefined
  }
}

it('returns the same value as the parser, or no value', () => {
  let known = 0
  fc.assert(
    fc.property(form, fc.array(fc.array(scalar, { minLength: 4, maxLength: 4 }), { minLength: 2, maxLength: 20 }), (shape, rows) => {
      const shapes = new RecordShapes(8)
      for (const row of rows) {
        let i = 0
        const bytes = Buffer.from(shape.replaceAll('#', () => row[i++]))
        const value = shapes.parse(bytes)
        if (value === undefined) continue
        known++
        expect(value).toStrictEqual(read(bytes, 8))
        expect(Object.keys(value ?? {})).toEqual(Object.keys((read(bytes, 8) as object) ?? {}))
      }
    }),
    { numRuns: 3000 },
  )
  expect(known).toBeGreaterThan(500)
})

const values = (list: readonly string[], depth = 256): unknown[] => {
  const shapes = new RecordShapes(depth)
  return list.map(each => shapes.parse(Buffer.from(each)))
}

it('reads a record with the shape of the previous one', () => {
  expect(values(['{"a":1,"b":"x"}', '{"a":2.5,"b":null}', '{"a":true,"b":1.10}', '{"a":[],"b":1}'])).toStrictEqual([
    undefined,
    { a: 2.5, b: null },
    { a: true, b: new ExactNumber('1.10') },
    undefined,
  ])
})

it('reads several shapes in turn', () => {
  const list = Array.from({ length: 60 }, (_, i) => [`{"a":${i}}`, `[${i},"x"]`, `{"b":{"c":${i}}}`][i % 3])
  expect(values(list).slice(30)).toStrictEqual(list.slice(30).map(each => JSON.parse(each) as unknown))
})

it('has no shape for a record nested more deeply than allowed', () => {
  const list = ['[[[1]]]', '[[[2]]]']
  expect(values(list, 3)).toStrictEqual([undefined, [[[2]]]])
  expect(values(list, 2)).toStrictEqual([undefined, undefined])
})

it('distinguishes texts with equal hashes', () => {
  // Upward and downward: a text may be the beginning of the one before it.
  const list = Array.from({ length: 6000 }, (_, i) => `{"a":"${Math.abs(3000 - i).toString(6)}"}`)
  expect(values(list).slice(1)).toStrictEqual(list.slice(1).map(each => JSON.parse(each) as unknown))
})

it('retains no part of the input buffer', () => {
  const buffer = Buffer.from('{"a":1}{"a":2}')
  const shapes = new RecordShapes(256)
  shapes.parse(buffer.subarray(0, 7))
  buffer.fill(0, 0, 7)
  expect(shapes.parse(buffer.subarray(7))).toEqual({ a: 2 })
})

it('stops looking for shapes where records have none in common, and starts again', () => {
  const shapes = new RecordShapes(256)
  const tries = (n: number, record: (i: number) => string): number => {
    let found = 0
    for (let i = 0; i < n; i++) if (shapes.parse(Buffer.from(record(i))) !== undefined) found++
    return found
  }
  tries(100, i => `{"name${i}":1}`)
  expect(tries(1000, () => '{"a":1}')).toBe(0)
  expect(tries(5000, () => '{"a":1}')).toBeGreaterThan(1000)
})
