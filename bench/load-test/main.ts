/**
 * `npm run load-test`: operations on wallets over HTTP, through the outbox and Kafka, to ledger and read model; then everything is
 * held against everything. Exit code 4 when anything is not as it should be.
 *
 *   --wallets 1000 --operations 20000 --workers 20
 *   --faults           kills a publisher, a projector, the broker and PostgreSQL once each in the middle (own servers only)
 *   --max-lag 1000     ms that ledger and read model may be behind; 99 of 100 events
 *   --no-levels        only this level, not the small one first
 *   --json             the result as JSON
 * Servers: KAFKA_BROKERS and PG_DSN_RW where they are set, otherwise its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { freePorts } from '../../test/support/servers/ports.ts'
import { Faults } from './faults.ts'
import { Process } from './fleet.ts'
import { load } from './load.ts'
import { operations } from './operations.ts'
import { place, query } from './servers.ts'
import { type Check, verify } from './verify.ts'

const { values: flags } = parseArgs({
  options: {
    wallets: { type: 'string', default: '1000' },
    operations: { type: 'string', default: '20000' },
    workers: { type: 'string', default: '20' },
    faults: { type: 'boolean', default: false },
    'max-lag': { type: 'string', default: '1000' },
    levels: { type: 'boolean', default: true },
    json: { type: 'boolean', default: false },
  },
  allowNegative: true,
})
const wanted = { wallets: Number(flags.wallets), operations: Number(flags.operations), workers: Number(flags.workers) }
if (!(wanted.wallets >= 1 && wanted.operations >= wanted.wallets && wanted.workers >= 1))
  throw new Error('--operations must be at least --wallets: every wallet is opened by a deposit')

const maxLag = Number(flags['max-lag'])

interface Level {
  readonly wallets: number
  readonly operations: number
  readonly workers: number
  readonly faults: boolean
}
const levels: Level[] = [{ ...wanted, faults: flags.faults }]
if (flags.levels && wanted.operations > 1000)
  levels.unshift({ wallets: Math.min(100, wanted.wallets), operations: 1000, workers: wanted.workers, faults: false })

const say = (line: string): void => console.error(line)
const set = (value: string | undefined): string | undefined => (value === undefined || value === '' ? undefined : value)
const at = await place({ brokers: set(process.env.KAFKA_BROKERS), dsn: set(process.env.PG_DSN_RW) }, say)
const fleet: Process[] = []
let failed = false
const report: object[] = []
try {
  const [port, other] = await freePorts(2)
  const env = (name: string, more: Record<string, string> = {}): Record<string, string> => ({
    KAFKA_BROKERS: at.brokers,
    PG_DSN_RW: at.dsn,
    KAFKA_METRICS_ENABLED: 'false',
    RUNNER_STATE_DIR: `${at.dir}/${name}`,
    ...more,
  })
  const add = (name: string, pipeline: string, more: Record<string, string> = {}): Process => {
    const started = new Process(name, pipeline, env(name, more), at.dir)
    fleet.push(started)
    started.start()
    return started
  }
  add('commands', 'wallet-commands', { PORT: String(port) })
  const publisher = add('publisher-1', 'outbox', { PORT: String(other) })
  add('publisher-2', 'outbox', { PORT: String((await freePorts(1))[0]) })
  const ledger = add('ledger', 'ledger')
  add('read-model', 'read-model')
  await reachable(port)
  // One event through everything: whoever still starts is no part of what is measured.
  await load(
    port,
    operations(`w${Date.now().toString(36)}`, 1, 1),
    1,
    () => {},
    () => Promise.resolve(),
  )
  await catchUp(at.dsn)

  for (const [i, level] of levels.entries()) {
    const prefix = `l${i}${Date.now().toString(36)}`
    say(`${level.wallets} wallets, ${level.operations} operations, ${level.workers} workers${level.faults ? ', with faults' : ''}`)
    const expected = new Map<string, bigint>()
    const faults = level.faults ? new Faults(at, { publisher, projector: ledger }, level.operations, say) : undefined
    const run = await load(
      port,
      operations(prefix, level.wallets, level.operations),
      level.workers,
      ({ effects }) => {
        for (const [wallet, hundredths] of effects) expected.set(wallet, (expected.get(wallet) ?? 0n) + hundredths)
      },
      done => faults?.at(done) ?? Promise.resolve(),
    )
    await faults?.over()
    const caughtUp = await catchUp(at.dsn)
    const lag = await lags(at.dsn, prefix)
    const checks = await verify(at.dsn, at.brokers, expected, prefix)
    checks.unshift(
      {
        what: 'failures',
        ok: run.failures.length === 0,
        detail: `${run.failures.length}${run.failures[0] === undefined ? '' : `: ${run.failures[0]}`}`,
      },
      // With a fault the events wait for whatever was killed.
      {
        what: 'projectors behind the last answer',
        ok: level.faults ? Number.isFinite(caughtUp) : caughtUp * 1000 < maxLag,
        detail: `${caughtUp.toFixed(2)} s`,
      },
      {
        what: 'lag, event to ledger',
        ok: level.faults || lag.p99 < maxLag,
        detail: `p50 ${lag.p50} ms, p99 ${lag.p99} ms, most ${lag.most} ms`,
      },
    )
    if (i === levels.length - 1) checks.push(await rebuilt(env('rebuild'), at.dsn))
    show(level, run, checks)
    report.push({ ...level, seconds: run.seconds, retries: run.retries, failures: run.failures.length, checks })
    if (checks.some(c => !c.ok)) {
      failed = true
      for (const each of fleet) say(`--- ${each.name}\n${each.tail()}`)
      break
    }
  }
} finally {
  await Promise.all(fleet.map(each => each.stop()))
  await at.stop()
}
if (flags.json) console.log(JSON.stringify(report, null, 2))
process.exitCode = failed ? 4 : 0

function show(level: Level, run: Awaited<ReturnType<typeof load>>, checks: readonly Check[]): void {
  const sorted = run.latencies.toSorted((a, b) => a - b)
  const quantile = (q: number): string => (sorted[Math.floor(sorted.length * q)] ?? 0).toFixed(0)
  const total = [...checks].every(c => c.ok) ? 'all right' : 'NOT RIGHT'
  const lines = [
    `${level.wallets} wallets × ${level.operations} operations, ${level.workers} workers: ${total}`,
    `  ${Math.round(run.done / run.seconds)} operations/s for ${run.seconds.toFixed(1)} s, answered in p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms, ${run.retries} tried again`,
    ...checks.map(c => `  ${c.ok ? 'ok    ' : 'FAILED'}  ${c.what.padEnd(36)} ${c.detail}`),
  ]
  console.log(lines.join('\n'))
}

async function reachable(port: number): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const answer = await fetch(`http://127.0.0.1:${port}/wallets/operations`).catch(() => undefined)
    if (answer !== undefined) return
    await sleep(100)
  }
  throw new Error(`wallet-commands does not listen after 30 s:\n${fleet[0]?.tail()}`)
}

/** @returns seconds until both projectors had everything. */
async function catchUp(dsn: string): Promise<number> {
  const started = performance.now()
  for (;;) {
    const rows = await query(
      dsn,
      `SELECT (SELECT count(*) FROM wallet_events) - (SELECT count(*) FROM ledger_transactions) AS ledger,
        (SELECT sum(version) FROM wallets) - (SELECT coalesce(sum(version), 0) FROM wallet_balances) AS read_model`,
    ).catch(() => [])
    if (rows[0] !== undefined && Number(rows[0].ledger) <= 0 && Number(rows[0].read_model) <= 0) return (performance.now() - started) / 1000
    if (performance.now() - started > 60_000) return Number.POSITIVE_INFINITY
    await sleep(20)
  }
}

async function lags(dsn: string, prefix: string): Promise<{ p50: string; p99: number; most: string }> {
  const [row] = await query(
    dsn,
    `SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)) AS p50, round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)) AS p99, round(max(ms)) AS most
      FROM (SELECT extract(epoch FROM t.booked_at - e.created_at)::float8 * 1000 AS ms FROM wallet_events e JOIN ledger_transactions t USING (event_id) WHERE e.wallet_id LIKE $1 || '-%') l`,
    [prefix],
  )
  return { p50: row.p50, p99: Number(row.p99), most: row.most }
}

/** The read model once more, from offset 0 into another table: it must be the same. */
async function rebuilt(env: Record<string, string>, dsn: string): Promise<Check> {
  await query(dsn, 'CREATE TABLE IF NOT EXISTS wallet_balances_rebuilt (LIKE wallet_balances INCLUDING ALL)')
  const version = String(Math.floor(Date.now() / 1000) % 1_000_000)
  const replay = new Process(
    'rebuild',
    'read-model',
    { ...env, READ_MODEL_TABLE: 'wallet_balances_rebuilt', READ_MODEL_GROUP: `rebuild-${version}`, READ_MODEL_VERSION: version },
    at.dir,
  )
  fleet.push(replay)
  await query(dsn, 'TRUNCATE wallet_balances_rebuilt')
  replay.start()
  const difference = `SELECT count(*)::text AS n FROM wallet_balances b FULL JOIN wallet_balances_rebuilt r USING (wallet_id) WHERE (b.balance, b.version) IS DISTINCT FROM (r.balance, r.version)`
  let n = '?'
  for (let i = 0; i < 600 && n !== '0'; i++) {
    await sleep(100)
    n = (await query(dsn, difference))[0].n
  }
  const [{ rows, sum }] = await query(dsn, 'SELECT count(*)::text AS rows, sum(balance)::text AS sum FROM wallet_balances_rebuilt')
  return {
    what: 'read model, rebuilt from offset 0',
    ok: n === '0',
    detail: n === '0' ? `equal: ${rows} wallets, ${sum}` : `${n} wallets differ`,
  }
}
