/** A publisher of an outbox is frozen, or cut off without a FIN, for longer than its lease: another takes over, in order and each row once. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { untilStatus } from '../e2e/lib/http.ts'
import { schema } from '../connectors/postgres/outbox/make.ts'
import { eventually } from '../support/eventually.ts'
import { consumeAll, createTopic } from '../support/kafka.ts'
import { sql } from '../support/postgres.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { type KafkaServer, startKafka } from '../support/servers/kafka.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type PostgresServer, startPostgres } from '../support/servers/postgres.ts'
import { startProxy } from '../support/tcp-proxy.ts'

let kafka: KafkaServer
let postgres: PostgresServer

beforeAll(async () => {
  kafka = await startKafka()
  postgres = await startPostgres()
}, 180_000)
afterAll(async () => {
  await Promise.all([kafka?.stop(), postgres?.stop()])
})

const file = (delivery: string): string => `
name: outbox
sources: [{ postgres_outbox: { table: outbox, buckets: 2, poll_interval: 500ms, lease: 3s, lease_interval: 200ms } }]
sinks: [{ kafka: { topic: "\${TOPIC}" } }]
delivery: ${delivery}
metrics: { port: "\${PORT}" }
`

describe.each(['exactly_once', 'at_least_once'])('%s', delivery => {
  test.each(['frozen', 'vanished'])('a publisher that is %s', { timeout: 180_000 }, async how => {
    const name = `${delivery}-${how}`
    const topic = await createTopic(name, { brokers: kafka.brokers })
    const dsn = await postgres.database(name.replaceAll('-', '_'))
    await sql(dsn, schema)
    const proxy = await startProxy(`127.0.0.1:${postgres.port}`)
    const runners: Runner[] = []
    const start = async (through: string): Promise<Runner> => {
      const [port] = await freePorts(1)
      const env = { PORT: String(port), KAFKA_BROKERS: kafka.brokers, PG_DSN_RW: through, TOPIC: topic }
      const runner = startRunner(['run', 'outbox.yaml', '--log-format', 'json'], { cwd: tempDir({ 'outbox.yaml': file(delivery) }), env })
      runners.push(runner)
      await untilStatus(runner, port, '/ready', 200)
      return runner
    }
    let n = 0
    const insert = async (rows: number): Promise<void> => {
      const values = Array.from({ length: rows }, () => `('w${n % 5}', 'Happened', '{"n":${n++}}')`)
      await sql(dsn, `INSERT INTO outbox (aggregate_id, type, payload) VALUES ${values.join()}`)
    }
    const marked = (): Promise<void> =>
      eventually(
        async () => expect(await sql(dsn, 'SELECT count(*)::int AS n FROM outbox WHERE processed_at IS NULL')).toEqual([{ n: 0 }]),
        {
          timeout: 60_000,
        },
      )
    try {
      const one = await start(how === 'vanished' ? dsn.replace(String(postgres.port), String(proxy.port)) : dsn)
      await insert(50)
      await marked()
      if (how === 'vanished') proxy.freeze()
      else one.kill('SIGSTOP')
      await insert(50)
      const two = await start(dsn)
      // All rows of the other's buckets are published, although its connection was never closed.
      await marked()
      expect(two.stderr).toMatch(/silent for 3000 ms/)
      await insert(50)
      await marked()
      if (how === 'vanished') proxy.restore()
      else one.kill('SIGCONT')
      await insert(50)
      await marked()
      const numbers = (await consumeAll(topic, { brokers: kafka.brokers })).map(r => (JSON.parse(r.value!.toString()) as { n: number }).n)
      const first = [...new Set(numbers)]
      expect(first.toSorted((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i))
      for (let w = 0; w < 5; w++) expect(first.filter(x => x % 5 === w)).toEqual(first.filter(x => x % 5 === w).toSorted((a, b) => a - b))
      if (delivery === 'exactly_once') expect(numbers).toHaveLength(n)
    } finally {
      for (const runner of runners) {
        runner.kill('SIGCONT')
        runner.kill('SIGKILL')
      }
      await proxy.stop()
    }
  })
})
