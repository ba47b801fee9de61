/** The producer outside transactions: idempotent unless told otherwise. */
import type { Logger } from '../../../plugin.ts'
import { ConnectionError } from '../../../plugin.ts'
import type { Identity } from '../codec/encode.ts'
import type { OutRecord, Producer, ProducerOptions } from '../driver.ts'
import type { Cluster } from './cluster.ts'
import { Sender } from './produce/sender.ts'
import { within } from './wait.ts'

const CLOSE_BUDGET = 10_000

export class KafkaProducer implements Producer {
  private readonly cluster: Cluster
  private readonly sender: Sender

  constructor(cluster: Cluster, options: ProducerOptions, log: Logger) {
    this.cluster = cluster
    this.sender = new Sender(cluster, {
      ...options,
      transactionalId: null,
      identify: options.idempotent ? () => identify(cluster) : undefined,
      mayReidentify: true,
      log,
    })
  }

  send(records: readonly OutRecord[]): Promise<void> {
    return this.sender.send(records)
  }

  healthy(): boolean {
    return !this.sender.troubled
  }

  async close(): Promise<void> {
    await within(this.sender.idle(), CLOSE_BUDGET, undefined)
    this.sender.kill(new ConnectionError('the producer is closed'))
    await this.cluster.close()
  }
}

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
