import { afterEach, expect, test } from 'vitest'
import type { Driver } from '../../src/connectors/kafka/driver.ts'
import { FencedError } from '../../src/contract/plugin.ts'
import { begin, Drivers, laneOf, newTopic, producerOptions, readAll, record, unique, values } from './driver-lib.ts'

export function fencingRows(makeDriver: () => Driver | Promise<Driver>): void {
  const drivers = new Drivers(makeDriver)
  afterEach(() => drivers.closeAll())

  /** Two owners of the same lane, as two processes would have them. */
  const setup = async () => {
    const driver = await drivers.driver()
    const [input, output] = [await newTopic(driver, 2), await newTopic(driver)]
    const id = `${unique('p')}.1`
    const group = unique('g')
    const owner = async () => (await drivers.driver()).transactor({ id, producer: producerOptions })
    const seen = async () => values(await readAll(driver, { topic: output, partition: 0 }))
    return { driver, input, output, group, owner, seen, lane: laneOf(input, 0, group) }
  }

  test('C: the lane can be claimed repeatedly', async () => {
    const { output, owner, seen, lane } = await setup()
    for (let n = 1; n <= 4; n++) {
      const transactor = await owner()
      expect((await transactor.claim(lane))?.position).toBe(n === 1 ? undefined : n - 1)
      const transaction = await begin(transactor, lane)
      await transaction.send([record(output, `${n}`)])
      await transaction.commit({ position: n, state: [] })
    }
    await expect.poll(seen).toEqual(['1', '2', '3', '4'])
  })

  test('C2: after a new claim the former owner can neither commit nor save; the new owner is not affected', async () => {
    const { driver, input, output, group, owner, seen, lane } = await setup()
    const [old, young] = [await owner(), await owner()]
    await old.claim(lane)
    const before = await begin(old, lane)
    await before.send([record(output, 'before')])
    await before.commit({ position: 1, state: [['s', 'k', '"old"']] })
    const zombie = await begin(old, lane)
    await zombie.send([record(output, 'zombie')])

    expect(await young.claim(lane)).toEqual({ position: 1, state: [['s', 'k', '"old"']] })
    await expect(zombie.commit({ position: 2, state: [['s', 'k', '"zombie"']] })).rejects.toBeInstanceOf(FencedError)
    await expect(old.save(lane, { position: 3, state: [['s', 'k', '"zombie"']] })).rejects.toThrow()

    const transaction = await begin(young, lane)
    await transaction.send([record(output, 'young')])
    await transaction.commit({ position: 2, state: [['s', 'k', '"young"']] })
    await expect.poll(seen).toEqual(['before', 'young'])
    await expect.poll(async () => (await driver.committed(group, [{ topic: input, partition: 0 }])).get(lane.id)?.offset).toBe(2)
    expect(await (await owner()).claim(lane)).toEqual({ position: 2, state: [['s', 'k', '"young"']] })
  })

  test('a fenced owner that begins a new transaction cannot write', async () => {
    const { output, owner, seen, lane } = await setup()
    const [old, young] = [await owner(), await owner()]
    await old.claim(lane)
    await young.claim(lane)
    const attempt = async () => {
      const transaction = await begin(old, lane)
      await transaction.send([record(output, 'zombie')])
      await transaction.commit({ position: 9, state: [] })
    }
    await expect(attempt()).rejects.toBeInstanceOf(FencedError)
    const transaction = await begin(young, lane)
    await transaction.send([record(output, 'young')])
    await transaction.commit({ position: 1, state: [] })
    await expect.poll(seen).toEqual(['young'])
  })

  test('an open transaction is fenced when its owner claims the lane again or releases it', async () => {
    const { output, owner, seen, lane } = await setup()
    const transactor = await owner()
    for (const end of [() => transactor.claim(lane), () => transactor.release(lane)]) {
      await transactor.claim(lane)
      const stale = await begin(transactor, lane)
      await stale.send([record(output, 'stale')])
      await end()
      await expect(stale.commit({ position: 9, state: [] })).rejects.toBeInstanceOf(FencedError)
    }
    await transactor.claim(lane)
    const transaction = await begin(transactor, lane)
    await transaction.send([record(output, 'good')])
    await transaction.commit({ position: 1, state: [] })
    await expect.poll(seen).toEqual(['good'])
  })

  test('an open transaction of a dead owner does not block readers', async () => {
    const { output, owner, seen, lane } = await setup()
    const [dead, heir] = [await owner(), await owner()]
    await dead.claim(lane)
    const open = await begin(dead, lane)
    await open.send([record(output, 'never committed')])
    await heir.claim(lane)
    const transaction = await begin(heir, lane)
    await transaction.send([record(output, 'heir')])
    await transaction.commit({ position: 1, state: [] })
    await expect.poll(seen).toEqual(['heir'])
  })

  test('fencing is per lane: the former owner keeps its other lanes', async () => {
    const { input, output, group, owner, seen, lane } = await setup()
    const other = laneOf(input, 1, group)
    const [old, young] = [await owner(), await owner()]
    await old.claim(lane)
    await old.claim(other)
    await young.claim(lane)
    const transaction = await begin(old, other)
    await transaction.send([record(output, 'other lane')])
    await transaction.commit({ position: 1, state: [] })
    await expect.poll(seen).toEqual(['other lane'])
  })

  test('a released lane is rejected until it is claimed again; the same owner may claim twice', async () => {
    const { output, owner, seen, lane } = await setup()
    const transactor = await owner()
    await transactor.claim(lane)
    await transactor.release(lane)
    await expect(transactor.save(lane, { position: 1, state: [] })).rejects.toThrow()
    await expect(transactor.begin(lane)).rejects.toThrow()
    await transactor.claim(lane)
    await transactor.claim(lane)
    const transaction = await begin(transactor, lane)
    await transaction.send([record(output, 'back')])
    await transaction.commit({ position: 1, state: [] })
    await expect.poll(seen).toEqual(['back'])
  })
}
