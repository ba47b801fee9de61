import { afterEach, expect, test, vi } from 'vitest'
import { Cluster } from '../../../src/connectors/kafka/client/cluster.ts'
import type { Broker } from '../../../src/connectors/kafka/client/internals.ts'
import { Batch, Call } from '../../../src/connectors/kafka/client/produce/batch.ts'
import { Sender } from '../../../src/connectors/kafka/client/produce/sender.ts'
import { PartitionQueue } from '../../../src/connectors/kafka/client/produce/batch.ts'
import { fakeContext } from '../../../src/testing/conformance/context.ts'

afterEach(() => vi.useRealTimers())

test('the wait for a partition without a leader ends, even if the brokers respond', async () => {
  vi.useFakeTimers()
  // The metadata of a topic whose only replica is down.
  const partitions = [{ partition: 0, leader: -1 }]
  const cluster = {
    cached: () => partitions,
    partitions: async () => partitions,
    stale: () => {},
    leaderId: Cluster.prototype.leaderId,
  } as unknown as Cluster
  const queue = new PartitionQueue('t', 0)
  const options = { lingerMs: 0, acks: -1, transactionalId: null, mayReidentify: true, log: fakeContext('out').log } as const
  const sender = new Sender(cluster, options, () => [queue])
  const call = new Call(1)
  queue.open = new Batch(Date.now(), 'none')
  queue.open.add({ topic: 't', key: null, value: Buffer.from('1'), headers: [], time: 0 }, call, 0)
  const failed = expect(call.done).rejects.toMatchObject({ message: expect.stringContaining('t/0 has no leader'), retryable: true })
  sender.activate(queue, Date.now())
  sender.soon()
  await vi.advanceTimersByTimeAsync(10_000)
  expect(sender.trouble).toMatch(/t\/0 has no leader/)
  await vi.advanceTimersByTimeAsync(120_000)
  await failed
})

test('a leader that is unreachable is looked up again, because another broker may be the leader', async () => {
  const cluster = new Cluster({ brokers: ['a:1'], clientId: 'test', log: fakeContext('out').log })
  const leaders = [2, 3]
  const asked = {
    lookupRequest: () => () => ({ request: {}, response: {} }),
    connectionPool: {
      send: async () => ({
        brokers: [1, 2, 3].map(nodeId => ({ nodeId, host: 'a', port: nodeId })),
        controllerId: 2,
        topicMetadata: [
          { topic: 't', topicErrorCode: 0, partitionMetadata: [{ partitionId: 0, leader: leaders.shift(), replicas: [1, 2, 3] }] },
        ],
      }),
    },
  } as unknown as Broker
  const gone = Object.assign(new Error('connect ECONNREFUSED'), { name: 'KafkaJSConnectionError' })
  const open = async ({ port }: { port: number }): Promise<Broker> => (port === 2 ? Promise.reject(gone) : asked)
  Object.assign(cluster, { connections: { any: () => asked, open } })
  const find = async (): Promise<Broker> => await cluster.broker(await cluster.leaderId({ topic: 't', partition: 0 }))
  await expect(find()).rejects.toBe(gone)
  await expect(find()).resolves.toBe(asked)
})
