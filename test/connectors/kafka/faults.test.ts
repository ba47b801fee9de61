/** The broker is killed, frozen and disconnected during writes, reads and commits. kcat counts the records, not the runner. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Driver, type LogTransaction, type OutRecord, tpKey } from '../../../src/connectors/kafka/driver.ts'
import { PipelineError, type LaneInfo, type Transaction } from '../../../src/contract/plugin.ts'
import { consumeAll, createTopic } from '../../support/kafka.ts'
import { type KafkaServer, startKafka } from '../../support/servers/kafka.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { startProxy } from '../../support/tcp-proxy.ts'
import { until } from '../../conformance/driver-lib.ts'
import { makeDriver } from './make.ts'

let kafka: KafkaServer
const open: Driver[] = []
const driver = (brokers = kafka.brokers): Driver => {
  const made = makeDriver({ brokers })
  open.push(made)
  return made
}

beforeAll(async () => {
  kafka = await startKafka()
})
afterAll(async () => {
  await Promise.all(open.map(d => d.close()))
  await kafka.stop()
})

// Times of now: a broker forgets the sequence numbers of producers whose newest record is older than a day (by the record's own
// time!) when it starts, and then takes a repetition for new.
const record = (topic: string, n: number, partition: number): OutRecord => ({
  topic,
  partition,
  key: null,
  value: `${n}`.padEnd(100, '.'),
  headers: undefined,
  time: Date.now(),
})
const number = (value: Buffer | null): number => Number.parseInt(value!.toString(), 10)

test('idempotent producer, two kills and a freeze: every record once, in order', async () => {
  const topic = await createTopic(undefined, { partitions: 3, brokers: kafka.brokers })
  const producer = await driver().producer({ compression: 'zstd', lingerMs: 2, batchSize: 16_384, idempotent: true, acks: -1 })
  let sent = 0
  let over = false
  const flow = async (): Promise<void> => {
    const under: Promise<void>[] = []
    while (!over) {
      under.push(producer.send(Array.from({ length: 300 }, () => record(topic, sent, sent++ % 3))))
      if (under.length > 10) await under.shift()
      else await sleep(1)
    }
    await Promise.all(under)
  }
  const flowing = flow()
  for (const fault of [() => kafka.kill(), () => kafka.kill()]) {
    await sleep(1500)
    await fault()
    await until('the producer says so', () => producer.healthy!() !== true, 10_000)
    await kafka.restart()
    await until('it works again', () => producer.healthy!() === true, 20_000)
  }
  kafka.pause()
  await sleep(4000)
  kafka.resume()
  await sleep(1000)
  over = true
  await flowing
  await producer.close()

  const found = await consumeAll(topic, { brokers: kafka.brokers })
  expect(sent).toBeGreaterThan(10_000)
  expect(found).toHaveLength(sent)
  for (const partition of [0, 1, 2]) {
    const numbers = found.filter(r => r.partition === partition).map(r => number(r.value))
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 3 * i + partition))
  }
})

test('consumer, one kill: no record skipped, and the consumer is unhealthy meanwhile', async () => {
  const topic = await createTopic(undefined, { partitions: 2, brokers: kafka.brokers })
  const d = driver()
  const producer = await d.producer({ compression: 'none', lingerMs: 0, batchSize: 16_384, idempotent: true, acks: -1 })
  const errors: Error[] = []
  const consumer = d.consumer({
    topics: [topic],
    group: 'through-a-kill',
    startAt: 'earliest',
    format: 'text',
    source: 's',
    isolation: 'read_committed',
    sessionTimeoutMs: 10_000,
    maxBytes: 1_048_576,
    maxWaitMs: 200,
    onError: e => errors.push(e),
  })
  const next = new Map<string, number>()
  await consumer.open({ assigned: async () => new Map(next), revoked: async () => {}, lost: () => {} })
  const seen: number[] = []
  const stop = new AbortController()
  const reading = (async () => {
    for (;;) {
      const batch = await consumer.poll(stop.signal)
      for (const m of batch.messages) {
        expect(m.offset).toBe(next.get(tpKey(batch)) ?? 0)
        next.set(tpKey(batch), m.offset + 1)
        seen.push(number(m.payload))
      }
      next.set(tpKey(batch), batch.nextOffset)
    }
  })().catch(error => {
    if (!stop.signal.aborted) throw error
  })
  let sent = 0
  const send = (n: number): Promise<void> => producer.send(Array.from({ length: n }, () => record(topic, sent, sent++ % 2)))
  await send(5000)
  await until('half is read', () => seen.length === 5000)
  expect(consumer.healthy()).toBe(true)
  await kafka.kill()
  await until('neither is healthy, though nobody writes', () => consumer.healthy() !== true && producer.healthy!() !== true, 15_000)
  await kafka.restart()
  await send(5000)
  await until('all is read', () => seen.length === 10_000)
  expect(new Set(seen).size).toBe(10_000)
  // The last record can arrive before the coordinator of the group answers again.
  await until('the consumer is healthy', () => consumer.healthy() === true)
  await until('the producer is healthy', () => producer.healthy!() === true)
  await consumer.commit([...next].map(([key, offset]) => ({ topic, partition: Number(key.split('/')[1]), offset })))
  await until('caught up', () => [0, 1].every(partition => consumer.caughtUp({ topic, partition }) !== false))
  expect(errors.length).toBeGreaterThan(0)
  stop.abort(new Error('over'))
  await reading
  await consumer.close()
})

test('transactions, a kill and a freeze: the copy and the position are exact', async () => {
  const [input, output] = [
    await createTopic(undefined, { brokers: kafka.brokers }),
    await createTopic(undefined, { partitions: 2, brokers: kafka.brokers }),
  ]
  const d = driver()
  const producer = await d.producer({ compression: 'none', lingerMs: 0, batchSize: 16_384, idempotent: true, acks: -1 })
  const COUNT = 20_000
  await producer.send(Array.from({ length: COUNT }, (_, i) => record(input, i, 0)))
  const lane: LaneInfo = { id: `${input}/0`, source: 's', topic: input, partition: 0, group: 'copy' }
  const transactor = d.transactor({
    id: `copy-${input}`,
    producer: { compression: 'zstd', lingerMs: 0, batchSize: 131_072, idempotent: true, acks: -1 },
  })
  let transactions = 0
  const copy = async (): Promise<void> => {
    for (;;) {
      try {
        const checkpoint = await transactor.claim(lane)
        let at = (checkpoint?.position as number | undefined) ?? 0
        expect(checkpoint?.state ?? [['n', 'count', '0']]).toEqual([['n', 'count', `${at}`]])
        while (at < COUNT) {
          const batch = await d.read({ topic: input, partition: 0 }, at, { format: 'text', isolation: 'read_committed', maxBytes: 20_000 })
          const messages = batch.messages.slice(0, 50)
          const transaction = (await transactor.begin(lane)) as Transaction & LogTransaction
          await transaction.send(messages.map(m => record(output, number(m.payload), number(m.payload) % 2)))
          at = messages.at(-1)!.offset + 1
          await transaction.commit({ position: at, state: [['n', 'count', `${at}`]] })
          transactions++
        }
        return
      } catch (error) {
        if (!(error instanceof PipelineError) || !error.retryable) throw error
        await sleep(100)
      }
    }
  }
  const copying = copy()
  await until('it runs', () => transactions > 30)
  await kafka.kill()
  await sleep(500)
  await kafka.restart()
  const before = transactions
  await until('it runs again', () => transactions > before + 30, 60_000)
  kafka.pause()
  await sleep(3000)
  kafka.resume()
  await copying
  const found = await consumeAll(output, { brokers: kafka.brokers })
  expect(found).toHaveLength(COUNT)
  for (const partition of [0, 1]) {
    expect(found.filter(r => r.partition === partition).map(r => number(r.value))).toEqual(
      Array.from({ length: COUNT / 2 }, (_, i) => 2 * i + partition),
    )
  }
  const end = await d.committed('copy', [{ topic: input, partition: 0 }])
  expect(end.get(`${input}/0`)?.offset).toBe(COUNT)
})

test('a member cut off for longer than its session loses its partitions, reports it at once, and rejoins', {
  timeout: 90_000,
}, async () => {
  const [port] = await freePorts(1)
  const proxy = await startProxy(`127.0.0.1:${port}`)
  const server = await startKafka({ port, advertisedPort: proxy.port, properties: { 'group.min.session.timeout.ms': 1000 } })
  try {
    const d = driver(proxy.address)
    const [topic] = [await createTopic(undefined, { brokers: proxy.address })]
    const events: string[] = []
    const consumer = d.consumer({
      topics: [topic],
      group: 'cut-off',
      startAt: 'earliest',
      format: 'text',
      source: 's',
      isolation: 'read_committed',
      sessionTimeoutMs: 3000,
      maxBytes: 1_048_576,
      maxWaitMs: 200,
      onError: () => {},
    })
    await consumer.open({
      assigned: async () => {
        events.push('assigned')
        return new Map()
      },
      revoked: async () => void events.push('revoked'),
      lost: () => void events.push('lost'),
    })
    await until('assigned', () => events.length === 1)
    proxy.freeze()
    // By its own clock, long before a request that is never answered gives up.
    await until('lost', () => events.includes('lost'), 12_000)
    const late = consumer.commit([{ topic, partition: 0, offset: 1 }]).then(
      () => 'committed',
      () => 'refused',
    )
    proxy.restore()
    await until('assigned again', () => events.length === 3, 45_000)
    expect(await late).toBe('refused')
    expect(events).toEqual(['assigned', 'lost', 'assigned'])
    await consumer.close()
    await d.close()
  } finally {
    await server.stop()
    await proxy.stop()
  }
})
