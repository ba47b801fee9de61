import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DataError, Message } from '../../src/contract/plugin.ts'
import type { MapConfig } from '../../src/generated/config-types.ts'
import map from '../../src/transforms/map.ts'
import { messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

const config = (c: Partial<MapConfig>): MapConfig => ({ keep: false, ...c })
const tick = { symbol: 'btc', price: 2.5, volume: 4, ts: 61_500, venue: { name: 'x', secret: 's' } }

async function values(c: Partial<MapConfig>, ...inputs: unknown[]): Promise<unknown[]> {
  const run = await runTransform(map, config(c), [messagesOf(inputs.map(value => ({ value })))])
  expect(run.failures).toEqual([])
  return run.out.map(m => m.value)
}

async function failures(c: Partial<MapConfig>, ...inputs: unknown[]): Promise<string[]> {
  const run = await runTransform(map, config(c), [messagesOf(inputs.map(value => ({ value })))])
  expect(run.out).toEqual([])
  for (const { error } of run.failures) expect(error).toBeInstanceOf(DataError)
  return run.failures.map(f => f.error.message)
}

describe('fields', () => {
  const fields = {
    symbol: 'symbol.upper()',
    notional: 'price * volume',
    minute: 'floor(ts / 60000) * 60000',
    big: 'volume > 3',
    side: '"buy"',
  }

  test('a new object has the fields in the configured order', async () => {
    const [value] = await values({ fields }, tick)
    expect(JSON.stringify(value)).toBe('{"symbol":"BTC","notional":10,"minute":60000,"big":true,"side":"buy"}')
  })

  test('fields can be nested by a map, by dots, and by both', async () => {
    const nested = { id: '7', signal: { action: '"BUY"', quantity: 'volume' }, 'signal.reason': '"x"', 'market.data.price': 'price' }
    const [value] = await values({ fields: nested }, tick)
    expect(JSON.stringify(value)).toBe('{"id":7,"signal":{"action":"BUY","quantity":4,"reason":"x"},"market":{"data":{"price":2.5}}}')
  })

  test('key, time, headers, offset and original bytes are unchanged', async () => {
    const [message] = messagesOf([{ value: tick, key: 'k', time: 5, headers: [['h', 'v']] }], 9)
    const payload = message.payload
    const run = await runTransform(map, config({ fields: { p: 'price' } }), [[message]])
    expect(run.out[0]).toMatchObject({ key: 'k', time: 5, headers: [['h', 'v']], offset: 9, payload, changed: true })
    expect(run.out[0].encode()).toBe('{"p":2.5}')
  })

  test('a failing field fails the message and is named, and no part of the message is emitted', async () => {
    const c = { fields: { a: 'price', 'b.c': 'prce + 1', d: 'symbol * 2' } }
    expect(await failures(c, tick)).toEqual(["b.c: field 'prce' is missing (the record has symbol, price, volume, ts, venue)"])
  })

  test('invalid records do not affect valid ones', async () => {
    const inputs = [tick, { ...tick, price: 'abc' }, {}, [1], null, { ...tick, price: 3 }]
    const run = await runTransform(map, config({ fields: { n: 'price * 2' } }), [messagesOf(inputs.map(value => ({ value })))])
    expect(run.out.map(m => m.value)).toEqual([{ n: 5 }, { n: 6 }])
    expect(run.failures.map(f => [f.message.offset, f.error.message])).toEqual([
      [1, "n: 'price * 2': '*' does not work on text and an integer"],
      [2, "n: field 'price' is missing (the record is empty)"],
      [3, "n: field 'price' is missing (the record is a list)"],
      [4, "n: field 'price' is missing (the record is null)"],
    ])
  })

  test('every object has the same hidden class, whichever way it was made', async () => {
    const v8 = await import('node:v8')
    v8.setFlagsFromString('--allow-natives-syntax')
    const sameMap = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: unknown, b: unknown) => boolean
    // The list literal inside `all` is for the interpreter: those records take the slow path.
    const made = await values(
      { fields: { a: 'price', b: 'symbol == "x" ? [1].all(i, i > 0) : true', c: 'value.?n.orValue("none")' } },
      tick,
      { ...tick, symbol: 'x' },
      { ...tick, n: 'y' },
    )
    expect(made).toHaveLength(3)
    for (const value of made) expect(sameMap(value, made[0])).toBe(true)
  })
})

describe('value', () => {
  test.each<[string, unknown, unknown]>([
    ['venue', tick, tick.venue],
    ['{"s": symbol, "twice": [price, price]}', tick, { s: 'btc', twice: [2.5, 2.5] }],
    ['price * 2', tick, 5],
    ['value + 1', 5, 6],
    ['null', tick, null],
  ])('%s', async (value, input, expected) => {
    expect(await values({ value }, input)).toEqual([expected])
  })

  test('an error fails only its message', async () => {
    expect(await failures({ value: 'a.b' }, { a: {} })).toEqual(["'a.b' is missing"])
  })
})

describe('keep', () => {
  test('starts from the record, sets fields in place and appends new ones', async () => {
    const [value] = await values({ keep: true, fields: { price: 'price * 2', n: '1' } }, tick)
    expect(JSON.stringify(value)).toBe('{"symbol":"btc","price":5,"volume":4,"ts":61500,"venue":{"name":"x","secret":"s"},"n":1}')
  })

  test('drop removes fields, nested ones too; missing fields are ignored', async () => {
    const c = { keep: true, drop: ['volume', 'ts', 'venue.secret', 'nope', 'symbol.x', 'venue.a.b'] }
    expect(await values(c, tick)).toEqual([{ symbol: 'btc', price: 2.5, venue: { name: 'x' } }])
  })

  test('a nested field is merged into the existing object', async () => {
    const c = { keep: true, drop: ['venue.secret'], fields: { 'venue.city': '"NY"', 'new.a': '1' } }
    expect(await values(c, tick)).toEqual([{ ...tick, venue: { name: 'x', city: 'NY' }, new: { a: 1 } }])
    expect(await failures(c, { ...tick, venue: 5 })).toEqual(['venue must be an object to set fields in it, is 5'])
  })

  test('the input record is not modified, because other steps may use it', async () => {
    const before = structuredClone(tick)
    const message = new Message(tick)
    const run = await runTransform(map, config({ keep: true, drop: ['price', 'venue.secret'], fields: { 'venue.name': '"y"', n: '1' } }), [
      [message],
    ])
    expect(run.out[0].value).toEqual({ symbol: 'btc', volume: 4, ts: 61_500, venue: { name: 'y' }, n: 1 })
    expect(tick).toEqual(before)
  })

  test('a value that is not an object fails', async () => {
    expect(await failures({ keep: true, fields: { n: '1' } }, 5, [1], null, 'x')).toEqual([
      'keep: the value must be an object, is 5',
      'keep: the value must be an object, is [1]',
      'keep: the value must be an object, is null',
      'keep: the value must be an object, is "x"',
    ])
  })

  test('keys with names of inherited properties are plain keys', async () => {
    const input = JSON.parse('{"__proto__": {"p": 1}, "constructor": 2, "toString": 3, "a": 4}')
    const [value] = await values({ keep: true, drop: ['a'], fields: { constructor: 'value.toString', 'valueOf.x': '1' } }, input)
    expect(JSON.stringify(value)).toBe('{"__proto__":{"p":1},"constructor":3,"toString":3,"valueOf":{"x":1}}')
  })
})

describe('check', () => {
  const check = (c: Partial<MapConfig>) => map.validateConfig!(config(c)).map(p => `${p.path.join('/')}: ${p.message}`)

  test.each<[Partial<MapConfig>, string[]]>([
    [{ fields: { a: '1', 'b.c': '2', 'b.d': '3', e: { f: '4' }, 'e.g': '5' } }, []],
    [{ value: '1' }, []],
    [{ keep: true, drop: ['a'] }, []],
    [{}, [': needs fields, or one expression as its value']],
    [{ keep: true }, [': needs fields, or one expression as its value']],
    [
      { value: '1', fields: { a: '1' }, keep: true, drop: ['b'] },
      ['fields', 'drop', 'keep'].map(k => `${k}: ${k} cannot be used with value, which is the whole result`),
    ],
    [{ fields: { a: '1' }, drop: ['b'] }, ['drop: drop needs keep: it leaves out fields that keep would copy']],
    [{ fields: { a: '1', 'a.b': '2' } }, ['fields/a.b: a.b clashes with a field above it']],
    [{ fields: { 'a.b': '1', a: '2' } }, ['fields/a: a clashes with a field above it']],
    [{ fields: { 'a.b': '1', a: { b: '2', c: '3' } } }, ['fields/a/b: a.b clashes with a field above it']],
    [{ fields: { 'a.__proto__': '1' } }, ['fields/a.__proto__: a field cannot be named __proto__']],
    [{ fields: { a: 5, b: { c: null }, d: [1] } as any }, ['a', 'b/c', 'd'].map(p => `fields/${p}: must be an expression`)],
    [{ fields: { constructor: '1', 'toString.valueOf': '2' } as any }, []],
  ])('%j', (c, expected) => {
    expect(check(c)).toEqual(expected)
  })
})

transformConformance(
  'map',
  map,
  config({ fields: { s: 'symbol.upper()', n: 'price * 2', 'o.k': 'meta.key' } }),
  fc.array(
    fc.record({
      value: fc.oneof(fc.record({ symbol: fc.string(), price: fc.oneof(fc.double(), fc.string()) }), fc.json()),
      key: fc.option(fc.string()),
    }),
    { maxLength: 20 },
  ),
)
