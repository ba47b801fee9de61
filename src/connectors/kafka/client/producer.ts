/** The producer outside transactions: idempotent by default. */
import type { Logger } from '../../../contract/plugin.ts'
import { ConnectionError } from '../../../contract/plugin.ts'
import type { Identity } from '../codec/encode.ts'
import type { OutRecord, Producer, ProducerOptions } from '../driver.ts'
import type { Cluster } from './cluster.ts'
import { RecordAccumulator } from './produce/record-accumulator.ts'
import { WrittenTopics } from './produce/written-topics.ts'
import type { TopicWatch } from './topic-watch.ts'
import { within } from './wait.ts'
import { PeerWatch } from '../../../kit/peer-watch.ts'

const CLOSE_BUDGET = 10_000

export class KafkaProducer implements Producer {
  private readonly cluster: Cluster
  private readonly sender: RecordAccumulator
  private readonly peer: PeerWatch
  private readonly written: WrittenTopics

  constructor(cluster: Cluster, options: ProducerOptions, log: Logger, watch: TopicWatch) {
    this.cluster = cluster
    this.peer = new PeerWatch(() => cluster.ping())
    this.written = new WrittenTopics(watch, cluster, log)
    this.sender = new RecordAccumulator(cluster, {
      ...options,
      transactionalId: null,
      identify: options.idempotent ? () => identify(cluster) : undefined,
      mayReidentify: true,
      log,
      onTopic: topic => this.written.add(topic),
      mayCreate: topic => !watch.existed(topic),
    })
  }

  send(records: readonly OutRecord[]): Promise<void> {
    return this.sender.send(records)
  }

  /** A producer without anything to write checks its brokers meanwhile. */
  healthy(): true | string {
    return this.written.problem() ?? this.sender.trouble ?? this.peer.look()
  }

  async close(): Promise<void> {
    await within(this.sender.idle(), CLOSE_BUDGET, undefined)
    this.sender.fail(new ConnectionError('the producer is closed'))
    this.written.close()
    await this.cluster.close()
  }
}

/** Gets a producer id from any broker. */
function identify(cluster: Cluster): Promise<Identity> {
  return cluster.retry('get a producer id', 120_000, async () => {
    const broker = await cluster.broker()
    try {
      const result = await broker.initProducerId({ transactionTimeout: 60_000 })
      return { producerId: Number(result.producerId), epoch: result.producerEpoch }
    } catch (error) {
      cluster.failed(broker, error)
      throw error
    }
  })
}
