/** Connections to Redis: TLS, credentials, sentinels, a cluster; and servers that disconnect, stall or reject. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import redisSource from '../../../src/connectors/redis/source.ts'
import redisSink from '../../../src/connectors/redis/sink.ts'
import { ReplyError } from '../../../src/connectors/redis/driver.ts'
import { ConnectionError, EnvironmentError, type CheckContext } from '../../../src/contract/plugin.ts'
import { encryptKey, makeCa, makeCertificate } from '../../support/certificates.ts'
import { cli } from '../../support/redis.ts'
import { type RedisServer, type RedisOptions, startRedis } from '../../support/servers/redis.ts'
import { driver, sinkConfig, sourceConfig } from './make.ts'
import { eventually } from '../../support/eventually.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})
async function redis(options: RedisOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options)
  cleanups.push(() => server.stop())
  return server
}
function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'redis-test-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}
const probeContext = {
  step: 'redis',
  role: 'source',
  pipeline: 'p',
  version: 1,
  log: console,
  signal: new AbortController().signal,
} as unknown as CheckContext

/** The payloads that come on channel `c`. */
async function subscribedTo(d: Awaited<ReturnType<typeof driver>>): Promise<string[]> {
  const got: string[] = []
  const subscription = await d.subscribe(['c'], {
    message: (_, payload) => got.push(payload.toString()),
    down: () => {},
    up: () => {},
    fatal: () => {},
  })
  cleanups.push(() => subscription.close())
  return got
}

test('credentials: a password, a user with few permissions; the check reports missing permissions', async () => {
  const server = await redis({
    args: [
      '--requirepass',
      'p@ss:1',
      '--user',
      'mirror',
      'on',
      '>geheim',
      '+ping',
      '+info',
      '+subscribe',
      '+psubscribe',
      '+acl|whoami',
      '+acl|dryrun',
      'allchannels',
    ],
  })
  await expect(driver({ url: server.url })).rejects.toThrow(EnvironmentError)
  await expect(driver({ url: server.url, password: 'no' })).rejects.toThrow(/WRONGPASS/)
  expect(await (await driver({ url: `redis://:p%40ss%3A1@127.0.0.1:${server.port}/3` })).run([['SET', 'k', 'v']])).toHaveLength(1)
  expect(await (await driver({ url: server.url, username: 'default', password: 'p@ss:1' })).run([['GET', 'k']])).toEqual([null])
  // Not somewhere else instead: neither where there is no such database, nor where it may not be chosen.
  await expect(driver({ url: `${server.url}/99`, password: 'p@ss:1' })).rejects.toThrow(/DB index is out of range/)
  await expect(driver({ url: `redis://mirror:geheim@127.0.0.1:${server.port}/3` })).rejects.toThrow(EnvironmentError)
  const few = { url: `redis://mirror:geheim@127.0.0.1:${server.port}` }
  expect(await redisSource.check!(sourceConfig({ ...few, patterns: ['a.*'] }), probeContext)).toEqual([
    expect.objectContaining({ ok: true, detail: 'answers' }),
    expect.objectContaining({ ok: true, detail: 'granted to user mirror' }),
  ])
  for (const login of [few, { url: server.url, password: 'p@ss:1' }]) {
    // The user with few permissions may not name its connection, and must still connect.
    const got = await subscribedTo(await driver(login))
    await (await driver({ url: server.url, password: 'p@ss:1' })).run([['PUBLISH', 'c', 'x']])
    await eventually(() => expect(got).toEqual(['x']))
  }
  const [, rights] = await redisSink.check!(sinkConfig({ ...few, list: 'l' }), probeContext)
  expect(rights).toMatchObject({ ok: false, detail: expect.stringContaining('no permissions to run') })
  const [denied] = await (await driver(few)).run([['RPUSH', 'l', 'x']])
  expect((denied as ReplyError).kind).toBe('NOPERM')
  expect(await redisSource.check!(sourceConfig({ url: server.url, patterns: ['a'] }), probeContext)).toEqual([
    expect.objectContaining({ ok: false, fix: expect.stringContaining('REDIS_PASSWORD') }),
  ])
})

test('TLS: connects with the CA, and reports the reason without it', async () => {
  const dir = tempDir()
  makeCa(dir)
  makeCertificate(dir, 'server', 'subjectAltName=IP:127.0.0.1')
  const file = (name: string): string => join(dir, name)
  const server = await redis({
    ping: false,
    args: [
      '--tls-port',
      'here',
      '--tls-cert-file',
      file('server.pem'),
      '--tls-key-file',
      file('server.key'),
      '--tls-ca-cert-file',
      file('ca.pem'),
    ],
  })
  const url = `rediss://127.0.0.1:${server.port}`
  const mutual = { tls_ca: file('ca.pem'), tls_cert: file('server.pem'), tls_key: file('server.key') }
  expect(String((await (await driver({ url, ...mutual })).run([['PING']]))[0])).toBe('PONG')
  const got = await subscribedTo(await driver({ url, ...mutual }))
  await (await driver({ url, ...mutual })).run(Array.from({ length: 100 }, (_, i) => ['PUBLISH', 'c', 'x'.repeat(i * 1000)] as const))
  await eventually(() => expect(got.map(g => g.length)).toEqual(Array.from({ length: 100 }, (_, i) => i * 1000)))
  await expect(driver({ url, tls_cert: mutual.tls_cert, tls_key: mutual.tls_key })).rejects.toThrow(
    /not signed by a trusted CA .*; set tls_ca/,
  )
  encryptKey(dir, 'server', 'hunter2')
  const locked = { ...mutual, tls_key: file('server.encrypted.key') }
  expect(String((await (await driver({ url, ...locked, tls_key_password: 'hunter2' })).run([['PING']]))[0])).toBe('PONG')
  await expect(driver({ url, ...locked })).rejects.toThrow(/is encrypted: set tls_key_password/)
  await expect(driver({ url, ...mutual, tls_ca: file('none.pem') })).rejects.toThrow(/cannot read tls_ca/)
})

test('sentinels: the master is found, and found again after a failover', async () => {
  const master = await redis()
  const replica = await redis({ args: ['--replicaof', '127.0.0.1', String(master.port)] })
  const dir = tempDir()
  writeFileSync(
    join(dir, 'sentinel.conf'),
    `sentinel monitor mymaster 127.0.0.1 ${master.port} 1\nsentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 5000\n`,
  )
  const sentinel = await redis({ config: join(dir, 'sentinel.conf'), args: ['--sentinel'] })
  await eventually(async () => expect(await cli(['INFO', 'replication'], master.url)).toContain('state=online'))
  await eventually(async () => expect(await cli(['SENTINEL', 'replicas', 'mymaster'], sentinel.url)).toContain(String(replica.port)), {
    interval: 200,
  })
  const d = await driver({ url: `redis+sentinel://127.0.0.1:${sentinel.port}/mymaster/0` })
  await d.run([['SET', 'k', '1']])
  const got: string[] = []
  const events: string[] = []
  const subscription = await d.subscribe(['c'], {
    message: (_, payload) => got.push(payload.toString()),
    down: () => events.push('down'),
    up: () => events.push('up'),
    fatal: error => events.push(error.message),
  })
  cleanups.push(() => subscription.close())
  await master.kill()
  await eventually(async () => expect((await d.run([['SET', 'k', '2']]))[0]).not.toBeInstanceOf(ReplyError), { interval: 200 })
  expect(await cli(['GET', 'k'], replica.url)).toBe('2')
  await eventually(() => expect(events).toEqual(['down', 'up']))
  await cli(['PUBLISH', 'c', 'x'], replica.url)
  await eventually(() => expect(got).toEqual(['x']))
})

test('a cluster: commands go to the slots of their keys, subscriptions to any node', async () => {
  const server = await redis({ args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] })
  await cli(['CLUSTER', 'ADDSLOTSRANGE', 0, 16_383], server.url)
  await eventually(async () => expect(await cli(['CLUSTER', 'INFO'], server.url)).toContain('cluster_state:ok'))
  const d = await driver({ url: `redis+cluster://127.0.0.1:${server.port}` })
  const keys = Array.from({ length: 50 }, (_, i) => `key${i}`)
  await d.run(keys.map(k => ['SET', k, k] as const))
  expect((await d.run(keys.map(k => ['GET', k] as const))).map(String)).toEqual(keys)
  expect(
    await d.run(
      [
        ['ZADD', 'z', 1, 'a'],
        ['ZADD', 'z', 2, 'b'],
      ],
      { atomic: true },
    ),
  ).toEqual([1, 1])
  const got: string[] = []
  const subscription = await d.subscribe(['c*'], {
    message: (c, p) => got.push(`${c.toString()}=${p.toString()}`),
    down: () => {},
    up: () => {},
    fatal: () => {},
  })
  await d.run([['PUBLISH', 'c1', 'x']])
  await eventually(() => expect(got).toEqual(['c1=x']))
  await subscription.close()
})

test('a server that goes down and recovers: errors are retryable, then commands succeed', async () => {
  const server = await redis()
  const d = await driver({ url: server.url })
  await server.kill()
  await expect(d.run([['SET', 'k', 'v']])).rejects.toThrow(ConnectionError)
  expect(d.healthy()).not.toBe(true)
  await server.restart()
  await eventually(async () => expect(await d.run([['SET', 'k', 'v']])).toHaveLength(1))
  expect(d.healthy()).toBe(true)
  await expect(driver({ url: 'redis://127.0.0.1:1' })).rejects.toThrow(ConnectionError)
})
