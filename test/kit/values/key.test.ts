import { describe, expect, test } from 'vitest'
import { recordMaker } from '../../../src/connectors/kafka/out-record.ts'
import { template } from '../../../src/connectors/redis/template.ts'
import { Message } from '../../../src/contract/plugin.ts'
import { keyField, keyJson, keyText, sameKeyText } from '../../../src/kit/values/key.ts'

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

  test('a key that is written has the digits of the record, one that is compared the value', () => {
    const id = keyField('a.id')
    const keys = ['9007199254740993', '1e400', '1.10', '7', '"x"'].map(v => id(read(`{"a":{"id":${v}}}`)))
    expect(keys.map(keyText)).toEqual(['9007199254740993', '1e400', '1.10', '7', 'x'])
    expect(keys.map(sameKeyText)).toEqual(['9007199254740993', '1e400', '1.1', '7', 'x'])
    expect(keyJson(read('{"b":[1.10,{"c":9007199254740993.0}]}').value)).toBe('{"b":[1.1,{"c":9007199254740993}]}')
    expect(keyJson('1.1')).not.toBe(keyJson(1.1))
  })

  test('two records whose ids differ in the last digit have two keys, in Kafka and in Redis', () => {
    const records = ['9007199254740992', '9007199254740993'].map(id => read(`{"id":${id}}`))
    const made = recordMaker({ topic: 't', key: 'id', keep_headers: false, keep_partition: false, timestamp: 'event' } as never)
    expect(records.map(m => made(m).key)).toEqual(['9007199254740992', '9007199254740993'])
    expect(records.map(template('user:<id>'))).toEqual(['user:9007199254740992', 'user:9007199254740993'])
  })
})
