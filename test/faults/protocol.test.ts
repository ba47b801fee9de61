/**
 * Faults at named steps of a transaction, on the wire: a proxy in front of a broker of our own loses a request, or its answer, or lets the
 * request arrive when all members have continued. The runner is killed at that instant, or only its connection is cut.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { consumerOptions } from '../conformance/driver-lib.ts'
import { BarsPipeline } from '../e2e/lib/bars-run.ts'
import { type Backend, kafkaBackend } from '../e2e/lib/backend.ts'
import { closingTicks, makeTicks, tickRecord } from '../support/golden-ticks.ts'
import { type Runner, tempDir } from '../support/runner.ts'
import { type KafkaServer, startKafka } from '../support/servers/kafka.ts'
import { makeDriver } from '../connectors/kafka/make.ts'
import { unique } from '../support/unique.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type Api, type KafkaProxy, type Moment, startKafkaProxy } from './lib/kafka-proxy.ts'

const PARTITIONS = [['BTCUSDT'], ['ETHUSDT']]
const STEPS: Api[] = ['InitProducerId', 'AddPartitionsToTxn', 'Produce', 'AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn']
const POINTS = STEPS.flatMap(api => (['before', 'after', 'late'] as const).map(moment => [api, moment] as const))
const PER_POINT = Number(process.env.FAULT_TICKS_PER_POINT ?? 2_000)

let proxy: KafkaProxy
let broker: KafkaServer
let direct: Backend

beforeAll(async () => {
  const [port] = await freePorts(1)
  proxy = await startKafkaProxy(() => port)
  // Two listeners: the runner comes through the proxy, the test does not.
  const [plain, controller] = await freePorts(2)
  broker = await startKafka({
    port: plain,
    properties: {
      listeners: `PLAINTEXT://127.0.0.1:${plain},PROXIED://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${plain},PROXIED://127.0.0.1:${proxy.port}`,
      'controller.quorum.voters': `1@127.0.0.1:${controller}`,
      'inter.broker.listener.name': 'PLAINTEXT',
      'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT',
    },
  })
  direct = await kafkaBackend(broker.brokers)
})
afterAll(async () => {
  await direct?.close()
  await proxy?.stop()
  await broker?.stop()
})

test.each(['cut', 'kill'] as const)('%s at every step of a transaction: every bar once', async how => {
  const ticks = makeTicks({ seed: 24, count: PER_POINT * POINTS.length, partitions: PARTITIONS })
  const pipeline = await BarsPipeline.create(direct, tempDir(), PARTITIONS.length)
  const start = (): Runner => pipeline.start([], { env: { KAFKA_BROKERS: `127.0.0.1:${proxy.port}` } })
  let runner = start()
  for (const [i, [api, moment]] of POINTS.entries()) {
    const hit = strike(api, moment, () => how === 'kill' && runner.kill('SIGKILL'))
    await direct.produce(pipeline.input, ticks.slice(i * PER_POINT, (i + 1) * PER_POINT).map(tickRecord))
    // InitProducerId comes only when a lane is claimed: the start does that, or a restore.
    if (api === 'InitProducerId' && (i > 0 || how === 'cut')) {
      runner.kill('SIGKILL')
      await runner.exited
      runner = start()
    }
    await within(hit, 30_000, `${how} ${moment} ${api} did not happen:\n${runner.stderr.slice(-4000)}`)
    if (how === 'kill') {
      await runner.exited
      runner = start()
    }
  }
  await direct.produce(pipeline.input, closingTicks(ticks).map(tickRecord))
  await pipeline.verify(ticks)
  runner.kill('SIGTERM')
  await runner.exit(0)
  await pipeline.verify(ticks)
})

test('a member that has joined a group and has no assignment yet is not idle', { timeout: 60_000 }, async () => {
  const topic = await direct.topic('t')
  const driver = makeDriver({ brokers: `127.0.0.1:${proxy.port}` })
  const consumer = driver.consumer({ ...consumerOptions, topics: [topic], group: unique('g') })
  try {
    const seen: unknown[] = []
    const synced = proxy.arm('SyncGroup', 'before', 1, () => seen.push(consumer.healthy()))
    await consumer.open({ assigned: async () => new Map(), revoked: async () => {}, lost() {} })
    await synced
    expect(seen).toEqual([expect.stringMatching(/has not assigned partitions/)])
    await expect.poll(() => consumer.healthy(), { timeout: 30_000 }).toBe(true)
  } finally {
    await consumer.close()
    await driver.close()
  }
})

test('who is taking over its first partitions is not idle', { timeout: 60_000 }, async () => {
  const topic = await direct.topic('t')
  const driver = makeDriver({ brokers: `127.0.0.1:${proxy.port}` })
  const consumer = driver.consumer({ ...consumerOptions, topics: [topic], group: unique('g') })
  const asked = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<Map<string, number>>()
  try {
    await consumer.open({ assigned: () => (asked.resolve(), answer.promise), revoked: async () => {}, lost() {} })
    await asked.promise
    expect(consumer.healthy()).toMatch(/are being claimed/)
    answer.resolve(new Map())
    await expect.poll(() => consumer.healthy(), { timeout: 30_000 }).toBe(true)
  } finally {
    answer.resolve(new Map())
    await consumer.close()
    await driver.close()
  }
})

test.each(['Metadata', 'FindCoordinator', 'InitProducerId', 'ListOffsets'] as const)(
  'a lane is claimed although the connection breaks at any %s request',
  { timeout: 120_000 },
  async api => {
    const topic = await direct.topic('t')
    const lane = { id: `${topic}/0`, source: 's', topic, partition: 0, group: unique('g') }
    const claim = async (): Promise<void> => {
      const driver = makeDriver({ brokers: `127.0.0.1:${proxy.port}` })
      const transactor = driver.transactor({
        id: unique('claim'),
        producer: { compression: 'none', lingerMs: 0, batchSize: 16_384, idempotent: true, acks: -1 },
      })
      try {
        expect(await transactor.claim(lane)).toBeUndefined()
      } finally {
        await transactor.close()
        await driver.close()
      }
    }
    for (let nth = 1; nth <= (api === 'Metadata' ? 9 : 3); nth++) {
      let struck = false
      const hit = proxy.arm(api, 'after', nth, () => (struck = true))
      // With fewer requests of the kind than that it hits a later claim.
      while (!struck) await claim()
      await hit
    }
  },
)

/** Not always at the first one: a transaction in the middle of much work is preceded by others. */
function strike(api: Api, moment: Moment, then: () => void): Promise<void> {
  return proxy.arm(api, moment, api === 'Produce' ? 3 : 1, then)
}

async function within<T>(promise: Promise<T>, ms: number, message: string): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Error(message)), ms)))
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
