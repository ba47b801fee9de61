/** The postgres source, on a real server and on the one in this process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PostgresSourceConfig } from '../../../src/generated/config-types.ts'
import { connect, type PostgresHandle } from '../../../src/kit/postgres/connect.ts'
import plugin from '../../../src/connectors/postgres/source.ts'
import { fakeContext, fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'
import { database } from '../../support/postgres.ts'
import { unique } from '../../support/unique.ts'
import { settings } from './make.ts'

const dir = mkdtempSync(join(tmpdir(), 'pglite-source-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const config = (dsn: string, more: Partial<PostgresSourceConfig>): PostgresSourceConfig =>
  ({ ...settings(dsn), mode: 'once', interval: 1000, batch_size: 100, numbers: 'text', ...more }) as PostgresSourceConfig

describe.each([
  ['server', database],
  ['pglite', async () => `pglite:${join(dir, 'db')}`],
])('%s', (name, place) => {
  let dsn: string
  let handle: PostgresHandle
  beforeAll(async () => {
    dsn = await place()
    handle = await connect(settings(dsn), fakeContext('x').log)
  })
  afterAll(() => handle.release())
  const make = async (columns: string): Promise<string> => {
    const table = unique('t').replace('-', '_')
    await handle.driver.script(`create table ${table} (${columns})`)
    return table
  }
  const read = async (more: Partial<PostgresSourceConfig>) => {
    expect(plugin.validateConfig!(config(dsn, more))).toEqual([])
    const source = plugin.create(config(dsn, more), fakeSourceContext('in'))
    await source.open!(new AbortController().signal)
    const batches = await readAll(source)
    await source.close!()
    return batches
  }

  sourceConformance(`postgres, ${name}`, {
    plugin,
    prepare: async records => {
      const table = await make('id int primary key, n int, text text')
      const values = records.map(r => JSON.parse(r) as { n: number; text: string })
      await handle.driver.query(`insert into ${table} select * from unnest($1::int[], $2::int[], $3::text[])`, [
        values.map((_, i) => i),
        values.map(v => v.n),
        values.map(v => v.text),
      ])
      return {
        config: config(dsn, { query: `select id as "order", n, text from ${table};`, cursor: 'order', batch_size: 40 }),
        expected: values.map((v, order) => JSON.stringify({ order, ...v })),
      }
    },
    prepareEndless: async () => config(dsn, { table: await make('id int'), cursor: 'id', mode: 'poll' }),
  })

  test('numbers, JSON, times and keys are exact', async () => {
    const table = await make('id bigint, n numeric, doc json, at timestamptz, list numeric[], sym text, bin bytea')
    await handle.driver.query(
      `insert into ${table} values (9007199254740993, 1.10, '{"x": 1.10}', '2026-01-02 03:04:05.678901+00', '{1.10,NULL}', 'é"', '\\x00ff'), (9007199254740994, 'NaN', null, null, null, null, null)`,
    )
    const [text] = await read({ table, cursor: 'id', key: 'sym', time: 'at' })
    expect(text.messages.map(m => m.encode()!.toString())).toEqual([
      '{"id":"9007199254740993","n":"1.10","doc":{"x": 1.10},"at":"2026-01-02T03:04:05.678901Z","list":["1.10",null],"sym":"é\\"","bin":"AP8="}',
      '{"id":"9007199254740994","n":"NaN","doc":null,"at":null,"list":null,"sym":null,"bin":null}',
    ])
    expect(text.messages.map(m => [m.key, m.offset])).toEqual([
      ['é"', 0],
      [null, 1],
    ])
    expect(text.messages[0].time).toBe(Date.UTC(2026, 0, 2, 3, 4, 5, 678))
    const [json] = await read({ table, cursor: 'id', numbers: 'json', start: '9007199254740993' })
    expect(json.messages.map(m => m.encode()!.toString())).toEqual([expect.stringMatching(/^\{"id":9007199254740994,"n":"NaN"/)])
  })

  test('a row whose time is not one fails alone, with its bytes', async () => {
    const table = await make('id int, at timestamptz')
    await handle.driver.query(
      `insert into ${table} values (1, '2026-01-02T03:04:05Z'), (2, 'infinity'), (3, '-infinity'), (4, '294276-01-01T00:00:00Z'), (5, '0044-03-15T00:00:00Z BC'), (6, null)`,
    )
    const [{ messages }] = await read({ table, cursor: 'id', time: 'at' })
    const why = (at: string) =>
      `column at is "${at}", which is not a time: leave such rows out with a condition in query, or remove \`time\``
    expect(messages.map(m => m.failure?.message)).toEqual([
      undefined,
      why('infinity'),
      why('-infinity'),
      why('294276-01-01 00:00:00+00'),
      undefined,
      undefined,
    ])
    expect(messages[0].time).toBe(Date.UTC(2026, 0, 2, 3, 4, 5))
    expect(messages[4].time).toBe(Date.UTC(-43, 2, 15))
    expect(messages[1].encode()!.toString()).toBe('{"id":2,"at":"infinity"}')
    for (const m of messages) expect(Number.isFinite(m.time)).toBe(true)
  })

  test('rows with equal cursor values stay together, or the run ends', async () => {
    const table = await make('at timestamptz, id int')
    await handle.driver.query(
      `insert into ${table} select '2026-01-01'::timestamptz + (i / 3) * interval '1 microsecond', i from generate_series(0, 29) i`,
    )
    const batches = await read({ table, cursor: 'at', batch_size: 7 })
    expect(batches.map(b => b.messages.length)).toEqual([6, 6, 6, 6, 6])
    await expect(read({ table, cursor: 'at', batch_size: 2 })).rejects.toThrow(/same cursor/)
    const both = await read({ table, cursor: ['at', 'id'], batch_size: 2 })
    expect(both.flatMap(b => b.messages.map(m => (m.value as { id: number }).id))).toEqual(Array.from({ length: 30 }, (_, i) => i))
  })

  test('poll reads new rows', async () => {
    const table = await make('id int')
    await handle.driver.query(`insert into ${table} values (1)`)
    const source = plugin.create(config(dsn, { table, cursor: 'id', mode: 'poll', interval: 20 }), fakeSourceContext('in'))
    await source.open!(new AbortController().signal)
    const ids = async () => (await source.read(new AbortController().signal))!.messages.map(m => (m.value as { id: number }).id)
    expect(await ids()).toEqual([1])
    const next = ids()
    await expect.poll(() => source.caughtUp!('in')).not.toBe(false)
    await handle.driver.query(`insert into ${table} values (2), (3)`)
    expect(await next).toEqual([2, 3])
    await source.close!()
  })
})
