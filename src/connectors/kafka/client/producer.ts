/** The producer outside transactions: idempotent unless told otherwise. */
import type { Logger } from '../../../contract/plugin.ts'
import { ConnectionError } from '../../../contract/plugin.ts'
import type { Identity } from '../codec/encode.ts'
import type { OutRecord, Producer, ProducerOptions } from '../driver.ts'
import type { Cluster } from './cluster.ts'
import { RecordAccumulator } from './produce/record-accumulator.ts'
import type { TopicWatch } from './topic-watch.ts'
import { within } from './wait.ts'
import { PeerWatch } from '../../../kit/peer-watch.ts'

const CLOSE_BUDGET = 10_000

export class KafkaProducer implements Producer {
  private readonly cluster: Cluster
  private readonly sender: RecordAccumulator
  private readonly peer: PeerWatch
  /** Topics that were written to, and what ends the look at them. */
  private readonly written = new Map<string, () => void>()
  private readonly watch: TopicWatch

  constructor(cluster: Cluster, options: ProducerOptions, log: Logger, watch: TopicWatch) {
    this.cluster = cluster
    this.peer = new PeerWatch(() => cluster.ping())
    this.watch = watch
    this.sender = new RecordAccumulator(cluster, {
      ...options,
      transactionalId: null,
      identify: options.idempotent ? () => identify(cluster) : undefined,
      mayReidentify: true,
      log,
      onTopic: topic => this.written.set(topic, watchWritten(watch, topic, cluster, log)),
    })
  }

  send(records: readonly OutRecord[]): Promise<void> {
    return this.sender.send(records)
  }

  /** A producer that has nothing to write looks after its brokers meanwhile. */
  healthy(): true | string {
    const { trouble } = this.sender
    return this.watch.problem(this.written.keys()) ?? trouble ?? this.peer.look()
  }

  async close(): Promise<void> {
    await within(this.sender.idle(), CLOSE_BUDGET, undefined)
    this.sender.fail(new ConnectionError('the producer is closed'))
    for (const unwatch of this.written.values()) unwatch()
    await this.cluster.close()
  }
}

/** @returns a function that ends it. @param onGone called when it was deleted, or is another one */
export function watchWritten(watch: TopicWatch, topic: string, cluster: Cluster, log: Logger, onGone: () => void = () => {}): () => void {
  return watch.watch(topic, (now, before) => {
    if (before === undefined && now !== 'missing') return
    // The number of its partitions may have changed, too.
    cluster.stale([topic])
    if (now === 'missing') {
      log.error(
        { topic },
        `topic ${topic} does not exist any more: it was deleted while it was written to. Create it again (runner topics apply)`,
      )
      onGone()
    } else if (before !== undefined && now.id !== before.id) {
      log.warn({ topic, before: before.id, now: now.id }, `topic ${topic} was deleted and made anew: what had been written to it is gone`)
      onGone()
    }
  })
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
