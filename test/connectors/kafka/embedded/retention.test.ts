import { afterEach, expect, test, vi } from 'vitest'
import { embeddedDriver } from '../../../../src/connectors/kafka/embedded/driver.ts'
import { Drivers, Member, producerOptions, readAll, record, until, values } from '../../../conformance/driver-lib.ts'
import { place } from './place.ts'

const file = place()
const DAY = 24 * 3600_000
let now = 1_800_000_000_000
let path = ''
const drivers = new Drivers(() => embeddedDriver({ path, now: () => now }))

afterEach(async () => {
  await drivers.closeAll()
  vi.useRealTimers()
})

/** A driver whose housekeeping runs when `keepHouse` is called. */
async function setup(name: string) {
  path = file(name)
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const driver = await drivers.driver()
  await driver.topics()
  const keepHouse = async () => {
    vi.advanceTimersByTime(30_000)
    // It works in turns of the event loop.
    for (let i = 0; i < 50; i++) await new Promise(setImmediate)
  }
  return { driver, keepHouse, producer: await driver.producer(producerOptions) }
}
const tp = { topic: 't', partition: 0 }

test('by age: counted from the time of the write, not from the timestamp of the record', async () => {
  const { driver, keepHouse, producer } = await setup('age.db')
  await driver.createTopics([{ topic: 't', partitions: 1, config: { 'retention.ms': String(2 * DAY) } }])
  for (let day = 0; day < 4; day++) {
    await producer.send([record('t', `day ${day}`, { time: 1000 })])
    now += DAY
  }
  await keepHouse()
  expect(values(await readAll(driver, tp))).toEqual(['day 2', 'day 3'])
  const bounds = [await driver.offsets([tp], 'earliest'), await driver.offsets([tp], 'latest'), await driver.offsets([tp], 0)]
  expect(bounds.map(b => b.get('t/0'))).toEqual([2, 4, 2])
  expect(await driver.read(tp, 0, { format: 'text', isolation: 'read_committed' })).toMatchObject({ nextOffset: 4, endOffset: 4 })
  // Offsets never restart, even if no record is left.
  now += 10 * DAY
  await keepHouse()
  expect(await readAll(driver, tp)).toEqual([])
  await producer.send([record('t', 'later')])
  expect((await readAll(driver, tp)).map(m => [m.offset, m.value])).toEqual([[4, 'later']])
})

test('the default is a week; compacted topics and retention.ms -1 keep all records', async () => {
  const { driver, keepHouse, producer } = await setup('default.db')
  await driver.createTopics([
    { topic: 'compacted', partitions: 1, config: { 'cleanup.policy': 'compact' } },
    { topic: 'forever', partitions: 1, config: { 'retention.ms': '-1' } },
  ])
  await producer.send(['t', 'compacted', 'forever'].map(topic => record(topic, 'old')))
  now += 6 * DAY
  await keepHouse()
  expect((await readAll(driver, tp)).length).toBe(1)
  now += 2 * DAY
  await keepHouse()
  expect((await readAll(driver, tp)).length).toBe(0)
  expect((await readAll(driver, { topic: 'compacted', partition: 0 })).length).toBe(1)
  expect((await readAll(driver, { topic: 'forever', partition: 0 })).length).toBe(1)
})

test('by size: the oldest records are deleted, at least retention.bytes stay, and the file stops growing', async () => {
  const { driver, keepHouse, producer } = await setup('size.db')
  await driver.createTopics([{ topic: 't', partitions: 1, config: { 'retention.bytes': '1000000' } }])
  const pages: number[] = []
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 50; i++) await producer.send(Array.from({ length: 50 }, () => record('t', 'x'.repeat(1000))))
    now += 60_000
    await keepHouse()
    const kept = await readAll(driver, tp)
    expect(kept.length * 1016).toBeGreaterThanOrEqual(1_000_000)
    expect(kept.length).toBeLessThan(1100)
    expect(kept.at(-1)!.offset).toBe((round + 1) * 2500 - 1)
    const { DatabaseSync } = await import('node:sqlite')
    const look = new DatabaseSync(path, { readOnly: true })
    pages.push((look.prepare('PRAGMA page_count').get() as { page_count: number }).page_count)
    look.close()
  }
  // Freed space is returned to the file system: each round writes and deletes 2.5 MB, about 1 MB stays.
  expect(Math.max(...pages.slice(1)) * 4096).toBeLessThan(4_000_000)
})

test('a reader behind the retention continues at the oldest record, and reports the gap', async () => {
  const { driver, keepHouse, producer } = await setup('overtaken.db')
  await driver.createTopics([{ topic: 't', partitions: 1, config: { 'retention.ms': String(DAY) } }])
  await producer.send([record('t', 'a'), record('t', 'b')])
  const lost: unknown[] = []
  const onLost = (...what: unknown[]) => lost.push(what)
  const join = () => Member.join(drivers, driver, { topics: ['t'], group: 'g', startAt: 'latest', onLost })
  const member = await join()
  await until('assigned', () => member.owned.size === 1)
  await member.consumer.commit([{ ...tp, offset: 1 }])
  await member.close()
  now += 2 * DAY
  await keepHouse()
  await producer.send([record('t', 'c')])
  const late = await join()
  await until('it reads', () => late.received.length === 1)
  expect(late.values).toEqual(['c'])
  expect(lost).toEqual([['t/0', 1, 2]])
})
