import { afterEach, expect, test } from 'vitest'
import type { Driver } from '../../src/connectors/kafka/driver.ts'
import { EnvironmentError } from '../../src/contract/plugin.ts'
import { Drivers, Member, newTopic, produce, readAll, record, unique, until, values } from './driver-lib.ts'

export function adminRows(makeDriver: () => Driver | Promise<Driver>): void {
  const drivers = new Drivers(makeDriver)
  afterEach(() => drivers.closeAll())

  test('settings: topic settings and log defaults are distinguished; changing one leaves the others unchanged', async () => {
    const driver = await drivers.driver()
    const topic = unique('conf')
    await driver.createTopics([{ topic, partitions: 1, replication: 1, config: { 'retention.ms': '60000', 'max.message.bytes': '5000' } }])
    await driver.admin.alterConfigs(topic, { 'retention.ms': '120000', 'cleanup.policy': 'compact' })
    const settings = (await driver.admin.configs([topic])).get(topic)!
    expect(settings.get('retention.ms')).toEqual({ value: '120000', own: true })
    expect(settings.get('max.message.bytes')).toEqual({ value: '5000', own: true })
    expect(settings.get('cleanup.policy')).toEqual({ value: 'compact', own: true })
    expect(settings.get('retention.bytes')).toEqual({ value: '-1', own: false })
    await driver.admin.alterConfigs(topic, { 'max.message.bytes': null })
    expect((await driver.admin.configs([topic])).get(topic)!.get('max.message.bytes')).toEqual({ value: '1048588', own: false })
    await expect(driver.admin.alterConfigs(topic, { 'retention.ms': 'soon' })).rejects.toThrow(EnvironmentError)
    await expect(driver.admin.configs([unique('nowhere')])).rejects.toThrow(/does not exist/)
  })

  test('partitions are added, and a member of a group that reads the topic gets them', async () => {
    const driver = await drivers.driver()
    const other = await drivers.driver()
    const topic = await newTopic(driver, 1)
    await driver.admin.addPartitions(topic, 3)
    await driver.admin.addPartitions(topic, 2)
    expect((await driver.topics()).find(t => t.name === topic)?.partitions).toBe(3)
    await produce(other, [record(topic, 'x', { partition: 2 })])
    const member = await Member.join(drivers, driver, { topics: [topic], group: unique('g') })
    await until('the new partition is read', () => member.values.length === 1)
  })

  test('a deleted topic is removed with its records; a new one of the same name starts empty', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    await produce(driver, [record(topic, 'old', { partition: 1 })])
    await driver.admin.deleteTopics([topic, unique('nowhere')])
    expect((await driver.topics()).some(t => t.name === topic)).toBe(false)
    await driver.createTopics([{ topic, partitions: 2, replication: 1 }])
    await produce(driver, [record(topic, 'new', { partition: 1 })])
    expect(values(await readAll(driver, { topic, partition: 1 }))).toEqual(['new'])
  })

  test('members of a group are listed, and its offsets can be set only while it has none', async () => {
    const driver = await drivers.driver()
    const topic = await newTopic(driver, 2)
    const group = unique('g')
    expect(await driver.admin.members(group)).toEqual([])
    const member = await Member.join(drivers, driver, { topics: [topic], group })
    await until('assigned', () => member.owned.size === 2)
    const [seen, ...rest] = await (await drivers.driver()).admin.members(group)
    expect(rest).toEqual([])
    expect(seen.host).not.toBe('')
    await expect(driver.admin.setOffsets(group, [{ topic, partition: 0, offset: 0 }])).rejects.toThrow(EnvironmentError)
    await member.close()
    await until('the group is empty', async () => (await driver.admin.members(group)).length === 0)
    const offsets = [
      { topic, partition: 0, offset: 7 },
      { topic, partition: 1, offset: 0 },
    ]
    await driver.admin.setOffsets(group, offsets)
    const committed = await driver.committed(group, offsets)
    expect([...committed].map(([key, { offset }]) => [key, offset]).sort()).toEqual([
      [`${topic}/0`, 7],
      [`${topic}/1`, 0],
    ])
  })
}
