/** Two processes of one identity that share the entries of a Redis stream, or the rows of an outbox. */
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { schema } from '../connectors/postgres/outbox/make.ts'
import { eventually } from '../support/eventually.ts'
import { database, sql } from '../support/postgres.ts'
import { cli, redisUrl } from '../support/redis.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { startRedis } from '../support/servers/redis.ts'
import { kafkaBackend } from './lib/backend.ts'
import { untilStatus } from './lib/http.ts'

const id = (): string => `shared-${randomBytes(4).toString('hex')}`

const use = (kind: 'server' | 'embedded') => {
  const name = id()
  const cwd = tempDir({
    'p.yaml': `
name: ${name}
sources: [{ redis: { streams: ["${name}:in"], group: "\${GROUP:-${name}}", consumer: "\${CONSUMER:-one}", batch_size: "\${BATCH:-100}" } }]
transforms: [{ map: { keep: true, fields: { tag: "\${TAG:-'a'}" } } }]
sinks: [{ redis: { stream: "${name}:\${OUT:-out}" } }]
metrics: { enabled: "\${METRICS:-false}", port: "\${PORT:-0}" }
`,
  })
  const url = kind === 'server' ? redisUrl() : `embedded:${join(cwd, 'redis.db')}`
  const options = (env: Record<string, string> = {}) => ({ cwd, env: { REDIS_URL: url, ...env } })
  return {
    name,
    start: async (env?: Record<string, string>) => {
      const [port] = await freePorts(1)
      const runner = startRunner(['run', 'p.yaml'], options({ METRICS: 'true', PORT: String(port), ...env }))
      await untilStatus(runner, port, '/ready', 200)
      return runner
    },
    run: (env?: Record<string, string>) => runRunner(['run', 'p.yaml', '--until-idle', '300ms'], options(env)),
  }
}

test.each(['server', 'embedded'] as const)(
  'redis stream: %s: a second process that does something else is refused; one that does the same, and one in another group, are not',
  async kind => {
    const w = use(kind)
    const first = await w.start()
    const refused = await w.run({ TAG: "'b'", CONSUMER: 'two' })
    expect(refused.stderr).toContain(`another process is running in group ${w.name}, with different settings`)
    // What a variable holds may be secret: its hash is shown.
    const hash = createHash('sha256').update("'b'").digest('hex').slice(0, 10)
    expect(refused.stderr).toContain(JSON.stringify(`transforms.map.fields: running {"tag":"'a'"}, here {"tag":"#${hash}"}`).slice(1, -1))
    expect(refused.code).toBe(3)
    expect((await w.run({ CONSUMER: 'two', BATCH: '50', OUT: 'out' })).code).toBe(0)
    expect((await w.run({ TAG: "'b'", GROUP: `${w.name}-2`, OUT: 'other' })).code).toBe(0)
    first.kill()
    await first.exit(0)
    // It has ended in order: nothing of it blocks the next one.
    expect((await w.run({ TAG: "'b'" })).code).toBe(0)
  },
)

test.concurrent('redis stream: a killed process blocks its successor only briefly', { timeout: 60_000 }, async () => {
  const w = use('server')
  const first = await w.start()
  first.kill('SIGKILL')
  await first.exited
  expect((await w.run({ TAG: "'b'" })).code).toBe(0)
})

test.concurrent('redis stream: a frozen process that was replaced by another does not continue', { timeout: 90_000 }, async () => {
  const name = id()
  const cwd = tempDir({
    'p.yaml': `
name: ${name}
sources: [{ redis: { streams: ["${name}:in"] } }]
sinks: [{ file: { path: "\${OUT}.jsonl" } }]
metrics: { enabled: false }
`,
  })
  const options = (OUT: string) => ({ cwd, env: { REDIS_URL: redisUrl(), OUT } })
  const key = `__runner:live:${name}:in:${name}`
  const first = startRunner(['run', 'p.yaml'], options('one'))
  await eventually(async () => expect(await cli(['HLEN', key])).toBe('1'))
  first.kill('SIGSTOP')
  const second = startRunner(['run', 'p.yaml'], options('two'))
  // While the second one checks whether the first is alive, the entries of both appear and disappear.
  await eventually(
    async () => {
      const entries = await cli(['HVALS', key])
      expect(entries).toContain('two.jsonl')
      expect(entries).not.toContain('one.jsonl')
    },
    { timeout: 60_000 },
  )
  first.kill('SIGCONT')
  expect((await first.exited).code).toBe(3)
  expect(first.stderr).toContain('with different settings')
  second.kill()
  await second.exit(0)
})

test('redis stream: without permission to write beside the stream, the pipeline runs and logs it', async () => {
  const server = await startRedis()
  try {
    const name = id()
    await cli(['ACL', 'SETUSER', 'limited', 'on', '>pw', `~${name}*`, '+@all'], server.url)
    const cwd = tempDir({
      'p.yaml': `
name: ${name}
sources: [{ redis: { streams: ["${name}:in"] } }]
sinks: [{ file: { path: out.jsonl } }]
metrics: { enabled: false }
`,
    })
    const url = server.url.replace('redis://', 'redis://limited:pw@')
    const { code, stderr } = await runRunner(['run', 'p.yaml', '--until-idle', '300ms'], { cwd, env: { REDIS_URL: url } })
    expect([code, stderr]).toEqual([0, expect.stringContaining('cannot be detected')])
  } finally {
    await server.stop()
  }
})

test('outbox: a publisher that does something else is refused; one that does the same shares the rows', { timeout: 90_000 }, async () => {
  const dsn = await database()
  await sql(dsn, schema)
  const backend = await kafkaBackend()
  const name = id()
  const cwd = tempDir({
    'p.yaml': `
name: ${name}
sources: [{ postgres_outbox: { table: outbox, buckets: 2, lease_interval: 100ms, lease: 3s, batch_size: "\${BATCH:-100}" } }]
transforms: [{ map: { keep: true, fields: { tag: "\${TAG:-'a'}" } } }]
sinks: [{ kafka: { topic: "\${TOPIC}" } }]
metrics: { enabled: false }
`,
  })
  try {
    const TOPIC = await backend.topic('out', 1)
    const options = (env: Record<string, string> = {}) => ({ cwd, env: { ...backend.env, PG_DSN_RW: dsn, TOPIC, ...env } })
    const publishers = async (): Promise<number> =>
      (await sql<{ n: number }>(dsn, `select count(distinct pid)::int n from pg_locks where locktype = 'advisory' and objid = 1000002`))[0]
        .n
    const first = startRunner(['run', 'p.yaml'], options())
    await eventually(async () => expect(await publishers()).toBe(1))
    const refused = await runRunner(['run', 'p.yaml', '--log-format', 'json'], options({ TAG: "'b'" }))
    expect(refused.stderr).toContain('another process is running in outbox outbox, with different settings')
    expect(refused.stderr).toContain('transforms.map.fields: running another value, here')
    expect(refused.stderr).not.toContain('sinks.kafka.topic')
    expect(refused.code).toBe(3)
    const second = startRunner(['run', 'p.yaml'], options({ BATCH: '50' }))
    await eventually(async () => expect(await publishers()).toBe(2))
    for (const runner of [first, second]) runner.kill()
    for (const runner of [first, second]) await runner.exit(0)
    // And two that start at the same time: exactly one of them runs.
    const both = ["'x'", "'y'"].map(TAG => startRunner(['run', 'p.yaml'], options({ TAG })))
    const stopped = await Promise.race(both.map(async runner => ({ runner, ...(await runner.exited) })))
    expect([stopped.code, stopped.runner.stderr]).toEqual([3, expect.stringContaining('with different settings')])
    await eventually(async () => expect(await publishers()).toBe(1))
    const other = both.find(r => r !== stopped.runner)!
    other.kill()
    await other.exit(0)
  } finally {
    await backend.close()
  }
})
