/** The wallet flows end to end: every event once and in order whatever the transactions do, exact money, and everything on nothing but this process. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { expect, test } from 'vitest'
import { connect } from '../../src/kit/postgres/connect.ts'
import { outboxConfig } from '../connectors/postgres/outbox/make.ts'
import { brokers } from '../support/brokers.ts'
import { database, sql } from '../support/postgres.ts'
import { startRunner, tempDir, type Runner } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { unique } from '../support/unique.ts'
import { eventually } from '../support/eventually.ts'
import { untilStatus } from './lib/http.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const flow = (name: string): string => join(root, 'pipelines', `${name}.yaml`)
const script = (name: string): string => readFileSync(join(root, 'pipelines/sql', `${name}.sql`), 'utf8')
const SCRIPTS = ['wallet-1-events', 'wallet-2-ledger', 'wallet-3-read-model', 'wallet-4-audit']
/** Full size of the proofs: `WALLET_FULL=1`. */
const full = process.env.WALLET_FULL === '1'
const silent = { debug() {}, info() {}, warn() {}, error() {} }

interface Arrived {
  key: string
  id: number
}

async function readTopic(topic: string): Promise<Arrived[]> {
  const args = ['-C', '-q', '-e', '-b', brokers(), '-t', topic, '-o', 'beginning', '-X', 'isolation.level=read_committed', '-f', '%k\t%h\n']
  const { stdout } = await promisify(execFile)('kcat', args, { maxBuffer: 1 << 28 })
  return stdout
    .split('\n')
    .filter(Boolean)
    .map(line => ({ key: line.split('\t')[0], id: Number(/outbox-id=(\d+)/.exec(line)![1]) }))
}

test('transactions that commit out of the order of their ids, rollbacks, a long one, two publishers and kill -9: every row once, in order', async () => {
  const dsn = await database()
  await sql(dsn, script('wallet-1-events'))
  const topic = unique('wallet-events')
  const ports = new Map<Runner, number>()
  const start = async (): Promise<Runner> => {
    const [port] = await freePorts(1)
    const runner = startRunner(['run', flow('outbox')], {
      env: {
        KAFKA_BROKERS: brokers(),
        PG_DSN_RW: dsn,
        WALLET_EVENTS_TOPIC: topic,
        WALLET_EVENTS_DLQ_TOPIC: `${topic}-dlq`,
        PORT: String(port),
        KAFKA_METRICS_ENABLED: 'false',
      },
    })
    ports.set(runner, port)
    return runner
  }
  const { Kafka, logLevel } = await import('kafkajs')
  const admin = new Kafka({ brokers: [brokers()], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.createTopics({ topics: [topic, `${topic}-dlq`].map(t => ({ topic: t, numPartitions: 4 })), waitForLeaders: true })
  await admin.disconnect()

  const publishers = [await start(), await start()]
  const until = Date.now() + (full ? 30_000 : 6000)
  /** Ids that were committed, and per wallet in the order of the commits. */
  const committed: number[] = []
  const order = new Map<string, number[]>()
  let rolledBack = 0
  const writer = async (seed: number): Promise<void> => {
    const db = new pg.Client({ connectionString: dsn })
    await db.connect()
    let state = seed
    const random = (): number => (state = (state * 48271) % 2147483647) / 2147483647
    while (Date.now() < until) {
      const wallet = `w${Math.floor(random() * 40)}`
      await db.query('BEGIN')
      // The one rule for the writing side: lock the aggregate before the insert.
      await db.query('SELECT pg_advisory_xact_lock(hashtext($1))', [wallet])
      const { rows } = await db.query("INSERT INTO outbox (aggregate_id, type, payload) VALUES ($1, 'Happened', '{}') RETURNING id", [
        wallet,
      ])
      await sleep(random() < 0.1 ? random() * 150 : random() * 8)
      if (random() < 0.2) {
        await db.query('ROLLBACK')
        rolledBack++
        continue
      }
      const id = Number(rows[0].id)
      const list = order.get(wallet) ?? []
      order.set(wallet, list)
      list.push(id)
      committed.push(id)
      await db.query('COMMIT')
    }
    await db.end()
  }
  const long = async (): Promise<void> => {
    const db = new pg.Client({ connectionString: dsn })
    await db.connect()
    await db.query('BEGIN')
    const { rows } = await db.query("INSERT INTO outbox (aggregate_id, type, payload) VALUES ('long', 'Happened', '{}') RETURNING id")
    committed.push(Number(rows[0].id))
    await sleep(until - Date.now() - 500)
    await db.query('COMMIT')
    await db.end()
  }
  const chaos = async (): Promise<void> => {
    for (let i = 0; Date.now() < until - 1000; i = 1 - i) {
      await sleep(1300)
      publishers[i].kill('SIGKILL')
      await publishers[i].exited
      publishers[i] = await start()
    }
  }
  await Promise.all([long(), chaos(), ...Array.from({ length: 8 }, (_, i) => writer(i * 7919 + 17))])
  await eventually(
    async () => expect((await sql<{ n: string }>(dsn, 'SELECT count(*) AS n FROM outbox WHERE processed_at IS NULL'))[0].n).toBe('0'),
    { interval: 100 },
  )
  for (const publisher of publishers) {
    // The one that was killed last may be starting still: a signal would end it before it knows what to do with one.
    await eventually(() => fetch(`http://127.0.0.1:${ports.get(publisher)}/health/kafka`), { interval: 100 })
    publisher.kill('SIGTERM')
  }
  await Promise.all(publishers.map(p => p.exit(0)))

  const arrived = await readTopic(topic)
  expect(rolledBack).toBeGreaterThan(10)
  expect(arrived.map(a => a.id).toSorted((a, b) => a - b)).toEqual(committed.toSorted((a, b) => a - b))
  for (const [wallet, ids] of order) expect(arrived.filter(a => a.key === wallet).map(a => a.id)).toEqual(ids)
})

test('the whole section in one process, without a server: exact money from the body to the numeric column, repeats, refusals, health', async () => {
  const dir = tempDir()
  const dsn = `pglite:${join(dir, 'db')}`
  const [port] = await freePorts(1)
  const env = { PG_DSN_RW: dsn, KAFKA_BROKERS: undefined, PORT: String(port), RUNNER_STATE_DIR: dir, KAFKA_METRICS_ENABLED: 'false' }
  await startRunner(['sql', 'apply', ...SCRIPTS.map(name => join(root, `pipelines/sql/${name}.sql`))], { cwd: dir, env }).exit(0)
  const runner = startRunner(['run', ...['wallet-commands', 'outbox', 'ledger', 'read-model'].map(flow)], { cwd: dir, env })
  const post = async (body: string, key?: string): Promise<{ status: number; text: string }> => {
    const headers = { 'content-type': 'application/json', ...(key === undefined ? {} : { 'idempotency-key': key }) }
    const answer = await fetch(`http://127.0.0.1:${port}/wallets/operations`, { method: 'POST', headers, body })
    return { status: answer.status, text: await answer.text() }
  }
  await untilStatus(runner, port, '/health/kafka', 200)

  const large = '123456789012345678901234567890.12345678'
  expect((await post(`{"operation":"deposit","walletId":"rich","amount":${large}}`, 'k1')).status).toBe(200)
  expect((await post(`{"operation":"deposit","walletId":"rich","amount":${large}}`, 'k1')).status).toBe(200)
  expect((await post('{"operation":"transfer","walletId":"rich","toWalletId":"poor","amount":"0.00000001"}')).status).toBe(200)
  const refused = await post(
    '[{"operation":"withdraw","walletId":"poor","amount":"1"},{"operation":"deposit","walletId":"poor","amount":"2"},{"operation":"deposit","walletId":"poor","amount":-3}]',
    'k2',
  )
  expect(refused.status).toBe(422)
  expect(refused.text).toContain('insufficient funds: wallet poor has 0.00000001, 1 asked for')
  expect(refused.text).toContain('amount must be a decimal above 0')
  expect((await post('{"operation":', 'k3')).status).toBe(400)

  const health = await fetch(`http://127.0.0.1:${port}/health/kafka`)
  expect(await health.json()).toEqual({
    status: 'healthy',
    producer: { connected: true },
    publisher: { isRunning: true, unprocessedEvents: expect.any(Number), lagMs: expect.any(Number) },
  })
  await eventually(
    async () => {
      const stats = (await (await fetch(`http://127.0.0.1:${port}/health/kafka/stats`)).json()) as { publisher: { published: number } }
      expect(stats.publisher.published).toBe(4)
    },
    { interval: 100 },
  )
  runner.kill('SIGTERM')
  await runner.exit(0)
  // What was not read yet is read now.
  await startRunner(['run', flow('ledger'), flow('read-model'), '--until-idle', '1s'], { cwd: dir, env }).exit(0)

  const after = await connect(outboxConfig(dsn), silent)
  try {
    const { rows } = await after.driver.query('SELECT wallet_id, balance::text AS balance FROM wallet_balances ORDER BY wallet_id')
    expect(rows).toEqual([
      { wallet_id: 'poor', balance: '2.00000001' },
      { wallet_id: 'rich', balance: '123456789012345678901234567890.12345677' },
    ])
    expect((await after.driver.query('SELECT * FROM wallet_differences')).rows).toEqual([])
    expect((await after.driver.query("SELECT balance::text AS b FROM ledger_accounts WHERE account = 'transfers'")).rows).toEqual([
      { b: '0.00000000' },
    ])
  } finally {
    await after.release()
  }
})

test('ledger: each event once for any batch, only events, and no statement that leaves it unbalanced', async () => {
  const dsn = await database()
  for (let i = 0; i < 2; i++) await sql(dsn, script('wallet-2-ledger'))
  const event = (eventId: number, more: object = {}): object => {
    return { eventId, walletId: 'w', version: eventId, type: 'Deposited', amount: '0.10', occurredAt: '2026-01-01T00:00:00Z', ...more }
  }
  const book = (...events: unknown[]) => sql(dsn, 'SELECT ledger_book($1)', [JSON.stringify(events)])
  const entries = () => sql(dsn, 'SELECT event_id::int AS id, account, amount::text AS amount FROM ledger_entries ORDER BY 1, 2')

  await book(event(1), event(2, { type: 'TransferSent', amount: '-0.30' }), event(1))
  await book(event(2, { type: 'TransferSent', amount: '-0.30' }), event(3, { type: 'Withdrawn', amount: '-12345678901234567890.12345678' }))
  await book(event(3))
  const booked = [
    { id: 1, account: 'cash', amount: '-0.10' },
    { id: 1, account: 'wallet:w', amount: '0.10' },
    { id: 2, account: 'transfers', amount: '0.30' },
    { id: 2, account: 'wallet:w', amount: '-0.30' },
    { id: 3, account: 'cash', amount: '12345678901234567890.12345678' },
    { id: 3, account: 'wallet:w', amount: '-12345678901234567890.12345678' },
  ]
  expect(await entries()).toEqual(booked)
  for (const wrong of [
    event(9, { type: 'Gift' }),
    event(9, { amount: '0.00' }),
    event(9, { amount: 'much' }),
    event(9, { occurredAt: undefined }),
    event(9, { walletId: null }),
    event(9, { version: 0 }),
    event(9, { amount: 'NaN' }),
    7,
    null,
  ])
    await expect(book(event(8), wrong)).rejects.toThrow(/no wallet event|invalid input|array of objects/)
  // Another event in the place of one that is there.
  await expect(book(event(9, { version: 1 }))).rejects.toThrow(/duplicate key/)
  for (const wrong of [
    "INSERT INTO ledger_entries VALUES (1, 'gift', 1)",
    'UPDATE ledger_entries SET amount = amount + 1 WHERE event_id = 2',
    "UPDATE ledger_entries SET event_id = 1 WHERE event_id = 2 AND account = 'transfers'",
    "DELETE FROM ledger_entries WHERE account = 'cash'",
  ])
    await expect(sql(dsn, wrong)).rejects.toThrow(/ledger transaction \d does not balance: its entries add up to/)
  expect(await entries()).toEqual(booked)
  await sql(dsn, 'DELETE FROM ledger_entries WHERE event_id = 1')
  await sql(dsn, 'TRUNCATE ledger_entries, ledger_transactions')
})

test('read model: each event once, only events that the ledger books, and in order', async () => {
  const dsn = await database()
  for (let i = 0; i < 2; i++) await sql(dsn, script('wallet-3-read-model'))
  const event = (version: number, more: object = {}): object => {
    const [type, amount, balance] = ['Deposited', '0.10', `${version / 10}`]
    return { eventId: version, walletId: 'w', version, type, amount, balance, occurredAt: '2026-01-01T00:00:00Z', ...more }
  }
  const project = (...events: unknown[]) => sql(dsn, 'SELECT wallet_project($1)', [JSON.stringify(events)])
  await project(event(1), event(2), event(1))
  await project(event(2), event(3))
  for (const wrong of [
    event(4, { type: 'Gift' }),
    event(4, { type: null }),
    event(4, { version: null }),
    event(4, { version: 0 }),
    event(4, { amount: null }),
    event(4, { amount: 'NaN' }),
    event(4, { amount: '0.00' }),
    event(4, { amount: '-Infinity' }),
    event(1, { walletId: 'new', balance: 'NaN' }),
    event(5),
    7,
  ])
    await expect(project(wrong)).rejects.toThrow(/no wallet event|out of order: wallet w is at 3 and got 5|array of objects/)
  expect(await sql(dsn, 'SELECT wallet_id, balance::text AS balance, version FROM wallet_balances')).toEqual([
    { wallet_id: 'w', balance: '0.30', version: '3' },
  ])
})

test('operations: a wallet exists from its first event, and names and keys are strings', async () => {
  const dsn = await database()
  for (const name of SCRIPTS) await sql(dsn, script(name))
  const command = (value: unknown) => sql(dsn, 'SELECT wallet_commands($1)', [JSON.stringify([{ value, headers: {} }])])
  await command({ operation: 'deposit', walletId: 'a', toWalletId: 'nobody', amount: '1' })
  await command({ operation: 'transfer', walletId: 'a', toWalletId: 'b', amount: '1' })
  for (const wrong of [{ walletId: 1 }, { walletId: ['c'] }, { idempotencyKey: '' }, { idempotencyKey: 'k'.repeat(201) }])
    await expect(command({ operation: 'deposit', walletId: 'c', amount: '1', ...wrong })).rejects.toThrow(/must be a text of 1 to 200/)
  await expect(command({ operation: 'transfer', walletId: 'a', toWalletId: 7, amount: '1' })).rejects.toThrow(/another wallet/)
  expect(await sql(dsn, 'SELECT wallet_id FROM wallets ORDER BY 1')).toEqual([{ wallet_id: 'a' }, { wallet_id: 'b' }])
  await sql(dsn, 'SELECT ledger_book(jsonb_agg(payload)), wallet_project(jsonb_agg(payload)) FROM outbox')
  expect(await sql(dsn, 'SELECT * FROM wallet_differences')).toEqual([])
})

test('load with faults: 0 failures, and everything agrees', async () => {
  const size = full
    ? ['--wallets', '1000', '--operations', '20000', '--workers', '20']
    : // A machine that is slow or busy decides nothing here.
      ['--wallets', '20', '--operations', '400', '--workers', '8', '--max-lag', '5000', '--max-recovery', '60000']
  const run = promisify(execFile)(process.execPath, [join(root, 'bench/load-test/main.ts'), ...size, '--faults', '--no-levels'], {
    env: { ...process.env, KAFKA_BROKERS: '', PG_DSN_RW: '' },
  })
  const { stdout } = await run.catch((error: Error & { stdout: string; stderr: string }) => {
    throw new Error(`${error.stdout}\n${error.stderr}`.slice(-6000))
  })
  expect(stdout).toContain('all right')
})
