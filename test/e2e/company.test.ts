/** Company transactions as processes: webhook, broker, database, and a server that speaks the Sheets API. Each row is on the sheet once. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { brokers, consumeAll, createTopic, unique } from '../support/kafka.ts'
import { database, sql } from '../support/postgres.ts'
import { runRunner, type Runner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type SheetsServer, startSheets } from '../support/sheets.ts'
import { eventually } from '../support/eventually.ts'

vi.setConfig({ testTimeout: 90_000 })

const file = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const SCHEMA = readFileSync(file('pipelines/sql/10-company.sql'), 'utf8')
const COMPANIES = `INSERT INTO control.companies VALUES ('acme', 'Acme', 'sheet-acme', true), ('bolt', 'Bolt', 'sheet-bolt', true), ('gone', 'Gone', 'sheet-gone', false);
  INSERT INTO control.rules (company_id, pattern, category, status) VALUES ('acme', 'coffee', 'Meals', 'active'), ('acme', 'taxi', 'Travel', 'pending')`

let sheets: SheetsServer
let dsn: string
let port: number
let promotePort: number
let env: Record<string, string>
const running: Runner[] = []
/** What would start again if it were only killed. */
const kept: { stop(): void }[] = []

beforeEach(async () => {
  sheets = await startSheets('sheet-acme', 'sheet-bolt', 'sheet-gone')
  dsn = await database()
  await sql(dsn, SCHEMA)
  await sql(dsn, COMPANIES)
  const ports = await freePorts(2)
  port = ports[0]
  promotePort = ports[1]
  const id = unique('co')
  env = {
    KAFKA_BROKERS: brokers(),
    PG_DSN_RW: dsn,
    SHEETS_ENDPOINT: sheets.endpoint,
    SHEETS_TOKEN: 'token',
    KYLO_SHEETS_POST: '1',
    TXNS_PORT: String(port),
    PROMOTE_PORT: String(promotePort),
    KAFKA_TOPIC_TXNS: await createTopic(`${id}.txns`, { partitions: 2 }),
    KAFKA_TOPIC_PROMOTE: await createTopic(`${id}.promote`),
    KAFKA_DLQ_TOPIC: await createTopic(`${id}.dlq`),
    KAFKA_GROUP_TXNS: `${id}.txns`,
    KAFKA_GROUP_PROMOTE: `${id}.promote`,
  }
})
afterEach(async () => {
  for (const k of kept.splice(0)) k.stop()
  for (const r of running.splice(0)) {
    r.kill('SIGKILL')
    await r.exited
  }
  await sheets.close()
})

function start(flow: string, over: Record<string, string> = {}): Runner {
  const runner = startRunner(['run', file(`pipelines/${flow}.yaml`), '--log-format', 'json'], { env: { ...env, ...over }, cwd: tempDir() })
  running.push(runner)
  return runner
}
const post = async (rows: readonly object[]): Promise<{ status: number; body: any }> => {
  const response = await fetch(`http://127.0.0.1:${port}/transactions`, { method: 'POST', body: JSON.stringify({ rows }) })
  return { status: response.status, body: await response.json() }
}
/** As a sender does: until it is answered. */
const insist = async (rows: readonly object[]): Promise<void> => {
  for (let n = 0; n < 300; n++) {
    const answer = await post(rows).catch(() => undefined)
    if (answer?.status === 200) return
    await sleep(100)
  }
  throw new Error('never accepted')
}
const txn = (company: string, n: number, over: object = {}) => ({
  id: `${company}-${n}`,
  company,
  date: '2026-01-31',
  description: n % 2 === 0 ? `Coffee ${n}` : `Taxi ${n}`,
  amount: `${n}.10`,
  ...over,
})
const onSheet = (company: string, tab = 'Pending') => sheets.rows(`sheet-${company}`, tab)?.slice(1) ?? []
const idsOn = (company: string, tab = 'Pending') => onSheet(company, tab).map(r => r[0])

describe('rows that are posted', () => {
  test.each([['1'], ['0']])('with ROUTE_VIA_KAFKA=%s the sheet is the same; bad rows are named, good ones are not lost', async route => {
    start('txns-ingest', { ROUTE_VIA_KAFKA: route })
    if (route === '1') start('txns-consumer')
    const rows = [
      txn('acme', 1),
      txn('acme', 2, { amount: 'much' }),
      txn('bolt', 3, { amount: '12345678901234567890.1234567891' }),
      txn('nobody', 4),
      txn('gone', 5),
      txn('acme', 6),
      { id: 'acme-7', company: 'acme' },
    ]
    const answer = await eventually(async () => post(rows))
    expect([answer.status, answer.body.accepted]).toEqual([422, 3])
    const refused = (answer.body as { rejected: { part: string; step: string; message: string }[] }).rejected
    expect(refused.map(r => [r.part, r.step]).toSorted()).toEqual([
      ['rows[1]', 'validate'],
      ['rows[3]', 'lookup'],
      ['rows[4]', 'lookup'],
      ['rows[6]', 'validate'],
    ])
    await eventually(() => expect([idsOn('acme'), idsOn('bolt')]).toEqual([['acme-1', 'acme-6'], ['bolt-3']]))
    expect(sheets.rows('sheet-acme', 'Pending')).toEqual([
      ['id', 'date', 'description', 'amount', 'category'],
      ['acme-1', '2026-01-31', 'Taxi 1', 1.1, null],
      ['acme-6', '2026-01-31', 'Coffee 6', 6.1, 'Meals'],
    ])
    expect(await sql(dsn, "SELECT amount::text FROM app.transactions WHERE txn_id = 'bolt-3'")).toEqual([
      { amount: '12345678901234567890.1234567891' },
    ])
    const batches = await consumeAll(env.KAFKA_TOPIC_TXNS)
    expect(batches.map(b => String(b.key)).toSorted()).toEqual(route === '1' ? ['acme', 'bolt'] : [])
    expect(await consumeAll(env.KAFKA_DLQ_TOPIC)).toEqual([])
  })

  test('the same payload ten times is on the sheet once', async () => {
    start('txns-ingest')
    start('txns-consumer')
    const rows = [1, 2, 3].map(n => txn('acme', n))
    for (let n = 0; n < 10; n++) await insist(rows)
    await insist([txn('acme', 4)])
    await eventually(() => expect(idsOn('acme')).toContain('acme-4'))
    expect(idsOn('acme')).toEqual(['acme-1', 'acme-2', 'acme-3', 'acme-4'])
    expect(await sql(dsn, 'SELECT count(*)::int AS n FROM app.transactions')).toEqual([{ n: 4 }])
  })

  test('shadow mode: everything runs, Google and the table of posts are not touched, and what would be sent is shown', async () => {
    start('txns-ingest')
    const consumer = start('txns-consumer', { KYLO_SHEETS_POST: '0' })
    await insist([txn('acme', 2)])
    const line = await consumer.line('shadow mode: would post')
    expect(JSON.parse(line)).toMatchObject({
      spreadsheet: 'sheet-acme',
      tab: 'Pending',
      rows: [['acme-2', '2026-01-31', 'Coffee 2', 2.1, 'Meals']],
    })
    expect(sheets.calls).toEqual([])
    expect(await sql(dsn, 'SELECT * FROM control.sheet_posts')).toEqual([])
    expect(await sql(dsn, 'SELECT count(*)::int AS n FROM app.transactions')).toEqual([{ n: 1 }])
  })
})

describe('a crash between webhook and sheet', () => {
  const BATCHES = Number(process.env.COMPANY_BATCHES ?? 5)

  let kills = 0
  /** Kills and restarts a process whenever `kill` says so. */
  function keepAlive(flow: string): { kill(): void; stop(): void } {
    let current = start(flow)
    let since = Date.now()
    let stopped = false
    const again = (): void => {
      const died = current
      void died.exited.then(() => {
        if (stopped) return
        current = start(flow)
        since = Date.now()
        again()
      })
    }
    again()
    const keeper = {
      // A process that dies before it has joined its group is not known to the brokers, and its group waits for the session to end.
      kill: () => {
        if (Date.now() - since < 4000) return
        kills++
        current.kill('SIGKILL')
      },
      stop: () => {
        stopped = true
      },
    }
    kept.push(keeper)
    return keeper
  }

  test('at every step, with two consumers: each row is on the sheet once', { timeout: 300_000 }, async () => {
    const ingest = keepAlive('txns-ingest')
    const consumers = [keepAlive('txns-consumer'), keepAlive('txns-consumer')]
    let applied = 0
    const rows = (batch: number) => ['acme', 'bolt'].flatMap(c => [0, 1, 2].map(i => txn(c, batch * 3 + i)))
    for (let batch = 0; batch < BATCHES; batch++) {
      // Between the call and its answer: the rows are on the sheet, and the response is lost.
      sheets.onApplied = () => {
        applied++
        if (batch % 3 === 1) consumers[batch % 2].kill()
      }
      // Before, or somewhere on the way.
      if (batch % 3 === 2) setTimeout(() => consumers[batch % 2].kill(), 20 * batch)
      if (batch % 4 === 3) setTimeout(() => ingest.kill(), 3 * batch)
      if (batch % 3 === 0) sheets.faults.push(batch % 2 === 0 ? { cut: true, applied: true } : { status: 500 })
      await insist(rows(batch))
      // One after the other: batches that wait together would be one call. A killed one may cost its group a session or two.
      await eventually(() => expect([idsOn('acme').length, idsOn('bolt').length]).toEqual([(batch + 1) * 3, (batch + 1) * 3]))
      await sleep(2000)
    }
    sheets.onApplied = undefined
    const all = (c: string) => Array.from({ length: BATCHES * 3 }, (_, n) => `${c}-${n}`).toSorted()
    expect([idsOn('acme').toSorted(), idsOn('bolt').toSorted()]).toEqual([all('acme'), all('bolt')])
    const claimed = () => sql(dsn, "SELECT count(*)::int AS n FROM control.sheet_posts WHERE status = 'claimed'")
    await eventually(async () => expect(await claimed()).toEqual([{ n: 0 }]))
    expect(applied).toBeGreaterThan(BATCHES)
    expect(kills).toBeGreaterThan(1)
    expect([idsOn('acme').length, idsOn('bolt').length]).toEqual([BATCHES * 3, BATCHES * 3])
    expect(await consumeAll(env.KAFKA_DLQ_TOPIC)).toEqual([])
  })
})

describe('promoting rules', () => {
  test('an amount that would stop every replay of its company is rejected', async () => {
    const move = (amount: unknown) =>
      sql(dsn, 'SELECT app.move($1)', [JSON.stringify({ company: 'acme', rows: [{ ...txn('acme', 1), id: String(amount), amount }] })])
    for (const amount of ['NaN', 'Infinity', '1e20', '-Infinity'])
      await expect(move(amount)).rejects.toThrow('an amount must be a decimal with at most 20 digits before the point')
    await move('-99999999999999999999.99')
    expect(await sql(dsn, 'SELECT amount FROM app.transactions')).toEqual([{ amount: '-99999999999999999999.99' }])
  })

  test('pending rules become active, the transactions go through them again, and the tab Active has each row once', async () => {
    start('txns-ingest')
    start('txns-consumer')
    await insist([1, 2, 3, 4].map(n => txn('acme', n)))
    await eventually(() => expect(idsOn('acme')).toHaveLength(4))
    const cwd = tempDir()
    const promote = startRunner(['run', file('pipelines/rules-promote.yaml')], { env, cwd })
    running.push(promote)
    start('promote-consumer')
    const trigger = (data: string) =>
      runRunner(['trigger', file('pipelines/rules-promote.yaml'), '--data', data, '--wait', '30s'], { env, cwd })
    expect(await trigger('{"company":"acme"}')).toMatchObject({ code: 0 })
    // Taxi was pending; 1 and 3 have a category only now.
    await eventually(() =>
      expect(onSheet('acme', 'Active').map(r => [r[0], r[4]])).toEqual([
        ['acme-1', 'Travel'],
        ['acme-2', 'Meals'],
        ['acme-3', 'Travel'],
        ['acme-4', 'Meals'],
      ]),
    )
    expect(await sql(dsn, "SELECT count(*)::int AS n FROM control.rules WHERE status = 'pending'")).toEqual([{ n: 0 }])
    // For every company, twice: one message per company, and no row twice.
    for (let n = 0; n < 2; n++) expect(await trigger('{}')).toMatchObject({ code: 0 })
    await eventually(async () =>
      expect((await consumeAll(env.KAFKA_TOPIC_PROMOTE)).map(r => String(r.key))).toEqual(['acme', 'acme', 'bolt', 'acme', 'bolt']),
    )
    await insist([txn('acme', 6)])
    await eventually(() => expect(idsOn('acme')).toHaveLength(5))
    expect(await trigger('{}')).toMatchObject({ code: 0 })
    await eventually(() => expect(idsOn('acme', 'Active')).toContain('acme-6'))
    expect(idsOn('acme', 'Active')).toEqual(['acme-1', 'acme-2', 'acme-3', 'acme-4', 'acme-6'])
  })
})

test('the batches of a spreadsheet that is not shared are dead-lettered, at each start too, and no other company stops; after it is shared, a replay writes them once', async () => {
  sheets.share('sheet-acme', false)
  start('txns-ingest')
  const consumer = start('txns-consumer')
  await insist([txn('acme', 1), txn('bolt', 1)])
  await eventually(() => expect(idsOn('bolt')).toEqual(['bolt-1']))
  const flow = file('pipelines/txns-consumer.yaml')
  const dlq = async (...args: string[]) => JSON.parse((await runRunner(['dlq', ...args, '--json'], { env, cwd: tempDir() })).stdout) as any
  await eventually(async () =>
    expect((await dlq('ls', flow)).letters).toMatchObject([
      { step: 'google_sheets', error_type: 'data', error_message: expect.stringContaining('share the spreadsheet') },
    ]),
  )
  consumer.kill('SIGKILL')
  await consumer.exited
  const again = start('txns-consumer')
  await insist([txn('acme', 2), txn('bolt', 2)])
  await eventually(() => expect(idsOn('bolt')).toEqual(['bolt-1', 'bolt-2']))
  again.kill('SIGTERM')
  await again.exit(0)
  expect(idsOn('acme')).toEqual([])
  sheets.share('sheet-acme', true)
  expect(await dlq('replay', flow, '--to', 'step')).toMatchObject({ failed_again: 0, left: [] })
  expect(idsOn('acme').toSorted()).toEqual(['acme-1', 'acme-2'])
  expect(await dlq('replay', flow, '--to', 'step')).toMatchObject({ replayed: 0 })
  expect(await dlq('ls', flow)).toMatchObject({ open: 0 })
})
