/** The transforms that query PostgreSQL: `sql` and `lookup`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryChannel, run } from 'pipeline-runner'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LookupConfig, SqlConfig } from '../../../../src/generated/config-types.ts'
import { connect, type PostgresHandle } from '../../../../src/kit/postgres/connect.ts'
import { ConnectionError, DataError, type Message, parseJson } from '../../../../src/contract/plugin.ts'
import lookup from '../../../../src/connectors/postgres/transforms/lookup.ts'
import sql from '../../../../src/connectors/postgres/transforms/sql.ts'
import { useLimits } from '../../../../src/kit/limits.ts'
import { VirtualClock } from '../../../../src/kit/clock.ts'
import { fakeContext } from '../../../../src/testing/conformance/context.ts'
import * as fc from 'fast-check'
import { messagesOf, runTransform, transformConformance } from '../../../conformance/transform.ts'
import { settings } from '../make.ts'
import { database } from '../../../support/postgres.ts'

const dir = mkdtempSync(join(tmpdir(), 'pglite-sql-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const lookupConfig = (dsn: string, more: Partial<LookupConfig>): LookupConfig =>
  ({ ...settings(dsn), many: false, on_missing: 'fail', ttl: 60_000, max_entries: 10_000, as: 'row', key: 'id', ...more }) as LookupConfig
const sqlConfig = (dsn: string, more: Partial<SqlConfig>): SqlConfig =>
  ({ ...settings(dsn), result: 'merge', on_missing: 'fail', ...more }) as SqlConfig

describe.each([
  ['server', database],
  ['pglite', async () => `pglite:${join(dir, 'db')}`],
])('%s', (_name, place) => {
  let dsn: string
  let handle: PostgresHandle
  beforeAll(async () => {
    dsn = await place()
    handle = await connect(settings(dsn), fakeContext('x').log)
    await handle.driver.script(`
      create table company (id int primary key, name text, fee numeric, doc jsonb);
      insert into company values (1, 'one', 0.10, '{"tab": "A"}'), (2, 'two', null, null);
      create table word (word text, category text);
      insert into word values ('uber', 'travel'), ('uber', 'taxi'), ('rent', 'office');
      create table log (id text)`)
  })
  afterAll(() => handle.release())
  const values = (run: { out: { value: unknown }[] }): unknown[] => run.out.map(m => m.value)
  const of = (...list: unknown[]) => messagesOf(list.map(value => ({ value })))

  test('lookup: one query for the keys of a batch, then the cache until it expires', async () => {
    const config = lookupConfig(dsn, { query: 'select id, name, fee, doc from company where id = any($keys)' })
    expect(lookup.validateConfig!(config)).toEqual([])
    const clock = new VirtualClock(0)
    const run = await runTransform(lookup, config, [of({ id: 1 }, { id: '2' }, { id: 3 }, { id: 'x' }, {}, { id: 1 })], { clock })
    expect(values(run)).toEqual([
      { id: 1, row: { id: 1, name: 'one', fee: '0.10', doc: { tab: 'A' } } },
      { id: '2', row: { id: 2, name: 'two', fee: null, doc: null } },
      { id: 1, row: { id: 1, name: 'one', fee: '0.10', doc: { tab: 'A' } } },
    ])
    expect(run.failures.map(f => f.error.message)).toEqual([
      'lookup: no row for key 3',
      expect.stringMatching(/invalid input syntax for type integer.*22P02/),
      expect.stringMatching(/id/),
    ])
    // The same instance, with the table changed under it.
    await handle.driver.query("update company set name = 'new' where id = 1")
    const made = lookup.create(config, {
      ...fakeContext('l', clock),
      lane: { id: 'a', source: 'in' },
      state: () => undefined as never,
      shared: (_name, make) => make(),
      watermark: () => {},
    })
    const names = async (advance: number): Promise<unknown> => {
      let name: unknown
      clock.step(clock.now() + advance)
      const emit = (m: Message): void => void (name = (m.value as { row: { name: string } }).row.name)
      await made.process(of({ id: 1 }), { emit, emitTo: () => {}, fail: () => {} })
      return name
    }
    expect(await names(0)).toBe('new')
    await handle.driver.query("update company set name = 'one' where id = 1")
    expect(await names(59_999)).toBe('new')
    expect(await names(1)).toBe('one')
    await made.close!()
  })

  test('lookup: a key finds its row in any spelling; rows without a matching key are logged', async () => {
    await handle.driver.script(`
      create table if not exists spelled (n numeric, id int8, u uuid, t timestamptz, c char(5));
      truncate spelled;
      insert into spelled values (1.10, 9007199254740993, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '2026-01-01T00:00:00Z', 'ab')`)
    const rows = async (column: string, ...keys: string[]): Promise<unknown[]> => {
      const query = `select ${column}, 'found' as it from spelled where ${column} = any($keys)`
      const records = keys.map(key => ({ value: parseJson(`{"k":${key}}`) }))
      const run = await runTransform(lookup, lookupConfig(dsn, { query, key: 'k', on_missing: 'null' }), [messagesOf(records)])
      return run.out.map(m => (m.value as { row: { it: string } | null }).row?.it ?? null)
    }
    expect(await rows('n', '1.1', '1.10', '1.100', '"1.10"', '11e-1', '1')).toEqual(['found', 'found', 'found', 'found', 'found', null])
    expect(await rows('id', '9007199254740993', '"9007199254740993"', '9007199254740992')).toEqual(['found', 'found', null])
    expect(await rows('u', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"', '"A0EEBC999C0B4EF8BB6D6BB9BD380A11"')).toEqual(['found', 'found'])
    expect(await rows('c', '"ab"', '"ab   "')).toEqual(['found', 'found'])
  })

  test('a JSON column that is nested too deeply fails its message, not the batch', async () => {
    const query = `select k as id, (case k when '2' then repeat('[', 5000) || '1.10' || repeat(']', 5000) else '[1.10]' end)::json as doc from unnest($keys::text[]) as k`
    const run = await runTransform(lookup, lookupConfig(dsn, { query }), [of({ id: 1 }, { id: 2 }, { id: 3 })])
    expect(run.out).toHaveLength(2)
    expect(run.failures.map(f => [f.error.constructor.name, f.error.message])).toEqual([
      ['DataError', expect.stringMatching(/^column doc is nested more than 256 levels deep; to allow more, set `limits: { depth: … }`/)],
    ])
  })

  test.each([
    [
      'lookup',
      {
        lookup: {
          key: 'id',
          as: 'row',
          query: `select k as id, (repeat('[', 300) || repeat(']', 300))::json as doc from unnest($keys::text[]) as k`,
        },
      },
    ],
    ['sql', { sql: { as: 'row', query: `select (repeat('[', 300) || repeat(']', 300))::json as doc` } }],
  ])('%s: limits.depth applies', async (_, step) => {
    const dead = async (depth: number): Promise<number> => {
      const [input, out, letters] = [0, 1, 2].map(() => new MemoryChannel())
      const [plugin, config] = Object.entries(step)[0]
      const handle = await run(
        {
          name: `depth-${depth}`,
          limits: { depth },
          sources: [{ memory: { channel: 'in' } }],
          transforms: [{ [plugin]: { dsn, ...config } }],
          sinks: [{ memory: { channel: 'out' } }],
          dlq: { memory: { channel: 'dead' } },
        },
        { memory: { in: input, out, dead: letters } },
      )
      await input.send([{ payload: '{"id":1}' }])
      input.end()
      await handle.completed
      const found = letters.take().length
      expect(out.take().length + found).toBe(1)
      return found
    }
    expect(await dead(299)).toBe(1)
    expect(await dead(300)).toBe(0)
  })

  describe('limits.messages', () => {
    let done: () => void
    beforeAll(() => (done = useLimits({ messages: 3 })))
    afterAll(() => done())
    const tooMany = (step: string): RegExp => new RegExp(`^${step}: the query returns more than 3 rows \\(limits\\.messages\\)`)
    const three = of({ n: 2 }, { n: 4 }, { n: 3 })

    test.each([
      ['message', 'select k from generate_series(1, $n::int) k', { n: 'n' }],
      ['batch', "select x.n, k from jsonb_array_elements($batch) with ordinality x(e, n), generate_series(1, (x.e->>'n')::int) k", {}],
    ] as const)('sql per %s: a message with more rows fails, the others of its batch succeed', async (per, query, params) => {
      const run = await runTransform(sql, sqlConfig(dsn, { query, params, per, result: 'list', as: 'rows' }), [three])
      expect(values(run).map(v => (v as { rows: unknown[] }).rows.length)).toEqual([2, 3])
      expect(run.failures.map(f => f.error.message)).toEqual([expect.stringMatching(tooMany('sql'))])
      expect(run.failures[0].error).toBeInstanceOf(DataError)
    })

    test.each([
      ['message', 'insert into log select $n::text from generate_series(1, $n::int) returning id', { n: 'n' }],
      [
        'batch',
        "insert into log select x.e->>'n' from jsonb_array_elements($batch) with ordinality x(e, n), generate_series(1, (x.e->>'n')::int) returning 1 as n, id",
        {},
      ],
    ] as const)('sql per %s: changes of a rejected result are rolled back', async (per, query, params) => {
      await handle.driver.query('delete from log')
      await runTransform(sql, sqlConfig(dsn, { query, params, per, result: 'list', as: 'rows' }), [three])
      const { rows } = await handle.driver.query('select id, count(*)::int as n from log group by id order by id')
      await handle.driver.query('delete from log')
      expect(rows).toEqual([
        { id: '2', n: 2 },
        { id: '3', n: 3 },
      ])
    })

    test('lookup: a key with more rows fails, the others of its batch succeed', async () => {
      const query = 'select n, k from unnest($keys::int[]) n, generate_series(1, n) k'
      const run = await runTransform(lookup, lookupConfig(dsn, { query, key: 'n', as: 'rows', many: true }), [three])
      expect(values(run).map(v => (v as { rows: unknown[] }).rows.length)).toEqual([2, 3])
      expect(run.failures.map(f => f.error.message)).toEqual([expect.stringMatching(tooMany('lookup'))])
    })
  })

  test('two columns of one name are an error, because a row would keep only one', async () => {
    const twice = 'select 1 as id, 2 as id'
    await expect(runTransform(sql, sqlConfig(dsn, { query: twice }), [of({})])).rejects.toThrow(/two columns with the name id/)
    const query = 'select id, name, id + 1 as name from company where id = any($keys)'
    await expect(runTransform(lookup, lookupConfig(dsn, { query }), [of({ id: 1 })])).rejects.toThrow(/two columns with the name name/)
  })

  test('lookup: pass, null, many', async () => {
    const query = 'select word, category from word where word = any($keys) order by category'
    const run = (more: Partial<LookupConfig>) =>
      runTransform(lookup, lookupConfig(dsn, { query, key: 'w', as: 'c', ...more }), [of({ w: 'rent' }, { w: 'uber' }, { w: 'x' })])
    expect(values(await run({ many: true }))).toEqual([
      { w: 'rent', c: [{ word: 'rent', category: 'office' }] },
      {
        w: 'uber',
        c: [
          { word: 'uber', category: 'taxi' },
          { word: 'uber', category: 'travel' },
        ],
      },
      { w: 'x', c: [] },
    ]) // prettier-ignore
    const pass = await run({ on_missing: 'pass' })
    expect(values(pass)[1]).toEqual({ w: 'x' })
    expect(pass.failures.map(f => f.error.message)).toEqual([expect.stringMatching(/2 rows for key uber/)])
    expect(values(await run({ on_missing: 'null' }))[1]).toEqual({ w: 'x', c: null })
  })

  test('sql per message: merge, replace, list, unnest; invalid data rolls back only its own message', async () => {
    const run = (more: Partial<SqlConfig>, ...list: unknown[]) => {
      const config = sqlConfig(dsn, { query: 'select category from word where word = $w order by category', params: { w: 'w' }, ...more })
      expect(sql.validateConfig!(config)).toEqual([])
      return runTransform(sql, config, [of(...list)])
    }
    const merged = await run({}, { w: 'rent' }, { w: 'uber' }, { w: 'x' }, {})
    expect(values(merged)).toEqual([{ w: 'rent', category: 'office' }])
    expect(merged.failures).toHaveLength(3)
    expect(values(await run({ result: 'replace', on_missing: 'pass' }, { w: 'rent' }, { w: 'x' }))).toEqual([
      { category: 'office' },
      { w: 'x' },
    ])
    expect(values(await run({ result: 'list', as: 'c' }, { w: 'uber' }))).toEqual([
      { w: 'uber', c: [{ category: 'taxi' }, { category: 'travel' }] },
    ])
    expect(values(await run({ result: 'unnest' }, { w: 'uber' }, { w: 'x' }))).toEqual([{ category: 'taxi' }, { category: 'travel' }])
    expect(values(await run({ as: 'c', on_missing: 'null' }, { w: 'x' }))).toEqual([{ w: 'x', c: null }])
    const query = 'insert into log select ($id::int)::text returning id as logged'
    const bad = await run({ query, params: { id: 'id' } }, { id: 1 }, { id: 'x' }, { id: 2 })
    expect(values(bad).map(v => (v as { logged: string }).logged)).toEqual(['1', '2'])
    expect(bad.failures).toHaveLength(1)
    expect((await handle.driver.query('select id from log order by id')).rows).toEqual([{ id: '1' }, { id: '2' }])
  })

  test('sql per batch: rows are matched to their messages by n', async () => {
    const query = `select x.n, c.name, c.fee from jsonb_array_elements($batch) with ordinality x(e, n) join company c on c.id = (x.e->>'id')::int order by n desc`
    const run = await runTransform(sql, sqlConfig(dsn, { query }), [of({ id: 1 }, { id: 2 }, { id: 9 }, { id: 'x' }, { id: 1 })])
    expect(values(run).map(v => (v as { name: string }).name)).toEqual(['one', 'two', 'one'])
    expect(run.failures.map(f => f.error.message)).toEqual(['sql: no row for the message', expect.stringMatching(/22P02/)])
    await expect(runTransform(sql, sqlConfig(dsn, { query: 'select 1 from jsonb_array_elements($batch)' }), [of({})])).rejects.toThrow(
      /must return a column n/,
    )
  })
})

describe('on a server', async () => {
  const dsn = await database()
  beforeAll(async () => {
    const { driver, release } = await connect(settings(dsn), fakeContext('x').log)
    await driver.script(
      "create table item (id int primary key, name text); insert into item select i, 'n' || i from generate_series(0, 9) i",
    )
    await release()
  })
  const value = fc.record({ id: fc.oneof(fc.integer({ min: 0, max: 14 }), fc.constantFrom('x', null, '3')) }, { requiredKeys: [] })
  const inputs = fc.array(fc.record({ value }), { maxLength: 20 })
  const query = 'select id, name from item where id = any($keys)'
  transformConformance('lookup', lookup, lookupConfig(dsn, { query, max_entries: 5 }), inputs, { numRuns: 15 })
  const one = { query: 'select name from item where id = $id::int', params: { id: 'id' } }
  transformConformance('sql per message', sql, sqlConfig(dsn, one), inputs, { numRuns: 15 })
  const batch = "select x.n, i.name from jsonb_array_elements($batch) with ordinality x(e, n) join item i on i.id = (x.e->>'id')::int"
  transformConformance('sql per batch', sql, sqlConfig(dsn, { query: batch, on_missing: 'pass' }), inputs, { numRuns: 15 })
})

test('an unreachable server is a ConnectionError; permanent errors are reported', async () => {
  const away = sqlConfig('postgres://u:p@127.0.0.1:1/x', { query: 'select 1' })
  await expect(runTransform(sql, away, [messagesOf([{ value: {} }])])).rejects.toBeInstanceOf(ConnectionError)
  expect(lookup.validateConfig!(lookupConfig('pglite:', { query: 'select 1' })).map(p => p.path)).toEqual([['query']])
  expect(sql.validateConfig!(sqlConfig('pglite:', { query: 'select $x', result: 'list' })).map(p => p.path)).toEqual([['query'], ['as']])
})
