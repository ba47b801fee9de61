/** The kafka source and sink as the runtime uses them, on real brokers and on the embedded log. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { KafkaSinkConfig, KafkaSourceConfig } from '../../../src/generated/config-types.ts'
import { codecIds } from '../../../src/connectors/kafka/codec/compression.ts'
import { batchHeader } from '../../../src/connectors/kafka/codec/decode.ts'
import { CONTROL } from '../../../src/connectors/kafka/codec/encode.ts'
import { connect, type KafkaHandle } from '../../../src/connectors/kafka/connect.ts'
import { type NewTopic, type OutRecord, tpKey } from '../../../src/connectors/kafka/driver.ts'
import { Cluster } from '../../../src/connectors/kafka/client/cluster.ts'
import { fetch } from '../../../src/connectors/kafka/client/consume/fetcher.ts'
import sinkPlugin from '../../../src/connectors/kafka/sink.ts'
import sourcePlugin from '../../../src/connectors/kafka/source.ts'
import { type Batch, BatchError, DataError, EnvironmentError, Message, type Source } from '../../../src/contract/plugin.ts'
import { fakeContext, fakeSourceContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'
import { producerOptions, unique } from '../../conformance/driver-lib.ts'
import { brokers } from '../../support/brokers.ts'
import { sinkConfig, sourceConfig } from './config.ts'
import { testLog } from './make.ts'
import { eventually } from '../../support/eventually.ts'

/** Comparing 10 MB byte by byte takes the test runner seconds. */
const digest = (b: Buffer | null): string | null => (b === null ? null : createHash('sha1').update(b).digest('hex'))

const dir = mkdtempSync(join(tmpdir(), 'kafka-plugin-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe.each([
  ['kafka', brokers()],
  ['embedded', `embedded:${join(dir, 'log.db')}`],
])('%s', (name, address) => {
  let handle: KafkaHandle
  beforeAll(async () => {
    handle = await connect(sourceConfig({ brokers: address }), testLog)
  })
  afterAll(() => handle.release())

  const newTopic = async (more: Partial<NewTopic> = {}): Promise<string> => {
    const topic = unique('plugin')
    await handle.driver.createTopics([{ topic, partitions: 1, ...more }])
    return topic
  }
  const write = async (
    topic: string,
    values: readonly (string | Buffer | null)[],
    more: (i: number) => Partial<OutRecord> = () => ({}),
  ): Promise<void> => {
    const producer = await handle.driver.producer({ ...producerOptions, batchSize: 131_072 })
    await producer.send(
      values.map((value, i) => ({ topic, key: null, value, headers: undefined, time: 1_700_000_000_000 + i, ...more(i) })),
    )
    await producer.close()
  }
  const contents = async (topic: string, partition = 0): Promise<Message[]> => {
    const tp = { topic, partition }
    const found: Message[] = []
    const end = (await handle.driver.offsets([tp], 'latest')).get(tpKey(tp))!
    for (let at = 0; at < end; ) {
      const batch = await handle.driver.read(tp, at, { format: 'text', isolation: 'read_committed' })
      found.push(...batch.messages)
      at = batch.nextOffset
    }
    return found
  }
  const texts = (messages: readonly Message[]) => messages.map(m => m.payload?.toString() ?? null)
  const source = (config: Partial<KafkaSourceConfig>, range?: { from?: number; to?: number }, ctx = fakeSourceContext('in')): Source =>
    sourcePlugin.create(sourceConfig({ brokers: address, format: 'text', ...config }), { ...ctx, range })
  const counts = new Map<string, number>()
  const context = (step: string) => ({
    ...fakeContext(step),
    metrics: {
      counter(metric: string, _help: string, labels: Record<string, string> = {}) {
        const key = `${metric}{${Object.entries(labels).map(([k, v]) => `${k}=${v}`)}}`
        counts.set(key, counts.get(key) ?? 0)
        return { inc: (n = 1) => void counts.set(key, counts.get(key)! + n) }
      },
      gauge: () => ({ set() {} }),
    },
  })
  const sink = async (config: Partial<KafkaSinkConfig>, dlq = false) => {
    const made = sinkPlugin.create(sinkConfig({ brokers: address, ...config }), { ...context('out'), dlq })
    await made.open!(new AbortController().signal)
    return made
  }

  sourceConformance(`${name}, a stretch of time`, {
    plugin: sourcePlugin,
    async prepare(records) {
      const topic = await newTopic()
      if (records.length > 0) await write(topic, records)
      return { config: sourceConfig({ brokers: address, topics: [topic], format: 'text', max_poll_records: 50 }) }
    },
    // Only a backfill ends.
    create: (config, ctx) => sourcePlugin.create(config, Object.assign(Object.create(ctx) as typeof ctx, { step: 'kafka', range: {} })),
  })

  sinkConformance(name, {
    plugin: sinkPlugin,
    async prepare() {
      const topic = await newTopic()
      return {
        config: sinkConfig({ brokers: address, topic, linger_ms: 1 }),
        read: async () => (await contents(topic)).map(m => m.payload!.toString()),
      }
    },
  })

  test('a group continues after its last commit; the checkpoint has priority', async () => {
    const topic = await newTopic()
    await write(
      topic,
      Array.from({ length: 100 }, (_, i) => `${i}`),
    )
    const config = { topics: [topic], group: unique('g'), max_poll_records: 30 }
    const signal = AbortSignal.timeout(20_000)
    const first = source(config)
    await first.open!(signal)
    const batches: Batch[] = []
    while (batches.flatMap(b => b.messages).length < 100) batches.push((await first.read(signal)) as Batch)
    expect(texts(batches.flatMap(b => b.messages))).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`))
    expect(batches.every(b => b.messages.length <= 30)).toBe(true)
    expect(batches.at(-1)).toMatchObject({ lane: `${topic}/0`, position: 100, lag: 0 })
    expect(batches[0].lag).toBe(100 - (batches[0].position as number))
    await first.commit!(`${topic}/0`, 40)
    await first.close!()

    const second = source(config)
    await second.open!(signal)
    expect(((await second.read(signal)) as Batch).messages[0].offset).toBe(40)
    await second.seek!(`${topic}/0`, 7)
    expect(((await second.read(signal)) as Batch).messages[0].offset).toBe(7)
    await second.seek!(`${topic}/0`, undefined)
    expect(((await second.read(signal)) as Batch).messages[0].offset).toBe(40)
    await second.close!()

    const third = source(config, undefined, fakeSourceContext('in', new Map([[`${topic}/0`, 90]])))
    await third.open!(signal)
    expect(((await third.read(signal)) as Batch).messages[0].offset).toBe(90)
    expect(third.healthy!()).toBe(true)
    await third.close!()
  })

  test('a time range is read from all partitions without a group, then the input ends', async () => {
    const topic = await newTopic({ partitions: 3 })
    await write(
      topic,
      Array.from({ length: 300 }, (_, i) => `${i}`),
      i => ({ partition: i % 3, time: 1_700_000_000_000 + i * 1000 }),
    )
    const read = async (range: { from?: number; to?: number }) => {
      const one = source({ topics: [topic] }, range)
      await one.open!(new AbortController().signal)
      const batches = await readAll(one)
      await one.close!()
      return batches.flatMap(b => b.messages.map(m => Number(m.payload))).toSorted((a, b) => a - b)
    }
    const at = (i: number): number => 1_700_000_000_000 + i * 1000
    expect(await read({ from: at(100), to: at(200) })).toEqual(Array.from({ length: 100 }, (_, i) => 100 + i))
    expect(await read({ from: at(290) })).toEqual(Array.from({ length: 10 }, (_, i) => 290 + i))
    expect(await read({ to: at(5) })).toEqual([0, 1, 2, 3, 4])
    expect(await read({ from: at(1000) })).toEqual([])
  })

  test('tombstones, empty payloads and 10 MB pass in both directions', async () => {
    const config = { 'max.message.bytes': '20000000' }
    const [input, output] = [await newTopic({ config }), await newTopic({ config })]
    const big = Buffer.alloc(10_000_000, 'abcdefg')
    const values = [null, Buffer.alloc(0), big, Buffer.from([0xff, 0xfe])]
    await write(input, values, i => ({ key: i === 0 ? null : Buffer.from([0xff, i]) }))
    const one = source({ topics: [input], format: 'bytes', max_bytes: 65_536 }, {})
    await one.open!(new AbortController().signal)
    const messages = (await readAll(one)).flatMap(b => b.messages)
    expect(messages.map(m => digest(m.payload))).toEqual(values.map(digest))
    const out = await sink({ topic: output, compression: 'none' })
    await out.write(messages, writeContext())
    await out.close!()
    await one.close!()
    const found = await contents(output)
    expect(found.map(m => digest(m.payload))).toEqual(values.map(digest))
    expect(found.map(m => m.keyBytes)).toEqual(messages.map(m => m.keyBytes))
  })

  test('a record that can never be written is rejected with its index in the batch, by client or broker; the others are written', async () => {
    const topic = await newTopic({ config: { 'max.message.bytes': '20000' } })
    const out = await sink({ topic, key: 'symbol', compression: 'none', headers: { producer: 'test' } })
    const messages = [
      new Message({ symbol: 'A', n: 0 }, 'own'),
      new Message({ n: 1 }),
      new Message({ symbol: 'B', text: 'x'.repeat(30_000) }),
      new Message({ symbol: 7, n: 3 }, null, 5, [['own', 'h']]),
      new Message({ symbol: { no: 'key' } }),
      new Message({ symbol: 'C', n: 10n }),
    ]
    const error = await out.write(messages, writeContext()).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(BatchError)
    expect([...(error as BatchError).failed].map(([i, e]) => [i, e.message])).toEqual([
      [1, expect.stringMatching(/no field "symbol"/)],
      [4, expect.stringMatching(/must be text or a number/)],
      [5, expect.stringMatching(/cannot be written as JSON: it contains a BigInt: use ExactNumber/)],
      [2, expect.stringMatching(/larger than|at most/)],
    ])
    await out.close!()
    const found = await contents(topic)
    expect(found.map(m => [m.keyBytes!.toString(), m.payload!.toString(), m.headers!.map(([n, v]) => `${n}=${v}`)])).toEqual([
      ['A', '{"symbol":"A","n":0}', ['producer=test']],
      ['7', '{"symbol":7,"n":3}', ['own=h', 'producer=test']],
    ])
    expect(counts.get(`kafka_messages_published_total{topic=${topic},type=,exchange=}`)).toBe(2)
    expect(counts.get(`kafka_delivery_errors_total{topic=${topic}}`)).toBe(1)
    expect(counts.get(`kafka_producer_queue_drops_total{topic=${topic}}`)).toBe(0)
  })

  test('a dead letter that is too large is truncated, with a header', async () => {
    const topic = await newTopic({ config: { 'max.message.bytes': '20000' } })
    const out = await sink({ topic, compression: 'none' }, true)
    const payload = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 251))
    const headers = [
      ['source_topic', 'in'],
      ['error_type', 'data'],
    ] as const
    await out.write([new Message(payload, 'k', 5, headers), new Message(Buffer.from('small'), 'k', 5, headers)], writeContext())
    await out.close!()
    const found = (await contents(topic)).toSorted((a, b) => b.payload!.length - a.payload!.length)
    expect(found[0].payload!.length).toBeGreaterThan(5000)
    expect(found[0].payload!.equals(payload.subarray(0, found[0].payload!.length))).toBe(true)
    expect(found[0].headers!.map(([n, v]) => `${n}=${v}`)).toEqual([
      'source_topic=in',
      'error_type=data',
      'truncated=true',
      'original_size=50000',
    ])
    expect(found[1].payload!.toString()).toBe('small')
    expect(counts.get(`kafka_dlq_published_total{dlq_topic=${topic},source_topic=in,error_type=data}`)).toBe(2)
  })

  test('topics, partitions and counters can depend on the message', async () => {
    const [a, b] = [await newTopic({ partitions: 2 }), await newTopic({ partitions: 2 })]
    const from = (topic: string, partition: number, value: object) =>
      Message.fromRecord(Buffer.from(JSON.stringify(value)), null, 5, [['to', b]], 0, {
        lane: `${topic}/${partition}`,
        source: 'in',
        topic,
        partition,
        format: 'json',
      })
    const messages = [from(a, 1, { type: 'ticker', exchange: 'x', where: b }), from(b, 0, { type: 'book', exchange: 'y', where: a })]
    for (const [topic_from, expected] of [
      ['source', [a, b]],
      ['field:where', [b, a]],
      ['header:to', [b, b]],
    ] as const) {
      const before = await Promise.all([contents(a, 1), contents(b, 0), contents(b, 1), contents(a, 0)])
      const out = await sink({ topic_from, keep_partition: true, count_by: { type: 'type', exchange: 'exchange' } })
      await out.write(messages, writeContext())
      await out.close!()
      const after = await Promise.all([contents(a, 1), contents(b, 0), contents(b, 1), contents(a, 0)])
      const grown = after.map((list, i) => list.length - before[i].length)
      const places = [`${a}/1`, `${b}/0`, `${b}/1`, `${a}/0`]
      expect(grown).toEqual(places.map(p => [`${expected[0]}/1`, `${expected[1]}/0`].filter(e => e === p).length))
    }
    expect(counts.get(`kafka_messages_published_total{topic=${a},type=ticker,exchange=x}`)).toBe(1)
    expect(counts.get(`kafka_messages_published_total{topic=${b},type=ticker,exchange=x}`)).toBe(2)
  })

  test('topics named by messages are created on first use, in a transaction too', async () => {
    const [a, b, c] = [unique('made'), unique('made'), await newTopic()]
    const to = (topic: string): Message => new Message({ topic })
    const out = await sink({ topic_from: 'field:topic', create_topics: true, partitions: 3 })
    const both = [out.write([to(a), to('no/topic'), to(c)], writeContext()), out.write([to(a)], writeContext())]
    await expect(both[0]).rejects.toMatchObject({ failed: new Map([[1, expect.any(DataError)]]) })
    await both[1]
    const transactor = handle.driver.transactor({ id: a, producer: { ...producerOptions, batchSize: 131_072 } })
    const lane = { id: `${c}/0`, source: 'in', topic: c, partition: 0, group: a }
    await transactor.claim(lane)
    const transaction = await transactor.begin(lane)
    await out.write([to(b)], { ...writeContext(), transaction })
    await transaction.commit({ position: 1, state: [] })
    await transactor.close()
    await out.close!()
    const partitions = new Map((await handle.driver.topics()).map(t => [t.name, t.partitions]))
    expect([a, b, c].map(t => partitions.get(t))).toEqual([3, 3, 1])
    const count = async (topic: string) => (await Promise.all([0, 1, 2].map(p => contents(topic, p)))).flat().length
    // Brokers write the commit markers after they have acknowledged the commit.
    await eventually(async () => expect([await count(a), await count(b)]).toEqual([2, 1]))
  })

  test('two users of one log share a driver, which closes with the last of them', async () => {
    const again = await connect(sinkConfig({ brokers: address, topic: 'x' }), testLog)
    expect(again.driver).toBe(handle.driver)
    await again.release()
    await again.release()
    expect((await handle.driver.topics()).length).toBeGreaterThan(0)
  })
})

test('a missing topic on a broker is reported by the source and by the sink', async () => {
  const topic = unique('missing')
  for (const range of [undefined, {}]) {
    const one = sourcePlugin.create(sourceConfig({ brokers: brokers(), topics: [topic] }), { ...fakeSourceContext('in'), range })
    const error = await one.open!(new AbortController().signal).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(EnvironmentError)
    expect((error as Error).message).toContain(`topic ${topic} does not exist`)
    await one.close!()
  }
  const out = sinkPlugin.create(sinkConfig({ brokers: brokers(), topic, create_topics: true, partitions: 3 }), fakeContext('out'))
  await out.open!(new AbortController().signal)
  const handle = await connect(sinkConfig({ brokers: brokers(), topic }), testLog)
  expect((await handle.driver.topics()).find(t => t.name === topic)?.partitions).toBe(3)
  await handle.release()
  await out.close!()
})

test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)('the sink compresses by %s, in a transaction too', async compression => {
  const handle = await connect(sinkConfig({ brokers: brokers(), topic: 'x' }), testLog)
  const topic = unique('compressed')
  await handle.driver.createTopics([{ topic, partitions: 1 }])
  const out = sinkPlugin.create(sinkConfig({ brokers: brokers(), topic, compression }), fakeContext('out'))
  await out.open!(new AbortController().signal)
  const transactor = handle.driver.transactor({ id: topic, producer: { ...producerOptions, compression: 'zstd' } })
  const lane = { id: `${topic}/0`, source: 'in', topic, partition: 0, group: topic }
  await transactor.claim(lane)
  const transaction = await transactor.begin(lane)
  await out.write([new Message({ n: 1 })], { ...writeContext(), transaction })
  await transaction.commit({ position: 1, state: [] })
  await out.write([new Message({ n: 2 })], writeContext())
  await out.close!()

  const cluster = new Cluster({ brokers: [brokers()], clientId: 'test', log: testLog })
  const broker = await cluster.broker(await cluster.leaderId({ topic, partition: 0 }))
  const codecs: number[] = []
  for (let offset = 0; codecs.length < 2; ) {
    const request = { topic, partition: 0, offset, maxBytes: 100_000 }
    const [part] = await fetch(broker, [request], { maxWaitMs: 100, maxBytes: 100_000, committed: false })
    for (let batch = batchHeader(part.records, 0); batch !== undefined; batch = batchHeader(part.records, batch.end)) {
      offset = batch.lastOffset + 1
      if ((batch.attributes & CONTROL) === 0) codecs.push(batch.attributes & 7)
    }
  }
  expect(codecs).toEqual([codecIds[compression], codecIds[compression]])
  await cluster.close()
  await handle.release()
})

test('check reports errors beyond the schema', () => {
  const paths = (problems: { path: readonly (string | number)[] }[] = []): string[] => problems.map(p => p.path.join('.'))
  expect(paths(sourcePlugin.validateConfig!(sourceConfig({ topics: ['t'] })))).toEqual([])
  expect(paths(sourcePlugin.validateConfig!(sourceConfig({ topics: ['t'], brokers: 'localhost:9092, kafka-2:9092,[::1]:9092' })))).toEqual(
    [],
  )
  expect(paths(sourcePlugin.validateConfig!(sourceConfig({ topics: ['t'], brokers: 'localhost' })))).toEqual(['brokers'])
  expect(paths(sourcePlugin.validateConfig!(sourceConfig({ topics: ['t'], brokers: 'a:1', security_protocol: 'SASL_SSL' })))).toEqual([
    'sasl_username',
    'sasl_password',
  ])
  expect(
    paths(
      sourcePlugin.validateConfig!(
        sourceConfig({ topics: ['t'], brokers: 'a:1', security_protocol: 'SASL_SSL', sasl_mechanism: 'OAUTHBEARER' }),
      ),
    ),
  ).toEqual(['sasl_mechanism'])
  expect(
    paths(sourcePlugin.validateConfig!(sourceConfig({ topics: ['t'], brokers: 'a:1', security_protocol: 'SSL', tls_cert: 'c.pem' }))),
  ).toEqual(['tls_key'])
  expect(paths(sourcePlugin.validateConfig!(sourceConfig({ topics: ['t'], session_timeout: 10 })))).toEqual(['session_timeout'])
  expect(paths(sinkPlugin.validateConfig!(sinkConfig({})))).toEqual([''])
  expect(paths(sinkPlugin.validateConfig!(sinkConfig({ topic: 'a', topic_from: 'source' })))).toEqual(['topic_from'])
  expect(paths(sinkPlugin.validateConfig!(sinkConfig({ topic: 'a', acks: '1' })))).toEqual(['acks'])
  expect(paths(sinkPlugin.validateConfig!(sinkConfig({ topic: 'a', partition: 1, keep_partition: true })))).toEqual(['keep_partition'])
  expect(sinkPlugin.transactions!.scope(sinkConfig({ brokers: 'b:1,a:1' }))).toBe(
    sourcePlugin.transactions!.scope(sourceConfig({ brokers: 'a:1, b:1' })),
  )
})
