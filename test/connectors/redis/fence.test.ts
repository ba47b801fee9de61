/** A former owner of a lane is fenced: the server rejects all its writes. */
import { expect, test } from 'vitest'
import redisSink from '../../../src/connectors/redis/sink.ts'
import { type BatchError, ConnectionError, FencedError, Message, type Sink } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { cli, redisUrl } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'
import { startProxy } from '../../support/tcp-proxy.ts'
import { unique } from '../../support/unique.ts'
import { sinkConfig } from './make.ts'

const lane = { id: 'in/0', source: 'in', topic: 'in', partition: 0, group: 'g' }
const context = { ...writeContext(), lane }

async function open(config: object, url = redisUrl()): Promise<Sink> {
  const sink = redisSink.create(sinkConfig({ url, ...config }), fakeContext('out'))
  await sink.open!(new AbortController().signal)
  return sink
}

const modes: [string, (key: string) => object, (key: string) => string[]][] = [
  ['string', key => ({ string: key, ttl: 60_000 }), key => ['GET', key]],
  ['hash', key => ({ hash: key, hash_field: 'id' }), key => ['HGETALL', key]],
  ['list', key => ({ list: key, max_length: 100 }), key => ['LRANGE', key, '0', '-1']],
  ['stream', key => ({ stream: key, max_length: 100 }), key => ['XRANGE', key, '-', '+']],
  ['sorted_set', key => ({ sorted_set: key, score: 'n', unique_score: true }), key => ['ZRANGE', key, '0', '-1']],
]

test.each(modes)('%s: only the latest claim can write', async (_, config, look) => {
  const key = unique('k')
  const [one, two] = [await open(config(key)), await open(config(key))]
  const write = (sink: Sink, n: number): Promise<void> => sink.write([new Message({ id: 'a', n }, 'a')], context)
  await one.claim!(lane)
  await write(one, 1)
  await two.claim!(lane)
  await write(two, 2)
  const there = await cli(look(key))
  expect(there).toContain('"n":2')
  await expect(write(one, 1)).rejects.toBeInstanceOf(FencedError)
  expect(await cli(look(key))).toBe(there)
  // Another lane is another's.
  await one.claim!({ ...lane, id: 'in/1' })
  await one.write([new Message({ id: 'a', n: 3 }, 'a')], { ...context, lane: { ...lane, id: 'in/1' } })
  await one.claim!(lane)
  await write(one, 4)
  await expect(write(two, 5)).rejects.toBeInstanceOf(FencedError)
  await Promise.all([one.close!(), two.close!()])
})

test.each(modes.flatMap(([mode, ...rest]) => [[mode, 'claimed', ...rest] as const, [mode, 'not claimed', ...rest] as const]))(
  '%s, %s: a write whose connection stalled is refused when it arrives after its repetition',
  async (_, claimed, config, look) => {
    const key = unique('k')
    const proxy = await startProxy(`127.0.0.1:${new URL(redisUrl()).port}`)
    try {
      const sink = await open(config(key), `redis://${proxy.address}`)
      const write = (n: number): Promise<void> => sink.write([new Message({ id: 'a', n }, 'a')], context)
      if (claimed === 'claimed') await sink.claim!(lane)
      await write(1)
      proxy.stall()
      const stalled = write(2).catch((error: Error) => error)
      await eventually(async () => expect(proxy.held.toString()).toContain('"n":2'))
      proxy.abandon()
      expect(await stalled).toBeInstanceOf(ConnectionError)
      await eventually(() => write(2))
      await write(3)
      const there = await cli(look(key))
      expect(proxy.connections).toBe(2)
      proxy.restore()
      // The server has executed the delayed command and closed the connection.
      await eventually(async () => expect(proxy.connections).toBe(1))
      expect(await cli(look(key))).toBe(there)
      await write(4)
      expect(await cli(look(key))).toContain('"n":4')
      await sink.close!()
    } finally {
      await proxy.stop()
    }
  },
)

test('processes that share a lane without a lease do not reject each other, and their tokens expire', async () => {
  const key = unique('k')
  const shared = { ...context, lane: { ...lane, id: unique('http') } }
  const sinks = [await open({ list: key }), await open({ list: key })]
  for (const n of [1, 2, 3, 4]) await sinks[n % 2].write([new Message({ n })], shared)
  expect((await cli(['LRANGE', key, '0', '-1'])).split('\n')).toEqual([1, 2, 3, 4].map(n => `{"n":${n}}`))
  const tokens = (await cli(['KEYS', `__runner:fence:*${shared.lane.id}*`])).split('\n')
  expect(tokens).toHaveLength(2)
  for (const token of tokens) expect(Number(await cli(['TTL', token]))).toBeGreaterThan(0)
  for (const sink of sinks) await sink.close!()
})

test('a user with access to only the keys of the sink writes, with one warning', async () => {
  const [key, user] = [unique('k'), unique('u')]
  await cli(['ACL', 'SETUSER', user, 'on', '>secret', `~${key}`, '+@all'])
  const url = Object.assign(new URL(redisUrl()), { username: user, password: 'secret' }).href
  const ctx = fakeContext('out')
  const sink = redisSink.create(sinkConfig({ url, string: key }), ctx)
  await sink.open!(new AbortController().signal)
  await sink.write([new Message({ n: 1 }, 'a')], context)
  await sink.claim!(lane)
  await sink.write([new Message({ n: 2 }, 'a')], context)
  await sink.close!()
  await cli(['ACL', 'DELUSER', user])
  expect(await cli(['GET', key])).toBe('{"n":2}')
  expect(ctx.warnings.filter(w => w.message.includes('not fenced'))).toHaveLength(1)
})

test('a delayed claim of a stalled connection changes no data after its retry', async () => {
  const key = unique('k')
  const proxy = await startProxy(`127.0.0.1:${new URL(redisUrl()).port}`)
  try {
    const sink = await open({ string: key }, `redis://${proxy.address}`)
    const other = { ...lane, id: unique('in') }
    proxy.stall('SET')
    const claiming = sink.claim!(other).catch((error: Error) => error)
    await eventually(async () => expect(proxy.held.toString()).toContain(other.id))
    proxy.abandon()
    expect(await claiming).toBeInstanceOf(ConnectionError)
    await eventually(async () => sink.claim!(other))
    await sink.write([new Message({ n: 1 }, 'a')], { ...context, lane: other })
    proxy.restore()
    await eventually(async () => expect(proxy.connections).toBe(1))
    await sink.write([new Message({ n: 2 }, 'a')], { ...context, lane: other })
    expect(await cli(['GET', key])).toContain('"n":2')
    await sink.close!()
  } finally {
    await proxy.stop()
  }
})

test('records that Redis rejects are named, as without a fence', async () => {
  const key = unique('k')
  await cli(['SET', `${key}:b`, 'a text'])
  const sink = await open({ list: `${key}:<id>` })
  await sink.claim!(lane)
  const messages = ['a', 'b', 'c'].map(id => new Message({ id }))
  const error = (await sink.write(messages, context).catch(e => e)) as BatchError
  expect([...error.failed.keys()]).toEqual([1])
  expect([await cli(['LLEN', `${key}:a`]), await cli(['LLEN', `${key}:c`])].map(Number)).toEqual([1, 1])
  await sink.close!()
})

test('a server that lost its data, and a user who may not run scripts, do not stop the writes', async () => {
  const key = unique('k')
  const sink = await open({ string: key })
  await sink.claim!(lane)
  for (const fence of (await cli(['KEYS', '__runner:fence:*'])).trim().split('\n')) await cli(['DEL', fence])
  await sink.write([new Message({ n: 1 })], context)
  await cli(['ACL', 'SETUSER', 'plain', 'on', '>secret', '~*', '&*', '+@all', '-@scripting'])
  const plain = await open({ string: key, username: 'plain', password: 'secret' })
  await plain.claim!(lane)
  await plain.write([new Message({ n: 2 })], context)
  expect(await cli(['GET', key])).toContain('"n":2')
  await cli(['ACL', 'DELUSER', 'plain'])
  await Promise.all([sink.close!(), plain.close!()])
})

test('a user that may not run scripts writes, with one warning', async () => {
  const key = unique('k')
  const user = unique('u')
  await cli(['ACL', 'SETUSER', user, 'on', '>secret', '~*', '&*', '+@all', '-eval'])
  const ctx = fakeContext('out')
  const url = Object.assign(new URL(redisUrl()), { username: user, password: 'secret' }).href
  const sink = redisSink.create(sinkConfig({ url, string: key, ttl: 60_000 }), ctx)
  await sink.open!(new AbortController().signal)
  for (const id of ['in/0', 'in/1']) await sink.claim!({ ...lane, id })
  await sink.write([new Message({ n: 1 }, 'a')], context)
  await sink.close!()
  await cli(['ACL', 'DELUSER', user])
  expect(await cli(['GET', key])).toContain('{"n":1}')
  expect(ctx.warnings.filter(w => w.level === 'warn' && w.message.includes('not fenced'))).toHaveLength(1)
})
