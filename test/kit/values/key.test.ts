import { describe, expect, test } from 'vitest'
import { recordMaker } from '../../../src/connectors/kafka/out-record.ts'
import { template } from '../../../src/connectors/redis/template.ts'
import { DataError, Message } from '../../../src/contract/plugin.ts'
import { keyField, keyJson, keyText } from '../../../src/kit/values/key.ts'

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

  test.each([2 ** 53, -(2 ** 53), 1e300, Number.POSITIVE_INFINITY, Number.NaN])('%d is none: others are read as the same', n => {
    expect(() => keyText(n)).toThrow(DataError)
    expect(() => keyJson({ a: [n] })).toThrow(/write them as texts/)
  })

  test('a field of a record keeps its digits', () => {
    const id = keyField('a.id')
    expect(['9007199254740993', '1e400', '1.10', '7', '"x"'].map(v => id(read(`{"a":{"id":${v}}}`)))).toEqual([
      '9007199254740993',
      '1e400',
      1.1,
      7,
      'x',
    ])
    expect(() => keyText(id(new Message({ a: { id: 2 ** 53 } })))).toThrow(DataError)
  })

  test('two records whose ids differ in the last digit have two keys, in Kafka and in Redis', () => {
    const records = ['9007199254740992', '9007199254740993'].map(id => read(`{"id":${id}}`))
    const made = recordMaker({ topic: 't', key: 'id', keep_headers: false, keep_partition: false, timestamp: 'event' } as never)
    expect(records.map(m => made(m).key)).toEqual(['9007199254740992', '9007199254740993'])
    expect(records.map(template('user:<id>'))).toEqual(['user:9007199254740992', 'user:9007199254740993'])
  })
})
