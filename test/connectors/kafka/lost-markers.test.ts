/** Brokers that can end a transaction without a marker are recognized by what they report about themselves. */
import { expect, test, vi } from 'vitest'
import { checkSink } from '../../../src/connectors/kafka/check.ts'
import { Cluster } from '../../../src/connectors/kafka/client/cluster.ts'
import * as markers from '../../../src/connectors/kafka/client/transact/lost-markers.ts'
import { brokers, createTopic, unique } from '../../support/kafka.ts'
import { sinkConfig } from './config.ts'
import { testLog } from './make.ts'

const { exposedTopics, levelIn, metadataLevel } = markers

/** What real brokers answered, from the tagged fields on; `newest` is the `metadata.version` of the release. */
const RELEASES = [
  { release: '3.9.2', newest: 21, tags: 'AwAXAhFtZXRhZGF0YS52ZXJzaW9uAAEAFQABCAAAAAAAAAAPAhcCEW1ldGFkYXRhLnZlcnNpb24AFQAVAA==' },
  {
    release: '4.1.0',
    newest: 27,
    tags: 'AwAXAhFtZXRhZGF0YS52ZXJzaW9uAAcAGwABCAAAAAAAAAALAmkFDmdyb3VwLnZlcnNpb24AAQABABR0cmFuc2FjdGlvbi52ZXJzaW9uAAIAAgAhZWxpZ2libGUubGVhZGVyLnJlcGxpY2FzLnZlcnNpb24AAQABABFtZXRhZGF0YS52ZXJzaW9uABsAGwA=',
  },
  {
    release: '4.3.1',
    newest: 30,
    tags: 'AwAXAhFtZXRhZGF0YS52ZXJzaW9uAAcAHgABCAAAAAAAAAAUApEBBw5ncm91cC52ZXJzaW9uAAEAAQAQc3RyZWFtcy52ZXJzaW9uAAEAAQAUdHJhbnNhY3Rpb24udmVyc2lvbgACAAIAIWVsaWdpYmxlLmxlYWRlci5yZXBsaWNhcy52ZXJzaW9uAAEAAQAOc2hhcmUudmVyc2lvbgABAAEAEW1ldGFkYXRhLnZlcnNpb24AHgAeAA==',
  },
]
/** Before the tags: no error, one API (0, versions 0 to 13, no tags), no throttling. */
const response = (tags: string): Buffer =>
  Buffer.concat([Buffer.from('0000' + '02' + '0000' + '0000' + '000d' + '00' + '00000000', 'hex'), Buffer.from(tags, 'base64')])

test.each(RELEASES)('the answer of Kafka $release', ({ newest, tags }) => {
  expect(levelIn(response(tags))).toBe(newest)
})

test('a broker without features, and one that rejects the request', () => {
  expect(levelIn(response(Buffer.from([0]).toString('base64')))).toBeUndefined()
  expect(levelIn(Buffer.from('0023', 'hex'))).toBeUndefined()
})

/** A cluster as far as it is asked. */
const clusterOf = (newest: number, brokerCount: number, replicas: Record<string, number[]>): { cluster: Cluster; asked: () => number } => {
  let asked = 0
  const { tags } = RELEASES.find(r => r.newest === newest)!
  const payload = response(tags)
  const broker = {
    versions: { 18: { minVersion: 0, maxVersion: 4 } },
    connectionPool: { send: async ({ response: r }: any) => (asked++, await r.parse(await r.decode(payload))) },
  }
  const cluster = {
    partitions: async (topic: string) => replicas[topic].map((n, partition) => ({ partition, leader: 1, replicas: n })),
    advertised: Array.from({ length: brokerCount }),
    broker: async () => broker,
  }
  return { cluster: cluster as unknown as Cluster, asked: () => asked }
}

test.each([
  ['4.3, several brokers', 30, 3, ['single', 'mixed']],
  ['4.3, one broker', 30, 1, []],
  ['4.1, several brokers', 27, 3, []],
] as const)('%s', async (_, newest, count, expected) => {
  const { cluster } = clusterOf(newest, count, { single: [1], mixed: [3, 1], safe: [3, 2] })
  expect(await exposedTopics(cluster, ['single', 'mixed', 'safe'])).toEqual(expected)
})

test('without such a topic, the brokers are not asked', async () => {
  const { cluster, asked } = clusterOf(30, 3, { safe: [2] })
  expect(await exposedTopics(cluster, ['safe'])).toEqual([])
  expect(asked()).toBe(0)
})

test('a real broker answers', async () => {
  const cluster = new Cluster({ brokers: brokers().split(','), clientId: 'markers', log: testLog })
  try {
    expect(await metadataLevel(await cluster.broker())).toBeGreaterThan(20)
  } finally {
    await cluster.close()
  }
})

vi.mock(import('../../../src/connectors/kafka/client/transact/lost-markers.ts'), { spy: true })

test.each(['exactly_once', 'at_least_once'] as const)('runner check, %s: a warning only where transactions write', async delivery => {
  const topic = await createTopic(unique('single'))
  // As the brokers of the release line would answer.
  vi.mocked(markers.exposedTopics).mockImplementation(async (_, topics) => [...topics])
  const ctx = {
    step: 'kafka',
    role: 'sink',
    pipeline: 'p',
    version: 1,
    delivery,
    log: testLog,
    signal: new AbortController().signal,
  } as const
  const found = (await checkSink(sinkConfig({ topic, brokers: brokers() }), ctx)).filter(f => f.what === `replicas of topic ${topic}`)
  vi.mocked(markers.exposedTopics).mockRestore()
  expect(found).toEqual(
    delivery === 'exactly_once'
      ? [expect.objectContaining({ ok: true, detail: expect.stringContaining('release line 4.3'), fix: expect.any(String) })]
      : [],
  )
})
