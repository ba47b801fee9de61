/** Topics and offsets, without a group. */
import { ConnectionError, EnvironmentError } from '../../../contract/plugin.ts'
import { type NewTopic, type TopicInfo, type TopicPartition, tpKey } from '../driver.ts'
import type { Cluster } from './cluster.ts'
import { typeOf } from './errors.ts'
import type { Broker, KafkaJSError } from './internals.ts'
import { sleep } from './wait.ts'

export const ADMIN_TIMEOUT = 30_000

export async function listTopics(cluster: Cluster): Promise<TopicInfo[]> {
  const all = await cluster.retry('list topics', ADMIN_TIMEOUT, () => cluster.all())
  return [...all]
    .map(([name, partitions]) => ({ name, partitions: partitions.length, replication: partitions[0]?.replicas ?? 0 }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Topics that already exist are not changed. Resolves once all partitions have a leader. */
export async function createTopics(cluster: Cluster, topics: readonly NewTopic[]): Promise<void> {
  for (const t of topics) {
    await cluster.retry(`create topic ${t.topic}`, ADMIN_TIMEOUT, async () => {
      const controller = await cluster.controller()
      try {
        await createOne(controller, t)
      } catch (error) {
        const cause = (error as KafkaJSError).errors?.[0] ?? error
        if (typeOf(cause) === 'TOPIC_ALREADY_EXISTS') return
        cluster.failed(controller, cause)
        if (typeOf(cause) === 'INVALID_TOPIC_EXCEPTION')
          throw new EnvironmentError(`cannot create topic ${t.topic}: use letters, digits, ".", "_" and "-", at most 249 characters`, error)
        if (typeOf(cause) === 'INVALID_CONFIG')
          throw new EnvironmentError(
            `cannot create topic ${t.topic}: the brokers reject ${settingsOf(t)}: the setting does not exist, or the value is not valid`,
            error,
          )
        throw cause
      }
    })
  }
  for (const t of topics) await leaders(cluster, t.topic)
}

const settingsOf = ({ config = {} }: NewTopic): string =>
  Object.entries(config)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ')

function createOne(controller: Broker, t: NewTopic): Promise<unknown> {
  const configEntries = Object.entries(t.config ?? {}).map(([name, value]) => ({ name, value }))
  const topic = { topic: t.topic, numPartitions: t.partitions, replicationFactor: t.replication ?? -1, configEntries }
  // "Broker default" exists since CreateTopics v4, and kafkajs supports v3: the brokers accept -1 there too, but only since 2.4.
  return controller.createTopics({ topics: [topic], validateOnly: false, timeout: 15_000 })
}

/** Waits until all brokers know a new topic and its leaders. */
async function leaders(cluster: Cluster, topic: string): Promise<void> {
  await cluster.retry(`find the leaders of ${topic}`, ADMIN_TIMEOUT, async () => {
    const partitions = await cluster.partitions(topic, { refresh: true })
    if (partitions.length === 0 || partitions.some(p => p.leader < 0)) throw new ConnectionError(`topic ${topic} has no leaders yet`)
  })
}

/** Adds partitions to a topic. A topic that already has as many is not changed. */
export async function addPartitions(cluster: Cluster, topic: string, count: number): Promise<void> {
  await cluster.retry(`add partitions to ${topic}`, ADMIN_TIMEOUT, async () => {
    const controller = await cluster.controller()
    try {
      await controller.createPartitions({ topicPartitions: [{ topic, count }], validateOnly: false, timeout: 15_000 })
    } catch (error) {
      if (typeOf(error) === 'INVALID_PARTITIONS' && (await cluster.partitions(topic, { refresh: true })).length >= count) return
      cluster.failed(controller, error)
      throw error
    }
  })
  for (let n = 0; n < 200 && (await cluster.partitions(topic, { refresh: true })).length < count; n++) await sleep(50)
  await leaders(cluster, topic)
}

/** `end` counts records of open transactions when `committed` is false. */
export async function listOffsets(
  cluster: Cluster,
  partitions: readonly TopicPartition[],
  at: 'earliest' | 'latest' | number,
  committed: boolean,
): Promise<Map<string, number>> {
  const timestamp = at === 'earliest' ? -2 : at === 'latest' ? -1 : at
  const found = await cluster.retry('look up offsets', ADMIN_TIMEOUT, async () => {
    const offsets = new Map<string, number>()
    for (const [leader, list] of await byLeader(cluster, partitions)) {
      const broker = await cluster.broker(leader)
      try {
        for (const { topic, partition, offset } of await listOn(broker, list, timestamp, committed))
          offsets.set(tpKey({ topic, partition }), offset)
      } catch (error) {
        cluster.failed(
          broker,
          error,
          list.map(tp => tp.topic),
        )
        throw error
      }
    }
    return offsets
  })
  // -1: nothing at or after that time.
  const behind = partitions.filter(tp => found.get(tpKey(tp)) === -1)
  if (behind.length > 0 && typeof at === 'number')
    for (const [key, offset] of await listOffsets(cluster, behind, 'latest', committed)) found.set(key, offset)
  return found
}

async function byLeader(cluster: Cluster, partitions: readonly TopicPartition[]): Promise<Map<number, TopicPartition[]>> {
  const map = new Map<number, TopicPartition[]>()
  for (const tp of partitions) {
    const known = (list: readonly { partition: number }[]): boolean => list.some(p => p.partition === tp.partition)
    // For a topic that has grown, the cache and the first responses of a broker may be outdated.
    if (!known(await cluster.partitions(tp.topic)) && !known(await cluster.partitions(tp.topic, { refresh: true })))
      throw new ConnectionError(`${tpKey(tp)} does not exist`)
    const leader = await cluster.leaderId(tp)
    const list = map.get(leader)
    if (list === undefined) map.set(leader, [tp])
    else list.push(tp)
  }
  return map
}

async function listOn(broker: Broker, list: readonly TopicPartition[], timestamp: number, committed: boolean) {
  const topics = new Map<string, { topic: string; partitions: object[] }>()
  for (const { topic, partition } of list) {
    if (!topics.has(topic)) topics.set(topic, { topic, partitions: [] })
    topics.get(topic)!.partitions.push({ partition, timestamp })
  }
  const { responses } = await broker.listOffsets({ isolationLevel: committed ? 1 : 0, topics: [...topics.values()] })
  return (responses as any[]).flatMap(r =>
    (r.partitions as any[]).map(p => ({ topic: r.topic as string, partition: p.partition as number, offset: Number(p.offset) })),
  )
}

export const unknownTopic = (topic: string, brokers: readonly string[]): EnvironmentError =>
  new EnvironmentError(`topic ${topic} does not exist on ${brokers.join(',')}`)
