/** The shipped bars-to-redis on a real Kafka and a real Redis. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { brokers, consumeAll, createTopic, produce } from '../support/kafka.ts'
import { cli } from '../support/redis.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { type RedisServer, startRedis } from '../support/servers/redis.ts'
import { unique } from '../support/unique.ts'
import { eventually } from '../support/eventually.ts'

const FLOW = new URL('../../pipelines/bars-to-redis.yaml', import.meta.url).pathname
const bar = (minute: number, close = 1): string =>
  `{"symbol":"BTCUSDT","start":${minute * 60_000},"end":${(minute + 1) * 60_000},"close":${close}.50}`

describe('bars-to-redis', () => {
  let redis: RedisServer
  let topic: string
  let dead: string
  let env: Record<string, string>
  let cwd: string

  beforeEach(async () => {
    redis = await startRedis()
    topic = await createTopic(unique('bars'))
    dead = await createTopic(unique('dead'))
    cwd = tempDir()
    env = { REDIS_URL: redis.url, KAFKA_BROKERS: brokers(), BARS_TOPIC: topic, KAFKA_GROUP: unique('g'), KAFKA_DLQ_TOPIC: dead }
  })
  afterEach(() => redis.stop())

  const members = async (): Promise<string[]> =>
    (await cli(['ZRANGE', 'bars:BTCUSDT:1m', 0, -1], redis.url)).split('\n').filter(l => l !== '')
  const args = ['run', FLOW, '--set', 'metrics.enabled=false']

  test('bars arrive byte for byte, one per window even if records repeat; invalid bars are dead-lettered', async () => {
    const bars = Array.from({ length: 3000 }, (_, n) => bar(n))
    await produce(
      topic,
      [...bars, '{"start":', '{"close":1}', ...bars.slice(1000, 1100)].map(value => ({ key: 'BTCUSDT', value })),
    )
    await produce(topic, [{ key: 'BTCUSDT', value: bar(5, 9) }])
    const { code, stderr } = await runRunner([...args, '--until-idle', '1s'], { env, cwd })
    expect(code, stderr).toBe(0)
    expect(await members()).toEqual(bars.with(5, bar(5, 9)))
    expect(await cli(['ZSCORE', 'bars:BTCUSDT:1m', bar(7)], redis.url)).toBe('420000')
    expect((await consumeAll(dead)).map(r => r.value!.toString()).toSorted()).toEqual(['{"close":1}', '{"start":'])
    // The whole topic once more: nothing changes.
    expect((await runRunner([...args, '--until-idle', '1s'], { env: { ...env, KAFKA_GROUP: unique('g') }, cwd })).code).toBe(0)
    expect(await members()).toEqual(bars.with(5, bar(5, 9)))
  })

  test('kill -9 in the middle, and an outage of Redis: every bar once', async () => {
    const bars = Array.from({ length: 30_000 }, (_, n) => bar(n))
    await produce(
      topic,
      bars.slice(0, 15_000).map(value => ({ value })),
    )
    const first = startRunner(args, { env, cwd })
    await eventually(async () => expect(Number(await cli(['ZCARD', 'bars:BTCUSDT:1m'], redis.url))).toBeGreaterThan(0), { interval: 10 })
    first.kill('SIGKILL')
    await first.exited
    const second = startRunner(args, { env, cwd })
    redis.pause()
    await produce(
      topic,
      bars.slice(15_000).map(value => ({ value })),
    )
    redis.resume()
    await cli(['CONFIG', 'SET', 'maxmemory', '1'], redis.url)
    await second.line('OOM')
    await cli(['CONFIG', 'SET', 'maxmemory', '0'], redis.url)
    await eventually(async () => expect(await cli(['ZCARD', 'bars:BTCUSDT:1m'], redis.url)).toBe('30000'))
    expect(await members()).toEqual(bars)
    second.kill('SIGTERM')
    await second.exit(0)
  })

  test('a key that a live system fills is not overwritten unless a setting allows it', async () => {
    await produce(topic, [{ value: bar(1) }])
    await cli(['ZADD', 'bars:BTCUSDT:1m', '60000', bar(1, 7)], redis.url)
    const refused = await runRunner([...args, '--until-idle', '1s'], { env, cwd })
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('was created by another program')])
    const check = await runRunner(['check', FLOW], { env, cwd })
    expect([check.code, check.stdout]).toEqual([3, expect.stringContaining('owner of key bars:BTCUSDT:1m')])
    expect(await members()).toEqual([bar(1, 7)])
    const told = await runRunner([...args, '--until-idle', '1s'], { env: { ...env, REDIS_BARS_FOREIGN_KEY: 'write' }, cwd })
    expect(told.code, told.stderr).toBe(0)
    expect(await members()).toEqual([bar(1)])
  })

  test('a key of another type, and a wrong password: exit code 3 and a fix', async () => {
    await produce(topic, [{ value: bar(1) }])
    await cli(['SET', 'bars:BTCUSDT:1m', 'x'], redis.url)
    const wrong = await runRunner([...args, '--until-idle', '1s'], { env: { ...env, REDIS_BARS_FOREIGN_KEY: 'write' }, cwd })
    expect([wrong.code, wrong.stderr]).toEqual([3, expect.stringContaining('the key has another type')])
    const check = await runRunner(['check', FLOW], { env, cwd })
    expect([check.code, check.stdout]).toEqual([3, expect.stringContaining('is a string, not a zset')])
    await cli(['CONFIG', 'SET', 'requirepass', 'right'], redis.url)
    const login = await runRunner([...args, '--until-idle', '1s'], {
      env: { ...env, REDIS_URL: redis.url.replace('//', '//nobody:geheim@') },
      cwd,
    })
    expect([login.code, login.stderr]).toEqual([3, expect.stringContaining('WRONGPASS')])
    expect(login.stdout + login.stderr).not.toContain('geheim')
  })
})
