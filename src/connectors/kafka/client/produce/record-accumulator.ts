/** Batches records per partition, in the order of the calls, for the sender to write. */
import { DataError, type PipelineError } from '../../../../contract/plugin.ts'
import type { Compression } from '../../codec/compression.ts'
import { type OutRecord, TooLargeError, type TopicPartition } from '../../driver.ts'
import type { Cluster } from '../cluster.ts'
import { Batch, Call, PartitionQueue } from './batch.ts'
import { Sender, type SenderOptions } from './sender.ts'
import { partitionFor, type Topic, Topics, turnSticky } from './topics.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface AccumulatorOptions extends SenderOptions {
  /** For sends that do not specify it. */
  readonly compression: Compression
  /** Bytes of a batch before compression. */
  readonly batchSize: number
  /** Called once with each topic that is written to. */
  readonly onTopic?: (topic: string) => void
  /** As of `Topics`. */
  readonly mayCreate?: (topic: string) => boolean
}

/** The brokers close the connection without a response for a larger request (socket.request.max.bytes). */
const MAX_RECORD = 100_000_000

export class RecordAccumulator {
  private readonly options: AccumulatorOptions
  private readonly topics: Topics
  private readonly sender: Sender
  /** Keeps the order of calls while one of them waits for metadata. */
  private gate: Promise<void> | undefined

  constructor(cluster: Cluster, options: AccumulatorOptions) {
    this.options = options
    this.topics = new Topics(cluster, options.onTopic, options.mayCreate)
    this.sender = new Sender(cluster, options, () => this.topics.queues())
  }

  /** @param enroll called with partitions that are new to the transaction before anything is sent to them. */
  async send(
    records: readonly OutRecord[],
    enroll?: (partitions: TopicPartition[]) => Promise<void>,
    compression: Compression = this.options.compression,
  ): Promise<void> {
    this.sender.check()
    const call = new Call(records.length)
    const fresh: PartitionQueue[] = []
    const missing = this.topics.missing(records)
    if (this.gate === undefined && missing.length === 0) this.append(records, call, fresh, compression)
    else {
      // Appending is part of the turn, so that the next caller cannot overtake.
      const turn = (this.gate ?? Promise.resolve()).then(async () => {
        await this.topics.load(missing, () => this.sender.check())
        this.sender.check()
        this.append(records, call, fresh, compression)
      })
      const gate = turn.catch(() => {})
      this.gate = gate
      void gate.then(() => {
        if (this.gate === gate) this.gate = undefined
      })
      await turn
    }
    if (enroll !== undefined && fresh.length > 0) {
      try {
        await enroll(fresh)
      } catch (error) {
        this.sender.abortAll(error as Error)
        throw error
      }
      for (const queue of fresh) queue.enrolled = true
    }
    this.sender.soon()
    return call.done
  }

  /** A transaction begins: every partition has to be enrolled again. */
  beginTransaction(): void {
    for (const queue of this.topics.queues()) queue.enrolled = false
  }

  /** Why writes have been failing for longer than a leader election takes. */
  get trouble(): string | undefined {
    return this.sender.trouble
  }

  /** Resolves when no batch is waiting or in progress. */
  idle(): Promise<void> {
    return this.sender.idle()
  }

  /** Everything that is not acknowledged fails with `error`, as do later calls. */
  fail(error: PipelineError): void {
    this.sender.fail(error)
  }

  /** @param fresh receives the queues that are not part of the transaction yet. */
  private append(records: readonly OutRecord[], call: Call, fresh: PartitionQueue[], compression: Compression): void {
    const { batchSize } = this.options
    const now = monotonic()
    const outside = new Set<PartitionQueue>()
    let topic: Topic | undefined
    for (let i = 0; i < records.length; i++) {
      const record = records[i]
      if (topic === undefined || topic.name !== record.topic) topic = this.topics.get(record.topic)
      const partition = partitionFor(record, topic)
      const problem = problemOf(record, topic, partition)
      if (problem !== undefined) {
        call.failRecord(i, problem)
        continue
      }
      const queue = (topic.queues[partition] ??= this.newQueue(topic.name, partition))
      if (!queue.enrolled) outside.add(queue)
      let batch = queue.open
      if (batch !== undefined && (batch.size + sizeOf(record) > batchSize || batch.compression !== compression)) {
        batch.seal()
        queue.ready.push(batch)
        batch = undefined
        if (record.key === null) turnSticky(topic)
      }
      if (batch === undefined) {
        batch = queue.open = new Batch(now, compression)
        this.sender.activate(queue, now)
      }
      batch.add(record, call, i)
    }
    fresh.push(...outside)
  }

  private newQueue(topic: string, partition: number): PartitionQueue {
    const queue = new PartitionQueue(topic, partition)
    queue.enrolled = this.options.transactionalId === null
    return queue
  }
}

const sizeOf = (record: OutRecord): number => 24 + (record.key?.length ?? 0) + (record.value?.length ?? 0)

function problemOf(record: OutRecord, topic: Topic, partition: number): DataError | undefined {
  if (topic.count === 0) return new DataError(`"${topic.name}" is not a valid topic name`)
  if (!(partition >= 0 && partition < topic.count)) return new DataError(`topic ${topic.name} has no partition ${partition}`)
  if (sizeOf(record) > MAX_RECORD)
    return new TooLargeError(`a record of ${sizeOf(record)} bytes is larger than the maximum size of a request`)
  return undefined
}
