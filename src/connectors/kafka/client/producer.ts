/** The producer outside transactions: idempotent unless told otherwise. */
import type { Logger } from '../../../contract/plugin.ts'
import { ConnectionError } from '../../../contract/plugin.ts'
import type { Identity } from '../codec/encode.ts'
import type { OutRecord, Producer, ProducerOptions } from '../driver.ts'
import type { Cluster } from './cluster.ts'
import { RecordAccumulator } from './produce/record-accumulator.ts'
import { within } from './wait.ts'
import { monotonic } from '../../../kit/clock.ts'

const CLOSE_BUDGET = 10_000
const PING_INTERVAL = 2000
const PING_TIMEOUT = 3000

export class KafkaProducer implements Producer {
  private readonly cluster: Cluster
  private readonly sender: RecordAccumulator
  private reachable = true
  private pinging = false
  private pinged = monotonic()

  constructor(cluster: Cluster, options: ProducerOptions, log: Logger) {
    this.cluster = cluster
    this.sender = new RecordAccumulator(cluster, {
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

  /** Asked now and then; a producer that has nothing to write looks after its brokers meanwhile. */
  healthy(): boolean {
    const now = monotonic()
    if (!this.pinging && now - this.pinged > PING_INTERVAL) {
      this.pinging = true
      this.pinged = now
      void within(this.ping(), PING_TIMEOUT, false).then(reachable => {
        this.reachable = reachable
        this.pinging = false
      })
    }
    return this.reachable && !this.sender.troubled
  }

  async close(): Promise<void> {
    await within(this.sender.idle(), CLOSE_BUDGET, undefined)
    this.sender.fail(new ConnectionError('the producer is closed'))
    await this.cluster.close()
  }

  private async ping(): Promise<boolean> {
    try {
      await this.cluster.ping()
      return true
    } catch {
      return false
    }
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
