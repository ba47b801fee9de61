/**
 * Writes batches in order per partition, several requests per broker at a time.
 * Order and "once" hold because a partition with a failed batch sends nothing until all its requests have returned, and then repeats them
 * in the same order with the same sequence numbers, which the broker recognizes.
 */
import { EnvironmentError, type Logger, type PipelineError } from '../../../../contract/plugin.ts'
import type { Identity } from '../../codec/encode.ts'
import type { Cluster } from '../cluster.ts'
import { toPipelineError } from '../errors.ts'
import { Alarm, sleep } from '../wait.ts'
import { DELIVERY_TIMEOUT, handleProduceResponse, produce, type ResponseHost, retryBatches, type Sent } from './produce-request.ts'
import { type PartitionQueue, REQUESTS_PER_BROKER } from './batch.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface SenderOptions {
  readonly lingerMs: number
  readonly acks: -1 | 0 | 1
  readonly transactionalId: string | null
  /** Requests the producer id; undefined: not idempotent. Called once, and again when the broker has lost the id. */
  readonly identify?: () => Promise<Identity>
  /** Whether a new producer id may be used when the broker has lost its state. Not inside transactions. */
  readonly mayReidentify: boolean
  readonly log: Logger
}

const NOBODY: Identity = { producerId: -1, epoch: -1 }
const REQUEST_BYTES = 1_048_576
/**
 * How long a leader may wait for its replicas, ms: less than the timeout of a request, or its response would arrive on a dropped
 * connection.
 */
const REPLICA_TIMEOUT = 8000
/** How long a deleted topic may take to be created again, ms. */
const GONE_TIMEOUT = 15_000

export class Sender {
  private readonly cluster: Cluster
  private readonly options: SenderOptions
  private readonly allQueues: () => Iterable<PartitionQueue>
  private readonly responseHost: ResponseHost
  /** Queues with work. */
  private readonly active = new Set<PartitionQueue>()
  private readonly inFlight = new InFlightRequests()
  private readonly alarm = new Alarm(() => this.run())
  private turn: NodeJS.Immediate | undefined
  private identity: Identity | undefined
  private identifying = false
  /** The producer id is void; a new one is requested when no request is in progress. */
  private forgetting = false
  private refreshing = false
  /** Since when the brokers have not known a topic, `monotonic` ms. */
  private readonly gone = new Map<string, number>()
  private waiters: (() => void)[] = []
  private fatal: PipelineError | undefined

  constructor(cluster: Cluster, options: SenderOptions, allQueues: () => Iterable<PartitionQueue>) {
    this.cluster = cluster
    this.options = options
    this.allQueues = allQueues
    if (options.identify === undefined) this.identity = NOBODY
    this.responseHost = {
      log: options.log,
      stale: topic => cluster.stale([topic]),
      forget: error => this.forget(error),
      giveUp: error => this.giveUp(error),
      fail: error => this.fail(error),
    }
  }

  /** @throws the error that ended the sender. */
  check(): void {
    if (this.fatal !== undefined) throw this.fatal
  }

  /** The queue has started a batch. */
  activate(queue: PartitionQueue, now: number): void {
    this.active.add(queue)
    if (this.options.lingerMs > 0) this.alarm.at(now + this.options.lingerMs)
  }

  /** Why nothing is acknowledged; undefined: no problem, or it is too early to decide. */
  get trouble(): string | undefined {
    return this.fatal?.message ?? this.inFlight.trouble(monotonic())
  }

  async idle(): Promise<void> {
    while (this.active.size > 0) await new Promise<void>(resolve => this.waiters.push(resolve))
  }

  fail(error: PipelineError): void {
    this.fatal ??= error
    this.alarm.cancel()
    this.abortAll(error)
  }

  /** Fails everything that is not acknowledged. */
  abortAll(error: Error): void {
    for (const queue of this.active) {
      for (const batch of queue.takeAll()) batch.abort(error)
      if (queue.outstanding === 0) this.active.delete(queue)
    }
    this.tellIdle()
  }

  /** Sends at the end of this turn of the event loop, so that writes of other lanes in the same turn share the requests. */
  soon(): void {
    this.turn ??= setImmediate(() => {
      this.turn = undefined
      this.run()
    })
  }

  /** Sends everything that may be sent now. */
  private run(): void {
    if (this.active.size === 0 || this.forgetting || this.fatal !== undefined) return
    if (this.identity === undefined) return this.identify()
    for (let requests = this.collect(); requests.size > 0; requests = this.collect()) {
      for (const [leader, request] of requests) void this.transmit(leader, request)
    }
  }

  /** The next request for each broker: at most one batch per partition. */
  private collect(): Map<number, Sent[]> {
    const now = monotonic()
    const identity = this.identity!
    const requests = new Map<number, Sent[]>()
    const bytes = new Map<number, number>()
    for (const queue of this.active) {
      const due = queue.due(now, this.options.lingerMs, identity)
      if (due > now) {
        if (due < Infinity) this.alarm.at(due)
        continue
      }
      const leader = this.cluster.cached(queue.topic)?.find(p => p.partition === queue.partition)?.leader ?? -1
      if (leader < 0) {
        this.refresh()
        continue
      }
      if (this.inFlight.full(leader)) continue
      const size = (bytes.get(leader) ?? 0) + (queue.ready[0] ?? queue.open!).size
      if (bytes.has(leader) && size > REQUEST_BYTES) continue
      bytes.set(leader, size)
      const sent = { queue, batch: queue.take(identity, this.options.transactionalId !== null) }
      const request = requests.get(leader)
      if (request === undefined) requests.set(leader, [sent])
      else request.push(sent)
    }
    return requests
  }

  private async transmit(leader: number, request: readonly Sent[]): Promise<void> {
    const { acks, transactionalId } = this.options
    const flight = this.inFlight.begin(leader, monotonic())
    let broker: Awaited<ReturnType<Cluster['broker']>> | undefined
    try {
      broker = await this.cluster.broker(leader)
      const batches = request.map(({ queue: { topic, partition }, batch }) => ({ topic, partition, bytes: batch.seal() }))
      const results = await produce(broker, batches, { acks, transactionalId, timeoutMs: REPLICA_TIMEOUT })
      this.inFlight.answered()
      handleProduceResponse(request, results, this.responseHost)
    } catch (error) {
      const topics = request.map(r => r.queue.topic)
      this.cluster.failed(broker, error, topics)
      const mapped = toPipelineError(error, 'write to Kafka')
      this.inFlight.failed(monotonic(), mapped)
      if (!mapped.retryable) this.fail(mapped)
      else for (const { queue } of request) retryBatches(queue, mapped, this.responseHost)
    }
    this.inFlight.end(flight)
    for (const { queue } of request) this.returned(queue)
    this.reidentify()
    this.run()
  }

  private returned(queue: PartitionQueue): void {
    queue.outstanding--
    if (queue.outstanding > 0) return
    if (queue.recovering) queue.requeue()
    if (!queue.idle) return
    this.active.delete(queue)
    this.tellIdle()
  }

  private tellIdle(): void {
    if (this.active.size === 0) for (const waiter of this.waiters.splice(0)) waiter()
  }

  private identify(): void {
    if (this.identifying) return
    this.identifying = true
    this.options.identify!().then(
      identity => {
        this.identifying = false
        this.identity = identity
        this.run()
      },
      (error: PipelineError) => {
        this.identifying = false
        this.abortAll(error)
      },
    )
  }

  private forget(error: PipelineError): void {
    if (!this.options.mayReidentify) return this.fail(error)
    this.options.log.warn({ error: error.message }, 'a broker has lost the state of this producer; continuing with a new producer id')
    this.forgetting = true
  }

  /** Sent batches may or may not be written, so their sequence numbers cannot be used again. */
  private giveUp(error: PipelineError): void {
    if (!this.options.mayReidentify) return this.fail(error)
    this.abortAll(error)
    this.forgetting = this.options.identify !== undefined
    this.reidentify()
  }

  private reidentify(): void {
    if (!this.forgetting || this.inFlight.size > 0) return
    for (const queue of this.allQueues()) queue.forget()
    this.identity = undefined
    this.forgetting = false
  }

  /** Looks up the leaders of partitions without one in the cache. */
  private refresh(): void {
    if (this.refreshing) return
    this.refreshing = true
    const topics = new Set([...this.active].map(q => q.topic))
    const work = async (): Promise<void> => {
      try {
        for (const topic of topics) this.seen(topic, (await this.cluster.partitions(topic, { refresh: true })).length > 0)
        // Brokers that respond, but not for this partition: its only replica may be down permanently.
        for (const queue of this.active) await this.cluster.leaderId(queue)
      } catch (error) {
        const mapped = toPipelineError(error, 'find the partition leaders')
        this.inFlight.failed(monotonic(), mapped)
        this.unreachable(mapped)
      }
      await sleep(50)
    }
    void work().finally(() => {
      this.refreshing = false
      this.run()
    })
  }

  private seen(topic: string, exists: boolean): void {
    if (exists) this.gone.delete(topic)
    else if (!this.gone.has(topic)) this.gone.set(topic, monotonic())
    else if (monotonic() - this.gone.get(topic)! > GONE_TIMEOUT) this.fail(topicGone(topic))
  }

  private unreachable(error: PipelineError): void {
    if (!error.retryable) return this.fail(error)
    for (const queue of this.active) {
      const oldest = queue.ready[0] ?? queue.open
      if (oldest !== undefined && queue.outstanding === 0 && monotonic() - oldest.createdAt > DELIVERY_TIMEOUT) return this.giveUp(error)
    }
  }
}

/** A topic that was written to has been deleted. */
const topicGone = (topic: string): EnvironmentError =>
  new EnvironmentError(
    `topic ${topic} no longer exists: it was deleted while it was written to. Create it again (runner topics apply), then start the pipeline`,
  )

const TROUBLE_MS = 2000
/** A broker that has not answered a request for this long counts as unreachable. */
const SILENCE_MS = 5000

interface InFlightRequest {
  readonly leader: number
  /** `monotonic` ms. */
  readonly since: number
}

/** The requests in progress: how many each broker has, and whether the brokers respond at all. */
class InFlightRequests {
  private readonly flights = new Set<InFlightRequest>()
  private readonly perBroker = new Map<number, number>()
  /** Since when requests have been failing, `monotonic` ms; 0: the last one was answered. */
  private troubleSince = 0
  private problem = ''

  get size(): number {
    return this.flights.size
  }

  full(leader: number): boolean {
    return (this.perBroker.get(leader) ?? 0) >= REQUESTS_PER_BROKER
  }

  /** Every request must be passed to `end`, whatever its outcome. */
  begin(leader: number, now: number): InFlightRequest {
    const flight = { leader, since: now }
    this.flights.add(flight)
    this.perBroker.set(leader, (this.perBroker.get(leader) ?? 0) + 1)
    return flight
  }

  end(flight: InFlightRequest): void {
    this.flights.delete(flight)
    this.perBroker.set(flight.leader, this.perBroker.get(flight.leader)! - 1)
  }

  answered(): void {
    this.troubleSince = 0
  }

  failed(now: number, error: Error): void {
    if (this.troubleSince === 0) this.troubleSince = now
    this.problem = error.message
  }

  /** Requests have been failing, or one is unanswered, for longer than a leader election takes. */
  trouble(now: number): string | undefined {
    if (this.troubleSince > 0 && now - this.troubleSince > TROUBLE_MS) return this.problem
    for (const { since, leader } of this.flights) if (now - since > SILENCE_MS) return `no answer from broker ${leader}`
    return undefined
  }
}
