/**
 * The shipped ticks-mirror on a real Redis and a real Kafka: bursts complete and byte for byte, gaps counted. `CHANNELS=10000` for
 * the full size.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { brokers, consume, consumeAll, createTopic } from '../support/kafka.ts'
import { cli, raw } from '../support/redis.ts'
import { tempDir } from '../support/runner.ts'
import { startRedis, type RedisServer } from '../support/servers/redis.ts'
import { unique } from '../support/unique.ts'
import { burst, type Mirror, publishes, startMirror, subscribed } from './lib/redis-load.ts'
import { eventually } from '../support/eventually.ts'

const BURST = Number(process.env.BURST ?? 300_000)
const CHANNELS = Number(process.env.CHANNELS ?? 2000)
const SYMBOLS = ['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'XRP.PERP']

describe('ticks-mirror', () => {
  let redis: RedisServer
  let mirror: Mirror | undefined
  let prefix: string

  beforeEach(async () => {
    redis = await startRedis()
    prefix = unique('ticks')
  })
  afterEach(async () => {
    mirror?.runner.kill('SIGKILL')
    mirror = undefined
    await redis.stop()
  })

  const start = async (args: readonly string[] = [], file?: string): Promise<Mirror> => {
    mirror = await startMirror(redis.url, `${prefix}.*`, {
      env: { KAFKA_BROKERS: brokers(), KAFKA_DLQ_TOPIC: `${prefix}-dlq` },
      args,
      file,
    })
    return mirror
  }
  const tick = (symbol: string, n: number): string =>
    JSON.stringify({ symbol, price: 60_000 + n / 100, volume: 0.001, ts: 1_767_225_600_000 + n, note: 'é'.repeat(n % 20) })

  test(`a burst of ${BURST} publishes arrives complete, in order and byte for byte, in bounded memory`, async () => {
    const channels = new Map(
      SYMBOLS.map(symbol => [`${prefix}.${symbol}`, Array.from({ length: BURST / SYMBOLS.length }, (_, n) => tick(symbol, n))]),
    )
    for (const channel of channels.keys()) await createTopic(channel)
    const m = await start()
    const ms = await burst(redis.port, channels)
    for (const [channel, payloads] of channels) {
      const records = await consume(channel, payloads.length)
      expect(records.map(r => r.value!.toString())).toEqual(payloads)
      expect(new Set(records.map(r => r.key!.toString()))).toEqual(new Set([channel.slice(prefix.length + 1)]))
    }
    expect(await m.metric('redis_pubsub_gaps_total')).toBe(0)
    expect(await m.metric('runner_push_dropped_total')).toBe(0)
    const peak = m.peak()
    console.log(`${BURST} publishes in ${ms} ms; peak resident memory ${peak} MB`)
    expect(peak).toBeLessThan(500)
    await m.stop()
    expect(m.runner.stderr).not.toContain('warn')
    for (const [channel, payloads] of channels) expect(await consumeAll(channel)).toHaveLength(payloads.length)
  })

  test('a burst beyond the memory limit is spilled to disk, complete and in order', async () => {
    const channel = `${prefix}.BTCUSDT`
    const payloads = Array.from({ length: BURST / 2 }, (_, n) => tick('BTCUSDT', n))
    await createTopic(channel)
    const m = await start(['--set', 'sources[0].redis.queue={"max_bytes":"1MiB"}'])
    await burst(redis.port, new Map([[channel, payloads]]))
    expect((await consume(channel, payloads.length)).map(r => r.value!.toString())).toEqual(payloads)
    expect(await m.metric('runner_push_dropped_total')).toBe(0)
    await eventually(async () => expect(await m.metric('runner_push_spilled_bytes')).toBe(0))
    await m.stop()
  })

  test('bytes that are not text, an empty payload, and a channel that is not a topic name', async () => {
    await createTopic(`${prefix}.A`)
    await createTopic(`${prefix}-dlq`)
    const m = await start()
    const odd = [Buffer.from([0xff, 0, 10, 13]), Buffer.alloc(0), Buffer.from('{"a" : 1.0 }')]
    await raw(
      redis.port,
      Buffer.concat([
        publishes(`${prefix}.A`, odd.slice(0, 2)),
        publishes(`${prefix}.B/C`, ['refused']),
        publishes(`${prefix}.A`, odd.slice(2)),
      ]),
      4,
    )
    expect((await consume(`${prefix}.A`, 3)).map(r => r.value)).toEqual([
      odd[0],
      expect.toSatisfy((v: Buffer | null) => v === null || v.length === 0),
      odd[2],
    ])
    const [dead] = await consume(`${prefix}-dlq`, 1, { headers: true })
    expect([dead.key!.toString(), dead.value!.toString()]).toEqual(['B/C', 'refused'])
    expect(dead.headers).toContainEqual(['source_topic', `${prefix}.B/C`])
    await m.stop()
  })

  test('a connection that is killed: the gap is logged and counted once, and it subscribes again', async () => {
    await createTopic(`${prefix}.A`)
    const m = await start()
    await raw(redis.port, publishes(`${prefix}.A`, ['before']), 1)
    await consume(`${prefix}.A`, 1)
    await cli(['CLIENT', 'KILL', 'TYPE', 'pubsub'], redis.url)
    await m.runner.line('Pub/Sub gap: subscription lost')
    await subscribed(redis.url)
    await raw(redis.port, publishes(`${prefix}.A`, ['after']), 1)
    expect((await consume(`${prefix}.A`, 2)).map(r => r.value!.toString())).toEqual(['before', 'after'])
    expect(await m.metric('redis_pubsub_gaps_total')).toBe(1)
    expect(await m.metric('redis_pubsub_disconnected_seconds_total')).toBeGreaterThan(0)
    await m.stop()
    expect(m.runner.stderr.match(/Pub\/Sub gap: subscription lost/g)).toHaveLength(1)
  })

  test('a reader that Redis disconnects for falling behind: the gap is detected, and later messages arrive', async () => {
    await createTopic(`${prefix}.A`)
    const m = await start()
    await cli(['CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 256kb 0 0'], redis.url)
    process.kill(m.runner.pid, 'SIGSTOP')
    const large = Array.from({ length: 12_000 }, (_, n) => `${n}:${'x'.repeat(1000)}`)
    await burst(redis.port, new Map([[`${prefix}.A`, large]]))
    process.kill(m.runner.pid, 'SIGCONT')
    await m.runner.line('Pub/Sub gap: subscription lost')
    await subscribed(redis.url)
    await raw(redis.port, publishes(`${prefix}.A`, ['after']), 1)
    await eventually(async () => expect((await consumeAll(`${prefix}.A`)).at(-1)!.value!.toString()).toBe('after'))
    const got = (await consumeAll(`${prefix}.A`)).map(r => r.value!.toString())
    // What Redis had sent before it cut the connection is there, in order, from the first.
    expect(got.length).toBeLessThan(large.length)
    expect(got.slice(0, -1)).toEqual(large.slice(0, got.length - 1))
    expect(await m.metric('redis_pubsub_gaps_total')).toBe(1)
    await m.stop()
  })

  test('Redis restarted under load: the mirror subscribes again, counts the gap and keeps the order', async () => {
    await createTopic(`${prefix}.A`)
    const m = await start()
    let n = 0
    let going = true
    const load = (async () => {
      while (going) {
        const some = Array.from({ length: 200 }, () => String(n++))
        await raw(redis.port, publishes(`${prefix}.A`, some), some.length).catch(() => {})
        await new Promise(resolve => setTimeout(resolve, 10))
      }
    })()
    await consume(`${prefix}.A`, 1000)
    await redis.kill()
    await m.runner.line('Pub/Sub gap: subscription lost')
    await redis.restart()
    await subscribed(redis.url)
    const since = n
    await eventually(() => expect(n).toBeGreaterThan(since + 2000))
    going = false
    await load
    await raw(redis.port, publishes(`${prefix}.A`, ['end']), 1)
    await eventually(async () => expect((await consumeAll(`${prefix}.A`)).at(-1)!.value!.toString()).toBe('end'), { interval: 200 })
    const got = (await consumeAll(`${prefix}.A`)).slice(0, -1).map(r => Number(r.value))
    expect(got).toEqual([...new Set(got)].toSorted((a, b) => a - b))
    // Nothing is missing outside of the gap.
    const after = got.filter(i => i >= since + 400)
    expect(after).toEqual(Array.from({ length: n - after[0] }, (_, i) => after[0] + i))
    expect(await m.metric('redis_pubsub_gaps_total')).toBe(1)
    await m.stop()
  })

  test(`${CHANNELS} channels`, async () => {
    const topic = await createTopic(unique('all'), { partitions: 4 })
    const dir = tempDir({
      'all.yaml': `name: ${unique('all')}
sources: [{ redis: { patterns: ["${prefix}.*"], format: bytes } }]
sinks: [{ kafka: { topic: ${topic} } }]
`,
    })
    const m = await start([], `${dir}/all.yaml`)
    const commands = Array.from({ length: CHANNELS * 3 }, (_, i) => publishes(`${prefix}.S${i % CHANNELS}`, [`${i}`]))
    await raw(redis.port, Buffer.concat(commands), commands.length)
    const records = await consume(topic, commands.length)
    const of = new Map<string, number[]>()
    for (const r of records) of.set(r.key!.toString(), [...(of.get(r.key!.toString()) ?? []), Number(r.value)])
    expect(of.size).toBe(CHANNELS)
    for (const [key, values] of of) {
      const n = Number(key.slice(1))
      expect(values).toEqual([n, n + CHANNELS, n + 2 * CHANNELS])
    }
    await m.stop()
  })
})

test('with no server at all: other processes publish, the mirror writes to the embedded log', async () => {
  const cwd = tempDir({
    'publish.yaml': `name: publish
sources: [{ generate: { fields: { symbol: { choice: [A, B] }, n: { sequence: 0 } }, count: 100 } }]
sinks: [{ redis: { channel: "ticks.<symbol>" } }]
`,
    'show.yaml': `name: show
sources: [{ kafka: { topics: [ticks.A, ticks.B] } }]
sinks: [{ stdout: {} }]
`,
  })
  const env = { REDIS_URL: undefined, KAFKA_BROKERS: undefined, RUNNER_STATE_DIR: `${cwd}/state` }
  const { startRunner, runRunner } = await import('../support/runner.ts')
  const { freePorts } = await import('../support/servers/ports.ts')
  const { MIRROR } = await import('./lib/redis-load.ts')
  const { untilStatus } = await import('./lib/http.ts')
  const [port] = await freePorts(1)
  const mirror = startRunner(['run', MIRROR, '--set', 'metrics.enabled=true', '--set', `metrics.port=${port}`], { cwd, env })
  await untilStatus(mirror, port, '/ready', 200)
  expect((await runRunner(['run', 'publish.yaml', '--set', 'metrics.enabled=false'], { cwd, env })).code).toBe(0)
  await eventually(async () => {
    const { stdout, stderr } = await runRunner(
      ['run', 'show.yaml', '--set', `name=s${Date.now()}`, '--until-idle', '300ms', '--set', 'metrics.enabled=false'],
      { cwd, env },
    )
    expect(
      stdout.split('\n').filter(l => l !== ''),
      stderr,
    ).toHaveLength(100)
  })
  mirror.kill('SIGTERM')
  await mirror.exit(0)
})
