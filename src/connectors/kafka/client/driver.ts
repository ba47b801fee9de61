/** The driver for real brokers. */
import { topicIds } from './topic-ids.ts'
import type { Logger, Transactor } from '../../../contract/plugin.ts'
import { ConnectionError, EnvironmentError } from '../../../contract/plugin.ts'
import { limits } from '../../../kit/limits.ts'
import { SetReader } from '../codec/decode.ts'
import {
  type ConsumedBatch,
  type Consumer,
  type ConsumerOptions,
  type Driver,
  type NewTopic,
  type OutputWatch,
  type Producer,
  type ProducerOptions,
  type ReadOptions,
  type TopicInfo,
  type TopicPartition,
  type TransactorOptions,
  tpKey,
} from '../driver.ts'
import { committedOffsets } from './committed-offsets.ts'
import { createTopics, listOffsets, listTopics, ADMIN_TIMEOUT } from './topics-and-offsets.ts'
import { Cluster } from './cluster.ts'
import type { ClusterOptions } from './connections.ts'
import { KafkaAdmin } from './operate/kafka-admin.ts'
import { GroupConsumer } from './consume/consumer.ts'
import { fetch } from './consume/fetcher.ts'
import { KafkaProducer } from './producer.ts'
import { WrittenTopics } from './produce/written-topics.ts'
import { failureOf, closedFailure, tlsError } from '../../../kit/tls-failure.ts'
import { TLS_ADVICE } from './errors.ts'
import { sleep } from './wait.ts'
import { TopicWatch } from './topic-watch.ts'
import { KafkaTransactor } from './transact/transactor.ts'

const READ_BYTES = 1_048_576
/** How often a broker may close the connection before the settings count as the cause. */
const HANG_UPS = 5
const HUNG_UP = /closed connection|connection was dropped/i

export class KafkaDriver implements Driver {
  readonly scope: string
  readonly admin: KafkaAdmin
  private readonly options: ClusterOptions
  private readonly log: Logger
  /** For calls that need no separate connection. */
  private readonly shared: Cluster
  private readonly watch: TopicWatch
  private readonly open = new Set<{ close(): Promise<void> }>()

  constructor(scope: string, options: ClusterOptions) {
    this.scope = scope
    this.options = options
    this.log = options.log
    this.shared = new Cluster(options)
    this.admin = new KafkaAdmin(this.shared)
    this.watch = new TopicWatch(this.shared)
  }

  /** @throws {EnvironmentError} for wrong credentials or TLS, {ConnectionError} when no broker answers. */
  async connect(): Promise<void> {
    const doing = `connect to Kafka at ${this.options.brokers.join(',')}`
    for (let attempt = 1; ; attempt++) {
      let introduced = false
      try {
        await this.shared.retry(doing, 0, async () => {
          await this.shared.broker()
          introduced = true
          await this.shared.ping()
        })
        return
      } catch (error) {
        // A broker that is shutting down closes connections, too; one that expects another protocol always does.
        const { message } = error as Error
        const failure = failureOf(error)
        const wantsLogin = introduced && HUNG_UP.test(message)
        const ended = failure || wantsLogin ? undefined : closedFailure(error, TLS_ADVICE, this.options.ssl !== undefined)
        if (ended !== undefined) throw tlsError(`cannot ${doing}`, ended, error)
        if (!wantsLogin && failure?.lasting !== false) throw error
        if (attempt === HANG_UPS) {
          if (failure !== undefined) throw tlsError(`cannot ${doing}`, { ...failure, lasting: true }, error)
          throw new EnvironmentError(`${message}; the port may require a login (SASL): check security_protocol`, error)
        }
        await sleep(500)
      }
    }
  }

  consumer(options: ConsumerOptions): Consumer {
    return this.track(new GroupConsumer(() => new Cluster(this.options), options, this.log, this.watch))
  }

  async producer(options: ProducerOptions): Promise<Producer> {
    if (options.idempotent && options.acks !== -1) throw new EnvironmentError('an idempotent producer needs acks: all')
    const cluster = new Cluster(this.options)
    await cluster.retry(`connect to Kafka at ${this.options.brokers.join(',')}`, 0, () => cluster.broker())
    return this.track(new KafkaProducer(cluster, options, this.log, this.watch))
  }

  transactor(options: TransactorOptions): Transactor {
    return this.track(new KafkaTransactor(new Cluster(this.options), options, this.log, this.watch))
  }

  watchOutput(topic: string, exists: boolean): OutputWatch {
    const watch = new WrittenTopics(this.watch, this.shared, this.log)
    watch.add(topic, exists)
    return watch
  }

  read(tp: TopicPartition, offset: number, options: ReadOptions): Promise<ConsumedBatch> {
    const committed = options.isolation === 'read_committed'
    let maxBytes = options.maxBytes ?? READ_BYTES
    return this.shared.retry(`read ${tpKey(tp)}`, ADMIN_TIMEOUT, async () => {
      const broker = await this.shared.broker(await this.shared.leaderId(tp))
      try {
        // Without waiting: reads only the existing records.
        const [part] = await fetch(broker, [{ ...tp, offset, maxBytes }], { maxWaitMs: 0, maxBytes, committed })
        if (part.errorCode === 1) throw new EnvironmentError(`offset ${offset} of ${tpKey(tp)} does not exist`)
        if (part.errorCode === 29) throw new EnvironmentError(`cannot read topic ${tp.topic}: the ACLs of the broker do not allow it`)
        if (part.errorCode !== 0) {
          this.shared.stale([tp.topic])
          throw new ConnectionError(`cannot read ${tpKey(tp)}: error ${part.errorCode} from the broker`)
        }
        const { source = '', format, generation } = options
        const origin = { lane: tpKey(tp), source, topic: tp.topic, partition: tp.partition, format, generation }
        const reader = new SetReader(part.records, offset, origin, committed ? part.aborted : undefined)
        if (part.records.length > 0 && reader.lastOffset() === undefined) {
          maxBytes *= 2
          throw new ConnectionError(`a record batch of ${tpKey(tp)} is larger than ${maxBytes / 2} bytes`)
        }
        // More than that is read from `nextOffset` on.
        const { messages } = reader.read(limits().messages)
        const end = committed ? part.lastStableOffset : part.highWatermark
        return { ...tp, messages, nextOffset: reader.nextOffset, endOffset: Math.max(end, reader.nextOffset) }
      } catch (error) {
        this.shared.failed(broker, error, [tp.topic])
        throw error
      }
    })
  }

  offsets(partitions: readonly TopicPartition[], at: 'earliest' | 'latest' | number): Promise<Map<string, number>> {
    return listOffsets(this.shared, partitions, at, true)
  }

  async committed(group: string, partitions: readonly TopicPartition[]): Promise<Map<string, { offset: number; metadata: string | null }>> {
    return (await committedOffsets(this.shared, group, partitions)).offsets
  }

  topics(): Promise<TopicInfo[]> {
    return listTopics(this.shared)
  }

  topicIds(topics: readonly string[]): Promise<Map<string, { id: string; partitions: number }>> {
    return topicIds(this.shared, topics)
  }

  createTopics(topics: readonly NewTopic[]): Promise<void> {
    return createTopics(this.shared, topics)
  }

  async close(): Promise<void> {
    await Promise.all([...this.open].map(part => part.close()))
    this.watch.close()
    await this.shared.close()
  }

  /** So that closing the driver also closes everything that it created. */
  private track<T extends { close(): Promise<void> }>(part: T): T {
    const close = part.close.bind(part)
    this.open.add(part)
    part.close = async () => {
      this.open.delete(part)
      await close()
    }
    return part
  }
}
