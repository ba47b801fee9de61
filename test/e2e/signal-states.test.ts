/**
 * A signal in each state in which the runner waits for something that does not come: the process ends although its peer never answers.
 * Where nothing is in flight, `shutdown_timeout` is 10 minutes, so only a stop that does not wait for it passes.
 */
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { brokers, createTopic, unique, withAdmin } from '../support/kafka.ts'
import { database, sql } from '../support/postgres.ts'
import { cli, redisUrl } from '../support/redis.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type Backend, embeddedBackend } from './lib/backend.ts'
import { untilStatus } from './lib/http.ts'

const closing: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function proxyTo(url: URL): Promise<TcpProxy> {
  const proxy = await startProxy(`${url.hostname}:${url.port}`)
  closing.push(() => proxy.stop())
  return proxy
}

/** A runner on an embedded log with one record in `in-1`. */
async function embedded(rest: string, files: Record<string, string> = {}): Promise<{ start(...args: string[]): Runner; log: Backend }> {
  const cwd = tempDir({ 'p.yaml': `name: p\nsources: [{ kafka: { topics: [in-1], group: g } }]\n${rest}`, ...files })
  const log = embeddedBackend(cwd)
  closing.push(() => log.close())
  await log.produce(await log.topic('in'), [{ value: '{"id":1}' }])
  return { start: (...args) => startRunner(['run', 'p.yaml', ...args], { cwd, env: log.env }), log }
}

/** Holds locks on these tables until the test file ends. */
async function lock(dsn: string, tables: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: dsn })
  client.on('error', () => {})
  await client.connect()
  closing.push(() => client.end())
  await client.query(`begin; lock table ${tables.join(', ')}`)
}

const waitsForLock = (dsn: string) =>
  expect
    .poll(() => sql(dsn, `select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`), {
      timeout: 60_000,
    })
    .toHaveLength(1)

describe('nothing is in flight: exit 0', () => {
  test('rebalancing: another member of the group is frozen', async () => {
    const group = unique('g')
    const file = `name: p
sources: [{ kafka: { topics: [${await createTopic(undefined, { partitions: 2 })}], group: ${group}, session_timeout: 5m } }]
sinks: [{ file: /dev/null }]
shutdown_timeout: 10m
`
    const start = () => startRunner(['run', 'p.yaml'], { cwd: tempDir({ 'p.yaml': file }), env: { KAFKA_BROKERS: brokers() } })
    const state = () => withAdmin(async admin => (await admin.describeGroups([group])).groups[0].state)
    const first = start()
    await expect.poll(state, { timeout: 60_000 }).toBe('Stable')
    first.kill('SIGSTOP')
    const second = start()
    await expect.poll(state, { timeout: 60_000 }).toBe('PreparingRebalance')
    second.kill('SIGTERM')
    await second.exit(0)
    expect(await state()).toBe('PreparingRebalance')
    first.kill('SIGKILL')
  })

  test('restoring: the checkpoint is locked by another transaction', async () => {
    const dsn = await database()
    await sql(dsn, 'create table t (id int primary key)')
    const { start } = await embedded(
      `sinks: [{ postgres: { dsn: "${dsn}", table: t, key: [id], columns: [id] } }]\ndelivery: exactly_once\nshutdown_timeout: 10m\n`,
    )
    await start('--until-idle', '10ms').exit(0)
    const made = await sql<{ name: string }>(
      dsn,
      `select tablename as name from pg_tables where schemaname = 'public' and tablename <> 't'`,
    )
    await lock(
      dsn,
      made.map(t => t.name),
    )
    const runner = start()
    await waitsForLock(dsn)
    runner.kill('SIGTERM')
    await runner.exit(0)
  })

  test('waiting for a lane: its owner is frozen', async () => {
    const { start, log } = await embedded('sinks: [{ file: /dev/null }]\nshutdown_timeout: 10m\n')
    const first = start()
    await expect.poll(() => log.members('g'), { timeout: 60_000 }).toEqual({ count: 1, stable: true })
    await log.freeze(first)
    const second = start()
    await expect.poll(async () => (await log.members('g')).count, { timeout: 60_000 }).toBe(2)
    second.kill('SIGTERM')
    await second.exit(0)
    first.kill('SIGKILL')
  })

  test('reading: the server accepts no more and answers no more', async () => {
    const proxy = await proxyTo(new URL(redisUrl()))
    const pattern = unique('c')
    const cwd = tempDir({
      'p.yaml': `name: p\nsources: [{ redis: { url: "redis://${proxy.address}", patterns: [${pattern}] } }]\nsinks: [{ file: /dev/null }]\nshutdown_timeout: 10m\n`,
    })
    const runner = startRunner(['run', 'p.yaml'], { cwd })
    await expect.poll(() => cli(['PUBSUB', 'NUMPAT']), { timeout: 60_000 }).not.toBe('0')
    proxy.freeze()
    runner.kill('SIGTERM')
    await runner.exit(0)
  })

  test.each([
    ['source', 'open', 'sources: [{ hang: {} }]\nsinks: [{ file: /dev/null }]'],
    ['sink', 'open', 'sources: [{ stdin: {} }]\nsinks: [{ hang: {} }]'],
    ['sink', 'close', 'sources: [{ trigger: {} }]\nsinks: [{ hang: {} }]'],
  ])('a plugin: %s whose %s never returns', async (kind, method, steps) => {
    const { runner, port } = await plugin(kind, method, steps, '10m')
    if (method === 'close') await untilStatus(runner, port, '/ready', 200)
    else await runner.line('hanging')
    runner.kill('SIGTERM')
    await runner.exit(0)
    expect(runner.stdout).toContain('hanging')
  })
})

test('as the first process of a container, where Linux drops signals without a handler: a plugin that is being loaded', async () => {
  const cwd = tempDir({
    'first.mjs': "Object.defineProperty(process, 'pid', { value: 1 })",
    'hang.js': "console.log('hanging')\nsetInterval(() => {}, 1000)\nawait new Promise(() => {})\n",
    'p.yaml': 'name: p\nplugins: [./hang.js]\nsources: [{ hang: {} }]\nsinks: [{ file: /dev/null }]\n',
  })
  const runner = startRunner(['run', 'p.yaml'], { cwd, env: { NODE_OPTIONS: '--import ./first.mjs' } })
  await runner.line('hanging')
  runner.kill('SIGTERM')
  // By its handler, not by the default action.
  expect(await runner.exited).toEqual({ code: 143, signal: null })
})

/** A pipeline with a plugin one of whose methods never returns. */
async function plugin(kind: string, method: string, steps: string, timeout: string): Promise<{ runner: Runner; port: number }> {
  const [port] = await freePorts(1)
  const hang = `() => { console.log('hanging'); setInterval(() => {}, 1000); return new Promise(() => {}) }`
  const methods = kind === 'source' ? 'read: () => new Promise(() => {})' : 'write: async () => {}'
  const traits = kind === 'source' ? 'replayable: false' : "onRedelivery: 'appends'"
  const cwd = tempDir({
    'hang.js': `export default {
  kind: '${kind}', type: 'hang', ${traits}, reason: 'a test',
  schema: { type: 'object', description: 'For tests.', additionalProperties: false, properties: {} },
  create: () => ({ ${methods}, ${method}: ${hang} }),
}`,
    'p.yaml': `name: p\nplugins: [./hang.js]\n${steps}\nshutdown_timeout: ${timeout}\nmetrics: { port: ${port} }\n`,
  })
  return { runner: startRunner(['run', 'p.yaml'], { cwd, openStdin: true }), port }
}

describe('records are in flight: exit 1 by shutdown_timeout', () => {
  test('retrying: the server of a sink is gone, and its next try is an hour away', async () => {
    const proxy = await proxyTo(new URL(redisUrl()))
    const { start, log } = await embedded(
      `sinks: [{ redis: { url: "redis://${proxy.address}", list: ${unique('l')} } }]\nretry: { initial_delay: 1h, max_delay: 1h }\nshutdown_timeout: 1s\n`,
    )
    const runner = start()
    await expect.poll(async () => (await log.committed('g', 'in-1')).get(0), { timeout: 60_000 }).toBe(1)
    proxy.cut()
    await log.produce('in-1', [{ value: '{"id":2}' }])
    await runner.line('trying again')
    runner.kill('SIGTERM')
    await runner.exit(1)
    expect(runner.stderr).toContain('not drained within shutdown_timeout')
  })

  test('a plugin: source whose read never returns and ignores its signal', async () => {
    const { runner } = await plugin('source', 'read', 'sources: [{ hang: {} }]\nsinks: [{ file: /dev/null }]', '1s')
    await runner.line('hanging')
    runner.kill('SIGTERM')
    await runner.exit(1)
    expect(runner.stderr).toContain('not drained within shutdown_timeout')
  })

  test('writing: the statement waits for a lock', async () => {
    const dsn = await database()
    await sql(dsn, 'create table t (id int primary key)')
    await lock(dsn, ['t'])
    const { start } = await embedded(`sinks: [{ postgres: { dsn: "${dsn}", table: t, key: [id], columns: [id] } }]\nshutdown_timeout: 1s\n`)
    const runner = start()
    await waitsForLock(dsn)
    runner.kill('SIGTERM')
    await runner.exit(1)
    expect(runner.stderr).toContain('not drained within shutdown_timeout')
  })
})
