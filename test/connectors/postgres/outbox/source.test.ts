/** The outbox source as the runtime uses it, on a real server and on the embedded one. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { PostgresOutboxSourceConfig } from '../../../../src/generated/config-types.ts'
import { connect, type PostgresHandle } from '../../../../src/kit/postgres/connect.ts'
import plugin from '../../../../src/connectors/postgres/outbox/source.ts'
import { type Batch, EnvironmentError, type Position, type Source } from '../../../../src/contract/plugin.ts'
import { fakeContext, fakeSourceContext, type FakeSourceContext } from '../../../../src/testing/conformance/context.ts'
import { sourceConformance } from '../../../conformance/source.ts'
import { database } from '../../../support/postgres.ts'
import { startPostgres } from '../../../support/servers/postgres.ts'
import { outboxConfig, schema } from './make.ts'
import { eventually } from '../../../support/eventually.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }
const { signal } = new AbortController()

const dir = mkdtempSync(join(tmpdir(), 'outbox-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** Payloads are jsonb: written as PostgreSQL prints them. */
const payload = (n: number): string => `{"n": ${n}}`
const insert = async (db: PostgresHandle, rows: readonly (readonly [key: string, payload: string])[]): Promise<void> => {
  await db.driver.query(
    'INSERT INTO outbox (aggregate_id, type, payload) SELECT k, $3, p::jsonb FROM unnest($1::text[], $2::text[]) AS r(k, p)',
    [rows.map(([k]) => k), rows.map(([, p]) => p), 'Happened'],
  )
}
/** Ends the connections of all publishers. */
const disconnect = (db: PostgresHandle): Promise<unknown> =>
  db.driver.query(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
  )
const unmarked = async (db: PostgresHandle): Promise<number> =>
  Number((await db.driver.query('SELECT count(*) AS n FROM outbox WHERE processed_at IS NULL')).rows[0].n)

describe.each(['server', 'embedded'])('%s', where => {
  let dsn: string
  let db: PostgresHandle
  beforeAll(async () => {
    dsn = where === 'server' ? await database() : `pglite:${join(dir, 'db')}`
    db = await connect(outboxConfig(dsn), silent)
    await db.driver.script(schema)
  })
  afterAll(() => db.release())
  const empty = () => db.driver.script('TRUNCATE outbox RESTART IDENTITY')

  sourceConformance(where, {
    plugin,
    async prepare(records) {
      await db.driver.script(
        'DROP TABLE IF EXISTS texts; CREATE TABLE texts (id serial, aggregate_id text, payload text, processed_at timestamptz)',
      )
      if (records.length > 0)
        await db.driver.query("INSERT INTO texts (aggregate_id, payload) SELECT 'one', p FROM unnest($1::text[]) AS p", [records])
      const { columns } = outboxConfig(dsn)
      return {
        config: outboxConfig(dsn, {
          table: 'texts',
          columns: { ...columns, type: '', created_at: '' },
          follow: false,
          buckets: 1,
          batch_size: 70,
          linger: 0,
          lease_interval: 5000,
          lease: 20000,
        }),
      }
    },
    async prepareEndless() {
      await empty()
      return outboxConfig(dsn, { linger: 0 })
    },
    // Restoring a position marks its published rows.
    rewound: async () => void (await db.driver.query('UPDATE texts SET processed_at = NULL')),
  })

  const open = async (more: Partial<PostgresOutboxSourceConfig> = {}, positions?: ReadonlyMap<string, Position>) => {
    const ctx = fakeSourceContext('in', positions)
    const source = plugin.create(outboxConfig(dsn, more), ctx)
    onTestFinished(() => source.close?.())
    await source.open!(signal)
    return { source, ctx }
  }

  test('a message has the payload, key, id, time and headers of its row', async () => {
    await empty()
    await db.driver.query(
      `INSERT INTO outbox (aggregate_id, type, payload, created_at) VALUES ('w-ä', 'Deposited', '{"amount": 123456789012345678901234567890.12}', '2026-01-02T03:04:05.678Z')`,
    )
    const { source } = await open()
    const { messages } = (await source.read(signal))!
    expect(messages).toHaveLength(1)
    const [m] = messages
    expect([m.encode()!.toString(), m.key, m.offset, m.time]).toEqual([
      '{"amount": 123456789012345678901234567890.12}',
      'w-ä',
      1,
      Date.parse('2026-01-02T03:04:05.678Z'),
    ])
    expect(m.headers).toEqual([
      ['outbox-id', '1'],
      ['event-type', 'Deposited'],
    ])
  })

  test('a time before 1970 is kept; an infinite one is the time of reading', async () => {
    await empty()
    await db.driver.query(
      `INSERT INTO outbox (aggregate_id, type, payload, created_at) VALUES ('a', 'X', '{"x": -0}', '1969-12-31T23:59:59.9995Z'), ('b', 'X', '{}', 'infinity'), ('c', 'X', '{}', '0044-03-15T00:00:00Z BC')`,
    )
    const { source } = await open({ buckets: 1 })
    const messages = []
    while (messages.length < 3) messages.push(...(await source.read(signal))!.messages)
    expect(messages.map(m => m.time)).toEqual([-1, fakeSourceContext('in').clock.now(), Date.UTC(-43, 2, 15)])
  })

  test('headers keep the digits of numbers; a row whose headers are not an object fails alone', async () => {
    await db.driver.script(`DROP TABLE IF EXISTS told; CREATE TABLE told (id int8, aggregate_id text, payload text, h text, processed_at timestamptz);
      INSERT INTO told VALUES (1, 'a', '1', '{"n": 9007199254740993, "d": 1.10, "l": [1e400, null], "s": "é\\u0000", "z": null}'),
        (2, 'a', '2', '["x"]'), (3, 'a', '3', '{'), (4, 'a', '4', '"abc"'), (5, 'a', '5', 'null'), (6, 'a', '6', '{"deep":${'['.repeat(50_000)}${']'.repeat(50_000)}}')`)
    const { columns } = outboxConfig(dsn)
    const { source } = await open({ table: 'told', columns: { ...columns, type: '', created_at: '', headers: 'h' }, buckets: 1 })
    const { messages } = (await source.read(signal))!
    expect(messages.map(m => m.failure?.message ?? m.headers?.slice(1))).toEqual([
      [
        ['n', '9007199254740993'],
        ['d', '1.10'],
        ['l', '[1e400,null]'],
        ['s', 'é\0'],
        ['z', null],
      ],
      'the headers of row 2 must be a JSON object',
      'the headers of row 3 must be a JSON object',
      'the headers of row 4 must be a JSON object',
      [],
      'the value cannot be written as JSON: it is nested too deeply',
    ])
  })

  test('an id that a number cannot hold ends the run: rounded, it would mark another row', async () => {
    await db.driver.script(`DROP TABLE IF EXISTS wide; CREATE TABLE wide (id int8, aggregate_id text, payload text, processed_at timestamptz);
      INSERT INTO wide VALUES (9007199254740993, 'a', '1')`)
    const { columns } = outboxConfig(dsn)
    const { source } = await open({ table: 'wide', columns: { ...columns, type: '', created_at: '' }, buckets: 1 })
    const error: unknown = await source.read(signal).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(EnvironmentError)
    expect((error as Error).message).toContain('the outbox has the id 9007199254740993, and ids must be below 2^53')
  })

  test('rows are marked after the commit, and only those that the commit covers', async () => {
    await empty()
    const { source } = await open({ buckets: 1 })
    await insert(db, [['a', payload(1)]])
    const first = (await source.read(signal))!
    await insert(db, [['a', payload(2)]])
    const second = (await source.read(signal))!
    expect(second.messages.map(m => m.offset)).toEqual([2])
    expect(await unmarked(db)).toBe(2)
    await source.commit!(first.lane, first.position)
    await eventually(async () =>
      expect((await db.driver.query('SELECT id FROM outbox WHERE processed_at IS NULL')).rows).toEqual([{ id: '2' }]),
    )
    await source.commit!(second.lane, second.position)
    await source.close!()
    expect(await unmarked(db)).toBe(0)
  })

  test('a NOTIFY wakes the source at once', async () => {
    await empty()
    const { source } = await open({ poll_interval: 600_000 })
    const read = source.read(signal)
    await new Promise(resolve => setTimeout(resolve, 50))
    await insert(db, [['a', payload(1)]])
    expect((await read)!.messages).toHaveLength(1)
  })

  test('without NOTIFY the source polls', async () => {
    await empty()
    const { source } = await open({ poll_interval: 50, channel: '' })
    const read = source.read(signal)
    await new Promise(resolve => setTimeout(resolve, 20))
    await insert(db, [['a', payload(1)]])
    expect((await read)!.messages).toHaveLength(1)
  })

  test('a restart from a position marks the published rows and reads the rest', async () => {
    await empty()
    await insert(db, [
      ['a', payload(1)],
      ['a', payload(2)],
    ])
    const first = await open({ buckets: 1, batch_size: 1 })
    await first.source.read(signal)
    const two = (await first.source.read(signal))!
    await insert(db, [['a', payload(3)]])
    await first.source.close!()
    expect(await unmarked(db)).toBe(3)
    const second = await open({ buckets: 1 }, new Map([[two.lane, two.position]]))
    expect((await second.source.read(signal))!.messages.map(m => m.offset)).toEqual([3])
    expect(await unmarked(db)).toBe(1)
  })

  test('rows beyond the limit of uncommitted rows wait for commits', async () => {
    await empty()
    await insert(
      db,
      Array.from({ length: 100 }, (_, i) => [`k${i % 7}`, payload(i)] as const),
    )
    const { source } = await open({ batch_size: 5 })
    const batches: Batch[] = []
    const stop = AbortSignal.timeout(300)
    await expect(
      (async () => {
        for (;;) batches.push((await source.read(stop))!)
      })(),
    ).rejects.toThrow()
    const count = () => batches.reduce((n, b) => n + b.messages.length, 0)
    expect(count()).toBeLessThanOrEqual(20 + 5)
    const seen = batches.flatMap(b => b.messages)
    for (const b of batches) await source.commit!(b.lane, b.position)
    while (seen.length < 100) {
      const b = (await source.read(signal))!
      seen.push(...b.messages)
      await source.commit!(b.lane, b.position)
    }
    const perKey = Map.groupBy(seen, m => m.key)
    for (const messages of perKey.values())
      expect(messages.map(m => m.offset)).toEqual(messages.map(m => m.offset).toSorted((a, b) => a - b))
    expect(new Set(seen.map(m => m.offset)).size).toBe(100)
  })

  test('a missing table or column stops the run with a fix', async () => {
    const source = plugin.create(outboxConfig(dsn, { table: 'nowhere' }), fakeSourceContext('in'))
    await expect(source.open!(signal)).rejects.toThrow(EnvironmentError)
    await source.close!()
    const { columns } = outboxConfig(dsn)
    const other = plugin.create(outboxConfig(dsn, { columns: { ...columns, type: 'kind' } }), fakeSourceContext('in'))
    await other.open!(signal)
    await expect(other.read(signal)).rejects.toThrow(/column "kind" does not exist/)
    await other.close!()
  })

  test('check reports existing and missing objects', async () => {
    const ctx = { ...fakeContext('in'), role: 'source' as const, signal }
    const good = await plugin.check!(outboxConfig(dsn), ctx)
    expect(good.map(p => p.ok)).toEqual([true, true, true, true])
    const { columns } = outboxConfig(dsn)
    expect(await plugin.check!(outboxConfig(dsn, { columns: { ...columns, type: 'kind' } }), ctx)).toContainEqual(
      expect.objectContaining({ ok: false, detail: 'has no column kind' }),
    )
    expect(await plugin.check!(outboxConfig(dsn, { table: 'nowhere' }), ctx)).toContainEqual(
      expect.objectContaining({ what: 'table nowhere', ok: false }),
    )
    await db.driver.script('CREATE TABLE IF NOT EXISTS slow (LIKE outbox)')
    expect(await plugin.check!(outboxConfig(dsn, { table: 'slow' }), ctx)).toContainEqual(
      expect.objectContaining({ what: 'index of slow', ok: false, fix: expect.stringContaining('CREATE INDEX') }),
    )
  })
})

describe('leases', () => {
  const make = async () => {
    const dsn = await database()
    const db = await connect(outboxConfig(dsn), silent)
    await db.driver.script(schema)
    onTestFinished(() => db.release())
    return { dsn, db }
  }
  const start = async (dsn: string, more: Partial<PostgresOutboxSourceConfig> = {}, onAssign = async (): Promise<void> => {}) => {
    const held = new Set<string>()
    const lost: string[] = []
    const ctx: FakeSourceContext = fakeSourceContext('in')
    const wrapped: FakeSourceContext = {
      ...ctx,
      async assign(lanes) {
        for (const { id } of lanes) held.add(id)
        await onAssign()
        return ctx.assign(lanes)
      },
      async revoke(lanes) {
        for (const id of lanes) held.delete(id)
      },
      lose(lanes) {
        for (const id of lanes) held.delete(id)
        lost.push(...lanes)
      },
    }
    const source: Source = plugin.create(outboxConfig(dsn, { buckets: 8, ...more }), wrapped)
    onTestFinished(() => source.close?.())
    await source.open!(signal)
    return { source, held, lost }
  }

  test('buckets are shared evenly; a new member gets its share, a leaving member releases it', async () => {
    const { dsn } = await make()
    const one = await start(dsn)
    expect(one.held.size).toBe(8)
    const two = await start(dsn)
    const three = await start(dsn)
    const all = [one, two, three]
    await eventually(() => expect(all.map(p => p.held.size).toSorted()).toEqual([2, 3, 3]))
    expect(new Set(all.flatMap(p => [...p.held])).size).toBe(8)
    await one.source.close!()
    await eventually(() => expect([two.held.size, three.held.size]).toEqual([4, 4]))
  })

  test('another number of buckets is an error', async () => {
    const { dsn } = await make()
    await start(dsn)
    await expect(start(dsn, { buckets: 4 })).rejects.toThrow('another publisher of this outbox uses buckets: 8, this one 4')
  })

  test('a lost connection loses the lanes, and they are claimed again', async () => {
    const { dsn, db } = await make()
    const one = await start(dsn)
    await disconnect(db)
    await expect(one.source.read(signal)).rejects.toMatchObject({ retryable: true })
    await eventually(() => expect(one.lost).toHaveLength(8))
    await insert(db, [['a', payload(1)]])
    // The end of the socket may be reported again; a reader retries.
    const next = (): ReturnType<typeof one.source.read> =>
      one.source.read(signal).catch(error => (error.retryable ? next() : Promise.reject(error)))
    expect((await next())!.messages).toHaveLength(1)
    expect(one.held.size).toBe(8)
    expect(one.source.healthy!()).toBe(true)
  })

  test('a second connection loss during the claim: the next read retries', async () => {
    const { dsn, db } = await make()
    let times = 0
    const one = await start(dsn, {}, async () => {
      if (++times !== 2) return
      await disconnect(db)
      await eventually(() => expect(one.source.healthy!()).toBe('not connected to the database'))
    })
    await disconnect(db)
    await insert(db, [['a', payload(1)]])
    const next = (): ReturnType<typeof one.source.read> =>
      one.source.read(signal).catch(error => (error.retryable ? next() : Promise.reject(error)))
    expect((await next())!.messages).toHaveLength(1)
    expect(times).toBe(3)
    expect(one.held.size).toBe(8)
    expect(one.source.healthy!()).toBe(true)
  })

  test('a server that is silent for longer than the lease has released its leases', async () => {
    const own = await startPostgres()
    onTestFinished(() => own.stop())
    const db = await connect(outboxConfig(own.dsn), silent)
    await db.driver.script(schema)
    await db.release()
    const one = await start(own.dsn, { lease: 500 })
    own.pause()
    await expect(one.source.read(signal)).rejects.toThrow('has not answered for 500 ms')
    expect(one.lost).toHaveLength(8)
    own.resume()
    await eventually(async () => {
      await one.source.read(AbortSignal.timeout(200)).catch(error => {
        if (error.name !== 'TimeoutError') throw error
      })
      expect(one.held.size).toBe(8)
    })
  })

  test('embedded: a second publisher in the process is an error', async () => {
    const dsn = `pglite:${join(dir, 'second')}`
    const db = await connect(outboxConfig(dsn), silent)
    onTestFinished(() => db.release())
    await db.driver.script(schema)
    const one = await start(dsn)
    await expect(start(dsn)).rejects.toThrow('already has a publisher in this process')
    await one.source.close!()
    await start(dsn)
  })
})
