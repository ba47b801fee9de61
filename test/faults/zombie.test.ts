/** An instance is frozen with a write on its way, loses its partition, and wakes: the newer value stays. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { untilStatus } from '../e2e/lib/http.ts'
import { eventually } from '../support/eventually.ts'
import { createTopic, produce } from '../support/kafka.ts'
import { sql } from '../support/postgres.ts'
import { cli } from '../support/redis.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { type KafkaServer, startKafka } from '../support/servers/kafka.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type PostgresServer, startPostgres } from '../support/servers/postgres.ts'
import { type RedisServer, startRedis } from '../support/servers/redis.ts'
import { startProxy } from '../support/tcp-proxy.ts'

let kafka: KafkaServer
let redis: RedisServer
let postgres: PostgresServer
let dsn: string

beforeAll(async () => {
  kafka = await startKafka()
  redis = await startRedis()
  postgres = await startPostgres()
  dsn = await postgres.database('zombie')
  await sql(dsn, 'CREATE TABLE kept (id text PRIMARY KEY, n int)')
}, 180_000)
afterAll(async () => {
  await Promise.all([kafka, redis, postgres].map(server => server?.stop()))
})

const SINKS = {
  redis: { sink: 'redis: { url: "${SINK}", string: "kept:<@key>" }', url: () => redis.url, port: () => redis.port },
  postgres: { sink: 'postgres: { dsn: "${SINK}", table: kept, columns: [id, n], key: [id] }', url: () => dsn, port: () => postgres.port },
}

describe.each(Object.keys(SINKS) as (keyof typeof SINKS)[])('%s', name => {
  test('the write of a zombie is refused', { timeout: 180_000 }, async () => {
    const { sink, url, port } = SINKS[name]
    const topic = await createTopic(`in-${name}`, { brokers: kafka.brokers })
    const file = `
name: zombie-${name}
sources: [{ kafka: { topics: [${topic}], session_timeout: 6s } }]
sinks: [{ ${sink} }]
metrics: { port: "\${PORT}" }
`
    const proxy = await startProxy(`127.0.0.1:${port()}`)
    const runners: Runner[] = []
    const start = async (to: string): Promise<Runner> => {
      const [metrics] = await freePorts(1)
      const env = { KAFKA_BROKERS: kafka.brokers, SINK: to, PORT: String(metrics) }
      const runner = startRunner(['run', 'z.yaml', '--log-format', 'json'], { cwd: tempDir({ 'z.yaml': file }), env })
      runners.push(runner)
      await untilStatus(runner, metrics, '/ready', 200)
      return runner
    }
    const send = (n: number): Promise<void> =>
      produce(topic, [{ key: 'k', value: JSON.stringify({ id: 'k', n }) }], { brokers: kafka.brokers })
    const value = async (): Promise<number> =>
      name === 'redis'
        ? ((JSON.parse((await cli(['GET', 'kept:k'], redis.url)) || '{}') as { n: number }).n ?? 0)
        : ((await sql<{ n: number }>(dsn, 'SELECT n FROM kept'))[0]?.n ?? 0)
    const until = (n: number): Promise<void> => eventually(async () => expect(await value()).toBe(n), { timeout: 60_000 })
    try {
      const through = url().replace(String(port()), String(proxy.port))
      const one = await start(through)
      await send(1)
      await until(1)
      // Its next write does not get through; it is frozen with that in its socket.
      proxy.stall()
      await send(2)
      // Redis has the whole write there; PostgreSQL waits for the answer to its BEGIN.
      await eventually(() => expect(proxy.held.toString('latin1')).toMatch(name === 'redis' ? '"n":2' : /BEGIN/i), { timeout: 30_000 })
      one.kill('SIGSTOP')
      const two = await start(through)
      await until(2)
      await send(3)
      await until(3)
      proxy.restore()
      one.kill('SIGCONT')
      await one.line(/session has expired|another instance|fenced/, 60_000)
      expect(await value()).toBe(3)
      await send(4)
      await until(4)
      await send(5)
      await until(5)
      expect(await value()).toBe(5)
      two.kill('SIGTERM')
      await two.exited
    } finally {
      for (const runner of runners) {
        runner.kill('SIGCONT')
        runner.kill('SIGKILL')
      }
      await proxy.stop()
    }
  })
})
