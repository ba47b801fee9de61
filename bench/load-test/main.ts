/**
 * `npm run load-test`: operations on wallets over HTTP, through the outbox and Kafka, to ledger and read model; then everything is
 * held against everything. Exit code 4 when anything is not as it should be.
 * Servers: KAFKA_BROKERS and PG_DSN_RW where they are set, otherwise its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../../test/support/servers/ports.ts'
import { Faults } from './faults.ts'
import { Process } from './fleet.ts'
import { load } from './load.ts'
import { operations } from './operations.ts'
import { command, whole } from '../lib/options.ts'
import { costOf } from '../lib/proc.ts'
import { Hops, text } from './hops.ts'
import { startServers } from './servers.ts'
import { catchUp, rebuilt } from './settle.ts'
import { type Check, deadLetterEnds, verify } from './verify.ts'
import { Watch } from './watch.ts'

/** Operations that come before the clock starts. */
const WARM_UP = 2000

interface Flags {
  wallets: number
  operations: number
  workers: number
  faults: boolean
  maxLag: number
  maxRecovery: number
  levels: boolean
  json?: true
}

const program = command('npm run load-test --', 'Operations on wallets through all four flows, and everything held against everything.')
  .option('--wallets <n>', 'each is opened by a deposit', whole, 1000)
  .option('--operations <n>', 'on all of them', whole, 20_000)
  .option('--workers <n>', 'requests at a time', whole, 20)
  .option('--faults', 'kills a publisher, a projector, the broker and PostgreSQL once each in the middle (own servers only)', false)
  .option('--max-lag <ms>', 'that ledger and read model may be behind; 99 of 100 events', whole, 1000)
  .option('--max-recovery <ms>', 'with faults: from the return of what was killed until the lag is below that again', whole, 15_000)
  .option('--no-levels', 'only this level, not the small one first')
  .option('--json', 'the result as JSON')
const flags = program.parse().opts<Flags>()
const { wallets, operations: total, workers, faults: withFaults, maxLag, maxRecovery } = flags
if (total < wallets) program.error('error: --operations must be at least --wallets: every wallet is opened by a deposit')

interface Level {
  readonly wallets: number
  readonly operations: number
  readonly workers: number
  readonly faults: boolean
}
const levels: Level[] = [{ wallets, operations: total, workers, faults: withFaults }]
if (flags.levels && total > 1000) levels.unshift({ wallets: Math.min(100, wallets), operations: 1000, workers, faults: false })

const say = (line: string): void => console.error(line)
const set = (value: string | undefined): string | undefined => (value === undefined || value === '' ? undefined : value)
const at = await startServers({ brokers: set(process.env.KAFKA_BROKERS), dsn: set(process.env.PG_DSN_RW) }, say)
const fleet: Process[] = []
let failed = false
const report: object[] = []
try {
  const [port, one, two] = await freePorts(3)
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
  const publisher = add('publisher-1', 'outbox', { PORT: String(one) })
  add('publisher-2', 'outbox', { PORT: String(two) })
  const ledger = add('ledger', 'ledger')
  add('read-model', 'read-model')
  await reachable(`http://127.0.0.1:${port}/wallets/operations`, () => true)
  // Each has its share of the buckets.
  for (const each of [one, two]) await reachable(`http://127.0.0.1:${each}/health/kafka/stats`, stats => (stats?.publisher.leases ?? 0) > 0)
  // Start-up is not measured: all code has run once, and all partitions are assigned.
  say(`warm-up: ${WARM_UP} operations, not measured`)
  const warm = await load(
    port,
    operations(`w${Date.now().toString(36)}`, WARM_UP / 4, WARM_UP),
    workers,
    () => {},
    () => Promise.resolve(),
  )
  if (warm.failures.length > 0 || !Number.isFinite(await catchUp(at.dsn))) {
    for (const each of fleet) say(`--- ${each.name}\n${each.tail()}`)
    throw new Error(`the warm-up failed: ${warm.failures[0] ?? 'the projectors do not get everything'}`)
  }

  for (const [i, level] of levels.entries()) {
    const prefix = `l${i}${Date.now().toString(36)}`
    say(`${level.wallets} wallets, ${level.operations} operations, ${level.workers} workers${level.faults ? ', with faults' : ''}`)
    const expected = new Map<string, bigint>()
    const faults = level.faults ? new Faults(at, { publisher, projector: ledger }, level.operations, say) : undefined
    const watch = new Watch(at.dsn)
    const deadBefore = await deadLetterEnds(at.brokers)
    const cost = costs()
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
    const processor = cost()
    // Recovery is seen by looks that come after it.
    if (faults) await sleep(2 * maxLag + 500)
    await watch.stop()
    const { checks, appended } = await verify(at.dsn, at.brokers, expected, prefix, deadBefore)
    const hops = await Hops.read(at.dsn, prefix, at.kafka ? appended : new Map())
    checks.unshift(
      {
        what: 'failures',
        ok: run.failures.length === 0,
        detail: `${run.failures.length}${run.failures[0] === undefined ? '' : `: ${run.failures[0]}`}`,
      },
      {
        what: 'projectors behind the last answer',
        ok: caughtUp * 1000 < maxLag || (level.faults && Number.isFinite(caughtUp)),
        detail: `${caughtUp.toFixed(2)} s`,
      },
      // Too few events for a 99th percentile come before the last level.
      ...(i === levels.length - 1 ? lagChecks(hops, watch, faults?.happened ?? []) : []),
    )
    if (i === levels.length - 1) checks.push(await rebuilt(at.dsn, more => add('rebuild', 'read-model', more)))
    show(level, run, checks, [...hops.lines(), `  processor time ${processor}`])
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

function show(level: Level, run: Awaited<ReturnType<typeof load>>, checks: readonly Check[], hops: readonly string[]): void {
  const sorted = run.latencies.toSorted((a, b) => a - b)
  const quantile = (q: number): string => (sorted[Math.floor(sorted.length * q)] ?? 0).toFixed(0)
  const total = [...checks].every(c => c.ok) ? 'all right' : 'NOT RIGHT'
  const lines = [
    `${level.wallets} wallets × ${level.operations} operations, ${level.workers} workers: ${total}`,
    `  ${Math.round(run.done / run.seconds)} operations/s for ${run.seconds.toFixed(1)} s, answered in p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms, ${run.retries} tried again`,
    ...checks.map(c => `  ${c.ok ? 'ok    ' : 'FAILED'}  ${c.what.padEnd(36)} ${c.detail}`),
    ...hops,
  ]
  console.log(lines.join('\n'))
}

/** Of `/health/kafka/stats`. */
interface Stats {
  readonly publisher: { readonly leases: number }
}

/** @throws {Error} when there is no answer that is `good` within 30 s. */
async function reachable(url: string, good: (body: Stats | undefined) => boolean): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const body = await fetch(url).then(
      answer => answer.json().catch(() => undefined) as Promise<Stats | undefined>,
      () => null,
    )
    if (body !== null && good(body)) return
    await sleep(100)
  }
  throw new Error(`${url} does not answer as it should after 30 s:\n${fleet.map(each => each.tail()).join('\n')}`)
}

/** With faults: what lies outside of each fault and the recovery from it has to be as without any, and the recovery has an end. */
function lagChecks(hops: Hops, watch: Watch, faults: readonly { name: string; from: number; to: number }[]): Check[] {
  const spans = faults.map(({ name, from, to }) => ({ name, from, back: to, to: watch.below(maxLag, to) }))
  const lag = hops.lag(spans)
  const readModel = watch.readModel(spans)
  const outside = spans.length === 0 ? '' : `; ${lag.events} of ${lag.of} events`
  return [
    ...spans.map(({ name, from, back, to }) => ({
      what: `fault: ${name.split(':')[0]}`,
      ok: to - back < maxRecovery,
      detail: `${((back - from) / 1000).toFixed(1)} s away, lag below ${maxLag} ms again ${((to - back) / 1000).toFixed(1)} s later`,
    })),
    {
      what: `lag, operation to ledger${spans.length === 0 ? '' : ', else'}`,
      ok: lag.p99 < maxLag && (lag.events > 0 || spans.length > 0),
      detail: `${text(lag)}${outside}`,
    },
    {
      what: `lag, read model${spans.length === 0 ? '' : ', else'}`,
      ok: readModel.p99 < maxLag,
      detail: `${text(readModel)}, oldest missing event 5 times a second`,
    },
    ...(spans.length === 0 ? [] : [{ what: 'lag, faults included', ok: true, detail: text(hops.lag()) }]),
  ]
}

/** @returns the processor time that all processes have used since then; that of external servers is unknown. */
function costs(): () => string {
  const of = (): [string, number][] => [
    ['load', process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000],
    ...fleet.map(each => [each.name, costOf(each.pid).cpuMs] as [string, number]),
    ...(at.postgres ? [['PostgreSQL', costOf(at.postgres.pid).cpuMs] as [string, number]] : []),
    ...(at.kafka ? [['Kafka', costOf(at.kafka.pid).cpuMs] as [string, number]] : []),
  ]
  const before = new Map(of())
  // A killed process starts from the beginning.
  return () =>
    of()
      .map(([name, ms]) => `${name} ${Math.max(0, (ms - before.get(name)!) / 1000).toFixed(1)} s`)
      .join(', ')
}
