/** The producer's data about the topics it writes to: the number of partitions, and the partition of each record. */
import { ConnectionError, EnvironmentError } from '../../../../contract/plugin.ts'
import type { OutRecord } from '../../driver.ts'
import { partitionOf, stickyPartition } from '../../partitioner.ts'
import { type Cluster, INVALID_TOPIC } from '../cluster.ts'
import type { PartitionQueue } from './batch.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface Topic {
  readonly name: string
  /** Partitions; 0: Kafka does not accept this name. */
  count: number
  /** The partition of keyless records until their batch is full. */
  sticky: number
  /** Partitions of recent keys: hashing a string costs more than encoding the record. */
  readonly keys: Map<string, number>
  readonly queues: PartitionQueue[]
}

const REMEMBERED_KEYS = 4096
const LOOKUP_TIMEOUT = 120_000
/** A broker that creates topics on demand needs a moment. */
const UNKNOWN_TOPIC_TIMEOUT = 10_000
const TOPIC_AUTHORIZATION_FAILED = 29

export class Topics {
  private readonly cluster: Cluster
  private readonly onTopic: (topic: string) => void
  private readonly mayCreate: (topic: string) => boolean
  private readonly known = new Map<string, Topic>()

  /**
   * @param onTopic called once with each topic that is written to.
   * @param mayCreate whether a broker that creates topics on demand may create it. Not a deleted one: its settings would differ.
   */
  constructor(cluster: Cluster, onTopic: (topic: string) => void = () => {}, mayCreate: (topic: string) => boolean = () => true) {
    this.cluster = cluster
    this.onTopic = onTopic
    this.mayCreate = mayCreate
  }

  *queues(): Iterable<PartitionQueue> {
    for (const topic of this.known.values()) for (const queue of topic.queues) if (queue !== undefined) yield queue
  }

  /** Topics that have never been looked up. A known topic stays known while no broker responds. */
  missing(records: readonly OutRecord[]): string[] {
    const missing = new Set<string>()
    let last: string | undefined
    for (const { topic } of records) {
      if (topic === last) continue
      last = topic
      if (!this.known.has(topic)) missing.add(topic)
    }
    return [...missing]
  }

  /** @throws {EnvironmentError} for a topic that does not exist or may not be written to. */
  async load(names: readonly string[], check: () => void): Promise<void> {
    for (const name of names) {
      // An earlier call may have found it meanwhile; its queues must stay.
      if (this.known.has(name)) continue
      const deadline = monotonic() + UNKNOWN_TOPIC_TIMEOUT
      await this.cluster.retry(`look up topic ${name}`, LOOKUP_TIMEOUT, async () => {
        check()
        const { partitions, error } = await this.cluster.topic(name, { create: this.mayCreate(name) })
        const count = partitions.length
        if (count > 0 || error === INVALID_TOPIC) {
          this.known.set(name, { name, count, sticky: stickyPartition(Math.max(1, count)), keys: new Map(), queues: [] })
          if (count > 0) this.onTopic(name)
          return
        }
        if (error === TOPIC_AUTHORIZATION_FAILED) {
          throw new EnvironmentError(`cannot write to topic ${name}: the ACLs of the broker do not allow it`)
        }
        if (monotonic() > deadline) {
          throw new EnvironmentError(`topic ${name} does not exist on ${this.cluster.options.brokers.join(',')}; create it first`)
        }
        throw new ConnectionError(`topic ${name} does not exist`)
      })
    }
  }

  /** A topic that is not `missing`, with its present number of partitions. */
  get(name: string): Topic {
    const topic = this.known.get(name)!
    const count = this.cluster.cached(name)?.length
    if (count !== undefined && count !== topic.count) {
      topic.count = count
      topic.keys.clear()
      turnSticky(topic)
    }
    return topic
  }
}

/** The partition of the record: its own, that of its key, or the current one for keyless records. */
export function partitionFor(record: OutRecord, topic: Topic): number {
  if (record.partition !== undefined) return record.partition
  const { key } = record
  if (key === null) return topic.sticky
  if (topic.count < 2) return 0
  if (typeof key !== 'string') return partitionOf(key, topic.count)
  let partition = topic.keys.get(key)
  if (partition === undefined) {
    if (topic.keys.size >= REMEMBERED_KEYS) topic.keys.clear()
    partition = partitionOf(key, topic.count)
    topic.keys.set(key, partition)
  }
  return partition
}

/** The keyless records of a batch go to one partition, those of the next one to another. */
export function turnSticky(topic: Topic): void {
  topic.sticky = stickyPartition(topic.count)
}
