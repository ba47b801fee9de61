import { gunzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  canonicalText,
  compareNumbers,
  DataError,
  DecodeError,
  encodeJson,
  ExactNumber,
  Message,
  parseJson,
  toDouble,
} from '../../src/contract/plugin.ts'
import { inspect, Need } from '../../src/contract/json.ts'
import { character } from '../support/characters.ts'

const origin = { lane: 'l', source: 's', format: 'json' } as const
const read = (json: string | Buffer): Message => Message.fromRecord(Buffer.from(json), null, 0, undefined, 0, origin)
/** Decoded and written again. */
function rewritten(json: string): string {
  const m = read(json)
  const { value } = m
  m.value = value
  return String(m.encode())
}

const digits = (max: number): fc.Arbitrary<string> =>
  fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: max }).map(d => d.join(''))
/** Every shape that the grammar of JSON allows. */
const numberText = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(
      fc.constant('0'),
      digits(25).map(d => d.replace(/^0+(?=\d)/, '')),
    ),
    fc.option(fc.oneof(digits(25), fc.constantFrom('0', '00', '10', '000000', '0000001')), { nil: undefined }),
    fc.option(fc.tuple(fc.constantFrom('e', 'E'), fc.constantFrom('', '+', '-'), digits(3)), { nil: undefined }),
  )
  .map(
    ([sign, whole, fraction, exponent]) =>
      `${sign}${whole}${fraction === undefined ? '' : `.${fraction}`}${exponent ? exponent.join('') : ''}`,
  )
const text = fc.oneof(
  fc.string({ unit: character }),
  fc.constantFrom('\x7f', '\x7f1.10', '1.10', '-0', '{"a":1.10}', '\u{1f600}', '\\', '"', '\u2028', '__proto__'),
)
/** JavaScript moves numbers to the front. */
const key = text.filter(k => !/^\d+$/.test(k))
const jsonText = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 5 },
    numberText,
    text.map(s => JSON.stringify(s)),
    fc.constantFrom('true', 'false', 'null'),
    tie('list'),
    tie('object'),
  ),
  list: fc.array(tie('value'), { maxLength: 4 }).map(items => `[${items.join(',')}]`),
  object: fc
    .uniqueArray(fc.tuple(key, tie('value')), { maxLength: 4, selector: ([k]) => k })
    .map(fields => `{${fields.map(([k, v]) => `${JSON.stringify(k)}:${v}`).join(',')}}`),
})).value as fc.Arbitrary<string>

describe('numbers keep their original digits', () => {
  test.each([
    '9007199254740993',
    '12345678901234567.89',
    '1.10',
    '1e400',
    '-0',
    '-0.0',
    '1E5',
    '0.0000001',
    '123456789012345678901234567890',
    '1e-400',
    '100.0',
  ])('%s', n => {
    const value = read(`{"a":${n},"b":[${n}]}`).value as { a: ExactNumber; b: ExactNumber[] }
    expect(value.a).toBeInstanceOf(ExactNumber)
    expect([String(value.a), JSON.stringify(value), encodeJson(value.b)]).toEqual([n, `{"a":${n},"b":[${n}]}`, `[${n}]`])
    expect(read(n).value).toEqual(new ExactNumber(n))
  })

  test.each([
    '0',
    '-1',
    '1.5',
    '27123.45',
    '1700000000000',
    '9007199254740991',
    '1700000000000123',
    '0.000001',
    '-0.5',
    '0.30000000000000004',
  ])('%s is a plain number: a double prints it as it is', n => expect((read(`[${n}]`).value as unknown[])[0]).toBe(Number(n)))

  test('any JSON input is written unchanged', () => {
    fc.assert(
      fc.property(jsonText, json => {
        // JSON.stringify has one way to escape; the digits are all that is at stake.
        const value = JSON.parse(json) as unknown
        expect(rewritten(json)).toBe(value === null ? 'null' : json)
      }),
      { numRuns: 3000 },
    )
  })

  test('the value equals that of JSON.parse, also with white space, repeated keys and malformed input', () => {
    const plain = (v: unknown): unknown => {
      if (v instanceof ExactNumber) return Number(v) + 0
      if (typeof v === 'number') return v + 0
      if (Array.isArray(v)) return v.map(plain)
      return typeof v === 'object' && v !== null ? Object.entries(v).map(([k, x]) => [k, plain(x)]) : v
    }
    const noise = fc.oneof(
      jsonText,
      fc.string(),
      fc.array(fc.constantFrom(...'{}[]:,"\\ \n1.0e-+tfn'.split('')), { maxLength: 12 }).map(c => c.join('')),
    )
    fc.assert(
      fc.property(noise, fc.constantFrom('', ' ', '\n\t'), (json, space) => {
        const spaced = json.replaceAll(/(?<=^[^"]*)[,:[\]]/g, c => `${space}${c}${space}`)
        let expected: unknown
        try {
          expected = JSON.parse(spaced)
        } catch (error) {
          expect(() => parseJson(spaced)).toThrow((error as Error).message)
          return
        }
        // Where it is wrong, see below.
        if (!/\\.(?:[^"\\]|\\.)*"\s*:/.test(spaced)) expect(plain(parseJson(spaced))).toEqual(plain(expected))
      }),
      { numRuns: 3000 },
    )
    expect(parseJson('{"a":1.10,"a":2,"__proto__":1.10}')).toEqual(
      JSON.parse('{"a":2,"__proto__":0}', (k, v: unknown) => (k === '__proto__' ? new ExactNumber('1.10') : v)),
    )
    for (const bad of ['{1.10:2}', '[1.10 2]', '[01.10]', '[1.10.5]', '1.10,', '{"a":1.10 "b":2}'])
      expect(() => parseJson(bad)).toThrow(SyntaxError)
  })

  test.each([
    ['{"x":1,"\\\\":2}', '{"x":1,"\\u0061":5}', '{"x":1,"a":5}'],
    ['{"y":1,"ab\\\\":2}', '{"y":1,"ab\\u0063":1.10}', '{"y":1,"abc":1.10}'],
    ['{"z":1,"a\\\\u0":2}', '{"z":1,"a\\u0062cd" :[{"\\"":"\\\\"}],"__proto\\u005f_":1}', '{"z":1,"abcd":[{"\\"":"\\\\"}],"__proto__":1}'],
    ['{"w":1,"\\\\":2}', '{"w":1,"\\n":"\x7f","\\n":-0}', '{"w":1,"\\n":-0}'],
  ])('V8 takes a name with an escape for one of an earlier object: after %s, %s is parsed correctly', (before, record, expected) => {
    JSON.parse(before)
    expect(rewritten(record)).toBe(expected)
    expect(encodeJson(parseJson(record))).toBe(expected)
  })

  test('the byte scan detects every number', () => {
    fc.assert(
      fc.property(jsonText, json => {
        const need = inspect(Buffer.from(json), 256)
        if (need !== Need.exact) expect(JSON.stringify(JSON.parse(json))).toBe(json)
        if (need === Need.plain) expect(/^[\0-\x7f]*$/.test(json)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('ExactNumber', () => {
  test('accepts only JSON numbers', () => {
    for (const bad of ['', '1.', '.5', '+1', '01', 'NaN', '1e', ' 1', '"1"']) expect(() => new ExactNumber(bad)).toThrow(TypeError)
  })

  test('compares by value, also with plain numbers', () => {
    const x = (s: string): ExactNumber => new ExactNumber(s)
    expect(compareNumbers(x('1.10'), 1.1)).toBe(0)
    expect(compareNumbers(x('9007199254740993'), 9007199254740992)).toBe(1)
    expect(compareNumbers(x('-9007199254740993'), x('-9007199254740994'))).toBe(1)
    expect(compareNumbers(x('1e400'), x('1e401'))).toBe(-1)
    expect(compareNumbers(x('1e999999999'), Number.POSITIVE_INFINITY)).toBe(-1)
    expect(compareNumbers(x('-0'), 0)).toBe(0)
    expect(compareNumbers(x('10e-1'), x('1.000'))).toBe(0)
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        fc.nat(10),
        (a, b, e) => {
          expect(compareNumbers(x(`${a}e${e}`), x(`${b}e${e}`))).toBe(a < b ? -1 : a > b ? 1 : 0)
        },
      ),
    )
  })

  test('has one text for all spellings of a value', () => {
    const same = [
      ['1.10', '1.1', '11e-1', '0.11E+1'],
      ['9007199254740993', '9007199254740993.0', '9007199254740.993e3'],
      ['-0', '0.00', '0e5'],
      ['1e400', '10e399'],
    ]
    for (const spellings of same) expect(new Set(spellings.map(s => canonicalText(new ExactNumber(s)))).size).toBe(1)
    expect(canonicalText(new ExactNumber('1.10'))).toBe('1.1')
    expect(canonicalText(new ExactNumber('-12345678901234567.890'))).toBe('-12345678901234567.89')
    expect(canonicalText(new ExactNumber('1e400'))).toBe('1e400')
  })

  test('converts to a double where that is exact enough', () => {
    expect([toDouble(new ExactNumber('1.10')), toDouble(2), toDouble('2'), Number(new ExactNumber('1e400'))]).toEqual([
      1.1,
      2,
      undefined,
      Number.POSITIVE_INFINITY,
    ])
    expect([new ExactNumber('1.10').plain, new ExactNumber('9007199254740993').plain]).toEqual([1.1, undefined])
  })
})

describe('depth and values that JSON cannot represent', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

  test('256 levels are accepted, more is a DecodeError with the setting to change', () => {
    expect(() => read(nested(256)).value).not.toThrow()
    expect(() => read(nested(257)).value).toThrow(DecodeError)
    expect(() => read(nested(257)).value).toThrow('limits: { depth')
    expect(() => read(`{"a":1.10,"b":${nested(256)}}`).value).toThrow(DecodeError)
    expect(() => read(`{"a":${JSON.stringify('['.repeat(1000))}}`).value).not.toThrow()
    expect(() => read(nested(300)).decode(300)).not.toThrow()
  })

  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  let deep: unknown[] = []
  for (let i = 0; i < 100_000; i++) deep = [deep]
  test.each([
    ['a BigInt', { a: 1n }, /BigInt/],
    ['a cycle', cycle, /contains itself/],
    ['too deep', deep, /nested too deeply/],
    ['a function', () => 1, /a function/],
  ])('%s is a DataError of its record', (_, value, message) => {
    expect(() => new Message(value).encode()).toThrow(DataError)
    expect(() => new Message(value).encode()).toThrow(message)
  })
})

test('JSONTestSuite: 283 of 283', () => {
  const packed = gunzipSync(readFileSync(join(import.meta.dirname, '../suites/json/test_parsing.json.gz')))
  const wrong: string[] = []
  let right = 0
  for (const [file, bytes] of Object.entries(JSON.parse(packed.toString()) as Record<string, string>)) {
    if (file.startsWith('i_')) continue
    let accepted = true
    try {
      void read(Buffer.from(bytes, 'base64')).value
    } catch (error) {
      expect(error).toBeInstanceOf(DecodeError)
      accepted = false
    }
    if (accepted === file.startsWith('y_')) right++
    else wrong.push(file)
  }
  expect(wrong).toEqual([])
  expect(right).toBe(283)
})

test('numbers with exponents beyond the double range are compared by value, and have separate keys', () => {
  const far = ['1e99999999999999999998', '1e99999999999999999999', '10e99999999999999999999', '1.5e-99999999999999999999'].map(
    t => new ExactNumber(t),
  )
  expect(far.map(x => far.map(y => compareNumbers(x, y)))).toEqual([
    [0, -1, -1, 1],
    [1, 0, -1, 1],
    [1, 1, 0, 1],
    [-1, -1, -1, 0],
  ])
  expect(far.map(canonicalText)).toEqual([
    '1e99999999999999999998',
    '1e99999999999999999999',
    '1e100000000000000000000',
    '1.5e-99999999999999999999',
  ])
  expect(compareNumbers(new ExactNumber('-1e99999999999999999999'), 1)).toBe(-1)
  expect(compareNumbers(new ExactNumber(`0.00e${'9'.repeat(500)}`), 0)).toBe(0)
  expect(compareNumbers(new ExactNumber(`1e${'9'.repeat(500)}`), new ExactNumber(`1e${'9'.repeat(499)}8`))).toBe(1)
})
