/** `npm run bench -- outbox`: the outbox publisher beside Debezium, on the same PostgreSQL, the same broker and the same rows. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { guard } from '../../test/support/servers/guard.ts'
import { startKafka } from '../../test/support/servers/kafka.ts'
import { startPostgres, type PostgresServer } from '../../test/support/servers/postgres.ts'
import { command, oneOf, whole, wholes } from '../lib/options.ts'
import { costOf } from '../lib/proc.ts'
import { type Publisher, publishers } from './contenders.ts'
import { burst, prepare, steady } from './feed.ts'
import { Reader } from './reader.ts'
import { saveOutbox } from '../report/save.ts'
import { type OutboxResults, type OutboxRow, type Step, terminal } from './report.ts'

interface Flags {
  only?: string[]
  seconds: number
  rates: number[]
  burst: number
  save: boolean
}

const NAMES = publishers.map(p => p.id)
const {
  only,
  seconds,
  rates,
  burst: burstRows,
  save,
} = command('npm run bench -- outbox', 'The outbox publisher beside Debezium.')
  .option('--only <names>', `of ${NAMES.join(', ')}`, oneOf(NAMES))
  .option('--seconds <n>', 'of each steady rate', whole, 20)
  .option('--rates <n,n>', 'rows a second', wholes, [2000, 5000])
  .option('--burst <n>', 'rows', whole, 200_000)
  .option('--no-save', 'leave bench/results and docs alone (so does anything less than everyone)')
  .parse()
  .opts<Flags>()
const chosen = publishers.filter(p => only?.includes(p.id) ?? true)

const say = (line: string): void => console.error(line)
const broker = await startKafka({
  jvm: ['-Xmx1g', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
  properties: { 'broker.session.timeout.ms': 30_000 },
  say,
})
const server = await startPostgres({ settings: { wal_level: 'logical', shared_buffers: '256MB', max_wal_size: '4GB' } })
const rows: OutboxRow[] = []
const before = loadavg()[0]
try {
  for (const publisher of chosen) {
    try {
      await publisher.prepare?.()
      rows.push(await run(publisher, server))
    } catch (error) {
      say(`${publisher.name}: ${(error as Error).message}`)
      rows.push({
        id: publisher.id,
        name: publisher.name,
        kind: publisher.kind,
        steps: [],
        peakMb: 0,
        problem: (error as Error).message.split('\n')[0],
      })
    }
  }
} finally {
  await server.stop()
  await broker.stop()
}
const results: OutboxResults = { date: new Date().toISOString(), loadBefore: before, seconds, burst: burstRows, rows }
console.log(terminal(results))
if (save && only === undefined) {
  saveOutbox(results)
  say('written: bench/results/outbox.json, docs/bench/outbox.svg, docs/benchmarks.md')
}
if (rows.some(row => row.kind === 'ours' && row.problem !== undefined)) process.exitCode = 1

async function run(publisher: Publisher, postgres: PostgresServer): Promise<OutboxRow> {
  const dir = mkdtempSync(join(tmpdir(), 'bench-outbox-'))
  const name = publisher.id.replace('-', '_')
  const dsn = await postgres.database(name)
  const topic = `outbox-${publisher.id}`
  await prepare(dsn)
  await createTopic(topic)
  const { argv, env } = await publisher.command({ brokers: broker.brokers, dsn, topic, dir })
  const log = openSync(join(dir, 'log'), 'a')
  const child = spawn(argv[0], argv.slice(1), { cwd: dir, env: { ...process.env, ...env }, stdio: ['ignore', log, log] })
  closeSync(log)
  const watcher = guard(child.pid!)
  const reader = new Reader(broker.brokers, topic)
  let expected = 0
  const measured = async (what: string, work: () => Promise<number>): Promise<Step> => {
    const ours = costOf(child.pid!).cpuMs
    const db = costOf(postgres.pid).cpuMs
    reader.drain()
    const started = performance.now()
    const count = await work()
    const fed = performance.now()
    await reader.until((expected += count), 120_000)
    const wall = reader.lastAt - fed
    // What is left to do behind the last arrival (marks, commits) belongs to it.
    await sleep(500)
    const latencies = reader.drain().sort((a, b) => a - b)
    const step: Step = {
      what,
      rows: count,
      perSecond: what === 'burst' ? (count * 1000) / wall : (count * 1000) / (fed - started),
      p50: latencies[Math.floor(latencies.length * 0.5)],
      p99: latencies[Math.floor(latencies.length * 0.99)],
      cpuMicros: ((costOf(child.pid!).cpuMs - ours) * 1000) / count,
      postgresMicros: ((costOf(postgres.pid).cpuMs - db) * 1000) / count,
    }
    say(
      `${publisher.name}: ${what}: ${Math.round(step.perSecond)}/s, p50 ${step.p50.toFixed(0)} ms, p99 ${step.p99.toFixed(0)} ms, ${step.cpuMicros.toFixed(1)} µs (PostgreSQL ${step.postgresMicros.toFixed(1)} µs), ${costOf(child.pid!).rssMb.toFixed(0)} MB, load ${loadavg()[0].toFixed(1)}`,
    )
    return step
  }
  try {
    // Ready when the first row arrives; then as long again for the compilers.
    await ready(reader, dsn)
    expected = reader.count
    say(`${publisher.name}: ready, ${costOf(child.pid!).rssMb.toFixed(0)} MB`)
    expected += await steady(dsn, 2000, 10)
    await reader.until(expected, 60_000)
    const steps: Step[] = []
    for (const rate of rates) steps.push(await measured(`${rate}/s`, () => steady(dsn, rate, seconds)))
    steps.push(
      await measured('burst', async () => {
        await burst(dsn, burstRows)
        return burstRows
      }),
    )
    const { id, name: title, kind } = publisher
    return { id, name: title, kind, steps, peakMb: costOf(child.pid!).peakMb }
  } catch (error) {
    throw new Error(`${(error as Error).message}; the end of its log:\n${readFileSync(join(dir, 'log'), 'utf8').slice(-2000)}`)
  } finally {
    if (child.exitCode === null) {
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 8000)
      await gone
      clearTimeout(late)
    }
    await watcher.release()
    await reader.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** A connector sees only what is written after it is there: one row a second until one arrives. */
async function ready(reader: Reader, dsn: string): Promise<void> {
  for (let i = 0; i < 60 && reader.count === 0; i++) {
    await burst(dsn, 1)
    await sleep(1000)
  }
  if (reader.count === 0) throw new Error('nothing arrived within 60 s')
  await sleep(1000)
}

async function createTopic(topic: string): Promise<void> {
  const admin = new Kafka({ clientId: 'bench', brokers: [broker.brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 10, replicationFactor: 1 }], waitForLeaders: true })
  await admin.disconnect()
}
