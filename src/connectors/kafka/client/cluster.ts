/** Brokers, leaders and coordinators of one Kafka cluster over kafkajs' connections. */
import { ConnectionError, EnvironmentError } from '../../../contract/plugin.ts'
import type { TopicPartition } from '../driver.ts'
import { connectionBroke, NOT_COORDINATOR, STALE, toPipelineError, typeOf } from './errors.ts'
import { type Address, type ClusterOptions, Connections, parseAddress } from './connections.ts'
import { type Broker, internals, type Request } from './internals.ts'
import { Backoff } from './wait.ts'
import { monotonic } from '../../../kit/clock.ts'

export interface PartitionInfo {
  readonly partition: number
  /** -1: none now. */
  readonly leader: number
  readonly replicas: number
}
interface TopicEntry {
  readonly partitions: readonly PartitionInfo[]
  /** Kafka error code of the topic, 0 when fine. */
  readonly error: number
  readonly at: number
}
const COORDINATOR = { group: 0, transaction: 1 } as const
const METADATA_MAX_AGE = 300_000
const UNKNOWN_TOPIC = 3
export const INVALID_TOPIC = 17

export class Cluster {
  readonly options: ClusterOptions
  private readonly bootstrap: Address[]
  private readonly addresses = new Map<number, Address>()
  private readonly connections: Connections
  private readonly topics = new Map<string, TopicEntry>()
  private readonly coordinators = new Map<string, number>()
  private controllerId = -1
  private closed = false

  constructor(options: ClusterOptions) {
    this.options = options
    this.bootstrap = options.brokers.map(parseAddress)
    this.connections = new Connections(options)
  }

  /** A connected broker: the one with `nodeId`, or any. @throws kafkajs' error of the last address tried. */
  async broker(nodeId?: number): Promise<Broker> {
    if (nodeId !== undefined) {
      const address = this.addresses.get(nodeId)
      if (address === undefined) {
        await this.metadata([])
        if (!this.addresses.has(nodeId)) throw new ConnectionError(`broker ${nodeId} is not in the cluster's metadata`)
      }
      try {
        return await this.connections.open(this.addresses.get(nodeId)!)
      } catch (error) {
        // The partitions that it led, coordinated or controlled have probably moved.
        this.forget()
        throw error
      }
    }
    const open = this.connections.any()
    if (open !== undefined) return open
    const candidates = [...this.addresses.values(), ...shuffle(this.bootstrap)]
    let last: unknown = new ConnectionError('no broker addresses are configured')
    for (const address of candidates) {
      try {
        return await this.connections.open(address)
      } catch (error) {
        last = error
        if (toPipelineError(error, 'connect') instanceof EnvironmentError) break
      }
    }
    throw last
  }

  /**
   * Partitions of a topic, from the cache when fresh. Empty: the topic does not exist (and could not be created). @throws
   * {EnvironmentError} for a name that Kafka rejects.
   */
  async partitions(topic: string, options: { refresh?: boolean; create?: boolean } = {}): Promise<readonly PartitionInfo[]> {
    const entry = await this.topic(topic, options)
    return entry.partitions
  }

  async topic(topic: string, { refresh = false, create = false } = {}): Promise<TopicEntry> {
    let entry = this.topics.get(topic)
    if (refresh || entry === undefined || entry.partitions.length === 0 || monotonic() - entry.at > METADATA_MAX_AGE) {
      await this.metadata([topic], create)
      entry = this.topics.get(topic)
    }
    return entry ?? { partitions: [], error: UNKNOWN_TOPIC, at: monotonic() }
  }

  /** Number of partitions if cached, else undefined: for the producer's fast path. */
  cached(topic: string): readonly PartitionInfo[] | undefined {
    const entry = this.topics.get(topic)
    return entry !== undefined && entry.partitions.length > 0 && monotonic() - entry.at < METADATA_MAX_AGE ? entry.partitions : undefined
  }

  /** Removes the cached leaders of these topics, because one of them was wrong. */
  stale(topics: Iterable<string>): void {
    for (const topic of topics) this.topics.delete(topic)
  }

  async leaderId(tp: TopicPartition): Promise<number> {
    const partitions = await this.partitions(tp.topic)
    const found = partitions.find(p => p.partition === tp.partition)
    if (found === undefined) throw new ConnectionError(`topic ${tp.topic} has no partition ${tp.partition}`)
    if (found.leader < 0) {
      this.stale([tp.topic])
      throw new ConnectionError(`${tp.topic}/${tp.partition} has no leader at the moment`)
    }
    return found.leader
  }

  async controller(): Promise<Broker> {
    if (this.controllerId < 0) await this.metadata([])
    return this.broker(this.controllerId < 0 ? undefined : this.controllerId)
  }

  /** The broker that coordinates a group or a transactional id. */
  async coordinator(kind: 'group' | 'transaction', key: string): Promise<Broker> {
    const cacheKey = `${kind} ${key}`
    const known = this.coordinators.get(cacheKey)
    if (known !== undefined) return await this.broker(known)
    const asked = await this.broker()
    let nodeId: number
    try {
      const { coordinator } = await asked.findGroupCoordinator({ groupId: key, coordinatorType: COORDINATOR[kind] })
      ;({ nodeId } = coordinator)
      this.addresses.set(nodeId, { host: coordinator.host, port: coordinator.port })
      this.coordinators.set(cacheKey, nodeId)
    } catch (error) {
      this.failed(asked, error)
      throw error
    }
    // If this fails, the broker that was asked is not the cause.
    return await this.broker(nodeId)
  }

  /** Call with every error of a request: drops the connection or the cached data that the error proves wrong. */
  failed(broker: Broker | undefined, error: unknown, topics: Iterable<string> = []): void {
    const type = typeOf(error)
    if (NOT_COORDINATOR.has(type)) this.coordinators.clear()
    if (STALE.has(type)) this.stale(topics)
    if (!connectionBroke(error)) return
    this.forget()
    if (broker !== undefined && typeOf(error) !== 'REQUEST_TIMED_OUT') this.connections.drop(broker)
  }

  /** Drops every connection, after they have gone silent without an error. */
  reset(): void {
    this.forget()
    this.connections.dropAll()
  }

  /** Requests the addresses of the brokers from any broker. */
  async ping(): Promise<void> {
    await this.metadata([])
  }

  /** The advertised addresses of the brokers, after one of them has responded. */
  get advertised(): readonly Address[] {
    return [...this.addresses.values()]
  }

  /** Every topic of the cluster. */
  async all(): Promise<Map<string, readonly PartitionInfo[]>> {
    const broker = await this.broker()
    try {
      const found = await this.requestMetadata(broker, null, false)
      return new Map(found.filter(t => !t.internal && t.error === 0).map(t => [t.topic, t.partitions]))
    } catch (error) {
      this.failed(broker, error)
      throw error
    }
  }

  /**
   * Repeats `attempt` until it succeeds, an error is fatal, or `budgetMs` has passed. `attempt` reports errors through `failed`.
   * @throws {PipelineError}
   */
  async retry<T>(doing: string, budgetMs: number, attempt: () => Promise<T>, fatal: (error: unknown) => boolean = () => false): Promise<T> {
    const deadline = monotonic() + budgetMs
    const backoff = new Backoff(20, 500)
    for (;;) {
      try {
        return await attempt()
      } catch (error) {
        if (fatal(error)) throw error
        const mapped = toPipelineError(error, doing)
        if (!mapped.retryable || this.closed || monotonic() > deadline) throw mapped
        await backoff.wait()
      }
    }
  }

  async close(): Promise<void> {
    this.closed = true
    this.connections.close()
  }

  /** Leaders, coordinators and the controller are requested again. */
  private forget(): void {
    this.coordinators.clear()
    this.topics.clear()
    this.controllerId = -1
  }

  private async metadata(topics: string[], create = false): Promise<void> {
    const broker = await this.broker()
    try {
      // An empty list means every topic in kafkajs' encoding; a name that cannot exist requests the brokers only.
      const found = await this.requestMetadata(broker, topics.length === 0 ? ['-'] : topics, create)
      const at = monotonic()
      if (topics.length > 0) for (const t of found) this.topics.set(t.topic, { partitions: t.partitions, error: t.error, at })
    } catch (error) {
      this.failed(broker, error)
      throw error
    }
  }

  private async requestMetadata(broker: Broker, topics: string[] | null, create: boolean) {
    const { apiKeys, requests } = internals()
    const { request, response } = broker.lookupRequest(
      apiKeys.Metadata,
      requests.Metadata,
    )({ topics: topics ?? [], allowAutoTopicCreation: create }) as Request<any>
    // kafkajs' parse throws for all topics when one partition of one topic has a problem.
    const data = await broker.connectionPool.send<any>({ request, response: { decode: response.decode, parse: async d => d } })
    for (const b of data.brokers) this.addresses.set(b.nodeId, { host: b.host, port: b.port })
    this.controllerId = data.controllerId
    return (data.topicMetadata as any[]).map(t => ({
      topic: t.topic as string,
      internal: t.isInternal as boolean,
      error: t.topicErrorCode as number,
      partitions: (t.partitionMetadata as any[])
        .map(p => ({ partition: p.partitionId as number, leader: p.leader as number, replicas: p.replicas.length as number }))
        .sort((a, b) => a.partition - b.partition),
    }))
  }
}

function shuffle<T>(list: readonly T[]): T[] {
  const copy = [...list]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[copy[i], copy[j]] = [copy[j], copy[i]]
  }
  return copy
}
