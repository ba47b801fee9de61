/**
 * Kafka for tests. Reading uses kcat (librdkafka), an independent client that shares no code with the
 * client under test. Importing this module starts the shared broker if it isn't there yet.
 */
import { Kafka, KafkaJSError, logLevel, Partitioners, type Admin } from 'kafkajs'
import { setTimeout as sleep } from 'node:timers/promises'
import { brokers } from './brokers.ts'
import { unique } from './unique.ts'

export { brokers } from './brokers.ts'
export { unique } from './unique.ts'
export { consume, consumeAll, produceFile, type ConsumeOptions, type ConsumedRecord } from './kcat.ts'

export interface TestRecord {
  key?: string | Buffer | null
  value: string | Buffer | null
  partition?: number
  headers?: Record<string, string | Buffer>
  /** Epoch ms; default: now. */
  time?: number
}

/** Creates a topic and returns its name; a name is made up when none is given. */
export async function createTopic(
  topic = unique('t'),
  options: { partitions?: number; replicas?: number; config?: Record<string, string>; brokers?: string } = {},
): Promise<string> {
  await withAdmin(async admin => {
    const configEntries = Object.entries(options.config ?? {}).map(([name, value]) => ({ name, value }))
    await admin.createTopics({
      topics: [{ topic, numPartitions: options.partitions ?? 1, replicationFactor: options.replicas ?? 1, configEntries }],
      waitForLeaders: true,
    })
  }, options.brokers)
  return topic
}

/** Writes in order with acks=all; records without a partition go by the default partitioner. */
export async function produce(topic: string, records: readonly TestRecord[], options: { brokers?: string } = {}): Promise<void> {
  const producer = client(options.brokers).producer({ allowAutoTopicCreation: false, createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  try {
    for (let at = 0; at < records.length; at += 5_000) {
      const messages = records.slice(at, at + 5_000).map(({ key = null, value, partition, headers, time }) => ({
        key,
        value,
        ...(partition === undefined ? {} : { partition }),
        ...(headers === undefined ? {} : { headers }),
        ...(time === undefined ? {} : { timestamp: String(time) }),
      }))
      await producer.send({ topic, messages, acks: -1 })
    }
  } finally {
    await producer.disconnect()
  }
}

/** What a group has committed, per partition; a partition without a commit is absent. */
export async function committed(group: string, topic: string, options: { brokers?: string } = {}): Promise<Map<number, number>> {
  return await withAdmin(async admin => {
    const [answer] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return new Map(answer.partitions.filter(p => p.offset !== '-1').map(p => [p.partition, Number(p.offset)]))
  }, options.brokers)
}

/** For what the helpers above don't cover: configs, deleting records, describing groups. `work` runs again on a retriable error. */
export async function withAdmin<T>(work: (admin: Admin) => Promise<T>, at?: string): Promise<T> {
  const admin = client(at).admin()
  await admin.connect()
  const deadline = Date.now() + 60_000
  try {
    for (;;) {
      try {
        return await work(admin)
      } catch (error) {
        // A young broker is still loading its coordinators, which kafkajs passes on for some requests.
        if (!(error instanceof KafkaJSError) || !error.retriable || Date.now() > deadline) throw error
        await sleep(100)
      }
    }
  } finally {
    await admin.disconnect()
  }
}

function client(at = brokers()): Kafka {
  return new Kafka({ clientId: 'test', brokers: at.split(','), logLevel: logLevel.NOTHING })
}
