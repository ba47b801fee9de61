import { describe, expect, test } from 'vitest'
import { compile } from '../../src/expressions/index.ts'
import { DataError, ExactNumber, Message } from '../../src/contract/plugin.ts'

const origin = { lane: 'ticks/2', source: 'ticks', topic: 'ticks', partition: 2, format: 'json' as const }
const record = {
  symbol: 'BTC-USD',
  price: 2.5,
  volume: 4,
  ok: true,
  nothing: null,
  list: [1, 2, 3],
  trade: { id: 7, tags: ['a'] },
  type: 'trade',
}
const message = (value: unknown = record) =>
  new Message(
    value,
    'k',
    1000,
    [
      ['h', Buffer.from('v')],
      ['h', 'last'],
    ],
    5,
    origin,
  )
const evaluate = (text: string, value?: unknown) => compile(text).evaluate(message(value))

function failure(text: string, value?: unknown): string {
  try {
    return `no failure: ${JSON.stringify(evaluate(text, value))}`
  } catch (error) {
    expect(error).toBeInstanceOf(DataError)
    return (error as Error).message
  }
}

describe('results', () => {
  test.each<[string, unknown]>([
    ['price * volume', 10],
    ['price * 2', 5],
    ['volume == 4 && 4 == volume', true],
    ['1 / 2', 0],
    ['volume / 8', 0.5],
    ['volume % 3', 1],
    ['-7 / 2', -3],
    ['-7 % 2', -1],
    // An integer has no negative zero.
    ['0 * -5', 0],
    ['0 / -5', 0],
    ['-size("")', 0],
    ['size(list)', 3],
    ['size(list) + 1', 4],
    ['list[1]', 2],
    ['list.map(x, x * 2)', [2, 4, 6]],
    ['list.filter(x, x > 1).map(x, {"n": x})', [{ n: 2 }, { n: 3 }]],
    ['2 in list', true],
    ['"id" in trade', true],
    ['trade.tags[0]', 'a'],
    ['value.trade.id', 7],
    ['value["symbol"]', 'BTC-USD'],
    ['type == "trade"', true],
    ['nothing == null', true],
    ['nothing', null],
    ['has(value.volume) && !has(value.other)', true],
    ['value.?other.orValue(5)', 5],
    // Forms that the parser of the library does not read.
    ['{?"a": value.?other, ?"b": value.?price, "c": 1}', { b: 2.5, c: 1 }],
    ['[?value.?other, ?value.?nothing, 1, ?list[?9]]', [null, 1]],
    ['{?"a": ({?"b": value.?price, "c": [?value.?other]}).?b}', { a: 2.5 }],
    ['{?value.symbol: value.?price, ?"x": value.?other}', { 'BTC-USD': 2.5 }],
    ['size([?value.?other, ?value.?price])', 1],
    ['[?value.?other, ?value.?volume][0]', 4],
    ['list.map(x, {?"n": x > 2 ? optional.of(x) : optional.none()})', [{}, {}, { n: 3 }]],
    ['list[?0].orValue(0) + [?list[?1]][0]', 3],
    ['{"a-b": {"c/d": {"e.f": 7}}}.`a-b`.?`c/d`.`e.f`.orValue(0)', 7],
    ['has(value.`trade`) && value.`trade`.id == 7 && !has(value.trade.`no-such`)', true],
    ['.5 + price - .10', 2.9],
    ['list.map(x, x + .5)', [1.5, 2.5, 3.5]],
    ['ok ? .5:.25', 0.5],
    ['string(.12345678901234567890)', '0.12345678901234567890'],
    ['br"\\d" == b"\\\\d" && bR\'é\' == bytes("é") && rb"""a\n"b""" == b"a\\n\\"b"', true],
    ['base64.encode(b"é\\xff\\\\é")', 'w6n/XMOp'],
    ['"?, [?x], `a`, .5 // " + "br\'x\'"', "?, [?x], `a`, .5 // br'x'"],
    ['1 // {?"a": value.`b c`}', 1],
    ['value.?price.orValue(5)', 2.5],
    ['trade', { id: 7, tags: ['a'] }],
    ['{"s": symbol, "n": size(list), "deep": {"x": [1, price]}}', { s: 'BTC-USD', n: 3, deep: { x: [1, 2.5] } }],
    ['meta.key', 'k'],
    ['meta.time', 1000],
    ['meta.topic + "/" + string(meta.partition)', 'ticks/2'],
    ['meta.offset', 5],
    ['meta.source + " " + meta.lane', 'ticks ticks/2'],
    ['meta.headers.h', 'last'],
    // A failing side does not matter when the other one decides, in either order.
    ['missing > 1 || ok', true],
    ['ok || missing > 1', true],
    ['missing > 1 && !ok', false],
    ['price == "x"', false],
  ])('%s', (text, expected) => {
    expect(evaluate(text)).toEqual(expected)
  })

  test('unmodified parts of the record are the same objects', () => {
    const value = { a: { b: [1, { c: 2 }] } }
    expect(evaluate('a', value)).toBe(value.a)
    expect(evaluate('value', value)).toBe(value)
  })

  test('the record may be a value other than an object', () => {
    expect(evaluate('value + 1', 5)).toBe(6)
    expect(evaluate('value[0]', ['x'])).toBe('x')
    expect(evaluate('value == null', null)).toBe(true)
  })
})

describe('an invalid operand is a DataError with the problem and its position', () => {
  test.each([
    ['prce * 2', "field 'prce' is missing (the record has symbol, price, volume, ok, nothing, list, trade, type)"],
    ['trade.name', "'trade.name' is missing"],
    ['list[9]', "'list[9]' is missing"],
    ['1.0 + price * symbol', "'price * symbol': '*' does not work on a number and text"],
    ['"x" + price', "'\"x\" + price': '+' does not work on text and a number"],
    ['!price', "'!price': '!' does not work on a number"],
    ['price ? 1 : 2', "'price': must be true or false, not a number"],
    ['ok && price', "'ok && price': an operand of '&&' or '||' is a number, not true or false"],
    ['round(symbol)', "'round(symbol)': does not work on text"],
    ['symbol.contains(price)', "'symbol.contains(price)': does not work on text and a number"],
    ['double(symbol)', '\'double(symbol)\': double() cannot read "BTC-USD" as a number'],
    ['round(price, volume + 99)', "'round(price, volume + 99)': places must be a whole number from 0 to 100, got 103"],
    ['price / 0', "'price / 0' gave Infinity, which is not a JSON number"],
    ['(price - price) / 0', "'(price - price) / 0' gave NaN, which is not a JSON number"],
    ['size(list) / 0', "'size(list) / 0': division by zero"],
    ['list.all(x, x)', "'x': must be true or false, not a number"],
  ])('%s', (text, expected) => {
    expect(failure(text)).toBe(expected)
  })

  test.each([
    [5, 'a number'],
    ['text', 'text'],
    [[1], 'a list'],
    [null, 'null'],
  ])('fields of %j', (value, is) => {
    expect(failure('price', value)).toBe(`field 'price' is missing (the record is ${is})`)
  })

  test('a missing partition is an error', () => {
    const expression = compile('meta.partition')
    expect(() => expression.evaluate(new Message({}))).toThrow("'meta.partition' is missing")
  })

  test('a literal keeps its written digits, in the interpreter and in comparisons with exact fields', () => {
    const id = new ExactNumber('9007199254740993')
    expect(evaluate('id == 9007199254740993.0', { id })).toBe(true)
    expect(evaluate('id == 9007199254740992.0', { id })).toBe(false)
    expect(evaluate('n < 12345678901234567.89', { n: new ExactNumber('12345678901234567') })).toBe(true)
    expect(String(evaluate('-12345678901234567.89'))).toBe('-12345678901234567.89')
    expect(String(evaluate('n + 0.12345678901234567', { n: 1 }))).toBe('1.12345678901234567')
    expect(evaluate('n > 1e-400', { n: 0 })).toBe(false)
    expect(JSON.stringify(evaluate('{"a": [9007199254740993.0, 1.5]}'))).toBe('{"a":[9007199254740993.0,1.5]}')
  })

  test('a number beyond the double range is an error', () => {
    expect(failure('n', JSON.parse('{"n": 1e999}'))).toBe("'n' gave Infinity, which is not a JSON number")
    expect(failure('value', JSON.parse('{"a": [1e999]}'))).toMatch(/Infinity/)
  })

  test('bytes inside JSON', () => {
    const m = new Message(Buffer.from('abc'))
    expect(compile('size(value) > 2').evaluate(m)).toBe(true)
    expect(() => compile('value').evaluate(m)).toThrow(DataError)
  })
})

describe('only own fields are visible', () => {
  const inherited = ['constructor', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__']
  test.each(inherited)('%s is missing unless the record has it', name => {
    for (const text of [name, `value.${name}`, `value["${name}"]`, `trade.${name}`]) expect(failure(text)).toMatch(/ is missing/)
    expect(evaluate(`has(value.${name})`)).toBe(false)
    expect(evaluate(`value.?${name}.orValue("none")`)).toBe('none')
    const own = JSON.parse(`{"${name}": "mine", "trade": {"${name}": "mine", "n": 1}}`)
    for (const text of [name, `value.${name}`, `trade.${name}`, `has(value.${name}) ? value.${name} : "no"`])
      expect(evaluate(text, own)).toBe('mine')
    expect(evaluate('trade.n + 1', own)).toBe(2)
    expect(evaluate('trade', own)).toEqual(own.trade)
    expect(evaluate('trade.?n.orValue(9)', own)).toBe(1)
  })

  test('__proto__', () => {
    expect(failure('value.__proto__')).toBe("'value.__proto__' is missing")
    expect(evaluate('value["__proto__"].polluted', JSON.parse('{"__proto__": {"polluted": 1}}'))).toBe(1)
    const copy = evaluate('{"a": value}', JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 1}')) as any
    expect(JSON.stringify(copy)).toBe('{"a":{"__proto__":{"polluted":1},"constructor":1}}')
    expect(({} as any).polluted).toBeUndefined()
  })

  test('no part of an expression becomes code', () => {
    const evil = '"; globalThis.pwned = 1; //'
    expect(evaluate(`value[${JSON.stringify(evil)}]`, { [evil]: 1 })).toBe(1)
    expect(evaluate(`{${JSON.stringify(evil)}: ${JSON.stringify(evil)}}`)).toEqual({ [evil]: evil })
    expect(evaluate('"`${globalThis.pwned = 1}` \\u2028 \\\\" + symbol')).toBe('`${globalThis.pwned = 1}` \u2028 \\BTC-USD')
    expect((globalThis as any).pwned).toBeUndefined()
  })
})

test('a hostile string cannot stall a pattern', () => {
  // Backtracking would not end.
  expect(evaluate('s.re("^(a+)+$")', { s: `${'a'.repeat(5000)}!` })).toBe(false)
})

test('a record nested deeper than the stack is a DataError', () => {
  const deep = JSON.parse(`{"a": ${'['.repeat(50_000)}${']'.repeat(50_000)}}`)
  expect(failure('a', deep)).toMatch(/failed|missing/)
})

test('compile rejects what check rejects', () => {
  expect(() => compile('foo(1)')).toThrow("unknown function 'foo'")
})

test('messages contain the function that was called, and only its arguments', () => {
  expect(failure('math.bitAnd(2u, dyn(""))')).toBe(`'math.bitAnd(2u, dyn(""))': does not work on an unsigned integer and text`)
  expect(failure('uint(6.022e23)')).toMatch(/uint\(\) cannot hold 6.022e\+23/)
})
