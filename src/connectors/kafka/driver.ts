/**
 * The narrow contract between the `kafka` connector and a log: real brokers (kafkajs) or the embedded SQLite log.
 * The conformance suite in test/conformance/driver.ts is this contract as tests; a driver that fails a row may not be
 * used for the guarantee that needs the row.
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
  /** Made by `Message.fromRecord`, with `offset` set, in offset order; a record that can't be unpacked has `failure` set. May be empty (all control records). */
  readonly messages: Message[]
  readonly nextOffset: number
  /** Offset behind the newest record that may be read. */
  readonly endOffset: number
  /** So many offsets in front of the first message belong to no record batch: compaction, or a damaged log. */
  readonly missing?: number
}

export interface ConsumerHandlers {
  /**
   * These partitions are ours from now on. Nothing of them is delivered before the promise resolves.
   * Resolves to the offset to read from, per `topic/partition`; a partition not named starts at its committed offset, else `startAt`.
   */
  assigned(partitions: readonly TopicPartition[]): Promise<Map<string, number>>
  /** These partitions are about to be taken away: commit what is in flight. After it resolves, nothing of them is delivered or committed. */
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
  /** What this process does; members of one group must do the same. Undefined: not a pipeline. */
  readonly live?: LiveContent
  /** Called on errors the driver retries by itself, for metrics and logs. */
  onError(error: Error): void
  /** Records are gone before they were read: said once for each stretch. */
  onLost?(lane: string, from: number, to: number): void
}

/** Those of one pipeline must do the same whatever they read; those of two meet only in a topic. */
export const mustAgree = (a: Pick<ConsumerOptions, 'topics' | 'live'>, b: Pick<ConsumerOptions, 'topics' | 'live'>): boolean =>
  a.live?.owner === b.live?.owner || a.topics.some(topic => b.topics.includes(topic))

export interface Consumer {
  open(handlers: ConsumerHandlers): Promise<void>
  /** Next batch of any assigned partition, in offset order per partition. Buffers little, and stops fetching while it is not polled. */
  poll(signal: AbortSignal): Promise<ConsumedBatch>
  /** Read on from `offset`; what was buffered of the partition is dropped. undefined: committed offset, else `startAt`. */
  seek(tp: TopicPartition, offset: number | undefined): Promise<void>
  /** Offset of the next record to read, with free text that is stored beside it. */
  commit(offsets: readonly (TopicPartition & { offset: number; metadata?: string })[]): Promise<void>
  /** The last successful poll of the broker for this partition found nothing: the `monotonic` time at which it was sent, or true when the log itself was looked at. */
  caughtUp(tp: TopicPartition): boolean | number
  /** False when the group's session is overdue: the partition may be another member's. Absent: not known. */
  holds?(tp: TopicPartition): boolean
  /** A text says why not. */
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

/** A record is larger than its topic takes; in a `BatchError`. */
export class TooLargeError extends DataError {}

export interface Producer {
  /**
   * Resolves once all are acknowledged; order per partition is the order given, also across calls.
   * @throws {BatchError} for records that can never be written (too large, invalid topic); the others are durable.
   */
  send(records: readonly OutRecord[]): Promise<void>
  /** A text while writes are failing and tried again, or the brokers do not answer. */
  healthy?(): boolean | string
  close(): Promise<void>
}

/** Settings of a sink that hold inside a transaction, too. */
export interface SendOptions {
  readonly compression?: ProducerOptions['compression']
}

/** What the kafka sink needs of a transaction besides `commit` and `abort`. */
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
   * Monitors a topic that will be written to. Absent: the log finds out at the next write.
   * @param exists false: it may not exist yet, and is not reported before it was there.
   */
  watchOutput?(topic: string, exists: boolean): OutputWatch
  /** Read without a group, from `offset` up to what is there now. `messages` may be empty although `nextOffset` moved on. */
  read(tp: TopicPartition, offset: number, options: ReadOptions): Promise<ConsumedBatch>
  /** Offsets by time: `earliest`, `latest` (the end), or the first record at or after an epoch-ms time (the end when there is none). */
  offsets(partitions: readonly TopicPartition[], at: 'earliest' | 'latest' | number): Promise<Map<string, number>>
  committed(group: string, partitions: readonly TopicPartition[]): Promise<Map<string, { offset: number; metadata: string | null }>>
  topics(): Promise<TopicInfo[]>
  /** Ids of topics: one that is deleted and made again has another. Missing: it does not exist, or the log has no ids. */
  topicIds(topics: readonly string[]): Promise<Map<string, { readonly id: string; readonly partitions: number }>>
  createTopics(topics: readonly NewTopic[]): Promise<void>
  /** For the operations commands. */
  readonly admin: LogAdmin
  close(): Promise<void>
}

export const tpKey = (tp: TopicPartition): string => `${tp.topic}/${tp.partition}`

/** Of a `tpKey`, which is the id of its lane too. */
export function tpOf(key: string): TopicPartition {
  const at = key.lastIndexOf('/')
  return { topic: key.slice(0, at), partition: Number(key.slice(at + 1)) }
}

export type { Checkpoint, CheckpointDelta, LaneInfo }
