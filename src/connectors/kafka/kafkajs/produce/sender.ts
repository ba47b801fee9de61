/**
 * Batches records per partition and writes them in order, several requests per broker at a time.
 * Order and "once" hold because a partition with a failed batch sends nothing until all its requests have come back,
 * then repeats them in the same order with the same sequence numbers, which the broker recognises.
 */
import type { Logger } from '../../../../plugin.ts'
import { ConnectionError, DataError, EnvironmentError, type PipelineError } from '../../../../plugin.ts'
import type { Compression } from '../../codec/compression.ts'
import { type Identity, stamp } from '../../codec/encode.ts'
import { type OutRecord, TooLargeError, type TopicPartition } from '../../driver.ts'
import { partitionOf, stickyPartition } from '../../partitioner.ts'
import { type Cluster, INVALID_TOPIC } from '../cluster.ts'
import { toPipelineError } from '../errors.ts'
import { sleep } from '../wait.ts'
import { Batch, Call } from './batch.ts'
import { PartitionQueue, sequenceAfter } from './queue.ts'
import { produce, type ProduceResult } from './request.ts'
import { verdict } from './verdict.ts'

export interface SenderOptions {
  readonly compression: Compression
  readonly lingerMs: number
  readonly batchSize: number
  readonly acks: -1 | 0 | 1
  readonly transactionalId: string | null
  /** The producer id; undefined: not idempotent. Asked once, and again after `forget`. */
  readonly identify?: () => Promise<Identity>
  /** May the sender take a new producer id by itself when the broker has lost its state? Not inside transactions. */
  readonly mayReidentify: boolean
  readonly log: Logger
}

interface Topic {
  readonly name: string
  count: number
  sticky: number
  /** Partitions of the keys seen lately: hashing a string costs more than encoding the record. */
  readonly keys: Map<string, number>
  readonly queues: PartitionQueue[]
}

const NOBODY: Identity = { producerId: -1, epoch: -1 }
const REQUESTS_PER_BROKER = 5
const REMEMBERED_KEYS = 4096
const REQUEST_BYTES = 1_048_576
/** Kafka's default `delivery.timeout.ms`. */
const DELIVERY_TIMEOUT = 120_000
const UNKNOWN_TOPIC_PATIENCE = 10_000
const TROUBLE_MS = 2000
/** A broker that has not answered a request for this long is away. */
const SILENCE_MS = 5000
/** A request larger than this the brokers cut off without an answer (socket.request.max.bytes). */
const MAX_RECORD = 100_000_000

export class Sender {
  private readonly cluster: Cluster
  private readonly options: SenderOptions
  private readonly topics = new Map<string, Topic>()
  /** Queues with work. */
  private readonly active = new Set<PartitionQueue>()
  private readonly inFlight = new Map<number, number>()
  private identity: Identity | undefined
  private identifying = false
  private forgetting = false
  private refreshing = false
  private timer: NodeJS.Timeout | undefined
  private timerAt = Infinity
  /** Keeps the order of calls while one of them waits for metadata. */
  private gate: Promise<unknown> | undefined
  private waiters: (() => void)[] = []
  private fatal: PipelineError | undefined
  /** Since when requests fail, epoch ms; 0: the last one was answered. */
  private troubleSince = 0
  private readonly requests = new Set<{ readonly since: number }>()

  constructor(cluster: Cluster, options: SenderOptions) {
    this.cluster = cluster
    this.options = options
    if (options.identify === undefined) this.identity = NOBODY
  }

  /** @param enroll called with partitions that are new to the transaction before anything is sent to them. */
  async send(records: readonly OutRecord[], enroll?: (partitions: TopicPartition[]) => Promise<void>): Promise<void> {
    const missing = this.missingTopics(records)
    if (this.gate !== undefined || missing.length > 0) {
      const turn = (this.gate ?? Promise.resolve()).then(() => this.loadTopics(missing))
      const gate = turn.catch(() => {})
      this.gate = gate
      void gate.then(() => {
        if (this.gate === gate) this.gate = undefined
      })
      await turn
    }
    if (this.fatal !== undefined) throw this.fatal
    const call = new Call(records.length)
    const fresh = this.append(records, call)
    if (enroll !== undefined && fresh.length > 0) {
      try {
        await enroll(fresh)
      } catch (error) {
        this.abortAll(error as Error)
        throw error
      }
      for (const queue of fresh) queue.enrolled = true
    }
    this.pump()
    return call.done
  }

  /** A transaction begins: every partition has to be enrolled again. */
  beginTransaction(): void {
    for (const topic of this.topics.values()) for (const queue of topic.queues) if (queue !== undefined) queue.enrolled = false
  }

  /** Requests have been failing for longer than a leader election takes. */
  get troubled(): boolean {
    const now = Date.now()
    if (this.fatal !== undefined || (this.troubleSince > 0 && now - this.troubleSince > TROUBLE_MS)) return true
    for (const { since } of this.requests) if (now - since > SILENCE_MS) return true
    return false
  }

  /** Resolves when nothing waits and nothing is under way. */
  async idle(): Promise<void> {
    while (this.active.size > 0) await new Promise<void>(resolve => this.waiters.push(resolve))
  }

  /** Everything that is not acknowledged fails with `error`, and later calls too. */
  kill(error: PipelineError): void {
    this.fatal ??= error
    clearTimeout(this.timer)
    this.abortAll(error)
  }

  private missingTopics(records: readonly OutRecord[]): string[] {
    const missing = new Set<string>()
    let last: string | undefined
    for (const { topic } of records) {
      if (topic === last) continue
      last = topic
      if (this.cluster.cached(topic) === undefined) missing.add(topic)
    }
    return [...missing]
  }

  private async loadTopics(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const deadline = Date.now() + UNKNOWN_TOPIC_PATIENCE
      await this.cluster.retry(`look up topic ${name}`, DELIVERY_TIMEOUT, async () => {
        if (this.fatal !== undefined) throw this.fatal
        const found = await this.cluster.topic(name, { create: true })
        if (found.partitions.length > 0 || found.error === INVALID_TOPIC) return
        if (found.error === 29) throw new EnvironmentError(`cannot write to topic ${name}: the broker's ACLs do not allow it`)
        if (Date.now() > deadline)
          throw new EnvironmentError(`topic ${name} does not exist on ${this.cluster.options.brokers.join(',')}; create it first`)
        throw new ConnectionError(`topic ${name} does not exist`)
      })
    }
  }

  /** Returns the queues that are not part of the transaction yet. */
  private append(records: readonly OutRecord[], call: Call): PartitionQueue[] {
    const { batchSize, lingerMs } = this.options
    const now = Date.now()
    const fresh = new Set<PartitionQueue>()
    let topic: Topic | undefined
    for (let i = 0; i < records.length; i++) {
      const record = records[i]
      if (topic === undefined || topic.name !== record.topic) topic = this.topicOf(record.topic)
      const keyless = record.partition === undefined && record.key === null
      const partition = record.partition ?? (keyless ? topic.sticky : topic.count < 2 ? 0 : partitionOfKey(record.key!, topic))
      if (partition >= topic.count) {
        const why = topic.count === 0 ? `"${topic.name}" is not a valid topic name` : `topic ${topic.name} has no partition ${partition}`
        call.failRecord(i, new DataError(why))
        continue
      }
      if (sizeOf(record) > MAX_RECORD) {
        call.failRecord(i, new TooLargeError(`a record of ${sizeOf(record)} bytes is larger than a request may be`))
        continue
      }
      let queue = topic.queues[partition]
      if (queue === undefined) {
        queue = topic.queues[partition] = new PartitionQueue(topic.name, partition)
        if (this.options.transactionalId !== null) queue.enrolled = false
      }
      if (!queue.enrolled) fresh.add(queue)
      let batch = queue.open
      if (batch !== undefined && batch.size + sizeOf(record) > batchSize) {
        batch.seal(this.options.compression)
        queue.ready.push(batch)
        batch = undefined
        if (keyless) topic.sticky = stickyPartition(topic.count)
      }
      if (batch === undefined) {
        batch = queue.open = new Batch(now)
        this.active.add(queue)
        if (lingerMs > 0) this.wakeAt(now + lingerMs)
      }
      batch.add(record, call, i)
    }
    return [...fresh]
  }

  private topicOf(name: string): Topic {
    let topic = this.topics.get(name)
    const count = this.cluster.cached(name)?.length
    if (topic === undefined) {
      topic = { name, count: count ?? 0, sticky: stickyPartition(count ?? 1), keys: new Map(), queues: [] }
      this.topics.set(name, topic)
    } else if (count !== undefined && count !== topic.count) {
      topic.count = count
      topic.keys.clear()
    }
    return topic
  }

  private pump(): void {
    if (this.active.size === 0 || this.forgetting || this.fatal !== undefined) return
    if (this.identity === undefined) return this.identify()
    const now = Date.now()
    const requests = new Map<number, { queue: PartitionQueue; batch: Batch }[]>()
    let again = true
    while (again) {
      again = false
      requests.clear()
      const bytes = new Map<number, number>()
      for (const queue of this.active) {
        const due = this.nextDue(queue, now)
        if (due > now) {
          if (due < Infinity) this.wakeAt(due)
          continue
        }
        const leader = this.cluster.cached(queue.topic)?.find(p => p.partition === queue.partition)?.leader ?? -1
        if (leader < 0) {
          this.refresh()
          continue
        }
        if ((this.inFlight.get(leader) ?? 0) >= REQUESTS_PER_BROKER) continue
        const size = (bytes.get(leader) ?? 0) + (queue.ready[0] ?? queue.open!).size
        if (bytes.has(leader) && size > REQUEST_BYTES) continue
        bytes.set(leader, size)
        const batch = this.take(queue)
        const request = requests.get(leader)
        if (request === undefined) requests.set(leader, [{ queue, batch }])
        else request.push({ queue, batch })
      }
      for (const [leader, request] of requests) {
        void this.transmit(leader, request)
        again = true
      }
    }
  }

  /** When the queue may send its next batch: now or earlier, a time, or Infinity when an answer has to come first. */
  private nextDue(queue: PartitionQueue, now: number): number {
    if (!queue.enrolled || queue.recovering) return Infinity
    const limit = this.identity!.producerId < 0 || !queue.known ? 1 : REQUESTS_PER_BROKER
    if (queue.outstanding >= limit) return Infinity
    if (queue.notBefore > now) return queue.notBefore
    if (queue.ready.length > 0) return now
    return queue.open === undefined ? Infinity : queue.open.createdAt + this.options.lingerMs
  }

  private take(queue: PartitionQueue): Batch {
    let batch = queue.ready.shift()
    if (batch === undefined) {
      batch = queue.open!
      queue.open = undefined
    }
    const bytes = batch.seal(this.options.compression)
    if (batch.sequence < 0) {
      const idempotent = this.identity!.producerId >= 0
      batch.sequence = idempotent ? queue.nextSequence : -1
      if (idempotent) queue.nextSequence = sequenceAfter(queue.nextSequence, batch.count)
      stamp(bytes, this.identity!, batch.sequence, this.options.transactionalId !== null)
    }
    batch.attempts++
    queue.sent.push(batch)
    queue.outstanding++
    return batch
  }

  private async transmit(leader: number, request: { queue: PartitionQueue; batch: Batch }[]): Promise<void> {
    this.inFlight.set(leader, (this.inFlight.get(leader) ?? 0) + 1)
    const { acks, transactionalId, compression } = this.options
    const mark = { since: Date.now() }
    this.requests.add(mark)
    let broker: Awaited<ReturnType<Cluster['broker']>> | undefined
    try {
      broker = await this.cluster.broker(leader)
      const batches = request.map(({ queue, batch }) => ({
        topic: queue.topic,
        partition: queue.partition,
        bytes: batch.seal(compression),
      }))
      const results = await produce(broker, batches, { acks, transactionalId, timeoutMs: 30_000 })
      this.troubleSince = 0
      this.answered(request, results)
    } catch (error) {
      if (this.troubleSince === 0) this.troubleSince = Date.now()
      this.cluster.failed(
        broker,
        error,
        request.map(r => r.queue.topic),
      )
      const mapped = toPipelineError(error, 'write to Kafka')
      if (!mapped.retryable) this.kill(mapped)
      else for (const { queue } of request) this.repeat(queue, mapped)
    }
    this.requests.delete(mark)
    this.inFlight.set(leader, this.inFlight.get(leader)! - 1)
    for (const { queue } of request) this.returned(queue)
    this.reidentify()
    this.pump()
  }

  private answered(request: { queue: PartitionQueue; batch: Batch }[], results: readonly ProduceResult[] | undefined): void {
    for (const { queue, batch } of request) {
      const code = results === undefined ? 0 : results.find(r => r.partition === queue.partition && r.topic === queue.topic)?.errorCode
      const v = verdict(code, queue.topic, batch.count)
      if (v.kind === 'ok') {
        queue.remove(batch)
        queue.known = true
        batch.acked()
      } else if (v.kind === 'retry') {
        if (v.stale) this.cluster.stale([queue.topic])
        this.repeat(queue, v.error)
      } else if (v.kind === 'refused') this.refused(queue, batch, v.error, v.maySplit)
      else if (v.kind === 'sequence') this.outOfSequence(queue, batch, v.error)
      else this.kill(v.error)
    }
  }

  /** The broker will never take this batch: find the record that is to blame. */
  private refused(queue: PartitionQueue, batch: Batch, error: Error, maySplit: boolean): void {
    const at = queue.sent.indexOf(batch)
    if (at < 0) return
    if (batch.sequence >= 0)
      queue.resequenceFrom = queue.resequenceFrom < 0 ? batch.sequence : Math.min(queue.resequenceFrom, batch.sequence)
    queue.recovering = true
    if (batch.count === 1 || !maySplit) {
      queue.sent.splice(at, 1)
      batch.reject(error)
    } else {
      const halves = batch.split(queue.topic)
      for (const half of halves) half.seal(this.options.compression)
      queue.sent.splice(at, 1, ...halves)
    }
  }

  private outOfSequence(queue: PartitionQueue, batch: Batch, error: PipelineError): void {
    // Behind a batch that failed this is only to be expected.
    if (queue.recovering || queue.sent[0] !== batch) return this.repeat(queue, error)
    if (!this.options.mayReidentify) return this.kill(error)
    this.options.log.warn(
      { topic: queue.topic, partition: queue.partition },
      'the broker has lost the state of this producer; going on with a new producer id',
    )
    queue.recovering = true
    this.forgetting = true
  }

  private repeat(queue: PartitionQueue, error: PipelineError): void {
    queue.recovering = true
    const oldest = queue.sent[0]
    if (oldest === undefined) return
    if (oldest.attempts === 5)
      this.options.log.warn({ topic: queue.topic, partition: queue.partition, error: error.message }, 'Kafka producer: still trying')
    queue.notBefore = Date.now() + Math.min(1000, 20 * 2 ** Math.min(oldest.attempts, 6))
    if (Date.now() - oldest.createdAt < DELIVERY_TIMEOUT) return
    // Later records must not overtake the ones given up, so all go, and with them the sequence numbers.
    this.giveUp(new ConnectionError(`not acknowledged within ${DELIVERY_TIMEOUT / 1000} s: ${error.message}`, error))
  }

  /** What was sent may or may not be written, so its sequence numbers can't be used again. */
  private giveUp(error: PipelineError): void {
    if (!this.options.mayReidentify) return this.kill(error)
    this.abortAll(error)
    this.forgetting = this.options.identify !== undefined
    this.reidentify()
  }

  private returned(queue: PartitionQueue): void {
    queue.outstanding--
    if (queue.outstanding > 0) return
    if (queue.recovering) queue.requeue()
    if (queue.idle) {
      this.active.delete(queue)
      if (this.active.size === 0) for (const waiter of this.waiters.splice(0)) waiter()
    }
  }

  private abortAll(error: Error): void {
    for (const queue of this.active) {
      for (const batch of queue.takeAll()) batch.abort(error)
      if (queue.outstanding === 0) this.active.delete(queue)
    }
    if (this.active.size === 0) for (const waiter of this.waiters.splice(0)) waiter()
  }

  /** Once nothing is under way, start over with a new producer id: what was not written gets new sequence numbers. */
  private reidentify(): void {
    if (!this.forgetting) return
    for (const n of this.inFlight.values()) if (n > 0) return
    for (const topic of this.topics.values()) for (const queue of topic.queues) queue?.forget()
    this.identity = undefined
    this.forgetting = false
  }

  private identify(): void {
    if (this.identifying) return
    this.identifying = true
    this.options.identify!().then(
      identity => {
        this.identifying = false
        this.identity = identity
        this.pump()
      },
      (error: PipelineError) => {
        this.identifying = false
        this.abortAll(error)
      },
    )
  }

  /** Looks for the leaders of partitions that have none in the cache. */
  private refresh(): void {
    if (this.refreshing) return
    this.refreshing = true
    const topics = new Set([...this.active].map(q => q.topic))
    const work = async (): Promise<void> => {
      try {
        for (const topic of topics) await this.cluster.partitions(topic, { refresh: true })
      } catch (error) {
        if (this.troubleSince === 0) this.troubleSince = Date.now()
        const mapped = toPipelineError(error, 'find the partition leaders')
        if (!mapped.retryable) this.kill(mapped)
        for (const queue of this.active) {
          const oldest = queue.ready[0] ?? queue.open
          if (oldest !== undefined && queue.outstanding === 0 && Date.now() - oldest.createdAt > DELIVERY_TIMEOUT)
            return this.giveUp(mapped)
        }
      }
      await sleep(50)
    }
    void work().finally(() => {
      this.refreshing = false
      this.pump()
    })
  }

  private wakeAt(time: number): void {
    if (time >= this.timerAt) return
    clearTimeout(this.timer)
    this.timerAt = time
    this.timer = setTimeout(
      () => {
        this.timerAt = Infinity
        this.pump()
      },
      Math.max(1, time - Date.now()),
    )
  }
}

const sizeOf = (record: OutRecord): number => 24 + (record.key?.length ?? 0) + (record.value?.length ?? 0)

function partitionOfKey(key: Buffer | string, topic: Topic): number {
  if (typeof key !== 'string') return partitionOf(key, topic.count)
  let partition = topic.keys.get(key)
  if (partition === undefined) {
    if (topic.keys.size >= REMEMBERED_KEYS) topic.keys.clear()
    partition = partitionOf(key, topic.count)
    topic.keys.set(key, partition)
  }
  return partition
}
