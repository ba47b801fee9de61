/**
 * The transactional producer of one lane, and its transaction: outputs, checkpoint and group offset together. One transactional id, one
 * epoch. After any error it is unusable and the lane is claimed again.
 */
import type { Logger } from '../../../../contract/plugin.ts'
import {
  BatchError,
  type CheckpointDelta,
  ConnectionError,
  EnvironmentError,
  FencedError,
  type LaneInfo,
  type PipelineError,
  type Transaction,
  UnknownOutcomeError,
} from '../../../../contract/plugin.ts'
import type { Identity } from '../../codec/encode.ts'
import type { LogTransaction, OutRecord, ProducerOptions, SendOptions, TopicPartition } from '../../driver.ts'
import type { Cluster } from '../cluster.ts'
import { connectionBroke, FENCED, NOT_COORDINATOR, toPipelineError, typeOf } from '../errors.ts'
import type { Broker } from '../internals.ts'
import { type AccumulatorOptions, RecordAccumulator } from '../produce/record-accumulator.ts'
import { sleep, within } from '../wait.ts'
import { encodeCheckpoint } from './checkpoint.ts'
import { monotonic } from '../../../../kit/clock.ts'

/** The broker aborts a transaction that is open for longer. */
const TRANSACTION_TIMEOUT = 60_000
const BUDGET = 30_000
/** The markers of the previous transaction are still being written; kafkajs waits 300 ms here, Java 20. */
const CONCURRENT_PAUSE = 20
const AGAIN = new Set(['CONCURRENT_TRANSACTIONS', 'UNKNOWN_TOPIC_OR_PARTITION'])

export class LaneProducer implements Transaction, LogTransaction {
  readonly lane: LaneInfo
  readonly transactionalId: string
  /** Stored beside the group's offset: the owner of the state that belongs to it. */
  private readonly owner: string
  /** Of the checkpoint topic when the lane was claimed; undefined: the brokers do not report it. */
  private readonly topicId: string | undefined
  private readonly cluster: Cluster
  private readonly identity: Identity
  private readonly sender: RecordAccumulator
  private readonly checkpoint: TopicPartition
  private inTransaction = false
  /** Something is enrolled: the coordinator has the transaction. */
  private begun = false
  private begunAt = 0
  /** Requests to the transaction coordinator, one at a time: it rejects a second one while it stores the first. */
  private coordinating: Promise<void> = Promise.resolve()
  private dead: PipelineError | undefined

  /** @param checkpoint the partition that every transaction of the lane writes to. */
  constructor(
    cluster: Cluster,
    lane: LaneInfo,
    { transactionalId, owner, topicId }: { transactionalId: string; owner: string; topicId?: string },
    identity: Identity,
    checkpoint: TopicPartition,
    options: ProducerOptions,
    log: Logger,
    topics: Pick<AccumulatorOptions, 'onTopic' | 'mayCreate'>,
  ) {
    this.cluster = cluster
    this.lane = lane
    this.transactionalId = transactionalId
    this.owner = owner
    this.topicId = topicId
    this.identity = identity
    this.checkpoint = checkpoint
    this.sender = new RecordAccumulator(cluster, {
      compression: options.compression,
      lingerMs: 0,
      batchSize: options.batchSize,
      acks: -1,
      transactionalId,
      identify: async () => identity,
      mayReidentify: false,
      log,
      ...topics,
    })
  }

  /** InitProducerId: fences the former owner and ends its open transaction. */
  static async initialise(cluster: Cluster, transactionalId: string): Promise<Identity> {
    const result = await onCoordinator(
      cluster,
      'transaction',
      transactionalId,
      2 * TRANSACTION_TIMEOUT,
      `claim ${transactionalId}`,
      broker => broker.initProducerId({ transactionalId, transactionTimeout: TRANSACTION_TIMEOUT }),
      true,
    )
    return { producerId: Number(result.producerId), epoch: result.producerEpoch }
  }

  /** @returns the transaction; one at a time. */
  begin(): this {
    if (this.dead !== undefined) throw this.dead
    if (this.inTransaction) throw new Error(`lane ${this.lane.id} already has an open transaction`)
    this.inTransaction = true
    this.begun = false
    this.sender.beginTransaction()
    return this
  }

  /** @throws {BatchError} for records that can never be written; any other error makes the producer unusable. */
  async send(records: readonly OutRecord[], { compression }: SendOptions = {}): Promise<void> {
    if (this.dead !== undefined) throw this.dead
    if (!this.inTransaction) throw new Error(`lane ${this.lane.id} has no open transaction`)
    try {
      await this.sender.send(records, partitions => this.enroll(partitions), compression)
    } catch (error) {
      if (error instanceof BatchError) throw error
      throw this.fail(error, 'write')
    }
  }

  async commit(delta: CheckpointDelta): Promise<void> {
    const { checkpoint, lane } = this
    try {
      await this.send(encodeCheckpoint(checkpoint, lane, delta, Date.now(), this.topicId))
    } catch (error) {
      if (!(error instanceof BatchError)) throw error
      await this.abort()
      this.discard()
      throw new EnvironmentError(`a state entry of ${lane.id} is too large for ${checkpoint.topic}: ${error.message}`, error)
    }
    const position = typeof delta.position === 'number' ? delta.position : undefined
    try {
      if (this.lane.group !== undefined && position !== undefined) await this.sendOffset(position)
    } catch (error) {
      throw this.fail(error, 'commit the offset of')
    }
    this.inTransaction = false
    if (!this.begun) return
    try {
      await this.end(true)
    } catch (error) {
      const unknown = connectionBroke(error) || connectionBroke((error as Error).cause)
      throw this.fail(
        unknown ? new UnknownOutcomeError(`lane ${this.lane.id}: the response to the commit was lost`, error) : error,
        'commit',
      )
    }
  }

  async abort(): Promise<void> {
    if (!this.inTransaction) return
    this.inTransaction = false
    if (this.dead !== undefined || !this.begun) return
    // A write that arrives after the abort would stay open in the log; if one is still in transit, the next claim's new epoch rejects it.
    const quiet = await within(
      this.sender.idle().then(() => true),
      5000,
      false,
    )
    try {
      if (!quiet) throw new ConnectionError('writes are still in progress')
      await this.coordinating
      await this.end(false)
    } catch (error) {
      this.fail(error, 'abort')
    }
  }

  /** For a lane that is released or lost. */
  discard(): void {
    this.fail(new FencedError(`lane ${this.lane.id} has been released`), 'use')
  }

  /** A topic that it writes to was deleted: writes in progress and later ones fail. */
  topicDeleted(error: PipelineError): void {
    this.fail(error, 'write to')
  }

  private enroll(partitions: TopicPartition[]): Promise<void> {
    const first = !this.begun
    if (first) {
      this.begun = true
      this.begunAt = monotonic()
      const { checkpoint } = this
      if (!partitions.some(p => p.topic === checkpoint.topic && p.partition === checkpoint.partition))
        partitions = [...partitions, checkpoint]
    }
    const topics = new Map<string, { topic: string; partitions: number[] }>()
    for (const { topic, partition } of partitions) {
      if (!topics.has(topic)) topics.set(topic, { topic, partitions: [] })
      topics.get(topic)!.partitions.push(partition)
    }
    const enrolled = this.coordinate(broker => broker.addPartitionsToTxn({ ...this.ids(), topics: [...topics.values()] }))
    // The next step is prepared while the records are in transit.
    if (first && this.lane.group !== undefined)
      void this.coordinate(broker => broker.addOffsetsToTxn({ ...this.ids(), groupId: this.lane.group }))
    return enrolled
  }

  private coordinate(request: (broker: Broker) => Promise<unknown>): Promise<void> {
    const alive = (broker: Broker): Promise<unknown> => {
      if (this.dead !== undefined) throw this.dead
      return request(broker)
    }
    const turn = this.coordinating.then(() =>
      onCoordinator(this.cluster, 'transaction', this.transactionalId, BUDGET, `begin a transaction of ${this.lane.id}`, alive),
    )
    this.coordinating = turn
    // It is awaited where it is needed; until then, a failure must not count as unhandled.
    turn.catch(() => {})
    return turn
  }

  private async sendOffset(position: number): Promise<void> {
    if (!this.begun) await this.enroll([this.checkpoint])
    await this.coordinating
    const { group, topic, partition } = this.lane
    const topics = [{ topic, partitions: [{ partition, offset: String(position), metadata: this.owner }] }]
    await onCoordinator(this.cluster, 'group', group!, BUDGET, `commit the offset of ${this.lane.id}`, broker =>
      broker.txnOffsetCommit({ ...this.ids(), groupId: group, topics }),
    )
  }

  private async end(commit: boolean): Promise<void> {
    await onCoordinator(
      this.cluster,
      'transaction',
      this.transactionalId,
      BUDGET,
      `${commit ? 'commit' : 'abort'} the transaction of ${this.lane.id}`,
      broker => broker.endTxn({ ...this.ids(), transactionResult: commit }),
    )
  }

  private ids() {
    return { transactionalId: this.transactionalId, producerId: this.identity.producerId, producerEpoch: this.identity.epoch }
  }

  private fail(error: unknown, doing: string): PipelineError {
    let mapped = toPipelineError(error, `${doing} ${this.lane.id}`)
    // The coordinator also fences a producer whose transaction was open for too long; the lane is then still ours.
    if (mapped instanceof FencedError && this.begun && monotonic() - this.begunAt > TRANSACTION_TIMEOUT) {
      mapped = new ConnectionError(
        `the transaction of ${this.lane.id} was open for more than ${TRANSACTION_TIMEOUT / 1000} s and was aborted by the broker`,
        mapped,
      )
    }
    this.dead ??= mapped
    this.inTransaction = false
    this.sender.fail(mapped)
    return mapped
  }
}

/**
 * Repeats a coordinator request during elections and while the previous transaction is being finished.
 * @param retry also when the response was lost. Never inside a transaction: the first request may be late instead of lost, and would then
 * affect the next transaction.
 */
async function onCoordinator(
  cluster: Cluster,
  kind: 'group' | 'transaction',
  key: string,
  budgetMs: number,
  doing: string,
  request: (broker: Broker) => Promise<any>,
  retry = false,
): Promise<any> {
  const deadline = monotonic() + budgetMs
  let pause = CONCURRENT_PAUSE
  for (;;) {
    let broker: Broker | undefined
    try {
      broker = await cluster.coordinator(kind, key)
    } catch (error) {
      const mapped = toPipelineError(error, doing)
      if (!mapped.retryable || monotonic() > deadline) throw mapped
      await sleep((pause = Math.min(500, pause * 2)))
      continue
    }
    try {
      return await request(broker)
    } catch (error) {
      cluster.failed(broker, error)
      const type = typeOf(error)
      if (FENCED.has(type) || (connectionBroke(error) && !retry)) throw error
      const mapped = toPipelineError(error, doing)
      if (!mapped.retryable || monotonic() > deadline) throw mapped
      if (type === 'INVALID_TXN_STATE') throw mapped
      const again = AGAIN.has(type)
      if (!again && !NOT_COORDINATOR.has(type) && !(error as { retriable?: boolean }).retriable) throw mapped
      await sleep(again ? CONCURRENT_PAUSE : (pause = Math.min(500, pause * 2)))
    }
  }
}
