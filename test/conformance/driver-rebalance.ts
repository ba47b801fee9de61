import { afterEach, expect, test } from 'vitest'
import type { Driver } from '../../src/connectors/kafka/driver.ts'
import { Drivers, Member, newTopic, produce, producerOptions, record, unique, until } from './driver-lib.ts'

export function rebalanceRows(makeDriver: () => Driver | Promise<Driver>): void {
  const drivers = new Drivers(makeDriver)
  afterEach(() => drivers.closeAll())

  test('members share the partitions: two, three, two, one', async () => {
    const topic = await newTopic(await drivers.driver(), 6)
    const group = unique('g')
    const join = async () => Member.join(drivers, await drivers.driver(), { topics: [topic], group })
    const a = await join()
    await until('one has all', () => shared([a], 6))
    const b = await join()
    await until('two share', () => shared([a, b], 6))
    const c = await join()
    await until('three share', () => shared([a, b, c], 6))
    await b.close()
    await until('two share again', () => shared([a, c], 6))
    await a.close()
    await until('one has all again', () => shared([c], 6))
    expect([...a.breaches, ...b.breaches, ...c.breaches]).toEqual([])
  })

  test('a member that commits continuously while others join and leave is not evicted, and every partition has an owner', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 4)
    const group = unique('g')
    const a = await Member.join(drivers, driver, { topics: [topic], group })
    await until('one has all', () => shared([a], 4))
    let over = false
    const committing = Array.from({ length: 4 }, async (_, partition) => {
      while (!over) {
        // A revoked partition is rejected; the others continue.
        await a.consumer.commit([{ topic, partition, offset: 0 }]).catch(() => {})
        await new Promise(resolve => setTimeout(resolve, 1))
      }
    })
    for (let i = 0; i < 4; i++) {
      const b = await Member.join(drivers, await drivers.driver(), { topics: [topic], group })
      await until(`two share, time ${i}`, () => shared([a, b], 4))
      await b.close()
      await until(`one has all again, time ${i}`, () => shared([a], 4))
    }
    over = true
    await Promise.all(committing)
    expect(a.events.filter(e => e.startsWith('lost'))).toEqual([])
  })

  test('members that are closed while they join are not waited for', { timeout: 90_000 }, async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    const group = unique('g')
    const gate = Promise.withResolvers<void>()
    let taking = false
    // Longer than the test: no member is evicted for silence.
    const options = { topics: [topic], group, sessionTimeoutMs: 120_000 }
    const members = async () => (await driver.admin.members(group)).length
    const a = await Member.join(drivers, driver, options)
    await until('one has all', () => shared([a], 2))
    const b = await Member.join(drivers, await drivers.driver(), {
      ...options,
      async onAssigned() {
        taking = true
        await gate.promise
        return new Map()
      },
    })
    await until('b is given its share', () => taking)
    // While b is busy the group can't agree: c waits in its first join, a in another one as soon as it is notified of c.
    const c = await Member.join(drivers, await drivers.driver(), options)
    await until('c is there', async () => (await members()) === 3)
    await new Promise(resolve => setTimeout(resolve, 1500))
    await a.close()
    await c.close()
    await until('only b is left', async () => (await members()) === 1, 30_000)
    gate.resolve()
    await until('b has all', () => shared([b], 2))
    expect([...a.breaches, ...b.breaches, ...c.breaches]).toEqual([])
  })

  test('the revoked handler is awaited: the new owner begins at its commit', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    const group = unique('g')
    await produce(
      driver,
      Array.from({ length: 200 }, (_, i) => record(topic, `${i}`, { partition: i % 2 })),
    )
    const gate = Promise.withResolvers<void>()
    let revoking = false
    const a: Member = await Member.join(drivers, driver, {
      topics: [topic],
      group,
      async onRevoked(partitions, member) {
        revoking = true
        await gate.promise
        await member.consumer.commit(partitions.map(tp => ({ ...tp, offset: 42 })))
      },
    })
    await until('a has both and read all', () => a.received.length === 200)
    const starts = new Map<string, number>()
    const b = await Member.join(drivers, await drivers.driver(), { topics: [topic], group })
    await until('a is asked to give up', () => revoking)
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(b.owned.size, 'b got a partition before a had given it up').toBe(0)
    gate.resolve()
    await until('they share', () => shared([a, b], 2))
    await until('b reads', () => b.received.length > 0)
    for (const m of b.received) {
      const lane = m.origin!.lane
      if (!starts.has(lane)) starts.set(lane, m.offset)
    }
    expect([...starts.values()]).toEqual([42])
    expect([...a.breaches, ...b.breaches]).toEqual([])
  })

  test('while records flow and members join and leave: no record before assigned, none after revoked, none lost', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 4)
    const group = unique('g')
    const members: Member[] = []
    const join = async () => {
      const next = new Map<string, number>()
      const member = await Member.join(drivers, await drivers.driver(), {
        topics: [topic],
        group,
        maxBytes: 2000,
        async onRevoked(partitions, self) {
          for (const m of self.received) next.set(m.origin!.lane, Math.max(next.get(m.origin!.lane) ?? 0, m.offset + 1))
          const offsets = partitions.flatMap(tp =>
            next.has(`${tp.topic}/${tp.partition}`) ? [{ ...tp, offset: next.get(`${tp.topic}/${tp.partition}`)! }] : [],
          )
          if (offsets.length > 0) await self.consumer.commit(offsets)
        },
      })
      members.push(member)
      return member
    }
    const producer = await driver.producer(producerOptions)
    let sent = 0
    let over = false
    const send = async () => {
      while (!over) {
        await producer.send(Array.from({ length: 20 }, () => record(topic, `${sent++}`.padEnd(50), { partition: sent % 4 })))
        await new Promise(resolve => setTimeout(resolve, 5))
      }
    }
    const a = await join()
    // A group of real brokers needs seconds for a new member, so the records flow until the last one has its share.
    const flow = send()
    await until('a reads', () => a.received.length > 0)
    const b = await join()
    await until('b reads', () => b.received.length > 0)
    const c = await join()
    await until('c reads', () => c.received.length > 0)
    over = true
    await flow
    const seen = () => new Set(members.flatMap(m => m.received.map(r => Number(r.value))))
    await until('all records arrive', () => seen().size === sent)
    expect(members.flatMap(m => m.breaches)).toEqual([])
  })

  test('a revoked partition cannot be committed', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    const group = unique('g')
    await produce(
      driver,
      Array.from({ length: 20 }, (_, i) => record(topic, `${i}`, { partition: i % 2 })),
    )
    const a = await Member.join(drivers, driver, { topics: [topic], group })
    await until('a read all', () => a.received.length === 20)
    const b = await Member.join(drivers, await drivers.driver(), { topics: [topic], group })
    await until('they share', () => shared([a, b], 2))
    const partition = a.owned.has(`${topic}/0`) ? 1 : 0
    await b.consumer.commit([{ topic, partition, offset: 3 }])
    const refused = await a.consumer.commit([{ topic, partition, offset: 9 }]).then(
      () => false,
      () => true,
    )
    expect(refused).toBe(true)
    expect((await driver.committed(group, [{ topic, partition }])).get(`${topic}/${partition}`)?.offset).toBe(3)
  })
}

/** Every partition has exactly one owner, and no member is idle. */
const shared = (members: readonly Member[], partitions: number) => {
  const all = members.flatMap(m => [...m.owned])
  return (
    all.length === partitions &&
    new Set(all).size === partitions &&
    members.every(m => m.owned.size >= Math.floor(partitions / members.length))
  )
}
