/** Bars from ticks into Kafka and on into Redis, and the check that both have the same. */
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { brokers, consumeAll, createTopic, produce, unique } from '../support/kafka.ts'
import { cli, encode, raw, redisUrl } from '../support/redis.ts'
import { runRunner, tempDir } from '../support/runner.ts'

const file = (flow: string): string => fileURLToPath(new URL(`../../pipelines/${flow}.yaml`, import.meta.url))
const BARS = Number(process.env.RECONCILE_BARS ?? 10_000)
const bar = (n: number) => ({
  symbol: 'BTCUSDT',
  interval: '1m',
  start: n * 60_000,
  end: (n + 1) * 60_000,
  open: 100 + n,
  high: 101 + n,
  low: 99.5,
  close: `${100.1 + n}`,
  volume: n / 10,
  vwap: 100.123456789,
  count: 3,
})

const run = (env: Record<string, string>, ...flags: string[]) =>
  runRunner(['run', file('bars-reconcile'), '--json', ...flags], {
    env: { KAFKA_BROKERS: brokers(), REDIS_URL: redisUrl(), ...env },
    timeoutMs: 90_000,
  })
const redisPort = Number(new URL(redisUrl()).port)
const fill = async (key: string, type: string, bars: readonly { start: number }[]) => {
  const command = (b: { start: number }): string[] => {
    const value = JSON.stringify(b)
    return type === 'zset'
      ? ['ZADD', key, String(b.start), value]
      : type === 'hash'
        ? ['HSET', key, String(b.start), value]
        : ['RPUSH', key, value]
  }
  await raw(redisPort, Buffer.concat(bars.map(b => encode(command(b)))), bars.length)
}

describe(`${BARS} bars`, () => {
  test.each([
    [9, 0, 'zset'],
    [11, 4, 'hash'],
    [11, 4, 'list'],
  ])(
    'with %i faults end with %i (%s); each is named by bar and field',
    async (faults, code, type) => {
      const topic = await createTopic(unique('bars'), { partitions: 2 })
      const key = unique('bars')
      const left = Array.from({ length: BARS }, (_, n) => bar(n))
      const right = left.map(b => ({ ...b }))
      const expected: object[] = []
      for (let i = 0; i < faults; i++) {
        const n = 11 + i * Math.floor(BARS / 12)
        const subject = String(n * 60_000)
        if (i % 2 === 0) {
          right[n].close = '0.5'
          expected.push({ subject, problem: 'close differs', details: { left: left[n].close, right: '0.5' } })
        } else {
          right[n].start = -1
          expected.push({ subject, problem: 'missing in redis' })
        }
      }
      await produce(
        topic,
        left.map(b => ({ key: 'BTCUSDT', value: JSON.stringify(b) })),
      )
      await fill(
        key,
        type,
        right.filter(b => b.start >= 0),
      )
      const result = await run({ BARS_TOPIC: topic, REDIS_BARS_KEY: key, WINDOW_BARS: String(BARS) })
      const { reports } = JSON.parse(result.stdout) as { reports: { summary: object; findings: object[] }[] }
      expect(reports[0].findings).toEqual(expected)
      expect(reports[0].summary).toMatchObject({ compared: BARS, equal: BARS - faults })
      expect(result.code).toBe(code)
    },
    120_000,
  )
})

test('the second run with one state folder compares as much as the first', async () => {
  const topic = await createTopic(unique('bars'))
  const key = unique('bars')
  const bars = Array.from({ length: 50 }, (_, n) => bar(n))
  await produce(
    topic,
    bars.map(b => ({ key: 'BTCUSDT', value: JSON.stringify(b) })),
  )
  await fill(key, 'zset', bars)
  const env = { BARS_TOPIC: topic, REDIS_BARS_KEY: key, RUNNER_STATE_DIR: tempDir() }
  for (const n of [1, 2]) {
    const { code, stdout } = await run(env)
    expect({ n, code, ...JSON.parse(stdout).reports[0].summary }).toMatchObject({ n, code: 0, parity: '100 %', compared: 50 })
  }
})

test('from ticks to parity: bars, bars-to-redis, bars-reconcile', async () => {
  const id = unique('parity')
  const env = {
    KAFKA_BROKERS: brokers(),
    REDIS_URL: redisUrl(),
    TICKS_TOPIC: await createTopic(`${id}.ticks`),
    BARS_TOPIC: await createTopic(`${id}.bars`),
    KAFKA_DLQ_TOPIC: await createTopic(`${id}.dlq`),
    REDIS_BARS_KEY: `${id}:bars`,
    KAFKA_GROUP: id,
  }
  const ticks = Array.from({ length: 3000 }, (_, i) => ({
    symbol: 'BTCUSDT',
    price: 100 + (i % 17) / 10,
    volume: 0.1,
    ts: 1_700_000_000_000 + i * 10_000,
  }))
  await produce(
    env.TICKS_TOPIC,
    ticks.map(t => ({ key: t.symbol, value: JSON.stringify(t), time: t.ts })),
  )
  for (const flow of ['bars', 'bars-to-redis']) {
    const result = await runRunner(['run', file(flow), '--until-idle', '3s'], { env })
    expect(`${flow} ${result.code}`).toBe(`${flow} 0`)
  }
  const bars = await consumeAll(env.BARS_TOPIC)
  expect(bars.length).toBeGreaterThan(490)
  expect(Number(await cli(['ZCARD', env.REDIS_BARS_KEY]))).toBe(bars.length)
  const parity = await run(env)
  expect(parity.code).toBe(0)
  expect(JSON.parse(parity.stdout)).toMatchObject({ ok: true, reports: [{ summary: { parity: '100 %', compared: bars.length } }] })
  // A bar that Redis lost is one in hundreds: below 99.9 %.
  await cli(['ZREMRANGEBYRANK', env.REDIS_BARS_KEY, '5', '5'])
  expect((await run(env)).code).toBe(4)
})

test('a missing topic is an environment error, not a failed parity', async () => {
  const result = await run({ BARS_TOPIC: unique('nothing') })
  expect(result.code).toBe(3)
  expect(result.stderr).toContain('does not exist')
})
