import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { GoogleSheetsSinkConfig } from '../../../src/generated/config-types.ts'
import { columnName } from '../../../src/connectors/google_sheets/client.ts'
import { connectionOf, Posts } from '../../../src/connectors/google_sheets/posts.ts'
import sheets from '../../../src/connectors/google_sheets/sink.ts'
import { BatchError, Message, type Sink } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { database, sql } from '../../support/postgres.ts'
import { type SheetsServer, startSheets } from '../../support/sheets.ts'
import { startProxy } from '../../support/tcp-proxy.ts'

const TABLE = `CREATE SCHEMA control;
  CREATE TABLE control.sheet_posts (spreadsheet_id text, tab text, row_key text, status text NOT NULL, claimed_at timestamptz NOT NULL,
    posted_at timestamptz, UNIQUE (spreadsheet_id, tab, row_key))`
const dsn = await database()
await sql(dsn, TABLE)

let server: SheetsServer
const open: Sink[] = []
beforeEach(async () => {
  server = await startSheets('book-1', 'book-2')
  await sql(dsn, 'TRUNCATE control.sheet_posts')
})
afterEach(async () => {
  for (const sink of open.splice(0)) await sink.close?.()
  await server.close()
})
afterAll(async () => server.close())

const config = (over: Partial<GoogleSheetsSinkConfig> = {}): GoogleSheetsSinkConfig => ({
  spreadsheet: 'value.book',
  tab: 'Pending',
  rows: 'rows',
  columns: ['id', 'text', 'amount'],
  key: 'id',
  numbers: ['amount'],
  post: true,
  credentials: '',
  access_token: 'token',
  endpoint: server.endpoint,
  requests_per_minute: 10_000,
  timeout: 30_000,
  posts_table: 'control.sheet_posts',
  dsn,
  ...over,
})
const row = (id: string, amount = '1.50') => ({ id, text: `row ${id}`, amount })
const message = (book: string, ...ids: string[]) => new Message({ book, rows: ids.map(id => row(id)) })
async function sinkOf(over: Partial<GoogleSheetsSinkConfig> = {}, ctx = fakeContext('sheets')): Promise<Sink> {
  const sink = sheets.create(config(over), ctx)
  open.push(sink)
  await sink.open?.(new AbortController().signal)
  return sink
}
const ids = (book = 'book-1', tab = 'Pending') =>
  server
    .rows(book, tab)
    ?.slice(1)
    .map(r => r[0])
const statuses = async () => {
  const rows = await sql<{ row_key: string; status: string }>(dsn, 'SELECT row_key, status FROM control.sheet_posts ORDER BY 1')
  return Object.fromEntries(rows.map(r => [r.row_key, r.status]))
}

const valueOf = (value: unknown) => value as { n: number; text: string }
/** The suite writes the same `n` from two lanes; both fields identify a row. */
function keyed(config: GoogleSheetsSinkConfig): Sink {
  const sink = sheets.create(config, fakeContext('sheets'))
  const write: Sink['write'] = (messages, context) => {
    const rows = messages.map(m => new Message({ ...valueOf(m.value), id: `${valueOf(m.value).n} ${valueOf(m.value).text}` }))
    return sink.write(rows, context)
  }
  return { open: signal => sink.open!(signal), write, close: () => sink.close!() }
}

sinkConformance<GoogleSheetsSinkConfig>('google_sheets', {
  plugin: sheets,
  create: keyed,
  // A cell holds a double: 1.0 is the number 1.
  show: value => JSON.stringify([Number(valueOf(value).n), valueOf(value).text]),
  prepare: async () => ({
    config: config({ spreadsheet: '"book-1"', rows: undefined, columns: ['n', 'text', 'id'], numbers: [] }),
    read: async () => (server.rows('book-1', 'Pending') ?? []).slice(1).map(r => JSON.stringify(r.slice(0, 2))),
  }),
})

describe('posting', () => {
  test('all rows for a spreadsheet are one batchUpdate; a missing tab is created with its header', async () => {
    const sink = await sinkOf()
    await sink.write([message('book-1', 'a', 'b'), message('book-2', 'x'), message('book-1', 'c')], writeContext())
    expect(server.rows('book-1', 'Pending')).toEqual([
      ['id', 'text', 'amount'],
      ['a', 'row a', 1.5],
      ['b', 'row b', 1.5],
      ['c', 'row c', 1.5],
    ])
    expect(ids('book-2')).toEqual(['x'])
    expect(server.calls.filter(c => c.startsWith('batchUpdate'))).toEqual(['batchUpdate book-1', 'batchUpdate book-2'])
    expect(await statuses()).toEqual({ a: 'posted', b: 'posted', c: 'posted', x: 'posted' })
  })

  test('a payload sent ten times, also by a new process, is on the sheet once', async () => {
    for (let i = 0; i < 10; i++) await (i % 3 === 0 ? await sinkOf() : open.at(-1)!).write([message('book-1', 'a', 'b')], writeContext())
    expect(ids()).toEqual(['a', 'b'])
    expect(server.calls.filter(c => c.startsWith('batchUpdate'))).toHaveLength(1)
  })

  test('two consumers write the same and different rows at once', async () => {
    const [one, two] = [await sinkOf(), await sinkOf()]
    const work = async (sink: Sink, own: string): Promise<void> => {
      for (let i = 0; i < 8; i++) await sink.write([message('book-1', `same-${i}`, `${own}-${i}`)], writeContext())
    }
    await Promise.all([work(one, 'one'), work(two, 'two')])
    expect(ids()!.toSorted()).toEqual(['one', 'same', 'two'].flatMap(n => Array.from({ length: 8 }, (_, i) => `${n}-${i}`)).toSorted())
  })

  test('an invalid row is rejected, and the others are written', async () => {
    const sink = await sinkOf()
    const bad = [
      new Message({ book: 'book-1', rows: [{ text: 'no key' }] }),
      new Message({ book: '../x', rows: [] }),
      message('nowhere', 'n'),
      message('book-1', 'nul\0'),
      message('book-1', 'k'.repeat(401)),
    ]
    const error = await sink.write([message('book-1', 'a'), ...bad, new Message({ rows: 1 })], writeContext()).catch(e => e as BatchError)
    expect(error).toBeInstanceOf(BatchError)
    expect([...(error as BatchError).failed].toSorted(([a], [b]) => a - b).map(([i, e]) => [i, e.message])).toEqual([
      [1, expect.stringContaining('the key id of a row must be text or a number, not missing')],
      [2, expect.stringContaining('which is not a spreadsheet id')],
      [3, expect.stringContaining('correct the spreadsheet id')],
      [4, expect.stringContaining('contains a NUL character')],
      [5, expect.stringContaining('401 characters; the maximum is 400')],
      [6, expect.stringContaining('book')],
    ])
    expect(ids()).toEqual(['a'])
    // The spreadsheet may be made later: its rows are not thought to be posted.
    expect(await statuses()).toEqual({ a: 'posted' })
    server.add('nowhere')
    await sink.write([message('nowhere', 'n')], writeContext())
    expect(ids('nowhere')).toEqual(['n'])
  })
})

describe('after an unknown outcome, the sheet is read before the next write', () => {
  test.each([
    ['an error after the write', { status: 500, applied: true }],
    ['an error before the write', { status: 500 }],
    ['a lost connection after the write', { cut: true, applied: true }],
    ['a lost connection before the write', { cut: true, applied: false }],
    ['no response after the write', { hang: 2000, applied: true }],
    ['no response and no write', { hang: 2000, applied: false }],
  ] as const)('%s', async (_, fault) => {
    const sink = await sinkOf('hang' in fault ? { timeout: 1000 } : {})
    await sink.write([message('book-1', 'before')], writeContext())
    server.faults.push(fault)
    await expect(sink.write([message('book-1', 'a', 'b')], writeContext())).rejects.toMatchObject({ retryable: true })
    expect(await statuses()).toEqual({ a: 'claimed', b: 'claimed', before: 'posted' })
    // Tried again by this process or, after a crash, by another, with a row more.
    await (await sinkOf()).write([message('book-1', 'a', 'b', 'c')], writeContext())
    expect(ids()).toEqual(['before', 'a', 'b', 'c'])
    expect(await statuses()).toEqual({ a: 'posted', b: 'posted', before: 'posted', c: 'posted' })
  })

  test('after a rate limit response, the sheet is not read', async () => {
    const sink = await sinkOf()
    server.faults.push({ status: 429 })
    await expect(sink.write([message('book-1', 'a')], writeContext())).rejects.toMatchObject({ retryable: true })
    expect(await statuses()).toEqual({})
    await sink.write([message('book-1', 'a')], writeContext())
    expect(ids()).toEqual(['a'])
    expect(server.calls.filter(c => c.startsWith('values'))).toEqual([])
  })

  test('the database connection fails between the call and the confirmation', async () => {
    const sink = await sinkOf()
    server.onApplied = async () => {
      server.onApplied = undefined
      await sql(
        dsn,
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      )
    }
    await expect(sink.write([message('book-1', 'a')], writeContext())).rejects.toMatchObject({ retryable: true })
    await sink.write([message('book-1', 'a')], writeContext())
    expect(ids()).toEqual(['a'])
    expect(await statuses()).toEqual({ a: 'posted' })
  })
})

test('wrong credentials end the pipeline, and the error has the setting to change', async () => {
  const sink = await sinkOf({ access_token: 'old' })
  const refused = { code: 'PIPE_ENVIRONMENT', message: expect.stringContaining('GOOGLE_APPLICATION_CREDENTIALS') }
  await expect(sink.write([message('book-1', 'a')], writeContext())).rejects.toMatchObject(refused)
  expect(await statuses()).toEqual({})
})

test('a spreadsheet without access: its messages are rejected, the others are written; once it is shared, its messages are written too', async () => {
  const sink = await sinkOf()
  server.share('book-1', false)
  const error = await sink
    .write([message('book-1', 'a'), message('book-2', 'x'), message('book-1', 'b')], writeContext())
    .catch(e => e as BatchError)
  expect([...(error as BatchError).failed].map(([i, e]) => [i, (e as { code?: string }).code, e.message])).toEqual(
    [0, 2].map(i => [i, 'PIPE_DATA', expect.stringContaining('share the spreadsheet')]),
  )
  expect(await statuses()).toEqual({ x: 'posted' })
  expect(sink.healthy!()).toBe(true)
  server.share('book-1', true)
  await sink.write([message('book-1', 'a'), message('book-1', 'b')], writeContext())
  expect(ids()).toEqual(['a', 'b'])
})

test.each([
  ['SERVICE_DISABLED', { code: 'PIPE_ENVIRONMENT', message: expect.stringContaining('enable the Google Sheets API') }],
  ['ACCESS_TOKEN_SCOPE_INSUFFICIENT', { code: 'PIPE_ENVIRONMENT', message: expect.stringContaining('scope') }],
  ['RATE_LIMIT_EXCEEDED', { retryable: true }],
])('a 403 for every spreadsheet (%s) dead-letters no record', async (reason, refused) => {
  const sink = await sinkOf()
  server.faults.push({ status: 403, reason })
  await expect(sink.write([message('book-1', 'a')], writeContext())).rejects.toMatchObject(refused)
  expect(await statuses()).toEqual({})
})

test('shadow mode sends no requests, claims no rows, and logs the requests it would send', async () => {
  const ctx = fakeContext('sheets')
  const seen: object[] = []
  const sink = await sinkOf({ post: false }, { ...ctx, log: { ...ctx.log, info: o => void seen.push(o) } })
  await sink.write([message('book-1', 'a')], writeContext())
  expect(server.calls).toEqual([])
  expect(await statuses()).toEqual({})
  expect(seen).toEqual([{ step: 'sheets', spreadsheet: 'book-1', tab: 'Pending', rows: [['a', 'row a', 1.5]] }])
  await expect(sink.write([new Message({ book: 'book-1' })], writeContext())).rejects.toThrow(BatchError)
})

test('a missing table of posts is reported at the start', async () => {
  await expect(sinkOf({ posts_table: 'control.nothing' })).rejects.toMatchObject({ code: 'PIPE_ENVIRONMENT' })
})

test('the table of posts uses the database settings of the other steps: with TLS if the environment requires it', async () => {
  vi.stubEnv('PG_SSL_MODE', 'require')
  try {
    await expect(sinkOf()).rejects.toThrow('the server does not speak TLS on this port; correct the port in dsn, or set tls_mode: disable')
  } finally {
    vi.unstubAllEnvs()
  }
})

test('the key column is compared as text and must not be a number', () => {
  expect(sheets.validateConfig!(config({ numbers: ['amount', 'id'] }))).toEqual([
    { path: ['numbers', 1], message: expect.stringContaining('the key column') },
  ])
})

test('columns must have names', () => {
  expect([0, 25, 26, 51, 52, 701, 702].map(columnName)).toEqual(['A', 'Z', 'AA', 'AZ', 'BA', 'ZZ', 'AAA'])
})

test('a writer whose connection of the lock hangs does not keep the spreadsheet from others, and notices that it may have lost it', {
  timeout: 60_000,
}, async () => {
  const proxy = await startProxy(`127.0.0.1:${new URL(dsn).port}`)
  const through = new URL(dsn)
  through.port = String(proxy.port)
  const posts = new Posts(connectionOf({ dsn: through.href }), 'control.sheet_posts', fakeContext('sheets').log, 1_000)
  const noticed = Promise.withResolvers<unknown>()
  try {
    const held = posts.exclusively('book-1', async claims => {
      claims.check()
      proxy.stall()
      // As another process takes it.
      await sql(dsn, "SELECT pg_advisory_lock(1397245268, hashtext('book-1'))")
      try {
        claims.check()
        noticed.resolve(undefined)
      } catch (error) {
        noticed.resolve(error)
        // The database may end the connection before the lease is over here.
        throw error
      }
    })
    await expect(held).rejects.toThrow('the lock of the spreadsheet may be lost')
    expect(await noticed.promise).toMatchObject({ message: expect.stringContaining('the lock of the spreadsheet may be lost') })
    // On a new connection.
    expect(await posts.exclusively('book-2', next => next.claim([{ tab: 'Pending', key: 'a' }]))).toMatchObject({ uncertain: [] })
  } finally {
    await posts.close()
    await proxy.stop()
  }
})
