/**
 * The contract of plugins, second part: transactions and checkpoints, rejections reported to senders, stand-ins for tests, and what the
 * commands `check`, `lag` and `dlq` ask. A plugin works without any of it.
 */
import type { Context, Json, LaneInfo, Logger, Position, SinkPlugin, SourcePlugin, Transform, TransformContext } from './authoring.ts'
import type { Header, Message } from './message.ts'

/** What a lane's records are, beyond the lane's name; the runtime keeps it in the checkpoint and compares it at the next claim. */
export interface LaneOrigin {
  /** Another one under the same lane id means other records: a topic's id, a file's inode. Undefined: not known. */
  readonly id?: string
  /** Where the oldest record lies. */
  readonly start?: Position
  /** Where the next record will lie. */
  readonly end?: Position
  /** Where a first run begins. */
  readonly initial?: Position
  /** Lanes that the keys are spread over: a topic's partitions. */
  readonly lanes?: number
  /** The peer remembers a position (a group's offset). `owner`: what `commit` wrote beside it, see `stateOwner`; null: nothing. */
  readonly remembered?: { readonly owner: string | null; readonly position: Position }
}

/** What a running process does under its identity: the processes that share one must do the same. Without secrets. */
export interface LiveContent {
  /** `<name>.<version>`. */
  readonly owner: string
  readonly file: string
  /** Version of the runner: another one may know other settings. */
  readonly runner: string
  /** Settings that decide what is written and where, by path; long ones as a hash. */
  readonly settings: Readonly<Record<string, string>>
}

/** Optional members of a source. */
export interface AdvancedSource {
  /**
   * Has the lane's last successful poll found nothing more to read? Only then may silence be taken for idleness. A source that polls
   * returns the `clock.monotonic()` at which that poll began: what arrived later is not known yet, and does not count as silence.
   */
  caughtUp?(lane: string): boolean | number
  /** Where another's checkpoint decides where reading continues, `commit` only informs: least time between two calls, ms. Default: every commit. */
  readonly commitNotifyInterval?: number
  /**
   * Is the lane still this instance's, by its clock? Called before each write, must not wait. False when its session or
   * lease is overdue (the process was frozen): others may own the lane, nothing more is written, and the lane is claimed again.
   */
  holds?(lane: string): boolean
  /** Nothing more will be written to what it reads: `read` gives what is there, and then null. */
  finish?(): void
  /** A sender waits for each `commit` (an HTTP caller, say): commit batches are flushed at once instead of every `commit_interval`. */
  readonly commitImmediately?: boolean
  /** The end of its input is the end of what its state is about: the next run reads something else, and begins without state. */
  readonly endsForGood?: boolean
  /**
   * Reports rejected messages to their senders. Called once everything else of their commit batch is written, before the `commit` that
   * covers them. A source that has it needs no dlq; where there is one, the messages are in it too.
   * @returns those it could not report: without a dlq the pipeline stops at the first of them.
   */
  reject?(rejections: readonly Rejection[]): readonly Rejection[] | void
  /** Records rejected messages (a counter, a log line) if the sender cannot be notified. Called when `reject` would be. */
  onRejected?(rejections: readonly Rejection[]): void
}

export type Lanes = 'one' | 'by_key' | 'many'

/** Optional members of a source plugin. */
export interface AdvancedSourcePlugin<C> {
  readonly transactions?: Transactional<C>
  /** A sender waits for the commit, see `commitImmediately`: what was answered is durable, state included. For `explain`. */
  readonly awaitsCommit?: boolean | ((config: C) => boolean)
  /**
   * Processes of one pipeline may run side by side, and no record is read by two of them: they share a group's work, or each is sent its
   * own. Default: false. Then a second process that uses the same state directory is refused.
   */
  readonly shares?: boolean | ((config: C) => boolean)
  /** Its lanes have one owner at a time, which changes: its instances have `holds`, and sinks fence the former owner (`claim`). */
  readonly leased?: boolean | ((config: C) => boolean)
  /** Each run reads all that is there and ends: nothing of its position or of the state behind it is kept. */
  readonly oneShot?: boolean | ((config: C) => boolean)
  /** Its records have no time of their own: they are dated by when they are read, and anew when they are read again. */
  readonly datedByRead?: boolean | ((config: C) => boolean)
  /** Its instances keep to `ctx.range`. `run --from` and `--to` are refused for others. */
  readonly ranged?: boolean | ((config: C) => boolean)
  /**
   * Whether records of one key can come on several lanes. `one`: there is one lane. `by_key`: records with the same key come on one of
   * many. `many`: nothing keeps them together. Default: not known.
   */
  readonly lanes?: Lanes | ((config: C) => Lanes)
  /** The position of the source, for `runner lag`: every existing lane, running or not. Joins and changes nothing. */
  positions?(config: C, ctx: CheckContext): Promise<LanePosition[]>
  /** A sink that writes records back to where this source reads them: to `message.origin.topic`, by their own key. For `runner dlq replay --to source`. */
  writeBack?(config: C): { readonly plugin: SinkPlugin; readonly config: unknown }
}

/** Optional members of a transform plugin. */
export interface AdvancedTransformPlugin<C> {
  /** The part of the config that decides what the state means: a key, a window's size. A restart with another one refuses the old state. Default: all of it. */
  stateShape?(config: C): Json
  /** Of a stateful transform: its outputs stay right when records are missing, or say so (see `Transform.onGap`). Default false: the run stops. */
  readonly survivesGap?: boolean | ((config: C) => boolean)
  /**
   * Records that agree in this expression count together, in state that is the lane's: they must come on one lane. `meta.key` is the
   * message's key. Undefined: each record counts for itself.
   */
  groupsBy?(config: C): string | undefined
  /** The step hands its messages over to other lanes: what is behind it is a part of the pipeline with a source of its own. */
  readonly link?: Link<C>
  /**
   * For transforms that ask a peer (a database, a service): the same transform, which asks `answer` instead, so that pipeline tests
   * can say what the peer would (`stubs`). The question is what the answer depends on: a key, named parameters.
   */
  stubbed?(config: C, ctx: TransformContext, answer: Answer): Transform
  /**
   * For windows over event time: ms within which messages can end up in one output, lateness and wrong clocks included. A backfill
   * reads so much more on both sides of its bounds, and keeps the outputs whose `time`, the window's end, lies within.
   */
  windowSpan?(config: C): number
  /**
   * Why the step can make something else of the same records when they come again after a crash, as the end of a sentence: `queries the
   * database again`. False, or a function that returns undefined: it makes the same. For `explain`.
   */
  readonly varies?: string | false | ((config: C, source: SourceFacts) => string | undefined)
}

export interface SourceFacts {
  /** It can fall silent. */
  readonly endless: boolean
  /** Its records are dated by when they are read, see `AdvancedSourcePlugin.datedByRead`. */
  readonly datedByRead: boolean
}

/** Of a transform that hands over: what lies between the two parts of the pipeline. Its `create` is the last step of the first part. */
export interface Link<C> {
  /** What the first part writes to, and the second reads. */
  ends(config: C, at: LinkPlace): { readonly sink: Configured<SinkPlugin>; readonly source: Configured<SourcePlugin> }
  /** The first step of the second part. */
  arrive(config: C, ctx: TransformContext, upstream: readonly Upstream[]): Arrival
  /** A message as the sink writes it, and back: for pipeline tests, whose log is in memory. */
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
  /** Of the first source that has one. */
  readonly group: string | undefined
}

/** What feeds a link: a source of the first part, with the topics that it reads. */
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

/** Knows how far the lanes have come that were brought together. */
export interface Arrival extends Transform {
  /** The time that all of them have reached. */
  clock(): number
  /** No more is expected of any of them for now: only then may silence be taken for idleness. */
  idle(): boolean
}

/** Optional members of a sink plugin. */
export interface AdvancedSinkPlugin<C> {
  /** Writes can join a transaction of `scope`. With `create` the sink's own transaction can also hold the checkpoint of a source that has none of that scope. */
  readonly transactions?: Pick<Transactional<C>, 'scope'> & Partial<Transactional<C>>
  /** What a former owner of a lane, frozen and awake again, can still do here, as the end of a sentence. For `explain`. */
  fence?(config: C): string
  /**
   * What a connection that stalled can still do when it delivers a write after its repetition, or after newer ones. Undefined: nothing. For
   * `explain`.
   * @param leased as `leased` of the source
   */
  late?(config: C, leased: boolean): string | undefined
  /** The peer recognizes a repeated write, but only one of the same content (`TransformPlugin.varies`). */
  recognizesRepeats?(config: C): boolean
  /** Reads back what was written, if that can be done without losing a byte. Connects. */
  readDeadLetters?(config: C, context: { readonly log: Logger }): Promise<DeadLetterReader>
}

/** What a step that compares or checks has to say at the end: `runner run` prints it as a table, as JSON, or as JUnit XML. */
export interface Report {
  readonly title: string
  readonly ok: boolean
  /** One line. */
  readonly verdict: string
  /** Figures by name, in the order of printing. */
  readonly summary: Readonly<Record<string, string | number>>
  /** What was found wrong, each under the name of the thing it is about. */
  readonly findings: readonly Finding[]
}

export interface Finding {
  readonly subject: string
  readonly problem: string
  /** Columns of the table besides the two. */
  readonly details?: Readonly<Record<string, Json>>
}

export interface Rejection {
  /** `offset` and `origin` say which record of the source it came from. */
  readonly message: Message
  readonly error: Error
  /** Name of the step that rejected it. */
  readonly step: string
}

/** What `runner check` asks a plugin: can this be used, now, from here? */
export interface CheckContext {
  readonly step: string
  readonly role: 'source' | 'transform' | 'sink' | 'dlq'
  readonly pipeline: string
  readonly version: number
  readonly delivery?: 'at_least_once' | 'exactly_once'
  /** Positions and state of the pipeline are kept in this step's own transactions. */
  readonly checkpoints?: boolean
  /** Of a sink: the sources of the pipeline. */
  readonly sources?: readonly { readonly type: string; readonly config: unknown }[]
  readonly log: Logger
  readonly signal: AbortSignal
}

/** One finding of `check`. */
export interface CheckResult {
  /** What was looked at: `broker 127.0.0.1:9092`, `topic bars.BTCUSDT.1m`, `table outbox`… */
  readonly what: string
  readonly ok: boolean
  /** What was found: a version, a number of partitions, the peer's own message. */
  readonly detail?: string
  /** What to do about it, as a command where there is one. With `ok` the finding is a warning. */
  readonly fix?: string
}

/** A record as it would be written. */
export interface Preview {
  readonly topic?: string
  readonly key: Buffer | string | null
  readonly value: Buffer | string | null
  readonly headers?: readonly Header[]
}

/** The rows for a question; throws a `DataError` where the peer would refuse it. */
export type Answer = (question: Json) => readonly Record<string, Json>[]

/** The position of a lane, as the external system stores it. */
export interface LanePosition {
  readonly lane: LaneInfo
  /** What the peer remembers for the source (a group's offset); a checkpoint wins over it. */
  readonly committed?: Position
  /** The oldest that can still be read. */
  readonly first?: Position
  /** Behind the newest. */
  readonly end?: Position
  /** Records from `position` (undefined: where a fresh start would begin) to the end. */
  behind?(position: Position | undefined): number | undefined
}

/** What a sink has written as a dlq, read back: for `runner dlq`. */
export interface DeadLetterReader {
  /** What and where it is: `topic events.v1.dlq on kafka:127.0.0.1:9092`. */
  readonly what: string
  /** Its ordered parts and what lies in them now; `read` goes no further. Empty: nothing was ever written. */
  lanes(): Promise<DeadLetterLane[]>
  /** Records from `offset` on, as they were written: messages of format `bytes`, with the lane's offsets. Every record between two of them is gone. */
  read(lane: DeadLetterLane, offset: number): Promise<{ readonly messages: Message[]; readonly next: number; readonly end: boolean }>
  close(): Promise<void>
}

export interface DeadLetterLane {
  /** Unique in the dlq and permanent: `events.v1.dlq/0`. */
  readonly id: string
  readonly partition: number
  /** First offset that is still there. */
  readonly from: number
  /** Offset behind the last one; at least that. */
  readonly to: number
}

/** What changed on one lane since the last checkpoint. Written as a unit: position and state never disagree. */
export interface CheckpointDelta {
  readonly position: Position
  /** [store, key, JSON text or null for deleted]; encoded at the cut, so later changes cannot leak in. */
  readonly state: readonly (readonly [store: string, key: string, json: string | null])[]
}

export interface Checkpoint {
  readonly position: Position
  /** All live state: [store, key, JSON text]. */
  readonly state: readonly (readonly [store: string, key: string, json: string])[]
}

/** Where checkpoints live: a compacted topic, a SQLite table, rows beside a sink's data. */
export interface CheckpointStore {
  /** Take the lane over: fence any former owner, *then* read. `undefined`: never checkpointed. */
  claim(lane: LaneInfo): Promise<Checkpoint | undefined>
  /** Make the delta durable as a unit. @throws {FencedError} when another instance owns the lane now. */
  save(lane: LaneInfo, delta: CheckpointDelta): Promise<void>
  /**
   * For stores that keep lanes by group: the lane's checkpoint where 0.1.0 kept it, by name and version only, if its position is `at`.
   * Fences a process of 0.1.0 that still writes there. `position`: the one found; undefined: there is none.
   */
  former?(lane: LaneInfo, at: Position): Promise<{ readonly position?: Position; readonly checkpoint?: Checkpoint }>
  /** Everything that is kept for pipelines of this name, of any version and group. Looks only. */
  list?(): Promise<StoredLane[]>
  /** Deletes everything of an owner that `list` has named. A process that still runs is fenced, or fails. */
  remove?(owner: string): Promise<void>
  /** Reads what is saved, and leaves the owner alone: for looking on. */
  peek?(lane: LaneInfo): Promise<Checkpoint | undefined>
  release(lane: LaneInfo): Promise<void>
  /** As `Source.healthy`: without it nothing can be committed. */
  healthy?(): boolean | string
  close(): Promise<void>
}

/** A checkpoint as it is kept. */
export interface StoredLane {
  /** `<name>.<version>`, followed by `.<group>` where the group is not called like the pipeline. */
  readonly owner: string
  readonly lane: string
  readonly checkpoint: Checkpoint
}

/** A checkpoint store in which outputs can take part. One open transaction per lane at most. */
export interface Transactor extends CheckpointStore {
  begin(lane: LaneInfo): Promise<Transaction>
}

/** Sinks of the same scope write into it; the runtime ends it. After any throw of `commit` the lane restores its checkpoint: claim, seek, go on. */
export interface Transaction {
  commit(delta: CheckpointDelta): Promise<void>
  abort(): Promise<void>
}

export interface Transactional<Config> {
  /** Identity of a place where outputs and positions can be committed together, e.g. `kafka:host:9092`. Equal strings, one transaction. */
  scope(config: Config): string
  create(config: Config, context: Context): Transactor
}

export type Guarantee = 'exactly_once' | 'effectively_once' | 'at_least_once' | 'at_most_once'
