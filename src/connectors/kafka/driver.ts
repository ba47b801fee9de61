/**
 * The narrow contract between the `kafka` connector and a log: real brokers (kafkajs) or the embedded SQLite log.
 * The conformance suite in test/conformance/driver.ts tests this contract; a driver that fails a row may not be used for the guarantee that
 * needs the row.
 */
import {
  type Checkpoint,
  type CheckpointDelta,
  DataError,
  type Format,
  type Header,
  type LaneInfo,
  type LiveContent,
  type Message,
  type Transactor,
} from '../../contract/plugin.ts'
import type { LogAdmin } from './log-admin.ts'

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** One record to write. `partition` undefined: the default partitioner (murmur2 of the key as Java does; keyless: sticky per batch). */
export interface OutRecord {
  readonly topic: string
  readonly key: Buffer | string | null
  readonly value: Buffer | string | null
  readonly headers: readonly Header[] | undefined
  /** Epoch ms. */
  readonly time: number
  readonly partition?: number
}

export interface ConsumedBatch {
  readonly topic: string
  readonly partition: number
  /**
   * Created by `Message.fromRecord`, with `offset` set, in offset order; a record that cannot be unpacked has `failure` set. May be empty
   * (all control records).
   */
  readonly messages: Message[]
  readonly nextOffset: number
  /** Offset after the newest record that may be read. */
  readonly endOffset: number
  /** The number of offsets before the first message that belong to no record batch: compaction, or a damaged log. */
  readonly missing?: number
}

export interface ConsumerHandlers {
  /**
   * These partitions are assigned to us from now on. None of their records are delivered before the promise resolves.
   * Resolves to the offset to read from, per `topic/partition`; a partition without one starts at its committed offset, else at `startAt`.
   */
  assigned(partitions: readonly TopicPartition[]): Promise<Map<string, number>>
  /**
   * These partitions are about to be revoked: commit what is in flight. After it resolves, none of their records are delivered or
   * committed.
   */
  revoked(partitions: readonly TopicPartition[]): Promise<void>
  /** Another member already owns these partitions: commit nothing. */
  lost(partitions: readonly TopicPartition[]): void
}

export interface ConsumerOptions {
  readonly topics: readonly string[]
  readonly group: string
  readonly startAt: 'earliest' | 'latest'
  readonly format: Format
  /** Source step's name, for `Origin`. */
  readonly source: string
  readonly isolation: 'read_committed' | 'read_uncommitted'
  readonly sessionTimeoutMs: number
  readonly maxBytes: number
  readonly maxWaitMs: number
  /** The settings of this process; members of one group must have equal ones. Undefined: not a pipeline. */
  readonly live?: LiveContent
  /** Called on errors the driver retries by itself, for metrics and logs. */
  onError(error: Error): void
  /** Records were deleted before they were read: called once for each range. */
  onLost?(lane: string, from: number, to: number): void
}

/** Members of one pipeline must have equal settings whatever they read; those of two pipelines conflict only on a common topic. */
export const mustAgree = (a: Pick<ConsumerOptions, 'topics' | 'live'>, b: Pick<ConsumerOptions, 'topics' | 'live'>): boolean =>
  a.live?.owner === b.live?.owner || a.topics.some(topic => b.topics.includes(topic))

export interface Consumer {
  open(handlers: ConsumerHandlers): Promise<void>
  /** Next batch of any assigned partition, in offset order per partition. Buffers little, and stops fetching while it is not polled. */
  poll(signal: AbortSignal): Promise<ConsumedBatch>
  /** Continues at `offset`; buffered records of the partition are dropped. undefined: committed offset, else `startAt`. */
  seek(tp: TopicPartition, offset: number | undefined): Promise<void>
  /** Offset of the next record to read, with free text that is stored with it. */
  commit(offsets: readonly (TopicPartition & { offset: number; metadata?: string })[]): Promise<void>
  /**
   * The last successful fetch for this partition found nothing: the `monotonic` time at which it was sent, or true when the log itself was
   * read.
   */
  caughtUp(tp: TopicPartition): boolean | number
  /** False when the group's session is overdue: another member may own the partition. Absent: not known. */
  holds?(tp: TopicPartition): boolean
  /** A text gives the reason why not. */
  healthy(): boolean | string
  close(): Promise<void>
}

export interface ProducerOptions {
  readonly compression: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  readonly lingerMs: number
  readonly batchSize: number
  readonly idempotent: boolean
  readonly acks: -1 | 0 | 1
}

/** A record is larger than its topic accepts; in a `BatchError`. */
export class TooLargeError extends DataError {}

export interface Producer {
  /**
   * Resolves once all are acknowledged; order per partition is the order given, also across calls.
   * @throws {BatchError} for records that can never be written (too large, invalid topic); the others are durable.
   */
  send(records: readonly OutRecord[]): Promise<void>
  /** A text while writes are failing and retried, or the brokers do not respond. */
  healthy?(): boolean | string
  close(): Promise<void>
}

/** Settings of a sink that also apply inside a transaction. */
export interface SendOptions {
  readonly compression?: ProducerOptions['compression']
}

/** The members of a transaction that the kafka sink needs besides `commit` and `abort`. */
export interface LogTransaction {
  send(records: readonly OutRecord[], options?: SendOptions): Promise<void>
}

export interface OutputWatch {
  /** Why the topic cannot be written to, although the brokers respond. */
  problem(): string | undefined
  close(): void
}

export interface TransactorOptions {
  /** Prefix of transactional ids and name of the checkpoint topic or table, see `stateOwner`. */
  readonly id: string
  readonly producer: ProducerOptions
}

export interface ReadOptions {
  readonly format: Format
  readonly isolation: 'read_committed' | 'read_uncommitted'
  readonly maxBytes?: number
  readonly source?: string
  /** As `Origin.generation`. */
  readonly generation?: string
}

export interface TopicInfo {
  readonly name: string
  readonly partitions: number
  readonly replication: number
}
export interface NewTopic {
  readonly topic: string
  readonly partitions: number
  readonly replication?: number
  readonly config?: Record<string, string>
}

export interface Driver {
  /** Equal for two connections to the same log, e.g. `kafka:127.0.0.1:9092` or `embedded:.runner/log.db`. */
  readonly scope: string
  consumer(options: ConsumerOptions): Consumer
  producer(options: ProducerOptions): Promise<Producer>
  /** Outputs, checkpoint and group offset in one transaction; `begin` returns a Transaction that is also a LogTransaction. */
  transactor(options: TransactorOptions): Transactor
  /**
   * Monitors a topic that will be written to. Absent: the log detects problems at the next write.
   * @param exists false: it may not exist yet, and is not reported as missing before it has existed.
   */
  watchOutput?(topic: string, exists: boolean): OutputWatch
  /** Reads without a group, from `offset` to the present end. `messages` may be empty although `nextOffset` advanced. */
  read(tp: TopicPartition, offset: number, options: ReadOptions): Promise<ConsumedBatch>
  /** Offsets by time: `earliest`, `latest` (the end), or the first record at or after an epoch-ms time (the end when there is none). */
  offsets(partitions: readonly TopicPartition[], at: 'earliest' | 'latest' | number): Promise<Map<string, number>>
  committed(group: string, partitions: readonly TopicPartition[]): Promise<Map<string, { offset: number; metadata: string | null }>>
  topics(): Promise<TopicInfo[]>
  /** Ids of topics: a topic that is deleted and created again has another id. Missing: it does not exist, or the log has no ids. */
  topicIds(topics: readonly string[]): Promise<Map<string, { readonly id: string; readonly partitions: number }>>
  createTopics(topics: readonly NewTopic[]): Promise<void>
  /** For the operations commands. */
  readonly admin: LogAdmin
  close(): Promise<void>
}

export const tpKey = (tp: TopicPartition): string => `${tp.topic}/${tp.partition}`

/** Of a `tpKey`, which is also the id of its lane. */
export function tpOf(key: string): TopicPartition {
  const at = key.lastIndexOf('/')
  return { topic: key.slice(0, at), partition: Number(key.slice(at + 1)) }
}

export type { Checkpoint, CheckpointDelta, LaneInfo }
