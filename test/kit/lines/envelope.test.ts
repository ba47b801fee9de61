import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { envelopeLine, readEnvelope } from '../../../src/kit/lines/envelope.ts'
import { type Header, Message } from '../../../src/contract/plugin.ts'

const record = (value: Buffer | string | null, key: Buffer | string | null = 'k', headers: readonly Header[] = [['a', '1']]) => {
  const bytes = (x: Buffer | string | null) => (typeof x === 'string' ? Buffer.from(x) : x)
  return { value: bytes(value), key: bytes(key), headers: headers.map(([n, v]) => [n, bytes(v)] as const), time: 1_700_000_000_123 }
}

describe('an envelope returns every byte', () => {
  test.each([
    ['JSON', record('{"id":12345678901234567890,"x":1.0}')],
    ['JSON with white space around and line breaks in it', record(' {"a":1,\r\n  "b":2}\n')],
    ['a JSON string', record('"abc"')],
    ['JSON null, which is not a tombstone', record('null')],
    ['a tombstone', record(null)],
    ['a number', record('1e400')],
    ['text', record('abc "quoted" \u2028')],
    ['an incomplete JSON string', record('"abc')],
    ['nothing', record('')],
    ['bytes that are not UTF-8', record(Buffer.from([0xff, 0xfe, 0x7b]))],
    ['a byte order mark', record('\ufeff{}')],
    ['noise', record(randomBytes(3000))],
    ['a key that is not UTF-8', record('1', Buffer.from([0xff, 0]))],
    ['no key', record('1', null)],
    ['an empty key', record('1', '')],
    [
      'duplicate headers, without a value, with bytes, with unusual names',
      record('{"a":1}', 'k', [
        ['b', '1'],
        ['b', null],
        ['10', Buffer.from([0xff])],
        ['9', 'x'],
        ['__proto__', 'p'],
      ]),
    ],
    [
      'a value after unusual headers',
      record('{"v":10.50}', Buffer.from([0xff]), [
        ['10', 'x'],
        ['9', 'y'],
      ]),
    ],
    ['a header called value', record('{"a":10.0}', 'k', [['value', 'null']])],
  ])('%s', (_, r) => {
    const line = envelopeLine(new Message(r.value, null, r.time, r.headers, 0, undefined, r.value, r.key))
    const raw = envelopeLine(Message.fromRecord(r.value, r.key, r.time, r.headers, 0, { lane: 'l', source: 's', format: 'bytes' }))
    expect(line.includes('\n')).toBe(false)
    expect(readEnvelope(raw)).toEqual(r)
  })

  test('a line that is not an envelope is rejected', () => {
    for (const line of ['', '1', 'null', '[]', '{"a":1}', '{"headers":null}', '{']) expect(() => readEnvelope(line)).toThrow()
  })
})
