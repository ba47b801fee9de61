/** Peers that accept and do not answer: frozen servers under running pipelines. `/ready` names the step; output resumes soon after. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { schema } from '../connectors/postgres/outbox/make.ts'
import { eventually } from '../support/eventually.ts'
import { consumeAll, createTopic, produce } from '../support/kafka.ts'
import { sql } from '../support/postgres.ts'
import { cli } from '../support/redis.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { type KafkaServer, startKafka } from '../support/servers/kafka.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type PostgresServer, startPostgres } from '../support/servers/postgres.ts'
import { type RedisServer, startRedis } from '../support/servers/redis.ts'

let kafka: KafkaServer
let postgres: PostgresServer
let redis: RedisServer
let dsn: string
let port: number
let runner: Runner
let n = 0

const FILES = {
  'to-redis.yaml': `
name: to-redis
sources: [{ kafka: { topics: [in] } }]
sinks: [{ redis: { string: "v:<@key>" } }]
metrics: { port: "\${PORT}" }
`,
  'to-postgres.yaml': `
name: to-postgres
sources: [{ kafka: { topics: [in] } }]
sinks: [{ postgres: { table: seen, columns: { n: n }, key: [n] } }]
delivery: exactly_once
metrics: { port: "\${PORT}" }
`,
  'outbox.yaml': `
name: outbox
sources: [{ postgres_outbox: { table: outbox, buckets: 2, poll_interval: 500ms } }]
sinks: [{ kafka: { topic: out } }]
delivery: exactly_once
metrics: { port: "\${PORT}" }
`,
}

interface Reason {
  readonly kind: string
  readonly name: string
  readonly reason: string
  readonly seconds: number
}

async function reasons(): Promise<string[]> {
  const { body } = await get(port, '/ready')
  const { pipelines } = JSON.parse(body) as { pipelines: { pipeline: string; reasons: Reason[] }[] }
  return pipelines.flatMap(p => p.reasons.map(r => `${p.pipeline}: ${r.kind} ${r.name}: ${r.reason}`))
}

/** A record for each pipeline. @returns waits until each has come out, and says how long that took, ms */
async function send({ kafkaUp = true, postgresUp = true } = {}): Promise<() => Promise<number>> {
  n++
  if (kafkaUp) await produce('in', [{ key: 'k', value: JSON.stringify({ n }) }], { brokers: kafka.brokers })
  if (postgresUp) await sql(dsn, `INSERT INTO outbox (aggregate_id, type, payload) VALUES ('a', 'Happened', '{"n":${n}}')`)
  return arrived
}

async function arrived(): Promise<number> {
  const from = performance.now()
  await eventually(
    async () => {
      expect(JSON.parse(await cli(['GET', 'v:k'], redis.url))).toEqual({ n })
      expect(await sql(dsn, `SELECT max(n) AS n FROM seen`)).toEqual([{ n }])
      expect(JSON.parse((await consumeAll('out', { brokers: kafka.brokers })).at(-1)!.value!.toString())).toEqual({ n })
    },
    { by: runner, timeout: 60_000 },
  )
  return performance.now() - from
}

/** For measurements. */
const say = (what: string, ms: number): void => {
  if (process.env.HANG_REPORT) process.stderr.write(`${what}: ${(ms / 1000).toFixed(1)} s\n`)
}

beforeAll(async () => {
  kafka = await startKafka()
  postgres = await startPostgres()
  redis = await startRedis()
  for (const topic of ['in', 'out']) await createTopic(topic, { brokers: kafka.brokers })
  dsn = await postgres.database('hang')
  await sql(dsn, `${schema}; CREATE TABLE seen (n int PRIMARY KEY)`)
  ;[port] = await freePorts(1)
  const dir = tempDir(FILES)
  const env = { PORT: String(port), KAFKA_BROKERS: kafka.brokers, PG_DSN_RW: dsn, REDIS_URL: redis.url }
  runner = startRunner(['run', ...Object.keys(FILES), '--log-format', 'json'], { cwd: dir, env })
  await untilStatus(runner, port, '/ready', 200)
  await (await send())()
}, 180_000)

afterAll(async () => {
  for (const server of [kafka, postgres, redis]) server?.resume()
  runner?.kill('SIGKILL')
  await Promise.all([kafka, postgres, redis].map(server => server?.stop()))
})

/** Frozen: not ready in time, with these reasons; awake: ready, and what was sent has come out. */
async function freeze(
  server: KafkaServer | PostgresServer | RedisServer,
  wanted: readonly RegExp[],
  up: Parameters<typeof send>[0],
): Promise<void> {
  server.pause()
  if (up) await send(up)
  say('not ready after', await untilStatus(runner, port, '/ready', 503, 15_000))
  await eventually(
    async () => {
      const found = await reasons()
      for (const pattern of wanted) expect(found.join('\n')).toMatch(pattern)
    },
    { by: runner, timeout: 15_000 },
  )
  server.resume()
  say('ready again after', await untilStatus(runner, port, '/ready', 200, 60_000))
  say('a new record takes', await (await send())())
}

test('a frozen Redis: the sink is named, its source is not', { timeout: 120_000 }, async () => {
  await freeze(redis, [/^to-redis: sink redis: /m], {})
  expect(runner.stderr).not.toMatch(/source kafka: peer unreachable/)
})

test('a frozen PostgreSQL: the sink and the outbox', { timeout: 120_000 }, async () => {
  await freeze(postgres, [/^to-postgres: sink postgres: /m, /^outbox: source postgres_outbox: /m], { postgresUp: false })
})

test('a frozen broker of an idle pipeline', { timeout: 120_000 }, async () => {
  await freeze(kafka, [/^to-redis: source kafka: /m, /^to-postgres: source kafka: /m], undefined)
})

test('a frozen broker that an outbox writes to', { timeout: 120_000 }, async () => {
  await freeze(kafka, [/^outbox: sink kafka: /m], { kafkaUp: false })
})

test('a broker that is killed and comes back: few lines of log, output soon after', { timeout: 180_000 }, async () => {
  const before = runner.stderr.length
  await kafka.kill()
  say('not ready after', await untilStatus(runner, port, '/ready', 503, 15_000))
  await new Promise(resolve => setTimeout(resolve, 20_000))
  const lines = runner.stderr.slice(before).split('\n').length
  if (process.env.HANG_REPORT) process.stderr.write(`${lines} lines:\n${runner.stderr.slice(before)}\n`)
  // Three pipelines, each with several connections; without counting there are hundreds.
  expect(lines).toBeLessThan(60)
  await kafka.restart()
  const out = await send()
  say('output after', await out())
  await untilStatus(runner, port, '/ready', 200, 60_000)
})
