/** `pipelines/journal.yaml` from outside: dark by default, and what was answered with a 2xx is in the topic whatever happens. */
import { createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { cli, redisUrl } from '../support/redis.ts'
import { startRunner, tempDir, type Runner } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { unique } from '../support/unique.ts'
import { type Backend, kafkaBackend } from './lib/backend.ts'
import { get, metric, untilStatus } from './lib/http.ts'

const FILE = new URL('../../pipelines/journal.yaml', import.meta.url).pathname
/** Kills in the crash test. */
const KILLS = Number(process.env.JOURNAL_KILLS ?? 3)

const closing: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

interface Journal {
  readonly runner: Runner
  readonly url: string
  readonly metrics: number
}

async function journal(env: Record<string, string | undefined>, at?: { port: number; metrics: number; cwd: string }): Promise<Journal> {
  const [port, metrics] = at ? [at.port, at.metrics] : await freePorts(2)
  const runner = startRunner(['run', FILE], {
    cwd: at?.cwd ?? tempDir(),
    env: {
      JOURNAL_STREAM_ENABLED: 'false',
      ...env,
      JOURNAL_PORT: String(port),
      KAFKA_METRICS_ENABLED: 'true',
      KAFKA_METRICS_PORT: String(metrics),
    },
  })
  await untilStatus(runner, metrics, '/ready', 200)
  return { runner, url: `http://127.0.0.1:${port}/journal`, metrics }
}

const post = async (url: string, body: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: any }> => {
  const r = await fetch(url, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers })
  return { status: r.status, body: await r.json() }
}
const event = (n: number): object => ({ type: n % 2 ? 'score' : 'decision', symbol: `S${n % 5}`, ts: 1_700_000_000_000 + n, n })

describe('dark', () => {
  test('events are accepted and checked, nothing is written, and no broker is contacted', async () => {
    let connections = 0
    const broker: Server = createServer(socket => {
      connections++
      socket.destroy()
    })
    await new Promise<void>(resolve => broker.listen(0, '127.0.0.1', resolve))
    closing.push(() => new Promise(resolve => broker.close(resolve)))
    const { port } = broker.address() as { port: number }
    const { runner, url, metrics } = await journal({ KAFKA_BROKERS: `127.0.0.1:${port}`, USE_KAFKA_JOURNAL: undefined })
    expect(await post(url, [event(1), event(2)])).toEqual({ status: 200, body: { accepted: 2 } })
    expect(await post(url, [event(3), { type: 'trade' }])).toMatchObject({
      status: 422,
      body: { accepted: 1, rejected: [{ index: 1, step: 'validate' }] },
    })
    expect(await post(url, '{')).toMatchObject({ status: 400 })
    // Counted once it is committed.
    await eventually(async () => expect(metric((await get(metrics, '/metrics')).body, 'runner_step_messages_dead_total')).toBe(1))
    expect(metric((await get(metrics, '/metrics')).body, 'kafka_messages_published_total')).toBe(0)
    runner.kill('SIGTERM')
    await runner.exit(0)
    expect(connections).toBe(0)
    // The counter counts: with the switch on the same broker is tried.
    const lit = startRunner(['run', FILE], {
      env: {
        JOURNAL_STREAM_ENABLED: 'false',
        KAFKA_BROKERS: `127.0.0.1:${port}`,
        USE_KAFKA_JOURNAL: 'true',
        JOURNAL_PORT: String((await freePorts(1))[0]),
      },
    })
    await eventually(() => expect(connections).toBeGreaterThan(0))
    lit.kill('SIGKILL')
  })
})

describe('on kafka', () => {
  const use = async (): Promise<{ backend: Backend; topic: string; env: Record<string, string | undefined> }> => {
    const backend = await kafkaBackend()
    closing.push(() => backend.close())
    const topic = await backend.topic('journal', 2)
    const dead = await backend.topic('journal-dead')
    return { backend, topic, env: { ...backend.env, USE_KAFKA_JOURNAL: 'true', JOURNAL_TOPIC: topic, KAFKA_DLQ_TOPIC: dead } }
  }

  test('events are in the topic before the 2xx response, byte for byte, by symbol; invalid events are named and dead-lettered', async () => {
    const { backend, topic, env } = await use()
    const { runner, url } = await journal({ ...env, JOURNAL_TOKEN: 'secret' })
    expect((await post(url, event(1))).status).toBe(401)
    const auth = { authorization: 'Bearer secret' }
    const raw = '{"type":"score", "symbol":"A","ts":1,"score":0.70}'
    expect(await post(url, `[${raw},{"type":"score"}]`, auth)).toMatchObject({
      status: 422,
      body: { accepted: 1, rejected: [{ index: 1, code: 'data' }] },
    })
    expect((await backend.readAll(topic)).map(r => [String(r.key), String(r.value)])).toEqual([['A', raw]])
    expect((await backend.readAll(env.KAFKA_DLQ_TOPIC!)).map(r => String(r.value))).toEqual(['{"type":"score"}'])
    runner.kill('SIGTERM')
    await runner.exit(0)
  })

  test('entries of the Redis stream are journaled and acknowledged; invalid ones are dead-lettered, or counted without a DLQ', async () => {
    const { backend, topic, env } = await use()
    const stream = unique('journal-stream')
    const add = (payload: string): Promise<string> => cli(['XADD', stream, '*', 'payload', payload])
    const pending = async (): Promise<string> => (await cli(['XPENDING', stream, 'journal'])).split('\n')[0]
    const settings = { ...env, REDIS_URL: redisUrl(), JOURNAL_STREAM: stream, JOURNAL_STREAM_ENABLED: 'true' }
    const raw = '{"type":"decision", "symbol":"B","ts":2,"size":1.50}'
    await add(raw)
    await add('{')
    const lit = await journal(settings)
    await post(lit.url, event(1))
    await backend.waitFor(topic, 2)
    await backend.waitFor(env.KAFKA_DLQ_TOPIC!, 1)
    expect((await backend.readAll(topic)).map(r => String(r.value)).toSorted()).toEqual([JSON.stringify(event(1)), raw].toSorted())
    expect((await backend.readAll(env.KAFKA_DLQ_TOPIC!)).map(r => String(r.value))).toEqual(['{'])
    await eventually(async () => expect(await pending()).toBe('0'))
    lit.runner.kill('SIGTERM')
    await lit.runner.exit(0)
    const dark = await journal({ ...settings, USE_KAFKA_JOURNAL: 'false' })
    await add('{')
    await add(raw)
    await eventually(async () => expect(metric((await get(dark.metrics, '/metrics')).body, 'runner_step_messages_dead_total')).toBe(1))
    await eventually(async () => expect(await pending()).toBe('0'))
    dark.runner.kill('SIGTERM')
    await dark.runner.exit(0)
    expect(await backend.readAll(topic)).toHaveLength(2)
  })

  test(`kill -9 at any time, ${KILLS} times: every event with a 2xx response is in the topic`, async () => {
    const { backend, topic, env } = await use()
    const [port, metrics] = await freePorts(2)
    const at = { port, metrics, cwd: tempDir() }
    const url = `http://127.0.0.1:${port}/journal`
    const acked = new Set<number>()
    let next = 0
    let feeding = true
    const client = async (): Promise<void> => {
      while (feeding) {
        const n = next++
        const reply = await post(url, event(n)).catch(() => undefined)
        if (reply?.status === 200) acked.add(n)
        else await sleep(20)
      }
    }
    let { runner } = await journal(env, at)
    const clients = Promise.all(Array.from({ length: 16 }, client))
    for (let kill = 0; kill < KILLS; kill++) {
      const goal = acked.size + 100
      await eventually(() => expect(acked.size).toBeGreaterThan(goal), { interval: 5 })
      runner.kill('SIGKILL')
      await runner.exited
      ;({ runner } = await journal(env, at))
    }
    const goal = acked.size + 50
    await eventually(() => expect(acked.size).toBeGreaterThan(goal))
    // The last one is asked to stop under load: it answers what it took, and turns away the rest.
    runner.kill('SIGTERM')
    await runner.exit(0)
    feeding = false
    await clients
    const written = new Set((await backend.readAll(topic)).map(r => (JSON.parse(String(r.value)) as { n: number }).n))
    expect([...acked].filter(n => !written.has(n))).toEqual([])
    expect(acked.size).toBeGreaterThan(100 * KILLS)
  })
})
