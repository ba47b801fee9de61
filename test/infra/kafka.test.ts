import { describe, expect, test } from 'vitest'
import { Kafka, logLevel, Partitioners, type Producer } from 'kafkajs'
import { brokers, committed, consume, consumeAll, createTopic, produce, unique } from '../support/kafka.ts'

const text = (bytes: Buffer | null) => bytes?.toString() ?? null

describe('test support for Kafka', () => {
  test("a variable of the developer's shell does not affect the tests", () => {
    expect(process.env.KAFKA_BROKERS).toBeUndefined()
    expect(brokers()).toMatch(/:\d+$/)
  })

  test('keys, values, headers, times and partitions come back as written', async () => {
    const topic = await createTopic(undefined, { partitions: 2 })
    const binary = Buffer.from([0, 10, 255, 32, 10])
    await produce(topic, [
      { key: 'a', value: 'one', partition: 1, time: 1_700_000_000_123, headers: { why: 'x, y=z\n, "q"', n: '' } },
      { key: null, value: binary, partition: 1 },
      { key: '', value: '', partition: 1 },
      { key: 'dead', value: null, partition: 0 },
    ])
    const all = await consumeAll(topic, { headers: true })
    expect(all.map(r => [r.partition, r.offset, text(r.key), r.value])).toEqual([
      [0, 0, 'dead', null],
      [1, 0, 'a', Buffer.from('one')],
      [1, 1, null, binary],
      [1, 2, '', Buffer.alloc(0)],
    ])
    expect(all[1].time).toBe(1_700_000_000_123)
    expect(all[1].headers).toEqual([
      ['why', 'x, y=z\n, "q"'],
      ['n', ''],
    ])
    expect(await consumeAll(topic, { partition: 0 })).toHaveLength(1)
  })

  test('consume waits for records, and reports how many arrived when it times out', async () => {
    const topic = await createTopic()
    const waiting = consume(topic, 2)
    await produce(topic, [{ value: 'a' }])
    await produce(topic, [{ value: 'b' }])
    expect((await waiting).map(r => text(r.value))).toEqual(['a', 'b'])
    await expect(consume(topic, 3, { timeoutMs: 1_500 })).rejects.toThrow(`${topic}: 2 records after 1500 ms`)
  })

  test('read_committed hides an aborted transaction, read_uncommitted shows it', async () => {
    const topic = await createTopic()
    const producer = transactional()
    await producer.connect()
    for (const [value, end] of [
      ['kept', 'commit'],
      ['gone', 'abort'],
    ] as const) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: [{ value }] })
      await transaction[end]()
    }
    await producer.disconnect()
    expect((await consumeAll(topic)).map(r => text(r.value))).toEqual(['kept'])
    expect((await consumeAll(topic, { isolation: 'read_uncommitted' })).map(r => text(r.value))).toEqual(['kept', 'gone'])
  })

  test('records of a transaction that was just committed are visible, and the wait for an open transaction ends', async () => {
    const topic = await createTopic(undefined, { partitions: 3 })
    const producer = transactional()
    await producer.connect()
    for (let n = 1; n <= 20; n++) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: [{ value: String(n), partition: n % 3 }] })
      await transaction.commit()
      expect(await consumeAll(topic)).toHaveLength(n)
    }
    const open = await producer.transaction()
    await open.send({ topic, messages: [{ value: 'open', partition: 0 }] })
    expect(await consumeAll(topic)).toHaveLength(20)
    await open.abort()
    await producer.disconnect()
  })

  test('committed offsets of a group are read', async () => {
    const topic = await createTopic(undefined, { partitions: 2 })
    const group = unique('g')
    expect(await committed(group, topic)).toEqual(new Map())
    const producer = transactional()
    await producer.connect()
    const transaction = await producer.transaction()
    await transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic, partitions: [{ partition: 1, offset: '7' }] }] })
    await transaction.commit()
    await producer.disconnect()
    expect(await committed(group, topic)).toEqual(new Map([[1, 7]]))
  })
})

function transactional(): Producer {
  return new Kafka({ brokers: [brokers()], logLevel: logLevel.NOTHING }).producer({
    transactionalId: unique('tx'),
    maxInFlightRequests: 1,
    idempotent: true,
    createPartitioner: Partitioners.DefaultPartitioner,
  })
}
