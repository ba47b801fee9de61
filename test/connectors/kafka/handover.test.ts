import { expect, test } from 'vitest'
import { Cluster } from '../../../src/connectors/kafka/client/cluster.ts'
import { GroupConsumer } from '../../../src/connectors/kafka/client/consume/consumer.ts'
import { TopicWatch } from '../../../src/connectors/kafka/client/topic-watch.ts'
import { ConnectionError } from '../../../src/contract/plugin.ts'
import { consumerOptions, newTopic, produce, record, unique } from '../../conformance/driver-lib.ts'
import { brokers } from '../../support/brokers.ts'
import { makeDriver, testLog } from './make.ts'

/** As if the coordinator is unavailable for longer than clients retry. */
class Amnesiac extends Cluster {
  committedFails = true

  override retry: Cluster['retry'] = (doing, ...rest) =>
    this.committedFails && doing.startsWith('read the committed offsets')
      ? Promise.reject(new ConnectionError(`cannot ${doing}`))
      : super.retry(doing, ...rest)
}

test('a partition is assigned once, and is read although the start of another one cannot be found yet', async () => {
  const driver = makeDriver({ brokers: brokers() })
  const topic = await newTopic(driver, 2)
  await produce(driver, [record(topic, 'a', { partition: 0 }), record(topic, 'b', { partition: 1 })])
  await driver.close()

  const clusters: Amnesiac[] = []
  const makeCluster = (): Cluster => {
    const cluster = new Amnesiac({ brokers: brokers().split(','), clientId: 'runner-test', log: testLog })
    clusters.push(cluster)
    return cluster
  }
  const consumer = new GroupConsumer(
    makeCluster,
    { ...consumerOptions, topics: [topic], group: unique('g') },
    testLog,
    new TopicWatch(makeCluster()),
  )
  const assigned: number[] = []
  await consumer.open({
    async assigned(partitions) {
      assigned.push(...partitions.map(tp => tp.partition))
      return new Map([[`${topic}/0`, 0]])
    },
    revoked: async () => {},
    lost: () => {},
  })
  try {
    const first = await consumer.poll(AbortSignal.timeout(15_000))
    expect(first.messages.map(m => m.value)).toEqual(['a'])
    for (const cluster of clusters) cluster.committedFails = false
    const second = await consumer.poll(AbortSignal.timeout(15_000))
    expect(second.messages.map(m => m.value)).toEqual(['b'])
    expect(assigned.toSorted()).toEqual([0, 1])
  } finally {
    await consumer.close()
  }
})
