import { afterEach, expect, test } from 'vitest'
import { type Driver, type OutRecord, TooLargeError } from '../../src/connectors/kafka/driver.ts'
import { partitionOf } from '../../src/connectors/kafka/partitioner.ts'
import { BatchError, DataError } from '../../src/contract/plugin.ts'
import { Drivers, Member, newTopic, produce, producerOptions, readAll, record, unique, until, values } from './driver-lib.ts'

export function recordRows(makeDriver: () => Driver | Promise<Driver>): void {
  const drivers = new Drivers(makeDriver)
  afterEach(() => drivers.closeAll())

  const samples: [string, Partial<OutRecord>][] = [
    ['text', { value: 'plain' }],
    ['UTF-8 text', { key: 'ключ', value: 'größe 価格 🎈' }],
    ['bytes that are no UTF-8', { key: Buffer.from([0xff, 0x00, 0xfe]), value: Buffer.from([0x80, 0x81, 0x00]) }],
    ['a tombstone', { key: 'k', value: null }],
    ['null key and null value', { key: null, value: null }],
    ['empty key and value, which are not null', { key: '', value: Buffer.alloc(0) }],
    ['the same key twice in a row, 1', { key: 'same', value: '1' }],
    ['the same key twice in a row, 2', { key: 'same', value: '2' }],
    ['time zero', { time: 0, value: 'epoch' }],
    // Brokers reject timestamps more than an hour ahead.
    ['time ahead', { time: Date.now() + 1_800_000, value: 'future' }],
    [
      'headers',
      {
        value: 'h',
        headers: [
          ['trace', 'abc'],
          ['bytes', Buffer.from([0xff, 0])],
        ],
      },
    ], // prettier-ignore
    [
      'a header twice, an empty and a null one',
      {
        value: 'h2',
        headers: [
          ['a', '1'],
          ['b', ''],
          ['a', '2'],
          ['a', '1'],
          ['c', null],
        ],
      },
    ], // prettier-ignore
  ]

  test('records are read back byte for byte: keys, values, nulls, headers, times', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver)
    const sent = samples.map(([, more]) => record(topic, null, more))
    await produce(driver, sent)
    const plain = (m: { key: any; value: any; headers: any; time: number }) => ({
      key: bytes(m.key),
      value: bytes(m.value),
      headers: (m.headers ?? []).map(([name, value]: [string, any]) => [name, bytes(value)]),
      time: m.time,
    })
    const expected = sent.map(plain)
    const seen = await readAll(driver, { topic, partition: 0 })
    expect(seen.map(m => plain({ key: m.keyBytes, value: m.payload, headers: m.headers, time: m.time }))).toEqual(expected)
    expect(seen.map(m => m.offset)).toEqual(sent.map((_, i) => i))

    const member = await Member.join(drivers, driver, { topics: [topic], group: unique('g') })
    await until('all samples', () => member.received.length >= sent.length)
    expect(member.received.map(m => plain({ key: m.keyBytes, value: m.payload, headers: m.headers, time: m.time }))).toEqual(expected)
    expect(member.received[0].origin).toMatchObject({ lane: `${topic}/0`, source: 'in', topic, partition: 0, format: 'text' })
    expect(member.breaches).toEqual([])
  })

  test('the order per partition is the order of the calls, without waiting between them', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 4)
    const producer = await driver.producer(producerOptions)
    const sends: Promise<void>[] = []
    for (let call = 0; call < 50; call++)
      sends.push(producer.send(Array.from({ length: 100 }, (_, i) => record(topic, `${call * 100 + i}`, { key: `k${i % 17}` }))))
    await Promise.all(sends)
    let total = 0
    for (let partition = 0; partition < 4; partition++) {
      const numbers = values(await readAll(driver, { topic, partition })).map(Number)
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
      expect(new Set(numbers).size).toBe(numbers.length)
      total += numbers.length
    }
    expect(total).toBe(5000)
  })

  test('G: 300 concurrent sends of one record each: none lost, none duplicated', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 3)
    const producer = await driver.producer(producerOptions)
    await Promise.all(Array.from({ length: 300 }, (_, i) => producer.send([record(topic, `${i}`, { partition: i % 3 })])))
    for (let partition = 0; partition < 3; partition++) {
      const expected = Array.from({ length: 100 }, (_, i) => `${i * 3 + partition}`)
      expect(values(await readAll(driver, { topic, partition }))).toEqual(expected)
    }
  })

  test('keys choose the same partition as in Java; an explicit partition has priority; a send without keys stays together', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 7)
    const keys = ['21', 'foobar', 'a-little-bit-long-string', 'BTCUSDT', 'ключ', '', ...Array.from({ length: 60 }, (_, i) => `key-${i}`)]
    await produce(
      driver,
      keys.map((key, i) => record(topic, key, { key: i % 2 ? key : Buffer.from(key) })),
    ) // prettier-ignore
    await produce(driver, [record(topic, 'explicit', { key: 'foobar', partition: 5 })])
    await produce(
      driver,
      Array.from({ length: 20 }, (_, i) => record(topic, `keyless ${i}`)),
    )
    const at = new Map<string, number>()
    for (let partition = 0; partition < 7; partition++)
      for (const value of values(await readAll(driver, { topic, partition }))) at.set(value as string, partition)
    expect(keys.map(key => [key, at.get(key)])).toEqual(keys.map(key => [key, partitionOf(key, 7)]))
    expect(at.get('explicit')).toBe(5)
    expect(new Set(Array.from({ length: 20 }, (_, i) => at.get(`keyless ${i}`))).size).toBe(1)
  })

  test('large records pass; unwritable records are named, and the rest of the call is durable', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver)
    const large = Buffer.alloc(900_000, 'x')
    await produce(driver, [record(topic, large)])
    const producer = await driver.producer(producerOptions)
    const call = [
      record(topic, 'before'),
      record(topic, Buffer.alloc(3_000_000)),
      record(topic, 'after'),
      record('no such topic name!', 'x'),
    ]
    const error = await producer.send(call).then(
      () => undefined,
      e => e,
    )
    expect(error).toBeInstanceOf(BatchError)
    const { failed } = error as BatchError
    expect([...failed.keys()].toSorted()).toEqual([1, 3])
    expect(failed.get(1)).toBeInstanceOf(TooLargeError)
    expect(failed.get(3)).toBeInstanceOf(DataError)
    const seen = await readAll(driver, { topic, partition: 0 })
    expect(seen[0].payload?.equals(large)).toBe(true)
    expect(values(seen.slice(1)).toSorted()).toEqual(['after', 'before'])
    await producer.send([record(topic, 'still usable')])
    await producer.send([])
    expect(values(await readAll(driver, { topic, partition: 0 }, 3))).toEqual(['still usable'])
  })

  test('offsets: earliest, latest, and the first record at or after a time, also when timestamps decrease', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    const times = [1000, 2000, 1500, 3000, 2500, 4000]
    for (const time of times) await produce(driver, [record(topic, `${time}`, { partition: 0, time })])
    const partitions = [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ]
    const at = async (time: 'earliest' | 'latest' | number) => [...(await driver.offsets(partitions, time)).entries()].toSorted()
    expect(await at('earliest')).toEqual([
      [`${topic}/0`, 0],
      [`${topic}/1`, 0],
    ]) // prettier-ignore
    expect(await at('latest')).toEqual([
      [`${topic}/0`, 6],
      [`${topic}/1`, 0],
    ]) // prettier-ignore
    for (const [time, offset] of [
      [0, 0],
      [1000, 0],
      [1001, 1],
      [2000, 1],
      [2001, 3],
      [3001, 5],
      [4000, 5],
      [4001, 6],
    ]) // prettier-ignore
      expect((await driver.offsets(partitions.slice(0, 1), time)).get(`${topic}/0`), `time ${time}`).toBe(offset)
  })

  test('read: from any offset, in pages of about maxBytes, up to the end', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver)
    const tp = { topic, partition: 0 }
    const options = { format: 'text', isolation: 'read_committed' } as const
    expect(await driver.read(tp, 0, options)).toMatchObject({ messages: [], nextOffset: 0, endOffset: 0 })
    for (let call = 0; call < 10; call++)
      await produce(
        driver,
        Array.from({ length: 100 }, (_, i) => record(topic, `${call * 100 + i}`.padEnd(1000))),
      )
    const pages: number[] = []
    let at = 0
    while (at < 1000) {
      const page = await driver.read(tp, at, { ...options, maxBytes: 200_000 })
      expect(page.messages.map(m => Number(m.value))).toEqual(Array.from({ length: page.messages.length }, (_, i) => at + i))
      expect(page.endOffset).toBe(1000)
      pages.push(page.messages.length)
      at = page.nextOffset
    }
    expect(pages.length).toBeGreaterThan(2)
    const middle = await driver.read(tp, 555, options)
    expect(middle.messages[0].offset).toBe(555)
    expect(await driver.read(tp, 1000, options)).toMatchObject({ messages: [], nextOffset: 1000, endOffset: 1000 })
  })

  test('topics: created with their partitions, listed, and unchanged if they exist', async () => {
    const driver = await drivers.driver()
    const [a, b] = [unique('conf'), unique('conf')]
    await driver.createTopics([
      { topic: a, partitions: 3, config: { 'retention.ms': '3600000' } },
      { topic: b, partitions: 1 },
    ])
    await produce(driver, [record(b, 'kept')])
    await driver.createTopics([{ topic: b, partitions: 1 }])
    const list = await driver.topics()
    expect(list.find(t => t.name === a)).toMatchObject({ partitions: 3, replication: 1 })
    expect(list.find(t => t.name === b)).toMatchObject({ partitions: 1 })
    expect(values(await readAll(driver, { topic: b, partition: 0 }))).toEqual(['kept'])
  })

  test('two drivers on one log see the same records in the same scope', async () => {
    const [one, two] = [await drivers.driver(), await drivers.driver()]
    expect(one.scope).toBe(two.scope)
    const topic = await newTopic(one)
    await produce(one, [record(topic, 'from one')])
    await produce(two, [record(topic, 'from two')])
    await one.close()
    expect(values(await readAll(two, { topic, partition: 0 }))).toEqual(['from one', 'from two'])
  })
}

const bytes = (b: Buffer | string | null): string | null => (b === null ? null : Buffer.from(b as string).toString('hex'))
