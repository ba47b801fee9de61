/** The contract of both drivers, on a real server and on the embedded one. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, type PostgresHandle } from '../../../src/kit/postgres/connect.ts'
import { ConnectionError, DataError, EnvironmentError } from '../../../src/contract/plugin.ts'
import { useLimits } from '../../../src/kit/limits.ts'
import { fakeContext } from '../../../src/testing/conformance/context.ts'
import { database } from '../../support/postgres.ts'
import { settings } from '../../connectors/postgres/make.ts'

const dir = mkdtempSync(join(tmpdir(), 'pglite-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const { log } = fakeContext('postgres')

const places = { server: database, pglite: async () => `pglite:${join(dir, 'db')}` }

describe.each(Object.entries(places))('%s', (kind, place) => {
  let dsn: string
  let handle: PostgresHandle
  beforeAll(async () => {
    dsn = await place()
    handle = await connect(settings(dsn), log)
    await handle.driver.script('create table t (id int primary key, n numeric, note text); create table u (id int references t)')
  })
  afterAll(() => handle.release())

  test('values are read back exactly; those outside the range of a JavaScript number are text', async () => {
    const { rows, fields } = await handle.driver.query(
      `select 9007199254740993::int8 a, 123456789012345678901234567890.123456789012345678901234567890::numeric b, '{"x": 1.10}'::json c,
       true d, 7::int4 e, 1.5::float8 f, '\\x00ff'::bytea g, null::text h, '2026-01-02 03:04:05.123456+02'::timestamptz i,
       array[1.10, null]::numeric[] j, array['a"b\\', 'null', '', 'c,d', null] k, 'NaN'::float8 l, array[[1,2],[3,4]] m`,
    )
    expect(rows).toEqual([
      {
        a: '9007199254740993',
        b: '123456789012345678901234567890.123456789012345678901234567890',
        c: '{"x": 1.10}',
        d: true,
        e: 7,
        f: 1.5,
        g: Buffer.from([0, 255]),
        h: null,
        i: '2026-01-02 01:04:05.123456+00',
        j: ['1.10', null],
        k: ['a"b\\', 'null', '', 'c,d', null],
        l: 'NaN',
        m: [
          [1, 2],
          [3, 4],
        ],
      },
    ])
    expect(fields[1]).toEqual({ name: 'b', type: 1700 })
  })

  test('settings of the database do not change the text of values', async () => {
    const names = { bytea_output: 'escape', extra_float_digits: '-10', DateStyle: 'German', TimeZone: 'Asia/Tokyo' }
    const each = (change: (name: string, to: string) => string) =>
      Object.entries(names)
        .map(([name, to]) => change(name, to))
        .join(';')
    const execute = (sql: string) => `do $x$ begin execute format('${sql.replaceAll("'", "''")}', current_database()); end $x$`
    await handle.driver.script(each((name, to) => execute(`alter database %I set ${name} = '${to}'`)))
    try {
      await handle.release()
      handle = await connect(settings(dsn), log)
      const { rows } = await handle.driver.query(
        `select '\\x61005cff'::bytea a, 0.1::float8 + 0.2::float8 b, array['\\x00'::bytea] c, '2026-01-02T00:00:00Z'::timestamptz d`,
      )
      expect(rows).toEqual([{ a: Buffer.from([97, 0, 92, 255]), b: 0.1 + 0.2, c: [Buffer.from([0])], d: '2026-01-02 00:00:00+00' }])
    } finally {
      await handle.driver.script(each(name => execute(`alter database %I reset ${name}`)))
    }
  })

  test('parameters take the type that the statement expects', async () => {
    const list = ['a"b\\', 'null', '', 'c,d', null, 'ü\n']
    const { rows } = await handle.driver.query(
      'select $1::int8 a, $2::numeric b, $3::bool c, $4::bytea d, $5::text[] e, $6::jsonb f, $7::text g, $8::timestamptz h, $9::bool i',
      ['9007199254740993', '1.10', true, Buffer.from([1, 254]), list, '{"x":1.10}', null, '2026-01-02T00:00:00Z', 'false'],
      { prepare: true },
    )
    expect(rows[0]).toEqual({
      a: '9007199254740993',
      b: '1.10',
      c: true,
      d: Buffer.from([1, 254]),
      e: list,
      f: '{"x": 1.10}',
      g: null,
      h: '2026-01-02 00:00:00+00',
      i: false,
    })
  })

  test('rowCount counts changed rows; a transaction is atomic', async () => {
    const { driver } = handle
    expect((await driver.query("insert into t values (1, 1, 'a'), (2, 2, 'b')")).rowCount).toBe(2)
    expect((await driver.query('update t set n = 3 where id = 1')).rowCount).toBe(1)
    expect((await driver.query('select * from t')).rowCount).toBe(2)
    const failed = driver.transaction(async tx => {
      await tx.query('delete from t')
      await tx.query('select nothing')
    })
    await expect(failed).rejects.toBeInstanceOf(EnvironmentError)
    expect((await driver.query('select count(*) c from t')).rows[0].c).toBe('2')
    await driver.transaction(tx => tx.query('delete from t where id = 2'))
    expect((await driver.query('select count(*) c from t')).rows[0].c).toBe('1')
  })

  test('maxRows: a longer result is an error, a result of that length is not, inside and outside a transaction, prepared or not', async () => {
    const { driver } = handle
    const rows = 'select n from generate_series(1, $1::int) n'
    const more = async (db: Pick<typeof driver, 'query'>, prepare: boolean): Promise<unknown[]> => {
      const found = []
      for (const n of [0, 2, 3, 4, 5, 1]) found.push((await db.query(rows, [n], { prepare, maxRows: 3 })).more)
      return found
    }
    for (const prepare of [true, false]) {
      const expected = [false, false, false, true, true, false]
      expect(await more(driver, prepare)).toEqual(expected)
      expect(await driver.transaction(tx => more(tx, prepare))).toEqual(expected)
    }
    expect(await driver.query(rows, [5])).toMatchObject({ rowCount: 5, more: false })
    await expect(driver.query('select 1/$1::int', [0], { maxRows: 3 })).rejects.toBeInstanceOf(DataError)
    expect(await driver.query(rows, [2], { maxRows: 3 })).toMatchObject({ rows: [{ n: 1 }, { n: 2 }], rowCount: 2, more: false })
  })

  test('maxRows: a result without end is not waited for', async () => {
    const endless = 'with recursive r(n) as (select 1 union all select n + 1 from r) select n from r'
    const { rows, more } = await handle.driver.query(endless, [], { prepare: true, maxRows: 1_000 })
    expect([rows.length, more]).toEqual([1_001, true])
  })

  test('rows of more bytes than limits.input are not kept, and the connection remains usable', async () => {
    const release = useLimits({ input: 100_000 })
    try {
      await handle.driver.transaction(async tx => {
        const query = 'select repeat($1, 30000) t from generate_series(1, $2::int)'
        expect(await tx.query(query, ['x', 3], { maxRows: 100 })).toMatchObject({ more: false, rows: { length: 3 } })
        expect(await tx.query(query, ['x', 4], { maxRows: 100 })).toMatchObject({ more: 'bytes', rows: [] })
        expect(await tx.query(query, ['x', 50], { maxRows: 10 })).toMatchObject({ more: 'bytes', rows: [] })
        expect((await tx.query('select 1 n')).rows).toEqual([{ n: 1 }])
      })
    } finally {
      release()
    }
  })

  test('a result of 1 GB: memory stays below a ceiling', async () => {
    const script = join(import.meta.dirname, 'large-result.ts')
    // An embedded database is used by one process. Its creation takes more memory than the result.
    const at = kind === 'server' ? dsn : `pglite:${join(dir, 'large')}`
    if (kind === 'pglite') await (await connect(settings(at), log)).release()
    const { stdout } = await promisify(execFile)(process.execPath, [script, at])
    const { more, peak, result } = JSON.parse(stdout) as { more: unknown; peak: number; result: number }
    console.log(stdout.trim())
    expect(more).toBe('bytes')
    if (kind === 'server') expect(peak).toBeLessThan(400)
    expect(result).toBeLessThan(700)
  })

  test('a transaction with a failed statement does not commit, even if its user ignored the error', async () => {
    const tx = await handle.driver.begin()
    await tx.query('insert into t values (50)')
    await tx.query('select 1/0').catch(() => {})
    await expect(tx.commit()).rejects.toThrow(/rolled back/)
    expect((await handle.driver.query('select * from t where id = 50')).rows).toEqual([])
  })

  test('errors are classified by their SQLSTATE', async () => {
    const fails = (sql: string) => handle.driver.query(sql).catch((error: Error) => error)
    expect(await fails("select 'x'::int")).toBeInstanceOf(DataError)
    expect(await fails('insert into t values (1)')).toBeInstanceOf(DataError)
    expect(await fails('insert into u values (77)')).toBeInstanceOf(DataError)
    expect(await fails("do $$ begin raise exception 'not enough' ; end $$")).toMatchObject({
      name: 'DataError',
      message: 'not enough [P0001]',
    })
    expect(await fails('select * from missing')).toMatchObject({ name: 'EnvironmentError', message: expect.stringMatching(/sql apply/) })
    expect(await fails('selec')).toBeInstanceOf(EnvironmentError)
    expect(await fails("do $$ begin raise exception using errcode = '40001', message = 'retry'; end $$")).toBeInstanceOf(ConnectionError)
  })

  test.each(['WL042', '45000', 'P0404', '60001', 'ZZZZZ'])("a user's own SQLSTATE refuses the record: %s", async code => {
    const error = await handle.driver
      .query(`do $$ begin raise exception 'wallet is closed' using errcode = '${code}', detail = 'since May'; end $$`)
      .catch((e: Error) => e)
    expect(error).toMatchObject({ name: 'DataError', message: `wallet is closed (since May) [${code}]` })
  })

  test.each([
    ['57P01', ConnectionError],
    ['53100', ConnectionError],
    ['58030', ConnectionError],
    ['XX001', ConnectionError],
    ['08006', ConnectionError],
    ['40P01', ConnectionError],
    ['55P03', ConnectionError],
    ['25006', ConnectionError],
    ['54000', DataError],
    ['25001', EnvironmentError],
    ['F0000', EnvironmentError],
    ['HV000', EnvironmentError],
    ['38000', EnvironmentError],
    ['P0000', EnvironmentError],
  ])('PostgreSQL errors are unchanged: %s', async (code, kind) => {
    expect(
      await handle.driver.query(`do $$ begin raise exception using errcode = '${code}'; end $$`).catch((e: Error) => e),
    ).toBeInstanceOf(kind)
  })

  test('a session receives the notifications of its channel', async () => {
    const session = await handle.driver.session()
    const heard: string[] = []
    await session.listen('Outbox "x"', payload => heard.push(payload))
    await handle.driver.query('select pg_notify($1, $2)', ['Outbox "x"', 'one'])
    await expect.poll(() => heard).toEqual(['one'])
    await session.release()
    await session.release()
  })

  test('the driver is shared, and works again after all users have released it', async () => {
    const again = await connect(settings(dsn), log)
    expect(again.driver).toBe(handle.driver)
    await again.release()
    expect((await handle.driver.query('select 1 as x')).rows).toEqual([{ x: 1 }])
    await handle.release()
    handle = await connect(settings(dsn), log)
    expect((await handle.driver.query('select count(*) c from t')).rows[0].c).toBe('1')
  })

  if (kind === 'pglite') {
    test('transactions run one after another', async () => {
      const { driver } = handle
      const seen: number[] = []
      await Promise.all(
        [1, 2, 3].map(n =>
          driver.transaction(async tx => {
            seen.push(n)
            await tx.query('select pg_sleep(0.01)')
            seen.push(n)
          }),
        ),
      )
      expect(seen).toEqual([1, 1, 2, 2, 3, 3])
    })

    test('another process gets an error that the database is in use', async () => {
      const code = `const { openPglite } = await import(${JSON.stringify(new URL('../../../src/kit/postgres/pglite/driver.ts', import.meta.url).href)})
        try { await openPglite(${JSON.stringify(dsn.slice(7))}); console.log('opened') } catch (e) { console.log(e.name, e.message) }`
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code])
      expect(stdout).toMatch(/EnvironmentError .*in use by another process/)
    })
  } else {
    test('a session that is disconnected reports it; the pool continues', async () => {
      const session = await handle.driver.session()
      const lost = new Promise<Error>(resolve => session.onLost(resolve))
      const { pid } = (await session.query('select pg_backend_pid() pid')).rows[0]
      await handle.driver.query('select pg_terminate_backend($1)', [pid])
      expect(await lost).toBeInstanceOf(ConnectionError)
      await expect(session.query('select 1')).rejects.toBeInstanceOf(ConnectionError)
      await session.release()
      const tx = await handle.driver.begin()
      const { pid: other } = (await tx.query('select pg_backend_pid() pid')).rows[0]
      await handle.driver.query('select pg_terminate_backend($1)', [other])
      await expect(tx.commit()).rejects.toMatchObject({ name: 'UnknownOutcomeError' })
      expect((await handle.driver.query('select 1 as x')).rows).toEqual([{ x: 1 }])
      expect(handle.driver.healthy()).toBe(true)
    })

    test('wrong passwords and databases end the run, an unreachable server does not', async () => {
      const other = (change: (url: URL) => void) => {
        const url = new URL(dsn)
        change(url)
        return connect(settings(url.href), log)
      }
      await expect(other(u => (u.password = 'wrong'))).rejects.toMatchObject({
        name: 'EnvironmentError',
        message: expect.stringMatching(/password/),
      })
      await expect(other(u => (u.pathname = '/missing'))).rejects.toBeInstanceOf(EnvironmentError)
      await expect(other(u => (u.port = '1'))).rejects.toBeInstanceOf(ConnectionError)
    })

    test('the run time of a statement is limited', async () => {
      const short = await connect(settings(dsn, { statement_timeout: 50, lock_timeout: 50 }), log)
      await expect(short.driver.query('select pg_sleep(5)')).rejects.toBeInstanceOf(ConnectionError)
      const tx = await handle.driver.begin()
      await tx.query('select * from t where id = 1 for update')
      await expect(short.driver.query('update t set n = 9 where id = 1')).rejects.toBeInstanceOf(ConnectionError)
      await tx.rollback()
      await short.release()
    })
  }
})
