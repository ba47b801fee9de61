/** A broker of our own is restarted, killed and frozen under a running bars pipeline. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BarsPipeline } from '../e2e/lib/bars-run.ts'
import { type Backend, kafkaBackend } from '../e2e/lib/backend.ts'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { closingTicks, makeTicks, tickRecord } from '../support/golden-ticks.ts'
import { tempDir } from '../support/runner.ts'
import { type KafkaServer, startKafka } from '../support/servers/kafka.ts'
import { freePorts } from '../support/servers/ports.ts'

const PARTITIONS = [['BTCUSDT'], ['ETHUSDT', 'SOLUSDT']]
const TICKS = Number(process.env.FAULT_TICKS ?? 120_000)

let broker: KafkaServer
let backend: Backend

beforeAll(async () => {
  broker = await startKafka()
  backend = await kafkaBackend(broker.brokers)
})
afterAll(async () => {
  await backend?.close()
  broker?.resume()
  await broker?.stop()
})

test('graceful restart, kill -9 and a freeze of 12 s: no exit, no bar lost or duplicated, /ready shows it', async () => {
  const ticks = makeTicks({ seed: 5, count: TICKS, partitions: PARTITIONS })
  const [port] = await freePorts(1)
  const pipeline = await BarsPipeline.create(backend, tempDir(), PARTITIONS.length, { metricsPort: port })
  const runner = pipeline.start()
  await untilStatus(runner, port, '/ready', 200)
  const outages: [string, () => Promise<void>][] = [
    ['graceful restart', () => broker.restart()],
    [
      'kill -9',
      async () => {
        await broker.kill()
        // Down for as long as it takes to be noticed.
        await untilStatus(runner, port, '/ready', 503, 15_000)
        expect((await get(port, '/ready')).body).toMatch(/source kafka: /)
        expect((await get(port, '/health')).status).toBe(200)
        await broker.restart()
      },
    ],
    [
      'frozen for 12 s',
      async () => {
        broker.pause()
        await sleep(12_000)
        broker.resume()
      },
    ],
    ['kill -9 again', () => broker.kill().then(() => broker.restart())],
  ]
  const size = Math.ceil(ticks.length / (outages.length + 1))
  for (const [i, [name, outage]] of outages.entries()) {
    // The broker goes away while the runner is busy with what just came.
    await backend.produce(pipeline.input, ticks.slice(i * size, (i + 1) * size).map(tickRecord))
    await outage()
    const ms = await untilStatus(runner, port, '/ready', 200, 45_000)
    console.log(`${name}: ready again after ${ms} ms`)
  }
  await backend.produce(pipeline.input, [...ticks.slice(outages.length * size), ...closingTicks(ticks)].map(tickRecord))
  await pipeline.verify(ticks, 90_000)
  runner.kill('SIGTERM')
  await runner.exit(0)
  await pipeline.verify(ticks)
})

test('SIGTERM while the broker is frozen ends in time, and a later run catches up exactly', async () => {
  const ticks = makeTicks({ seed: 8, count: 60_000, partitions: PARTITIONS })
  const pipeline = await BarsPipeline.create(backend, tempDir(), PARTITIONS.length, { extra: 'shutdown_timeout: 3s' })
  await pipeline.feedAll(ticks)
  const runner = pipeline.start()
  await backend.waitFor(pipeline.output, 10)
  broker.pause()
  try {
    const start = Date.now()
    runner.kill('SIGTERM')
    const { code } = await runner.exited
    expect(Date.now() - start).toBeLessThan(60_000)
    // 1 when the freeze caught it with something in hand, which is nearly always.
    expect([0, 1]).toContain(code)
    if (code === 1) expect(runner.stderr).toMatch(/not drained within shutdown_timeout/)
  } finally {
    broker.resume()
  }
  await pipeline.start(['--until-idle', '2s']).exit(0, 60_000)
  await pipeline.verify(ticks)
})
