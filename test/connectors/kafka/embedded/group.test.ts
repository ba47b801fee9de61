/** Groups under faults: members that die, freeze, are evicted, or do not release partitions. */
import { symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, expect, test } from 'vitest'
import { embeddedDriver } from '../../../../src/connectors/kafka/embedded/driver.ts'
import { processToken } from '../../../../src/connectors/kafka/liveness.ts'
import { ConnectionError, EnvironmentError, FencedError } from '../../../../src/contract/plugin.ts'
import {
  Drivers,
  Member,
  newTopic,
  produce,
  producerOptions,
  readAll,
  record,
  unique,
  until,
  values,
} from '../../../conformance/driver-lib.ts'
import { Worker } from '../../../conformance/driver-processes.ts'
import { place } from './place.ts'

const file = place()
const path = file('log.db')
const drivers = new Drivers(() => embeddedDriver({ path }))
const workers: Worker[] = []
let raw: DatabaseSync | undefined

afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.kill()
  await drivers.closeAll()
  raw?.close()
  raw = undefined
})

/** Changes the group without the knowledge of its members, as another process would. */
function meddle(...statements: string[]): void {
  raw ??= new DatabaseSync(path, { timeout: 10_000 })
  raw.exec(`BEGIN IMMEDIATE; ${statements.join(';')}; UPDATE grp SET version = version + 1; COMMIT`)
}

const uptime = () => process.hrtime()[0] * 1000

test('an evicted member receives `lost`, cannot commit, and rejoins; a silent successor loses the partitions in turn', async () => {
  const driver = await drivers.driver()
  const topic = await newTopic(driver, 2)
  const group = unique('g')
  const member = await Member.join(drivers, driver, { topics: [topic], group, sessionTimeoutMs: 1000 })
  await until('assigned', () => member.owned.size === 2)
  meddle(
    'DELETE FROM member',
    `INSERT INTO member SELECT 'ghost', id, '${JSON.stringify([topic])}', ${uptime()}, 700, '${processToken()}' FROM grp WHERE name = '${group}'`,
    `UPDATE claim SET owner = 'ghost', target = 'ghost' WHERE grp = (SELECT id FROM grp WHERE name = '${group}')`,
  )
  await expect(member.consumer.commit([{ topic, partition: 0, offset: 1 }])).rejects.toBeInstanceOf(FencedError)
  expect((await driver.committed(group, [{ topic, partition: 0 }])).size).toBe(0)
  await until('it hears of it', () => member.events.some(e => e.startsWith('lost')))
  expect(member.events.filter(e => e.startsWith('revok'))).toEqual([])
  // This member sends no heartbeat: after its session it is evicted.
  await until('it has all again', () => member.owned.size === 2)
  await member.consumer.commit([{ topic, partition: 0, offset: 1 }])
  await produce(driver, [record(topic, 'x', { partition: 1 })])
  await until('it reads on', () => member.received.length === 1)
  expect(member.breaches).toEqual([])
})

test('the partitions of a killed process are reassigned at once, before its session expires', async () => {
  const driver = await drivers.driver()
  const [topic, output] = [await newTopic(driver, 2), await newTopic(driver, 2)]
  const group = unique('g')
  const worker = new Worker({
    module: new URL('make.ts', import.meta.url).href,
    options: { path },
    input: topic,
    output,
    group,
    id: unique('p'),
    maxBytes: 1000,
    sessionTimeoutMs: 300_000,
    holdMs: 0,
  })
  workers.push(worker)
  await worker.ready()
  await produce(
    driver,
    [0, 1].map(partition => record(topic, 'x', { partition })),
  )
  await until('it works on both', async () => {
    const ends = await driver.offsets(
      [0, 1].map(partition => ({ topic: output, partition })),
      'latest',
    )
    return [...ends.values()].every(end => end === 1)
  })
  const member = await Member.join(drivers, driver, { topics: [topic], group, sessionTimeoutMs: 300_000 })
  await until('they share', () => member.owned.size === 1)
  await worker.kill()
  // Its session would last five minutes.
  await until('the survivor has both', () => member.owned.size === 2, 20_000)
})

test('a member that does not release a partition is evicted, even in the middle of its handler', async () => {
  const driver = await drivers.driver()
  const topic = await newTopic(driver, 2)
  const group = unique('g')
  const gate = Promise.withResolvers<void>()
  let stuck = false
  const sitter = await Member.join(drivers, driver, {
    topics: [topic],
    group,
    sessionTimeoutMs: 2000,
    async onRevoked() {
      stuck = true
      await gate.promise
    },
  })
  await until('it has both', () => sitter.owned.size === 2)
  const heir = await Member.join(drivers, await drivers.driver(), { topics: [topic], group, sessionTimeoutMs: 2000 })
  await until('it is asked to let go', () => stuck)
  meddle('UPDATE claim SET since = since - 120000')
  await until('the heir gets its share', () => heir.owned.size >= 1)
  await until('the sitter hears `lost`', () => sitter.events.some(e => e.startsWith('lost')))
  gate.resolve()
  await until('they share', () => sitter.owned.size === 1 && heir.owned.size === 1)
  expect([...sitter.owned, ...heir.owned].toSorted()).toEqual([`${topic}/0`, `${topic}/1`])
})

test('an assigned handler with a temporary failure is called again; a permanent failure ends the polls', async () => {
  const driver = await drivers.driver()
  const topic = await newTopic(driver)
  await produce(driver, [record(topic, 'x')])
  let calls = 0
  const errors: Error[] = []
  const member = await Member.join(drivers, driver, {
    topics: [topic],
    group: unique('g'),
    onError: e => errors.push(e),
    async onAssigned() {
      if (++calls < 3) throw new ConnectionError('the checkpoint store is away')
      return new Map()
    },
  })
  await until('it reads after all', () => member.received.length === 1)
  expect(calls).toBe(3)
  expect(errors.map(e => e.message)).toEqual(['the checkpoint store is away', 'the checkpoint store is away'])

  const doomed = await Member.join(drivers, driver, {
    topics: [topic],
    group: unique('g'),
    onAssigned: () => Promise.reject(new EnvironmentError('no rights')),
  })
  await until('its poll throws', () => doomed.breaches.length === 1)
  expect(doomed.breaches[0]).toContain('no rights')
})

test('a partition whose position is not in the log is assigned again, so that its owner decides', async () => {
  const driver = await drivers.driver()
  const topic = await newTopic(driver)
  await produce(driver, [record(topic, 'x')])
  let calls = 0
  const member = await Member.join(drivers, driver, {
    topics: [topic],
    group: unique('g'),
    onAssigned: async () => new Map(calls++ === 0 ? [[`${topic}/0`, 5000]] : []),
  })
  await until('it reads', () => member.received.length === 1)
  expect(calls).toBe(2)
})

test('closing during a rebalance leaves no member in the group', async () => {
  const driver = await drivers.driver()
  const topic = await newTopic(driver, 4)
  const group = unique('g')
  for (let round = 0; round < 10; round++) {
    const members = await Promise.all([1, 2, 3].map(() => Member.join(drivers, driver, { topics: [topic], group })))
    await new Promise(resolve => setTimeout(resolve, round * 2))
    await Promise.all(members.map(m => m.close()))
  }
  raw = new DatabaseSync(path, { readOnly: true })
  const rest = raw.prepare('SELECT count(*) AS n FROM member m JOIN grp g ON g.id = m.grp WHERE g.name = ?').get(group)
  expect(rest).toEqual({ n: 0 })
  const last = await Member.join(drivers, driver, { topics: [topic], group })
  await until('one has all', () => last.owned.size === 4)
})

test('records of another process arrive within milliseconds', async () => {
  // The same file by another path: a connection of its own, as another process has.
  symlinkSync(dirname(path), file('elsewhere'))
  const other = embeddedDriver({ path: join(file('elsewhere'), 'log.db') })
  const driver = await drivers.driver()
  const topic = await newTopic(driver)
  const member = await Member.join(drivers, driver, { topics: [topic], group: unique('g'), sessionTimeoutMs: 300_000 })
  await until('assigned', () => member.owned.size === 1)
  const delays: number[] = []
  for (let i = 1; i <= 15; i++) {
    await new Promise(resolve => setTimeout(resolve, 40))
    await produce(other, [record(topic, `${i}`)])
    const sent = performance.now()
    await until('it arrives', () => member.received.length === i)
    delays.push(performance.now() - sent)
  }
  // The better ones: a busy machine holds up the others.
  expect(delays.toSorted((a, b) => a - b)[3]).toBeLessThan(100)
  await other.close()
})

test('readers of a topic that grows get the new partition; readers of a deleted topic release it', async () => {
  const driver = await drivers.driver()
  const topic = await newTopic(driver, 1)
  const other = await newTopic(driver, 1)
  const group = unique('g')
  const members = [0, 1].map(() => Member.join(drivers, driver, { topics: [topic, other], group }))
  const [a, b] = await Promise.all(members)
  const owned = () => [...a.owned, ...b.owned].sort()
  await until('both partitions are taken', () => owned().length === 2)
  await driver.admin.addPartitions(topic, 2)
  await until('the new one, too', () => owned().length === 3)
  await produce(driver, [record(topic, 'x', { partition: 1 })])
  await until('it is read', () => [...a.values, ...b.values].includes('x'))
  await driver.admin.deleteTopics([other])
  await until('the deleted one is given up', () => owned().join() === `${topic}/0,${topic}/1`)
  expect([...a.breaches, ...b.breaches]).toEqual([])
})

test('a writer to a topic that another process has deleted recreates it, and never writes to another topic', async () => {
  const driver = await drivers.driver()
  const gone = await newTopic(driver, 1)
  const producer = await driver.producer(producerOptions)
  await producer.send([record(gone, 'old')])
  // As another process would: this one's memory of the topic stays.
  raw ??= new DatabaseSync(path, { timeout: 10_000 })
  raw.exec(`DELETE FROM topic WHERE name = '${gone}'; UPDATE part SET topic = -id WHERE topic NOT IN (SELECT id FROM topic) AND topic > 0`)
  const next = await newTopic(driver, 1)
  await expect(producer.send([record(gone, 'lost?')])).rejects.toBeInstanceOf(ConnectionError)
  await producer.send([record(gone, 'again')])
  expect(values(await readAll(driver, { topic: gone, partition: 0 }))).toEqual(['again'])
  expect(await readAll(driver, { topic: next, partition: 0 })).toEqual([])
})
