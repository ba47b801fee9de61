/**
 * The plugin contract, second part: transactions and checkpoints, rejections reported to senders, stubs for tests, and support for the
 * commands `check`, `lag` and `dlq`. All of it is optional.
 */
import type { Context, Json, LaneInfo, Logger, Position, SinkPlugin, SourcePlugin, Transform, TransformContext } from './authoring.ts'
import type { Header, Message } from './message.ts'

/** Describes the records of a lane. The runtime keeps it in the checkpoint and compares it at the next claim. */
export interface LaneOrigin {
  /**
   * Identifies the records: the id of a topic, the inode of a file. Another id under the same lane id means other records. Undefined:
   * unknown.
   */
  readonly id?: string
  /** Position of the oldest record. */
  readonly start?: Position
  /** Position of the next record to be written. */
  readonly end?: Position
  /** Position where a first run begins. */
  readonly initial?: Position
  /** Number of lanes that the keys are spread over: the partitions of a topic. */
  readonly lanes?: number
  /**
   * The position that the peer stores (the offset of a group). `owner`: the text that `commit` wrote with it, see `stateOwner`; null: none.
   */
  readonly remembered?: { readonly owner: string | null; readonly position: Position }
}

/** Describes a running process, without secrets. Processes with the same identity must have the same content. */
export interface LiveContent {
  /** `<name>.<version>`. */
  readonly owner: string
  readonly file: string
  /** Version of the runner: another version may have other settings. */
  readonly runner: string
  /** Settings that determine what is written and where, by path; long values as a hash. */
  readonly settings: Readonly<Record<string, string>>
}

/** Optional members of a source. */
export interface AdvancedSource {
  /**
   * Whether the last successful poll of the lane found nothing more to read. Only then does silence count as idleness. A source that polls
   * returns the `clock.monotonic()` at which that poll began: records that arrived later are not known yet, so the time after it does not
   * count as silence.
   */
  caughtUp?(lane: string): boolean | number
  /**
   * For a source whose positions are in the checkpoint of another system, so that `commit` only informs: minimum interval between two
   * calls, ms. Default: every commit.
   */
  readonly commitNotifyInterval?: number
  /**
   * Whether this instance still owns the lane, by its own clock. Called before each write; must not wait. False when its session or lease
   * is overdue (the process was frozen): others may own the lane, so nothing more is written and the lane is claimed again.
   */
  holds?(lane: string): boolean
  /** The input of the source is complete: `read` returns the rest, and then null. */
  finish?(): void
  /**
   * A sender waits for each `commit` (for example, an HTTP client): commit batches are flushed at once instead of every `commit_interval`.
   */
  readonly commitImmediately?: boolean
  /** The state ends with the input: the next run reads other input and begins without state. */
  readonly endsForGood?: boolean
  /**
   * Reports rejected messages to their senders. Called when the rest of their commit batch is written, before the `commit` that covers
   * them. A source with `reject` needs no dlq; if there is one, it receives the messages too.
   * @returns the messages that could not be reported. Without a dlq, the pipeline stops at the first of them.
   */
  reject?(rejections: readonly Rejection[]): readonly Rejection[] | void
  /** Records rejected messages (a counter, a log line) if the sender cannot be notified. Called at the same point as `reject`. */
  onRejected?(rejections: readonly Rejection[]): void
}

export type Lanes = 'one' | 'by_key' | 'many'

/** Optional members of a source plugin. */
export interface AdvancedSourcePlugin<C> {
  readonly transactions?: Transactional<C>
  /** A sender waits for the commit, see `commitImmediately`: an acknowledged record is durable, including its state. For `explain`. */
  readonly awaitsCommit?: boolean | ((config: C) => boolean)
  /**
   * Several processes of one pipeline can run side by side without reading a record twice: they share the work of a group, or each receives
   * its own records. Default: false, so a second process with the same state directory is rejected.
   */
  readonly shares?: boolean | ((config: C) => boolean)
  /** Each lane has one owner at a time, which can change: the instances have `holds`, and sinks fence the former owner (`claim`). */
  readonly leased?: boolean | ((config: C) => boolean)
  /** Each run reads everything and ends. Neither its position nor the state of its steps is kept. */
  readonly oneShot?: boolean | ((config: C) => boolean)
  /** The records have no timestamp. Their time is the time of reading, and changes when they are read again. */
  readonly datedByRead?: boolean | ((config: C) => boolean)
  /** The source honors `ctx.range`. `run --from` and `--to` are rejected for other sources. */
  readonly ranged?: boolean | ((config: C) => boolean)
  /**
   * Whether records with the same key can be on several lanes. `one`: there is one lane. `by_key`: records with the same key are on the
   * same one of many lanes. `many`: they can be on any lane. Default: unknown.
   */
  readonly lanes?: Lanes | ((config: C) => Lanes)
  /** Positions of all existing lanes, for `runner lag`. It joins no group and changes nothing. */
  positions?(config: C, ctx: CheckContext): Promise<LanePosition[]>
  /**
   * A sink that writes records back to where this source reads them: to `message.origin.topic`, with their own key. For `runner dlq replay
   * --to source`.
   */
  writeBack?(config: C): { readonly plugin: SinkPlugin; readonly config: unknown }
}

/** Optional members of a transform plugin. */
export interface AdvancedTransformPlugin<C> {
  /**
   * The part of the config that determines the meaning of the state: a key, the size of a window. A restart with another one rejects the
   * old state. Default: the whole config.
   */
  stateShape?(config: C): Json
  /**
   * For a stateful transform: its outputs stay correct when records are missing, or are marked (see `Transform.onGap`). Default: false, so
   * the run stops.
   */
  readonly survivesGap?: boolean | ((config: C) => boolean)
  /**
   * An expression: records with the same value share state of the lane, so they must be on one lane. `meta.key` is the key of the message.
   * Undefined: each record is independent.
   */
  groupsBy?(config: C): string | undefined
  /** The step passes its messages to other lanes: the steps after it are a part of the pipeline with its own source. */
  readonly link?: Link<C>
  /**
   * For transforms that query a peer (a database, a service): the same transform with `answer` in place of the peer, so that pipeline tests
   * can define the answers (`stubs`). The query contains everything that the answer depends on: a key, named parameters.
   */
  stubbed?(config: C, ctx: TransformContext, answer: Answer): Transform
  /**
   * For windows over event time: the time in ms within which messages can contribute to one output, including lateness and clock errors. A
   * backfill reads this much more on both sides of its bounds, and keeps outputs whose `time`, the end of the window, is within the bounds.
   */
  windowSpan?(config: C): number
  /**
   * Why the step can produce other output when records are read again after a crash, as the end of a sentence: `queries the database
   * again`. False, or a function that returns undefined: the output is the same. For `explain`.
   */
  readonly varies?: string | false | ((config: C, source: SourceFacts) => string | undefined)
}

export interface SourceFacts {
  /** The source can be silent. */
  readonly endless: boolean
  /** The time of its records is the time of reading, see `AdvancedSourcePlugin.datedByRead`. */
  readonly datedByRead: boolean
}

/**
 * For a transform that passes messages to other lanes: the link between the two parts of the pipeline. Its `create` makes the last step of
 * the first part.
 */
export interface Link<C> {
  /** The sink of the first part, and the source of the second. */
  ends(config: C, at: LinkPlace): { readonly sink: Configured<SinkPlugin>; readonly source: Configured<SourcePlugin> }
  /** Creates the first step of the second part. */
  arrive(config: C, ctx: TransformContext, upstream: readonly Upstream[]): Arrival
  /** Converts a message to the records that the sink writes, and a record back. For pipeline tests, whose log is in memory. */
  records(message: Message, lane: LaneInfo, config: C): readonly LinkRecord[]
  message(record: LinkRecord, offset: number, lane: LaneInfo): Message
}

interface Configured<P> {
  readonly plugin: P
  readonly config: unknown
}

export interface LinkPlace {
  readonly pipeline: string
  readonly version: number
  readonly step: string
  /** The group of the first source that has one. */
  readonly group: string | undefined
}

/** An input of a link: a source of the first part and its topics. */
export interface Upstream {
  readonly source: string
  readonly topics: readonly string[] | undefined
}

export interface LinkRecord {
  readonly partition: number
  readonly key: Buffer | string | null
  readonly value: Buffer | string | null
  readonly headers: readonly Header[]
}

/** Tracks the progress of merged lanes. */
export interface Arrival extends Transform {
  /** The event time that all lanes have reached. */
  clock(): number
  /** No lane has more records for now. Only then does silence count as idleness. */
  idle(): boolean
}

/** Optional members of a sink plugin. */
export interface AdvancedSinkPlugin<C> {
  /**
   * `scope`: writes can join a transaction of this scope. `create`: the transactions of the sink can also hold the checkpoint of a source
   * that has no transactions of this scope.
   */
  readonly transactions?: Pick<Transactional<C>, 'scope'> & Partial<Transactional<C>>
  /** What a former owner of a lane can still do here after it was frozen, as the end of a sentence. For `explain`. */
  fence?(config: C): string
  /**
   * What a stalled connection can still do if it delivers a write after its repeat or after newer writes. Undefined: nothing. For
   * `explain`.
   * @param leased as `leased` of the source
   */
  late?(config: C, leased: boolean): string | undefined
  /** The peer detects a repeated write, but only if its content is the same (`TransformPlugin.varies`). */
  recognizesRepeats?(config: C): boolean
  /** Connects and reads back what was written, if that is possible without losing a byte. */
  readDeadLetters?(config: C, context: { readonly log: Logger }): Promise<DeadLetterReader>
}

/** Result of a step that compares or checks. `runner run` prints it as a table, as JSON, or as JUnit XML. */
export interface Report {
  readonly title: string
  readonly ok: boolean
  /** One line. */
  readonly verdict: string
  /** Figures by name, in print order. */
  readonly summary: Readonly<Record<string, string | number>>
  /** Problems that were found, each with its subject. */
  readonly findings: readonly Finding[]
}

export interface Finding {
  readonly subject: string
  readonly problem: string
  /** Additional columns of the table. */
  readonly details?: Readonly<Record<string, Json>>
}

export interface Rejection {
  /** `offset` and `origin` identify the source record. */
  readonly message: Message
  readonly error: Error
  /** Name of the step that rejected the message. */
  readonly step: string
}

/** Context of `runner check`, which tests whether a plugin can be used now, from this machine. */
export interface CheckContext {
  readonly step: string
  readonly role: 'source' | 'transform' | 'sink' | 'dlq'
  readonly pipeline: string
  readonly version: number
  readonly delivery?: 'at_least_once' | 'exactly_once'
  /** Positions and state of the pipeline are kept in the transactions of this step. */
  readonly checkpoints?: boolean
  /** For a sink: the sources of the pipeline. */
  readonly sources?: readonly { readonly type: string; readonly config: unknown }[]
  readonly log: Logger
  readonly signal: AbortSignal
}

/** One finding of `check`. */
export interface CheckResult {
  /** The subject of the check: `broker 127.0.0.1:9092`, `topic bars.BTCUSDT.1m`, `table outbox`. */
  readonly what: string
  readonly ok: boolean
  /** The finding: a version, a number of partitions, the message of the peer. */
  readonly detail?: string
  /** How to fix it, as a command if there is one. With `ok`, the finding is a warning. */
  readonly fix?: string
}

/** The record that would be written. */
export interface Preview {
  readonly topic?: string
  readonly key: Buffer | string | null
  readonly value: Buffer | string | null
  readonly headers?: readonly Header[]
}

/** The rows for a query. Throws a `DataError` for a query that the peer would reject. */
export type Answer = (question: Json) => readonly Record<string, Json>[]

/** The position of a lane, as the external system stores it. */
export interface LanePosition {
  readonly lane: LaneInfo
  /** The position that the peer stores for the source (the offset of a group). A checkpoint takes precedence over it. */
  readonly committed?: Position
  /** Position of the oldest record that can still be read. */
  readonly first?: Position
  /** Position after the newest record. */
  readonly end?: Position
  /** Number of records from `position` (undefined: from where a first run begins) to the end. */
  behind?(position: Position | undefined): number | undefined
}

/** Reads back what a sink wrote as a dlq, for `runner dlq`. */
export interface DeadLetterReader {
  /** Kind and location: `topic events.v1.dlq on kafka:127.0.0.1:9092`. */
  readonly what: string
  /** The ordered parts of the dlq and their current bounds; `read` does not go beyond them. Empty: nothing was ever written. */
  lanes(): Promise<DeadLetterLane[]>
  /**
   * Records from `offset` on, as they were written: messages of format `bytes`, with the offsets of the lane. Offsets missing between two
   * messages are deleted records.
   */
  read(lane: DeadLetterLane, offset: number): Promise<{ readonly messages: Message[]; readonly next: number; readonly end: boolean }>
  close(): Promise<void>
}

export interface DeadLetterLane {
  /** Unique in the dlq and stable: `events.v1.dlq/0`. */
  readonly id: string
  readonly partition: number
  /** First offset that still exists. */
  readonly from: number
  /** Offset after the last record, or a later one. */
  readonly to: number
}

/** Changes of one lane since the last checkpoint. Written as a unit, so position and state always match. */
export interface CheckpointDelta {
  readonly position: Position
  /** [store, key, JSON text, or null if deleted]. Encoded when the commit batch is cut, so later changes are not included. */
  readonly state: readonly (readonly [store: string, key: string, json: string | null])[]
}

export interface Checkpoint {
  readonly position: Position
  /** The complete state: [store, key, JSON text]. */
  readonly state: readonly (readonly [store: string, key: string, json: string])[]
}

/** Storage of checkpoints: a compacted topic, a SQLite table, rows next to the data of a sink. */
export interface CheckpointStore {
  /** Claims the lane: fences the former owner, and *then* reads the checkpoint. `undefined`: never checkpointed. */
  claim(lane: LaneInfo): Promise<Checkpoint | undefined>
  /** Makes the delta durable as a unit. @throws {FencedError} when another instance owns the lane now */
  save(lane: LaneInfo, delta: CheckpointDelta): Promise<void>
  /**
   * For stores that keep lanes by group: the checkpoint of the lane where version 0.1.0 kept it, by name and version only, if its position
   * is `at`. Fences a process of 0.1.0 that still writes there. `position`: the position found; undefined: there is no such checkpoint.
   */
  former?(lane: LaneInfo, at: Position): Promise<{ readonly position?: Position; readonly checkpoint?: Checkpoint }>
  /** All checkpoints of pipelines with this name, for all versions and groups. Changes nothing. */
  list?(): Promise<StoredLane[]>
  /** Deletes everything of an owner that `list` returned. A process that still runs is fenced or fails. */
  remove?(owner: string): Promise<void>
  /** Reads the checkpoint without claiming the lane. */
  peek?(lane: LaneInfo): Promise<Checkpoint | undefined>
  release(lane: LaneInfo): Promise<void>
  /** As `Source.healthy`. While it is unreachable, nothing can be committed. */
  healthy?(): boolean | string
  close(): Promise<void>
}

/** A stored checkpoint. */
export interface StoredLane {
  /** `<name>.<version>`, followed by `.<group>` if the group differs from the name of the pipeline. */
  readonly owner: string
  readonly lane: string
  readonly checkpoint: Checkpoint
}

/** A checkpoint store whose transactions can include outputs. At most one transaction per lane is open. */
export interface Transactor extends CheckpointStore {
  begin(lane: LaneInfo): Promise<Transaction>
}

/**
 * Sinks of the same scope write into it; the runtime commits or aborts it. After any error of `commit`, the lane restores its checkpoint.
 */
export interface Transaction {
  commit(delta: CheckpointDelta): Promise<void>
  abort(): Promise<void>
}

export interface Transactional<Config> {
  /**
   * Identifies a system where outputs and positions can be committed together, such as `kafka:host:9092`. Equal scopes share a transaction.
   */
  scope(config: Config): string
  create(config: Config, context: Context): Transactor
}

export type Guarantee = 'exactly_once' | 'effectively_once' | 'at_least_once' | 'at_most_once'
