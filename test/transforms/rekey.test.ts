import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RekeyConfig } from '../../src/generated/config-types.ts'
import rekey from '../../src/transforms/rekey.ts'
import { messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

async function keys(c: Partial<RekeyConfig> & { key: string }, ...inputs: unknown[]): Promise<unknown[]> {
  const run = await runTransform(rekey, { allow_null: false, ...c }, [messagesOf(inputs.map(value => ({ value, key: 'old' })))])
  return run.events.map(e => (e.kind === 'fail' ? e.error.message : e.message.encodeKey()))
}

describe('rekey', () => {
  test('a string is used unchanged; numbers and booleans become strings', async () => {
    expect(await keys({ key: 'k' }, { k: 'a' }, { k: '' }, { k: 1.5 }, { k: -0 }, { k: true })).toEqual(['a', '', '1.5', '0', 'true'])
    expect(await keys({ key: 'exchange + ":" + symbol.upper()' }, { exchange: 'x', symbol: 'btc' })).toEqual(['x:BTC'])
    expect(await keys({ key: 'meta.key + "!"' }, {})).toEqual(['old!'])
  })

  test('null is rejected as a key unless allowed', async () => {
    expect(await keys({ key: 'k' }, { k: null })).toEqual([
      "'k' gave null, which is not a key (to write records without a key, set allow_null)",
    ])
    expect(await keys({ key: 'k', allow_null: true }, { k: null })).toEqual([null])
  })

  test('half of a surrogate pair fails, and headers that are not UTF-8 are different keys', async () => {
    expect(await keys({ key: 'k' }, { k: 'a\ud800' })).toEqual([expect.stringContaining('"a\\ud800" is not valid Unicode')])
    const headers = [[255], [254], [0xc3, 0xa9]].map(bytes => [['id', Buffer.from(bytes)]] as [string, Buffer][])
    const run = await runTransform(rekey, { key: 'meta.headers.id', allow_null: false }, [
      messagesOf(headers.map(h => ({ value: {}, headers: h }))),
    ])
    expect(run.out.map(m => m.key)).toEqual(['\ufffd0xff', '\ufffd0xfe', 'é'])
  })

  test('other types fail', async () => {
    expect(await keys({ key: 'k', allow_null: true }, { k: [1] }, { k: { a: 1 } }, {})).toEqual([
      "'k' gave [1], which is not a key",
      '\'k\' gave {"a":1}, which is not a key',
      "field 'k' is missing (the record is empty)",
    ])
  })

  test('the value keeps its bytes, and the original key is kept for the dead letter', async () => {
    const run = await runTransform(rekey, { key: 'k', allow_null: false }, [messagesOf([{ payload: '{"k": "a",  "n": 1.0}', key: 'old' }])])
    expect(String(run.out[0].encode())).toBe('{"k": "a",  "n": 1.0}')
    expect(String(run.out[0].keyBytes)).toBe('old')
  })
})

transformConformance(
  'rekey',
  rekey,
  { key: 'k', allow_null: true },
  fc.array(
    fc.record({
      value: fc.record({ k: fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null), fc.constant([])) }),
      key: fc.option(fc.string()),
    }),
    { maxLength: 20 },
  ),
)
