/** The wall clock is set under a running pipeline (libfaketime), and the process is stopped and continued (SIGSTOP). */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { eventually } from '../support/eventually.ts'
import { brokers, committed, consumeAll, createTopic, produce, unique } from '../support/kafka.ts'
import { redisUrl } from '../support/redis.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

const LIBRARY = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1'].find(
  existsSync,
)

interface Started {
  readonly runner: Runner
  readonly port: number
  readonly OUT: string
  out(): Promise<{ n: number; start: number }[]>
  late(): Promise<number>
  setClock(seconds: number): void
}

/** One window a second. `source`: YAML of the source. */
async function windows(source: string, step: string, delivery: string, fake = false): Promise<Started> {
  const OUT = await createTopic(unique('out'))
  const [port] = await freePorts(1)
  const name = unique('time')
  const cwd = tempDir({
    'p.yaml': `
name: ${name}
sources: [${source}]
transforms: [{ window: { size: 1s, allowed_lateness: 0s, ${step}, aggregates: { n: { count: "*" } } } }]
sinks: [{ kafka: { brokers: "${brokers()}", topic: ${OUT} } }]
delivery: ${delivery}
commit_interval: 500ms
metrics: { port: ${port} }
`,
  })
  const file = join(cwd, 'clock')
  writeFileSync(file, '+0')
  const preload = fake
    ? { LD_PRELOAD: LIBRARY!, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' }
    : {}
  const runner = startRunner(['run', 'p.yaml', '--log-format', 'json'], { cwd, env: { ...preload, RUNNER_STATE_DIR: join(cwd, 'state') } })
  await untilStatus(runner, port, '/ready', 200)
  return {
    runner,
    port,
    OUT,
    out: async () => (await consumeAll(OUT)).map(r => JSON.parse(String(r.value))),
    async late() {
      const { body } = await get(port, '/metrics')
      return [...body.matchAll(/^runner_late_messages_total\{.*\} (\d+)$/gm)].reduce((n, m) => n + Number(m[1]), 0)
    },
    setClock: seconds => writeFileSync(file, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}`),
  }
}
const total = (results: { n: number }[]): number => results.reduce((sum, r) => sum + r.n, 0)

test.skipIf(LIBRARY === undefined)(
  'Kafka, exactly once: clock steps of an hour and of a day stall no commit, close no window early, and make no record late',
  async () => {
    const [IN, group] = [await createTopic(unique('in')), unique('g')]
    const w = await windows(
      `{ kafka: { brokers: "${brokers()}", topics: [${IN}], group: ${group} } }`,
      'idle_timeout: 0s',
      'exactly_once',
      true,
    )
    const T = 1_790_000_000_000
    let n = 0
    for (const seconds of [0, -3600, 0, 86_400, 0, -86_400, 3600, 0]) {
      w.setClock(seconds)
      await produce(
        IN,
        Array.from({ length: 5 }, () => ({ key: 'k', value: '{}', time: T + n++ * 200 })),
      )
      await eventually(async () => expect((await committed(group, IN)).get(0)).toBe(n), { by: w.runner, timeout: 30_000 })
      expect(await w.out()).toHaveLength(n / 5 - 1)
    }
    expect((await w.out()).every(r => r.n === 5)).toBe(true)
    expect(await w.late()).toBe(0)
    w.runner.kill()
    await w.runner.exit(0)
  },
)

test.skipIf(LIBRARY === undefined)('Pub/Sub, dated as it arrives: a clock a day ahead for two seconds poisons no watermark', async () => {
  const redis = new Redis(redisUrl())
  const channel = unique('ch')
  const w = await windows(
    `{ redis: { url: "${redisUrl()}", patterns: [${channel}] } }`,
    'idle_timeout: 1s, on_late: drop',
    'at_least_once',
    true,
  )
  const day = 86_400_000
  const send = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await redis.publish(channel, '{}')
  }
  try {
    await send(10)
    await eventually(async () => expect(total(await w.out())).toBe(10), { by: w.runner })
    w.setClock(86_400)
    await send(10)
    await sleep(2000)
    w.setClock(0)
    await send(10)
    await eventually(async () => expect(total(await w.out())).toBe(30), { by: w.runner, timeout: 30_000 })
    expect(await w.late()).toBe(0)
    for (const r of await w.out()) expect(Math.abs(r.start - Date.now())).toBeLessThan(day / 2)
    w.runner.kill()
    await w.runner.exit(0)
  } finally {
    redis.disconnect()
  }
})

test.each([
  ['stream', 'idle_timeout: 2s'],
  ['channel', 'idle_timeout: 2s, time: ts'],
])('Redis %s: a process that was stopped for 10 s processes its backlog by event time, and nothing is late', async (kind, step) => {
  const redis = new Redis(redisUrl())
  const key = unique('feed')
  const source = kind === 'stream' ? `streams: [${key}]` : `patterns: [${key}]`
  const w = await windows(`{ redis: { url: "${redisUrl()}", ${source} } }`, `${step}, on_late: drop`, 'at_least_once')
  const send = async (): Promise<void> => {
    const value = JSON.stringify({ ts: Date.now() })
    if (kind === 'stream') await redis.xadd(key, '*', 'value', value)
    else await redis.publish(key, value)
  }
  try {
    for (let i = 0; i < 10; i++) await send()
    await eventually(async () => expect(total(await w.out())).toBe(10), { by: w.runner })
    await send()
    w.runner.kill('SIGSTOP')
    for (let i = 0; i < 40; i++) {
      await send()
      await sleep(250)
    }
    w.runner.kill('SIGCONT')
    await eventually(async () => expect(total(await w.out())).toBe(51), { by: w.runner, timeout: 40_000 })
    expect(await w.late()).toBe(0)
    w.runner.kill()
    await w.runner.exit(0)
  } finally {
    redis.disconnect()
  }
})

test('Kafka with idle_timeout 1s and pauses of 2.2 s: nothing is late', async () => {
  // Dated by the broker: then no delay of this test makes a record late.
  const IN = await createTopic(unique('in'), { config: { 'message.timestamp.type': 'LogAppendTime' } })
  const w = await windows(
    `{ kafka: { brokers: "${brokers()}", topics: [${IN}], fetch_max_wait: 2s } }`,
    'idle_timeout: 1s, on_late: drop',
    'at_least_once',
  )
  for (let burst = 0; burst < 8; burst++) {
    for (let i = 0; i < 5; i++)
      await produce(
        IN,
        Array.from({ length: 5 }, () => ({ key: 'k', value: '{}' })),
      )
    await sleep(2200)
  }
  await eventually(async () => expect(total(await w.out())).toBe(200), { by: w.runner, timeout: 40_000 })
  expect(await w.late()).toBe(0)
  w.runner.kill()
  await w.runner.exit(0)
})
