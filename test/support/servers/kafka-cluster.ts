/** Three brokers on one machine. The first is the controller too, and keeps groups and transactions: the others can be killed at will. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { type KafkaServer, startKafka } from './kafka.ts'
import { freePorts } from './ports.ts'

export interface KafkaCluster {
  /** Of the first broker. */
  readonly brokers: string
  /** By node id - 1. */
  readonly nodes: readonly KafkaServer[]
  stop(): Promise<void>
}

export async function startCluster(): Promise<KafkaCluster> {
  const [controller, ...ports] = await freePorts(4)
  const clusterId = randomBytes(16).toString('base64url').replace(/^-/, 'x')
  const start = (port: number, i: number): Promise<KafkaServer> =>
    startKafka({
      port,
      clusterId,
      jvm: ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
      properties: {
        'node.id': i + 1,
        'process.roles': i === 0 ? 'broker,controller' : 'broker',
        'controller.quorum.voters': `1@127.0.0.1:${controller}`,
        listeners: `PLAINTEXT://127.0.0.1:${port}${i === 0 ? `,CONTROLLER://127.0.0.1:${controller}` : ''}`,
      },
    })
  const first = await start(ports[0], 0)
  const nodes = [first]
  const stop = async (): Promise<void> => void (await Promise.all(nodes.map(node => node.stop())))
  try {
    await keepInternalTopics(first.brokers)
    nodes.push(...(await Promise.all(ports.slice(1).map((port, i) => start(port, i + 1)))))
  } catch (error) {
    await stop()
    throw error
  }
  return { brokers: first.brokers, nodes, stop }
}

/** Makes the topics of groups and transactions while there is one broker that can have them. */
async function keepInternalTopics(brokers: string): Promise<void> {
  const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING, retry: { retries: 50, maxRetryTime: 500 } })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: 'warm-up', numPartitions: 1 }] })
  const producer = kafka.producer({ transactionalId: 'warm-up', maxInFlightRequests: 1, idempotent: true })
  await producer.connect()
  const transaction = await producer.transaction()
  await transaction.send({ topic: 'warm-up', messages: [{ value: '' }] })
  await transaction.commit()
  // The coordinator needs a moment with a topic that was just made, and this client does not wait.
  const offsets = { groupId: 'warm-up', topic: 'warm-up', partitions: [{ partition: 0, offset: '0' }] }
  for (let attempt = 1; ; attempt++) {
    try {
      await admin.setOffsets(offsets)
      break
    } catch (error) {
      if (attempt === 50) throw error
      await sleep(100)
    }
  }
  await producer.disconnect()
  await admin.disconnect()
}
