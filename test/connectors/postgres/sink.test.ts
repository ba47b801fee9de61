/** The postgres sink, on a real server and on the one in this process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PostgresSinkConfig } from '../../../src/generated/config-types.ts'
import { connect, type PostgresHandle } from '../../../src/kit/postgres/connect.ts'
import { claimFence } from '../../../src/connectors/postgres/fence.ts'
import plugin from '../../../src/connectors/postgres/sink.ts'
import { PostgresTransactor } from '../../../src/connectors/postgres/transactor.ts'
import { type BatchError, ConnectionError, EnvironmentError, FencedError, Message } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { eventually } from '../../support/eventually.ts'
import { database, sql } from '../../support/postgres.ts'
import { startProxy } from '../../support/tcp-proxy.ts'
import { unique } from '../../support/unique.ts'
import { settings } from './make.ts'

const dir = mkdtempSync(join(tmpdir(), 'pglite-sink-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const config = (dsn: string, more: Partial<PostgresSinkConfig>): PostgresSinkConfig =>
  ({ ...settings(dsn), on_conflict: 'update', idempotent: false, ...more }) as PostgresSinkConfig
const origin = { lane: 'in/0', source: 'in', format: 'json' } as const
const raw = (text: string, offset = 0): Message => Message.fromRecord(Buffer.from(text), null, 1, undefined, offset, origin)

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
  const rows = async (sql: string) => (await handle.driver.query(sql)).rows
  const make = async (columns: string): Promise<string> => {
    const table = unique('t').replace('-', '_')
    await handle.driver.script(`create table ${table} (${columns})`)
    return table
  }
  const open = async (more: Partial<PostgresSinkConfig>) => {
    const sink = plugin.create(config(dsn, more), fakeContext('out'))
    await sink.open!(new AbortController().signal)
    return sink
  }
  /** Writes, and closes. @returns the rejected indexes, with the reason. */
  const write = async (more: Partial<PostgresSinkConfig>, messages: Message[]): Promise<[number, string][]> => {
    expect(plugin.validateConfig!(config(dsn, more))).toEqual([])
    const sink = await open(more)
    try {
      await sink.write(messages, writeContext())
      return []
    } catch (error) {
      if ((error as Error).name !== 'BatchError') throw error
      return [...(error as BatchError).failed].map(([i, e]) => [i, e.message])
    } finally {
      await sink.close!()
    }
  }

  test('a former owner of a lane is fenced; a claim ends the transaction of a frozen owner', async () => {
    const table = await make('id text primary key, n int')
    const lane = { id: unique('in'), source: 'in', group: 'g' }
    const context = { ...writeContext(), lane }
    const one = await open({ table, columns: ['id', 'n'], key: ['id'] })
    const two = await open({ table, columns: ['id', 'n'], key: ['id'] })
    const put = (sink: Awaited<ReturnType<typeof open>>, n: number): Promise<void> => sink.write([raw(`{"id":"a","n":${n}}`)], context)
    await one.claim!(lane)
    await put(one, 1)
    if (name === 'server') {
      // A frozen owner leaves only its row locked.
      const session = await handle.driver.session()
      session.onLost(() => {})
      const tx = await session.begin()
      await tx.query('select token from runner_fence where lane = $1 for share', [lane.id])
      await two.claim!(lane)
      await expect(tx.commit()).rejects.toThrow()
      await session.release()
    } else await two.claim!(lane)
    await put(two, 2)
    await expect(put(one, 1)).rejects.toBeInstanceOf(FencedError)
    expect(await rows(`select n from ${table}`)).toEqual([{ n: 2 }])
    // Not claimed: no fence, as for sources whose lanes have no lease.
    const free = await open({ table, columns: ['id', 'n'], key: ['id'] })
    await put(free, 3)
    await Promise.all([one, two, free].map(s => s.close!()))
  })

  test('the first claims in a database may be concurrent: each creates its fence', async () => {
    // Connections that are open already, so that they do come at the same time.
    await Promise.all(Array.from({ length: 8 }, () => handle.driver.query('select pg_sleep(0.1)')))
    for (let round = 0; round < 10; round++) {
      await handle.driver.script('drop table if exists runner_fence')
      const fences = await Promise.all(Array.from({ length: 8 }, (_, i) => claimFence(handle.driver, 'first', `in/${i}`)))
      expect(fences.map(fence => fence?.lane)).toEqual(Array.from({ length: 8 }, (_, i) => `in/${i}`))
    }
  })

  sinkConformance(`postgres, ${name}`, {
    plugin,
    prepare: async () => {
      const table = await make('at bigint generated always as identity, n numeric, text text')
      return {
        config: config(dsn, { table, columns: ['n', 'text'] }),
        read: async () => (await rows(`select n::text as n, text from ${table} order by at`)).map(r => `${r.n}|${r.text}`),
      }
    },
    show: value => `${(value as { n: number }).n}|${(value as { text: string }).text}`,
  })

  test('a number is stored in a numeric column exactly, whatever its length', async () => {
    const table = await make('id bigint primary key, amount numeric, doc jsonb, tags text[], at timestamptz')
    const amount = '123456789012345678901234567890.12345678901234567890'
    const refused = await write({ table, columns: { id: 'data.id', amount: 'data.amount', doc: 'doc', tags: 'tags', at: 'at' } }, [
      raw(
        `{"data": {"id": 9007199254740993, "amount": ${amount}}, "doc": {"x": 1.10}, "tags": ["a,b", null], "at": "2026-01-02T03:04:05.678901Z"}`,
      ),
      raw('{"data": {"id": 2, "amount": "0.10"}, "doc": null}'),
    ])
    expect(refused).toEqual([])
    expect(await rows(`select id, amount, doc::text, tags, at from ${table} order by id desc`)).toEqual([
      { id: '9007199254740993', amount, doc: '{"x": 1.10}', tags: ['a,b', null], at: '2026-01-02 03:04:05.678901+00' },
      { id: '2', amount: '0.10', doc: null, tags: null, at: null },
    ])
  })

  test('upsert: the last message of a key wins, within a batch and between batches; expressions too', async () => {
    const table = await make('sym text, side text, n numeric, up text, primary key (sym, side)')
    const columns = { sym: 'sym', side: 'side', n: 'n', up: 'sym.upper() + "!"' }
    const key = ['sym', 'side']
    const of = (sym: string, n: string) => raw(`{"sym": "${sym}", "side": "b", "n": ${n}}`)
    await write({ table, columns, key }, [of('a', '1'), of('b', '1.50'), of('a', '2')])
    await write({ table, columns, key }, [of('b', '3.0')])
    await write({ table, columns, key, on_conflict: 'nothing' }, [of('a', '9'), of('c', '7'), of('c', '8')])
    expect(await rows(`select * from ${table} order by sym`)).toEqual([
      { sym: 'a', side: 'b', n: '2', up: 'A!' },
      { sym: 'b', side: 'b', n: '3.0', up: 'B!' },
      { sym: 'c', side: 'b', n: '7', up: 'C!' },
    ])
  })

  test('only the invalid rows of a batch are rejected, in a transaction or not', async () => {
    const table = await make('id int primary key, n numeric(6,2) check (n >= 0)')
    const messages = Array.from({ length: 100 }, (_, i) => raw(`{"id": ${i}, "n": ${i}.5}`, i))
    messages[7] = raw('{"id": 7, "n": -1}', 7)
    messages[50] = raw('{"id": 50, "n": "fifty"}', 50)
    messages[51] = raw('[1]', 51)
    messages[98] = raw('{"id": 98, "n": 123456}', 98)
    messages[99] = raw('{"id": 1, "n": 1}', 99)
    const refused = await write({ table, columns: ['id', 'n'] }, messages)
    expect(refused.map(([i]) => i).sort((a, b) => a - b)).toEqual([7, 50, 51, 98, 99])
    expect(Object.fromEntries(refused)[7]).toMatch(/check constraint.*23514/)
    expect(await rows(`select count(*) c from ${table}`)).toEqual([{ c: '95' }])
  })

  test('a constraint checked at the commit rejects only its rows', async () => {
    const accounts = await make('id text primary key')
    const deferred = `id int primary key, account text references ${accounts} deferrable initially deferred`
    await handle.driver.query(`insert into ${accounts} values ('a')`)
    const messages = ['a', 'nobody', 'a'].map((account, id) => raw(JSON.stringify({ id, account }), id))
    const [table, other] = [await make(deferred), await make(deferred)]
    const ids = async (of: string) => (await rows(`select id from ${of} order by 1`)).map(r => Number(r.id))

    expect(await write({ table, columns: ['id', 'account'] }, messages)).toEqual([[1, expect.stringContaining('23503')]])
    expect(await ids(table)).toEqual([0, 2])

    // In a lane's transaction whose row it is shows when the lane reads again.
    const transactor = new PostgresTransactor(settings(dsn), { ...fakeContext('out'), pipeline: unique('p') })
    const sink = await open({ table: other, columns: ['id', 'account'] })
    const lane = { id: 'in/0', source: 'in' }
    const cycle = async (batch: readonly Message[]): Promise<void> => {
      await transactor.claim(lane)
      const transaction = await transactor.begin(lane)
      const failed = await sink.write(batch, { ...writeContext(), transaction }).catch(error => error as BatchError)
      if (failed) expect([...failed.failed.keys()]).toEqual([1])
      await transaction.commit({ position: 3, state: [] })
    }
    try {
      await expect(cycle(messages)).rejects.toMatchObject({ retryable: true, message: expect.stringContaining('row by row') })
      expect(await ids(other)).toEqual([])
      await cycle(messages)
      expect(await ids(other)).toEqual([0, 2])
    } finally {
      await sink.close!()
      await transactor.close()
    }
  })

  test('statements: a whole batch as JSON, several tables in one transaction', async () => {
    const [events, totals] = [await make('id text primary key, amount numeric'), await make('id int primary key, total numeric')]
    await rows(`insert into ${totals} values (1, 0)`)
    const statements = [
      { sql: `insert into ${events} select x->>'id', (x->>'amount')::numeric from jsonb_array_elements($batch) x` },
      {
        sql: `update ${totals} set total = total + (select sum((x->>'amount')::numeric) from jsonb_array_elements($batch) x) where id = 1`,
      },
    ]
    const refused = await write({ statements }, [
      raw('{"id": "a", "amount": 0.1000000000000000000001}'),
      raw('{"id": "b", "amount": "oops"}'),
      raw('{"id": "c", "amount": 2}'),
      raw('{"id": "a", "amount": 5}'),
    ])
    expect(refused.map(([i]) => i)).toEqual([1, 3])
    expect(await rows(`select total from ${totals}`)).toEqual([{ total: '2.1000000000000000000001' }])
    expect(await rows(`select id from ${events} order by id`)).toEqual([{ id: 'a' }, { id: 'c' }])
  })

  test('statements: parameters by message and by batch; text that only resembles them is unchanged', async () => {
    const table = await make('id text, note text, doc jsonb')
    await write(
      {
        statements: [
          { sql: `insert into ${table} values ($id, '$id', $envelope::jsonb) -- $nobody`, params: { id: 'data.id' } },
          {
            sql: `insert into ${table} select * from unnest($ids::text[], $notes::text[])`,
            params: { ids: 'data.id', notes: 'note' },
            per: 'batch',
          },
        ],
      },
      [raw('{"data": {"id": "x"}, "note": null}', 5), raw('{"data": {"id": "{\\"y"}, "note": "n"}', 6)],
    )
    expect(await rows(`select id, note, doc->>'offset' as at, doc->'value'->>'note' as inner from ${table}`)).toEqual([
      { id: 'x', note: '$id', at: '5', inner: null },
      { id: '{"y', note: '$id', at: '6', inner: 'n' },
      { id: 'x', note: null, at: null, inner: null },
      { id: '{"y', note: 'n', at: null, inner: null },
    ])
  })

  test('a missing object ends the run at the start, with a fix', async () => {
    const table = await make('id int')
    await expect(open({ table: 'missing', columns: ['id'] })).rejects.toThrow(/table missing.*does not exist.*sql apply/)
    await expect(open({ table, columns: ['id', 'x'] })).rejects.toThrow(/no column x; it has id/)
    const sink = await open({ statements: [{ sql: 'insert into missing select 1' }] })
    await expect(sink.write([raw('{}')], writeContext())).rejects.toBeInstanceOf(EnvironmentError)
    await sink.close!()
  })

  test('a table that is altered after a statement was prepared does not stop the sink', async () => {
    const table = await make('id int')
    const sink = await open({ table, columns: ['id'] })
    await sink.write([raw('{"id": 1}')], writeContext())
    await handle.driver.script(`alter table ${table} alter column id type numeric`)
    await sink.write([raw('{"id": 2.5}')], writeContext()).catch(() => sink.write([raw('{"id": 2.5}')], writeContext()))
    expect(await rows(`select id from ${table} order by id`)).toEqual([{ id: '1' }, { id: '2.5' }])
    await sink.close!()
  })

  test('check tests connection, table and permissions', async () => {
    const table = await make('id int primary key')
    const context = {
      step: 'out',
      role: 'sink',
      pipeline: 'p',
      version: 1,
      log: fakeContext('x').log,
      signal: new AbortController().signal,
    } as const
    const found = await plugin.check!(config(dsn, { table, columns: ['id'], key: ['id'] }), context)
    expect(found.map(p => [p.ok, p.what.split(' ')[0]])).toEqual([
      [true, name === 'server' ? 'PostgreSQL' : expect.stringMatching(/^pglite:/)],
      [true, 'table'],
    ])
    expect(await plugin.check!(config(dsn, { table: 'missing', columns: ['id'] }), context)).toMatchObject([{ ok: true }, { ok: false }])
  })
})

test('check reports errors beyond the schema', () => {
  const problems = (more: Partial<PostgresSinkConfig>) =>
    plugin.validateConfig!(config('postgres://u:p@h/db', more)).map(p => `${p.path.join('.')}: ${p.message}`)
  expect(problems({})).toEqual([': set table or statements'])
  expect(problems({ table: 't', columns: ['a'], key: ['b'] })).toEqual(['key.0: key b must be one of the columns; add it to columns'])
  expect(problems({ statements: [{ sql: 'select $1, $x, $batch', params: { y: '1' } }] })).toEqual([
    'statements.0.sql: $1: numbered parameters are not supported: use names, such as $id with params: {id: ...}',
    'statements.0.sql: $x has no value: add it to params, or use one of $batch, $envelopes',
    'statements.0.params.y: $y does not occur in the statement; remove it',
  ])
  expect(plugin.validateConfig!(config('mysql://x', { table: 't', columns: ['a'] }))[0].path).toEqual(['dsn'])
})

test('a delayed statement of a stalled connection overwrites no row after its retry', async () => {
  const dsn = await database()
  await sql(dsn, 'create table t (id int primary key, v text)')
  const server = new URL(dsn)
  const proxy = await startProxy(server.host)
  server.host = proxy.address
  try {
    const sink = plugin.create(config(server.href, { table: 't', columns: ['id', 'v'], key: ['id'] }), fakeContext('out'))
    await sink.open!(new AbortController().signal)
    // Not claimed: no fence.
    const write = (v: string): Promise<void> => sink.write([new Message({ id: 1, v })], writeContext())
    await write('first')
    proxy.stall('second')
    const stalled = write('second').catch((error: Error) => error)
    await eventually(async () => expect(proxy.held.toString()).toContain('second'))
    proxy.abandon()
    expect(await stalled).toBeInstanceOf(ConnectionError)
    await eventually(() => write('second'))
    await write('third')
    const { connections } = proxy
    proxy.restore()
    // The server has executed the delayed statement and closed the connection.
    await eventually(async () => expect(proxy.connections).toBe(connections - 1))
    expect(await sql(dsn, 'select v from t')).toEqual([{ v: 'third' }])
    await sink.close!()
  } finally {
    await proxy.stop()
  }
})

test('a login that may not create runner_fence writes, with one warning', async () => {
  const dsn = await database()
  const handle = await connect(settings(dsn), fakeContext('x').log)
  const role = unique('r').replace('-', '_')
  await handle.driver.script(
    `create table t (n int); revoke create on schema public from public; create role ${role} login password 'x'; grant insert on t to ${role}`,
  )
  const ctx = fakeContext('out')
  const limited = Object.assign(new URL(dsn), { username: role, password: 'x' }).href
  const sink = plugin.create(config(limited, { table: 't', columns: { n: 'n' }, on_conflict: undefined }), ctx)
  await sink.open!(new AbortController().signal)
  const lane = { id: 'in/0', source: 'in', topic: 'in', partition: 0, group: 'g' }
  for (const id of ['in/0', 'in/1']) await sink.claim!({ ...lane, id })
  await sink.write([new Message({ n: 1 })], { ...writeContext(), lane })
  await sink.close!()
  expect((await handle.driver.query('select n from t')).rows).toEqual([{ n: 1 }])
  expect(ctx.warnings.filter(w => w.level === 'warn' && w.message.includes('not fenced'))).toHaveLength(1)
  await handle.release()
})
