import { afterEach, expect, test } from 'vitest'
import type { Driver } from '../../src/connectors/kafka/driver.ts'
import { EnvironmentError } from '../../src/contract/plugin.ts'
import { consumerOptions, Drivers, Member, newTopic, produce, producerOptions, record, unique, until } from './driver-lib.ts'

export function groupRows(makeDriver: () => Driver | Promise<Driver>): void {
  const drivers = new Drivers(makeDriver)
  afterEach(() => drivers.closeAll())

  test('a new group starts at the earliest or the latest record, as configured', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver)
    await produce(driver, [record(topic, 'old')])
    const earliest = await Member.join(drivers, driver, { topics: [topic], group: unique('g'), startAt: 'earliest' })
    const latest = await Member.join(drivers, driver, { topics: [topic], group: unique('g'), startAt: 'latest' })
    await until('both assigned', () => latest.owned.size === 1 && earliest.owned.size === 1)
    await until('latest stands at the end', () => latest.consumer.caughtUp({ topic, partition: 0 }) !== false)
    await produce(driver, [record(topic, 'new')])
    await until('both read', () => earliest.received.length === 2 && latest.received.length === 1)
    expect(earliest.values).toEqual(['old', 'new'])
    expect(latest.values).toEqual(['new'])
  })

  test('commit stores offset and metadata; the next member of the group continues there', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    const group = unique('g')
    const tps = [0, 1].map(partition => ({ topic, partition }))
    await produce(
      driver,
      Array.from({ length: 20 }, (_, i) => record(topic, `${i}`, { partition: i % 2 })),
    )
    expect((await driver.committed(group, tps)).size).toBe(0)
    const first = await Member.join(drivers, driver, { topics: [topic], group })
    await until('all read', () => first.received.length === 20)
    await first.consumer.commit([{ topic, partition: 0, offset: 4, metadata: 'wm=1700000000000 "ü"' }])
    await first.consumer.commit([{ topic, partition: 1, offset: 10 }])
    await first.close()
    const committed = await driver.committed(group, tps)
    expect(committed.get(`${topic}/0`)).toEqual({ offset: 4, metadata: 'wm=1700000000000 "ü"' })
    expect(committed.get(`${topic}/1`)?.offset).toBe(10)
    expect(committed.get(`${topic}/1`)?.metadata || null).toBeNull()

    const second = await Member.join(drivers, await drivers.driver(), { topics: [topic], group })
    await until('the rest', () => second.received.length >= 6 && [...tps].every(tp => second.consumer.caughtUp(tp) !== false))
    expect(second.values).toEqual(['8', '10', '12', '14', '16', '18'])
  })

  test('offsets from the assigned handler override committed ones; no record arrives before the handler has resolved', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    const group = unique('g')
    await produce(
      driver,
      Array.from({ length: 20 }, (_, i) => record(topic, `${i}`, { partition: i % 2 })),
    )
    const first = await Member.join(drivers, driver, { topics: [topic], group })
    await until('assigned', () => first.owned.size === 2)
    await first.consumer.commit([
      { topic, partition: 0, offset: 9 },
      { topic, partition: 1, offset: 9 },
    ]) // prettier-ignore
    await first.close()
    const gate = Promise.withResolvers<void>()
    let called = false
    const second = await Member.join(drivers, driver, {
      topics: [topic],
      group,
      async onAssigned() {
        called = true
        await gate.promise
        return new Map([[`${topic}/0`, 7]])
      },
    })
    await until('the handler is called', () => called)
    // Time for a driver that does not wait to show it.
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(second.received).toEqual([])
    gate.resolve()
    await until('the rest', () => second.received.length >= 4)
    expect(second.values.toSorted()).toEqual(['14', '16', '18', '19'])
    expect(second.breaches).toEqual([])
  })

  test('seek moves back, forward, and to the committed offset', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver)
    const tp = { topic, partition: 0 }
    await produce(
      driver,
      Array.from({ length: 1000 }, (_, i) => record(topic, `${i}`)),
    )
    const member = await Member.join(drivers, driver, { topics: [topic], group: unique('g'), maxBytes: 4096 })
    const readsFrom = async (offset: number | undefined, first: number) => {
      const before = member.received.length
      await member.seek(tp, offset)
      await until(
        `reading from ${first}`,
        () => member.received.slice(before).some(m => m.offset === 999) && member.consumer.caughtUp(tp) !== false,
      )
      const offsets = member.received.slice(before).map(m => m.offset)
      // Records in flight during the seek may arrive first; from the target on there is no gap.
      const start = offsets.lastIndexOf(first)
      expect(offsets.slice(start)).toEqual(Array.from({ length: 1000 - first }, (_, i) => first + i))
    }
    await until('all read', () => member.received.length >= 1000)
    await readsFrom(500, 500)
    await readsFrom(undefined, 0)
    await member.consumer.commit([{ ...tp, offset: 990 }])
    await readsFrom(undefined, 990)
    await readsFrom(3, 3)
    expect(member.breaches).toEqual([])
  })

  test('caughtUp is true exactly when no records are left', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver)
    const tp = { topic, partition: 0 }
    const consumer = driver.consumer({ ...consumerOptions, topics: [topic], group: unique('g') })
    await produce(driver, [record(topic, 'one')])
    expect(consumer.caughtUp(tp)).toBe(false)
    await consumer.open({ assigned: async () => new Map(), revoked: async () => {}, lost: () => {} })
    try {
      const batch = await consumer.poll(AbortSignal.timeout(20_000))
      expect(batch.messages.length).toBe(1)
      const reason = new Error('enough')
      const stop = new AbortController()
      const idle = consumer.poll(stop.signal)
      await until('caught up', () => consumer.caughtUp(tp) !== false)
      stop.abort(reason)
      await expect(idle).rejects.toBe(reason)
      expect(consumer.healthy()).toBe(true)
      const producer = await driver.producer(producerOptions)
      await producer.send([record(topic, 'two')])
      const next = await consumer.poll(AbortSignal.timeout(20_000))
      expect(next.messages.map(m => m.value)).toEqual(['two'])
    } finally {
      await consumer.close()
    }
  })

  test('one member reads several topics; two groups read the same records', async () => {
    const driver = await drivers.driver()
    const [a, b] = [await newTopic(driver, 2), await newTopic(driver)]
    await produce(driver, [...Array.from({ length: 10 }, (_, i) => record(a, `a${i}`, { partition: i % 2 })), record(b, 'b0')])
    const both = await Member.join(drivers, driver, { topics: [a, b], group: unique('g') })
    const other = await Member.join(drivers, await drivers.driver(), { topics: [b], group: unique('g') })
    await until('everything', () => both.received.length === 11 && other.received.length === 1)
    expect(both.owned).toEqual(new Set([`${a}/0`, `${a}/1`, `${b}/0`]))
    expect(other.values).toEqual(['b0'])
  })

  test('a missing topic is waited for, created by reading it, or reported as missing', async () => {
    const driver = await drivers.driver()
    const topic = unique('conf')
    const member = await Member.join(drivers, driver, { topics: [topic], group: unique('g') }).catch((error: Error) => error)
    if (member instanceof Error) {
      expect(member).toBeInstanceOf(EnvironmentError)
      expect(member.message).toContain(`topic ${topic} does not exist`)
      return
    }
    await produce(driver, [record(topic, 'first')])
    await until('read', () => member.received.length === 1)
    expect(member.values).toEqual(['first'])
  })
}
