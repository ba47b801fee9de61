/** Every kind of value that PostgreSQL can return leaves the source, `sql` and `lookup` as the server sent it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeJson } from '../../../src/contract/plugin.ts'
import type { LookupConfig, PostgresSourceConfig, SqlConfig } from '../../../src/generated/config-types.ts'
import { connect, type PostgresHandle } from '../../../src/kit/postgres/connect.ts'
import lookup from '../../../src/connectors/postgres/transforms/lookup.ts'
import plugin from '../../../src/connectors/postgres/source.ts'
import sqlPlugin from '../../../src/connectors/postgres/transforms/sql.ts'
import { fakeContext, fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll } from '../../conformance/source.ts'
import { messagesOf, runTransform } from '../../conformance/transform.ts'
import { database } from '../../support/postgres.ts'
import { settings } from './make.ts'

const dir = mkdtempSync(join(tmpdir(), 'pglite-types-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** SQL of a value, and its JSON text with `numbers: text`; the third is the one with `numbers: json`, where it differs. */
const VALUES: readonly (readonly [sql: string, text: string, digits?: string])[] = [
  ["'-0'::float8", '-0'],
  ["'-0'::float4", '-0'],
  ['0::float8', '0'],
  ['0.1::float8 + 0.2::float8', '0.30000000000000004'],
  ["'1e17'::float8", '1e+17'],
  ["'1e15'::float8", '1e+15'],
  ["'9007199254740993'::float8", '9.007199254740992e+15'],
  ["'1.7976931348623157e308'::float8", '1.7976931348623157e+308'],
  ["'5e-324'::float8", '5e-324'],
  ["'1e-7'::float8", '1e-07'],
  ["'3.4028235e38'::float4", '3.4028235e+38'],
  ["'0.1'::float4", '0.1'],
  ["'NaN'::float8", '"NaN"'],
  ["'-Infinity'::float8", '"-Infinity"'],
  ["'{-0,NaN,NULL,1.5,1e17}'::float8[]", '[-0,"NaN",null,1.5,1e+17]'],
  ["'{{-0},{1}}'::float4[]", '[[-0],[1]]'],
  ['9223372036854775807', '"9223372036854775807"', '9223372036854775807'],
  ['(-32768)::int2', '-32768'],
  ['4294967295::oid', '4294967295'],
  ['1.10::numeric', '"1.10"', '1.10'],
  ['(-0.000)::numeric', '"0.000"', '0.000'],
  ["'NaN'::numeric", '"NaN"'],
  ["'Infinity'::numeric", '"Infinity"'],
  ['1e400::numeric', `"1${'0'.repeat(400)}"`, `1${'0'.repeat(400)}`],
  ["'{1.10,NaN,NULL}'::numeric[]", '["1.10","NaN",null]', '[1.10,"NaN",null]'],
  ["'{9007199254740993,NULL}'::int8[]", '["9007199254740993",null]', '[9007199254740993,null]'],
  ['true', 'true'],
  ["'{t,NULL,f}'::bool[]", '[true,null,false]'],
  ["'a\"b\\c\u2028\u{1F600}'::text", JSON.stringify('a"b\\c\u2028\u{1F600}')],
  ["'ab'::char(4)", '"ab  "'],
  ['\'{"NULL",NULL,"","a,b","{c}"}\'::text[]', '["NULL",null,"","a,b","{c}"]'],
  ["'{}'::text[]", '[]'],
  ["'[0:1]={a,b}'::text[]", '["a","b"]'],
  ["'\\x00ff'::bytea", '"AP8="'],
  ["array['\\x00'::bytea, null]", '["AA==",null]'],
  ['null::int', 'null'],
  ['\'{"b": 1.10, "a": -0, "b": 12345678901234567890}\'::json', '{"b": 1.10, "a": -0, "b": 12345678901234567890}'],
  ['\'{"x": [1e400, 1.10]}\'::jsonb', `{"x": [1${'0'.repeat(400)}, 1.10]}`],
  ["'null'::jsonb", 'null'],
  ['\'"text"\'::jsonb', '"text"'],
  ["array['{\"x\": 1.10}'::jsonb, 'null'::jsonb, null]", '[{"x": 1.10},null,null]'],
  ["array['1.10'::json]", '[1.10]'],
  ["'2026-01-02 03:04:05.678901+02'::timestamptz", '"2026-01-02T01:04:05.678901Z"'],
  ["'2026-01-02 03:04:05'::timestamp", '"2026-01-02T03:04:05"'],
  ["'9999-12-31 23:59:59.999999+00'::timestamptz", '"9999-12-31T23:59:59.999999Z"'],
  ["'10000-01-01 00:00:00+00'::timestamptz", '"10000-01-01 00:00:00+00"'],
  ["'294276-12-31 23:59:59'::timestamp", '"294276-12-31 23:59:59"'],
  ["'0044-03-15 12:00:00+00 BC'::timestamptz", '"0044-03-15 12:00:00+00 BC"'],
  ["'infinity'::timestamptz", '"infinity"'],
  ["'-infinity'::timestamp", '"-infinity"'],
  ["array['2026-01-02 00:00:00+00'::timestamptz, 'infinity', null]", '["2026-01-02T00:00:00Z","infinity",null]'],
  ["'2026-01-02'::date", '"2026-01-02"'],
  ["'12026-01-02'::date", '"12026-01-02"'],
  ["'0044-03-15 BC'::date", '"0044-03-15 BC"'],
  ["'infinity'::date", '"infinity"'],
  ["'24:00:00'::time", '"24:00:00"'],
  ["'03:04:05.678901+05:30'::timetz", '"03:04:05.678901+05:30"'],
  ["'1 year 2 mons -3 days 04:05:06.789'::interval", '"1 year 2 mons -3 days +04:05:06.789"'],
  ["'{03:04:05,NULL}'::time[]", '["03:04:05",null]'],
  ["array['1 day'::interval, null]", '["1 day",null]'],
  ["'[1,10)'::int4range", '"[1,10)"'],
  ["'empty'::int8range", '"empty"'],
  ["'[1.10,)'::numrange", '"[1.10,)"'],
  ['\'["2026-01-02 00:00:00+00",infinity)\'::tstzrange', '"[\\"2026-01-02 00:00:00+00\\",infinity)"'],
  ["'{[1,3),[5,7)}'::int4multirange", '"{[1,3),[5,7)}"'],
  ["array['[1,10)'::int4range, null]", '["[1,10)",null]'],
  ["'0101'::bit(4)", '"0101"'],
  ["'01011'::varbit", '"01011"'],
  ["array['01'::varbit]", '["01"]'],
  ["'192.168.0.1/24'::inet", '"192.168.0.1/24"'],
  ["'10.0.0.0/8'::cidr", '"10.0.0.0/8"'],
  ["array['::1'::inet, null]", '["::1",null]'],
  ["'08:00:2b:01:02:03'::macaddr", '"08:00:2b:01:02:03"'],
  ["'12.34'::float8::numeric::money", '"$12.34"'],
  ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'],
  ["array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]", '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]'],
  ["'(1.5,-0)'::point", '"(1.5,-0)"'],
  ["'((0,0),(1,1))'::box", '"(1,1),(0,0)"'],
  ["'fat & rat'::tsquery", "\"'fat' & 'rat'\""],
  ["'$.a'::jsonpath", '"$.\\"a\\""'],
  ["'0/16B3748'::pg_lsn", '"0/16B3748"'],
  ["'happy'::mood", '"happy"'],
  // Arrays of types that the database defines are the text of PostgreSQL.
  ["array['happy'::mood, null, 'so so']", '"{happy,NULL,\\"so so\\"}"'],
  ["'1.10'::price", '"1.10"', '1.10'],
  ['array[1.10::price, null]', '["1.10",null]', '[1.10,null]'],
  ["'-0'::ratio", '-0'],
  ["row(1, 'a b', null, '-0')::pair", '"(1,\\"a b\\",,-0)"'],
  ["array[row(1, 'a', null, 0)::pair]", '"{\\"(1,a,,0)\\"}"'],
  ["array['((0,0),(1,1))'::box]", '"{(1,1),(0,0)}"'],
  ["array['(1.5,-0)'::point, null]", '["(1.5,-0)",null]'],
  ["array['08:00:2b:01:02:03'::macaddr]", '["08:00:2b:01:02:03"]'],
  ['array[4294967295::oid]', '[4294967295]'],
  ["array['{[1,3),[5,7)}'::int4multirange]", '["{[1,3),[5,7)}"]'],
]

describe.each([
  ['server', database],
  ['pglite', async () => `pglite:${join(dir, 'db')}`],
])('%s', (_name, place) => {
  let dsn: string
  let handle: PostgresHandle
  let query: string
  beforeAll(async () => {
    dsn = await place()
    handle = await connect(settings(dsn), fakeContext('x').log)
    await handle.driver.script(`
      create type mood as enum ('happy', 'so so');
      create domain price as numeric check (value > 0);
      create domain ratio as float8;
      create type pair as (n int, t text, d date, f float8)`)
    query = `select 1 as id, ${VALUES.map(([sql], i) => `${sql} as v${i}`).join(', ')}`
  })
  afterAll(() => handle.release())
  const textsOf = (json: string): string[] => {
    const texts: string[] = []
    let from = json.indexOf(`"v0":`) + 5
    for (let i = 1; i <= VALUES.length; i++) {
      const end = i === VALUES.length ? json.lastIndexOf('}') : json.indexOf(`,"v${i}":`, from)
      texts.push(json.slice(from, end))
      from = end + `,"v${i}":`.length
    }
    return texts
  }
  const named = (texts: readonly string[]): string[] => VALUES.map(([sql], i) => `${sql} → ${texts[i]}`)

  test.each(['text', 'json'] as const)('the source, numbers: %s', async numbers => {
    const config = { ...settings(dsn), query, cursor: 'id', mode: 'once', interval: 1000, batch_size: 10, numbers } as PostgresSourceConfig
    const source = plugin.create(config, fakeSourceContext('in'))
    await source.open!(new AbortController().signal)
    const [batch] = await readAll(source)
    await source.close!()
    expect(named(textsOf(batch.messages[0].encode()!.toString()))).toEqual(
      named(VALUES.map(([, text, digits]) => (numbers === 'json' ? (digits ?? text) : text))),
    )
  })

  test('sql and lookup', async () => {
    const of = () => messagesOf([{ value: { id: 1 } }])
    const one = await runTransform(
      sqlPlugin,
      { ...settings(dsn), query, per: 'message', result: 'replace', on_missing: 'fail' } as SqlConfig,
      [of()],
    )
    const found = await runTransform(
      lookup,
      {
        ...settings(dsn),
        query: `${query} where 1 = any($keys)`,
        many: false,
        on_missing: 'fail',
        ttl: 0,
        max_entries: 1,
        as: 'row',
        key: 'id',
      } as LookupConfig,
      [of()],
    )
    // JSON columns are values here, so white space and duplicate keys are not kept.
    const plain = (text: string): string =>
      /^[[{].*"x"|^\{"b"/.test(text) ? encodeJson(JSON.parse(text.replaceAll(/-?\d[\d.e+]*/g, '"<$&>"'))).replaceAll(/"<|>"/g, '') : text
    const expected = named(VALUES.map(([, text]) => plain(text)))
    expect(named(textsOf(encodeJson(one.out[0].value)))).toEqual(expected)
    expect(named(textsOf(encodeJson((found.out[0].value as { row: unknown }).row)))).toEqual(expected)
  })
})
