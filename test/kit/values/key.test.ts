import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { recordMaker } from '../../../src/connectors/kafka/out-record.ts'
import { template } from '../../../src/connectors/redis/template.ts'
import { type Json, Message, parseJson, type State } from '../../../src/contract/plugin.ts'
import { keyField, keyJson, keyText, renewKeys, sameKeyText } from '../../../src/kit/values/key.ts'

const origin = { lane: 'l', source: 's', topic: 't', partition: 0, format: 'json' } as const
const read = (json: string): Message => Message.fromRecord(Buffer.from(json), null, 0, undefined, 0, origin)

describe('keys', () => {
  test('texts, numbers, true and false', () => {
    expect(['a', '', 1.5, -0, Number.MAX_SAFE_INTEGER, true, 10n].map(keyText)).toEqual([
      'a',
      '',
      '1.5',
      '0',
      '9007199254740991',
      'true',
      '10',
    ])
    expect([null, undefined, {}, []].map(keyText)).toEqual([undefined, undefined, undefined, undefined])
  })

  test('a written key has the digits of the record, a compared key uses the value', () => {
    const id = keyField('a.id')
    const keys = ['9007199254740993', '1e400', '1.10', '7', '"x"'].map(v => id(read(`{"a":{"id":${v}}}`)))
    expect(keys.map(keyText)).toEqual(['9007199254740993', '1e400', '1.10', '7', 'x'])
    expect(keys.map(sameKeyText)).toEqual(['9007199254740993', '1e400', '1.1', '7', 'x'])
    expect(keyJson(read('{"b":[1.10,{"c":9007199254740993.0}]}').value)).toBe('{"b":[1.1,{"c":9007199254740993}]}')
    expect(keyJson('1.1')).not.toBe(keyJson(1.1))
  })

  test('text that UTF-8 cannot represent cannot be a key: it would be the key of other records too', () => {
    for (const half of ['\ud800', 'a\udc00', '\udc00\ud800'])
      for (const key of [keyText, sameKeyText]) expect(() => key(half)).toThrow('is not valid Unicode (it has half of a surrogate pair)')
    expect(['🙂', 'é', 'e\u0301', '\0'].map(keyText)).toEqual(['🙂', 'é', 'e\u0301', '\0'])
  })

  test('two records whose ids differ in the last digit have different keys in Kafka and in Redis', () => {
    const records = ['9007199254740992', '9007199254740993'].map(id => read(`{"id":${id}}`))
    const made = recordMaker({ topic: 't', key: 'id', keep_headers: false, keep_partition: false, timestamp: 'event' } as never)
    expect(records.map(m => made(m).key)).toEqual(['9007199254740992', '9007199254740993'])
    expect(records.map(template('user:<id>'))).toEqual(['user:9007199254740992', 'user:9007199254740993'])
  })

  /** A value as text in another order of names and another spelling of numbers. */
  const rewritten = (value: unknown, pick: () => number): string => {
    if (Array.isArray(value)) return `[${value.map(v => rewritten(v, pick)).join(', ')}]`
    if (typeof value === 'object' && value !== null) {
      const names = Object.keys(value)
      for (let i = names.length - 1; i > 0; i--) {
        const j = pick() % (i + 1)
        ;[names[i], names[j]] = [names[j], names[i]]
      }
      return `{${names.map(n => `${JSON.stringify(n)}:${rewritten((value as Record<string, unknown>)[n], pick)}`).join(',')}}`
    }
    if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 1e15 && !Object.is(value, -0))
      return ['', '.0', '.00', 'e0'].map(s => `${value}${s}`)[pick() % 4]
    return JSON.stringify(value)
  }
  const value = fc.jsonValue({ maxDepth: 4 })

  test('equal values are one key, whatever the order of their names; other values are other keys', () => {
    const numbers = fc.infiniteStream(fc.nat())
    fc.assert(
      fc.property(value, value, numbers, (a, b, stream) => {
        const again = parseJson(rewritten(a, () => stream.next().value as number))
        expect(keyJson(again)).toBe(keyJson(a))
        const same = fc.stringify(sorted(a)) === fc.stringify(sorted(b))
        expect(keyJson(a) === keyJson(b)).toBe(same)
      }),
      { numRuns: 500 },
    )
  })

  const sorted = (v: unknown): unknown =>
    Array.isArray(v)
      ? v.map(sorted)
      : typeof v === 'object' && v !== null
        ? {
            object: Object.entries(v)
              .map(([k, x]) => [k, sorted(x)])
              .toSorted(([a], [b]) => (a! < b! ? -1 : 1)),
          }
        : Object.is(v, -0)
          ? 0
          : v

  test('state with keys in another order is restored', () => {
    const map = new Map<string, Json>([
      ['{"b":1,"a":2}', 1],
      ['{"a":2,"b":1}', 2],
      ['[{"d":1,"c":1}]', 3],
      ['"{"', 4],
      ['7', 5],
    ])
    renewKeys({
      get: k => map.get(k),
      set: (k, v) => void map.set(k, v),
      delete: k => void map.delete(k),
      entries: () => map.entries(),
      get size() {
        return map.size
      },
    } satisfies State)
    expect([...map].toSorted()).toEqual([
      ['"{"', 4],
      ['7', 5],
      ['[{"c":1,"d":1}]', 3],
      ['{"a":2,"b":1}', 1],
    ])
  })
})
