import { afterEach, expect, test } from 'vitest'
import type { Driver } from '../../src/connectors/kafka/driver.ts'
import { BatchError, type CheckpointDelta } from '../../src/contract/plugin.ts'
import { begin, Drivers, laneOf, Member, newTopic, producerOptions, readAll, record, unique, until, values } from './driver-lib.ts'

export function transactionRows(makeDriver: () => Driver | Promise<Driver>): void {
  const drivers = new Drivers(makeDriver)
  afterEach(() => drivers.closeAll())

  const setup = async (partitions = 1) => {
    const driver = await drivers.driver()
    const input = await newTopic(driver, partitions)
    const output = await newTopic(driver, partitions)
    const group = unique('g')
    const id = `${unique('p')}.1`
    const transactor = driver.transactor({ id, producer: producerOptions })
    const lane = laneOf(input, 0, group)
    return { driver, input, output, group, id, transactor, lane }
  }

  test('A: readers see committed records and no aborted ones, interleaved', async () => {
    const { driver, output, lane, transactor } = await setup()
    await transactor.claim(lane)
    let position = 0
    for (const [value, commits] of [
      ['a1', false],
      ['a2', false],
      ['c1', true],
      ['a3', false],
      ['c2', true],
      ['a4', false],
    ] as const) {
      // prettier-ignore
      const transaction = await begin(transactor, lane)
      await transaction.send([record(output, value), record(output, `${value}'`)])
      if (commits) await transaction.commit(at(++position))
      else await transaction.abort()
    }
    const expected = ['c1', "c1'", 'c2', "c2'"]
    await expect.poll(async () => values(await readAll(driver, { topic: output, partition: 0 }))).toEqual(expected)
    const member = await Member.join(drivers, driver, { topics: [output], group: unique('g') })
    await until('committed records', () => member.consumer.caughtUp({ topic: output, partition: 0 }) !== false)
    expect(member.values).toEqual(expected)
    expect(member.breaches).toEqual([])
  })

  test('B: an aborted transaction larger than a fetch stays invisible', async () => {
    const { driver, output, lane, transactor } = await setup()
    await transactor.claim(lane)
    const aborted = await begin(transactor, lane)
    for (let i = 0; i < 60; i++) await aborted.send([record(output, Buffer.alloc(100_000, 'a'))])
    await aborted.abort()
    const committed = await begin(transactor, lane)
    await committed.send([record(output, 'c1')])
    await committed.commit(at(1))
    const member = await Member.join(drivers, driver, { topics: [output], group: unique('g'), maxBytes: 256 * 1024 })
    await until('c1', () => member.received.length > 0 && member.consumer.caughtUp({ topic: output, partition: 0 }) !== false)
    expect(member.values).toEqual(['c1'])
  })

  test('the records of an open transaction are invisible, and it blocks no other writer', async () => {
    const { driver, input, output, group, lane, transactor } = await setup(2)
    const other = laneOf(input, 1, group)
    await transactor.claim(lane)
    await transactor.claim(other)
    const open = await begin(transactor, lane)
    await open.send([record(output, 'pending', { partition: 0 })])
    const quick = await begin(transactor, other)
    await quick.send([record(output, 'done', { partition: 1 })])
    await quick.commit(at(1))
    expect(values(await readAll(driver, { topic: output, partition: 0 }))).toEqual([])
    await expect.poll(async () => values(await readAll(driver, { topic: output, partition: 1 }))).toEqual(['done'])
    await open.commit(at(1))
    await expect.poll(async () => values(await readAll(driver, { topic: output, partition: 0 }))).toEqual(['pending'])
  })

  test('outputs, state and group offset are atomic: all after a commit, none after an abort', async () => {
    const { driver, input, output, group, id, lane, transactor } = await setup()
    const tp = { topic: input, partition: 0 }
    expect(await transactor.claim(lane)).toBeUndefined()
    const aborted = await begin(transactor, lane)
    await aborted.send([record(output, 'no')])
    await aborted.abort()
    expect((await driver.committed(group, [tp])).size).toBe(0)
    const transaction = await begin(transactor, lane)
    await transaction.send([record(output, 'yes')])
    await transaction.commit(at(17, [['windows', 'BTC', '{"open":1}']]))
    await expect.poll(async () => (await driver.committed(group, [tp])).get(`${input}/0`)?.offset).toBe(17)
    await expect.poll(async () => values(await readAll(driver, { topic: output, partition: 0 }))).toEqual(['yes'])
    const again = (await drivers.driver()).transactor({ id, producer: producerOptions })
    expect(await again.claim(lane)).toEqual({ position: 17, state: [['windows', 'BTC', '{"open":1}']] })
  })

  test('claim returns exactly the live state: overwritten, deleted and recreated keys, unusual names', async () => {
    const { id, lane, transactor } = await setup()
    await transactor.claim(lane)
    const deltas: CheckpointDelta[] = [
      at(1, [
        ['s', 'a', '1'],
        ['s', 'b', '1'],
        ['t', 'a', '"other store"'],
        ['s', '', '"empty key"'],
      ]), // prettier-ignore
      at(2, [
        ['s', 'a', '2'],
        ['s', 'b', null],
        ['s', 'a|b/c\n"\u0000ü', '{"x":[1,2]}'],
      ]), // prettier-ignore
      at(3, [
        ['s', 'b', '3'],
        ['s', 'gone', null],
      ]), // prettier-ignore
      at(4, [
        ['s', 'c', '1'],
        ['s', 'c', null],
        ['s', 'd', null],
        ['s', 'd', '4'],
      ]), // prettier-ignore
    ]
    for (const delta of deltas) await (await begin(transactor, lane)).commit(delta)
    const again = (await drivers.driver()).transactor({ id, producer: producerOptions })
    const checkpoint = await again.claim(lane)
    expect(checkpoint?.position).toBe(4)
    expect(checkpoint?.state.map(s => [...s]).toSorted()).toEqual(
      [
        ['s', '', '"empty key"'],
        ['s', 'a', '2'],
        ['s', 'a|b/c\n"\u0000ü', '{"x":[1,2]}'],
        ['s', 'b', '3'],
        ['s', 'd', '4'],
        ['t', 'a', '"other store"'],
      ].toSorted(), // prettier-ignore
    )
  })

  test('big state: 10,000 keys in one commit, then every second one deleted', async () => {
    const { id, lane, transactor } = await setup()
    await transactor.claim(lane)
    await (await begin(transactor, lane)).commit(
      at(
        1,
        Array.from({ length: 10_000 }, (_, i) => ['s', `key-${i}`, json(i)]),
      ),
    )
    await (await begin(transactor, lane)).commit(
      at(
        2,
        Array.from({ length: 5_000 }, (_, i) => ['s', `key-${2 * i}`, null]),
      ),
    )
    const again = (await drivers.driver()).transactor({ id, producer: producerOptions })
    const state = (await again.claim(lane))?.state ?? []
    const expected = Array.from({ length: 5_000 }, (_, i) => ['s', `key-${2 * i + 1}`, json(2 * i + 1)])
    expect(state.map(s => [...s]).toSorted()).toEqual(expected.toSorted())
  })

  test('empty transactions and plain saves advance the position', async () => {
    const { driver, input, group, lane, transactor } = await setup()
    await transactor.claim(lane)
    for (let position = 1; position <= 5; position++) await (await begin(transactor, lane)).commit(at(position))
    await transactor.save(lane, at(6, [['s', 'k', '1']]))
    const committed = () => driver.committed(group, [{ topic: input, partition: 0 }])
    await expect.poll(async () => (await committed()).get(`${input}/0`)?.offset).toBe(6)
    expect(await transactor.claim(lane)).toEqual({ position: 6, state: [['s', 'k', '1']] })
  })

  test('D: concurrent sends to several partitions in one transaction, each in order', async () => {
    const { driver, output, lane, transactor } = await setup(3)
    await transactor.claim(lane)
    const transaction = await begin(transactor, lane)
    const batch = (partition: number) => Array.from({ length: 2_000 }, (_, i) => record(output, `${partition}-${i}`, { partition }))
    await Promise.all([0, 1, 2].map(partition => transaction.send(batch(partition))))
    await transaction.commit(at(6_000))
    for (const partition of [0, 1, 2])
      await expect
        .poll(async () => values(await readAll(driver, { topic: output, partition })))
        .toEqual(Array.from({ length: 2_000 }, (_, i) => `${partition}-${i}`))
  })

  test('lanes commit concurrently without affecting each other', async () => {
    const { driver, input, output, group, transactor } = await setup(4)
    const run = async (partition: number) => {
      const lane = laneOf(input, partition, group)
      await transactor.claim(lane)
      for (let n = 0; n < 10; n++) {
        const transaction = await begin(transactor, lane)
        await transaction.send([record(output, `${partition}-${n}`, { partition })])
        if (n % 3 === 2) await transaction.abort()
        else await transaction.commit(at(n + 1, [['s', 'n', `${n}`]]))
      }
    }
    await Promise.all([0, 1, 2, 3].map(run))
    for (const partition of [0, 1, 2, 3]) {
      await expect
        .poll(async () => values(await readAll(driver, { topic: output, partition })))
        .toEqual([0, 1, 3, 4, 6, 7, 9].map(n => `${partition}-${n}`))
      expect(await transactor.claim(laneOf(input, partition, group))).toEqual({ position: 10, state: [['s', 'n', '9']] })
    }
  })

  test('an unwritable record is named; the transaction can be aborted, and the lane continues', async () => {
    const { driver, output, lane, transactor } = await setup()
    await transactor.claim(lane)
    const transaction = await begin(transactor, lane)
    const error = await transaction.send([record(output, 'fits'), record(output, Buffer.alloc(3_000_000))]).then(
      () => undefined,
      e => e,
    )
    expect(error).toBeInstanceOf(BatchError)
    expect([...(error as BatchError).failed.keys()]).toEqual([1])
    await transaction.abort()
    await transactor.claim(lane)
    const next = await begin(transactor, lane)
    await next.send([record(output, 'next')])
    await next.commit(at(1))
    await expect.poll(async () => values(await readAll(driver, { topic: output, partition: 0 }))).toEqual(['next'])
  })
}

const at = (position: number, state: CheckpointDelta['state'] = []): CheckpointDelta => ({ position, state })

const json = (i: number): string => JSON.stringify({ i, text: 'x'.repeat(60) })
