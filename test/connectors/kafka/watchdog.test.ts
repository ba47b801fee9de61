import { afterEach, expect, test, vi } from 'vitest'
import type { Cluster } from '../../../src/connectors/kafka/client/cluster.ts'
import { Fetcher } from '../../../src/connectors/kafka/client/consume/fetcher.ts'
import { PartitionState } from '../../../src/connectors/kafka/client/consume/partition.ts'

afterEach(() => vi.useRealTimers())

test('a fetch without a response or an error is abandoned after 20 s with a log message, and repeated', async () => {
  vi.useFakeTimers()
  let asked = 0
  let resets = 0
  // No real broker can be made to do this: the requests' own timeouts come first.
  const cluster = {
    cached: () => [{ partition: 0, leader: 1, replicas: 1 }],
    broker: () => {
      asked++
      return new Promise(() => {})
    },
    reset: () => void resets++,
  } as unknown as Cluster
  const state = new PartitionState({ topic: 't', partition: 0 }, { lane: 't/0', source: 's', format: 'json' }, true, 1000)
  state.fetchFrom = 5
  const errors: string[] = []
  const fetcher = new Fetcher(cluster, {
    maxBytes: 1000,
    maxWaitMs: 500,
    committed: true,
    partitions: () => [state],
    onData: () => {},
    onError: error => errors.push(error.message),
    onFatal: error => errors.push(error.message),
    onOutOfRange: () => {},
    onUnknown: () => {},
  })
  fetcher.kick()
  fetcher.kick()
  await vi.advanceTimersByTimeAsync(19_000)
  expect({ asked, resets, errors }).toEqual({ asked: 1, resets: 0, errors: [] })
  expect(fetcher.trouble).toMatch(/no answer from broker \d+ to a fetch/)
  await vi.advanceTimersByTimeAsync(11_000)
  expect({ asked, resets }).toEqual({ asked: 2, resets: 1 })
  expect(errors).toEqual([expect.stringMatching(/has not answered a fetch for 20 s/)])
  expect(fetcher.trouble).toMatch(/no answer from broker \d+|broker \d+ has not answered a fetch for 20 s/)
  fetcher.close()
})
