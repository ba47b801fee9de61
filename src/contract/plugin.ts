/**
 * Everything a plugin author imports: the message, the three plugin kinds, and the errors.
 * No runtime code lives here except the `define*` identities. Longer than other files, because it is one contract, read as a whole.
 */
import type { ExactNumber } from './exact-number.ts'
import type { Header, Message } from './message.ts'

export * from './message.ts'
export * from './errors.ts'
export * from './exact-number.ts'
export { DEFAULT_DEPTH, encodeJson, jsonProblem, parseJson } from './json.ts'

/** A value of a record. A number that a JavaScript number cannot carry is an `ExactNumber`. */
export type Json = null | boolean | number | string | ExactNumber | Json[] | { [key: string]: Json }

/** Where to read on from: an offset, an LSN, a stream id. Opaque to the runtime, which only stores it and hands it back. */
export type Position = Json

/** What a source keeps in order: a Kafka partition, a file, a socket. */
export interface LaneInfo {
  /** Unique within the pipeline and the same after a restart: `<topic>/<partition>`, a file's path as configured… */
  readonly id: string
  /** Name of the source step. */
  readonly source: string
  readonly topic?: string
  readonly partition?: number
  readonly group?: string
}

/** What a lane's records are, beyond the lane's name; the runtime keeps it in the checkpoint and compares it at the next claim. */
export interface LaneOrigin {
  /** Another one under the same lane id means other records: a topic's id, a file's inode. Undefined: not known. */
  readonly id?: string
  /** Where the oldest record lies. */
  readonly start?: Position
  /** Where a first run begins. */
  readonly initial?: Position
  /** Lanes that the keys are spread over: a topic's partitions. */
  readonly lanes?: number
  /** The peer remembers a position (a group's offset). `owner`: what `commit` wrote beside it, see `stateOwner`; null: nothing. */
  readonly remembered?: { readonly owner: string | null }
}

/** The unit that moves: messages of ONE lane, in order. */
export interface Batch {
  /** A lane this source has claimed with `assign`. */
  readonly lane: string
  readonly messages: Message[]
  /** Reading from here yields exactly what follows this batch. */
  readonly position: Position
  /** Records known to lie behind this batch in the same lane; undefined: unknown. */
  readonly lag?: number
}

export interface Context {
  /** Name of the step in the pipeline. */
  readonly step: string
  readonly pipeline: string
  /** The pipeline's `version`: with its name it names checkpoints and transactional ids. */
  readonly version: number
  readonly log: Logger
  readonly metrics: Metrics
  /** `now`: wall clock, epoch ms, to date things. `monotonic`: ms that no one can set, to measure how long something takes. Tests drive both. */
  readonly clock: { now(): number; monotonic(): number }
  /** True for the sink that is the pipeline's dlq: what it refuses has nowhere else to go. */
  readonly dlq?: boolean
  /** The result of a one-shot pipeline: printed when the run has ended; one that is not `ok` makes the command exit with 4. A later one of the step replaces it. */
  report(report: Report): void
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

export interface SourceContext extends Context {
  /** Claim lanes: fences a former owner, restores their state, and says where to read from (undefined: never checkpointed). Wins over the source's own memory. */
  /**
   * @param originOf called after a lane was claimed, where a checkpoint store is used: the state must not outlive what it was made from.
   */
  assign(lanes: readonly LaneInfo[], originOf?: (lane: LaneInfo) => Promise<LaneOrigin>): Promise<Map<string, Position | undefined>>
  /** Give lanes back. Resolves once what they have in flight is settled and committed, or the drain budget is spent; no commit for them follows. */
  revoke(lanes: readonly string[]): Promise<void>
  /** The lanes are somebody else's already (session lost): drop them at once, commit nothing. */
  lose(lanes: readonly string[]): void
  /** Bounds of a back-fill (`--from`, `--to`), epoch ms, when the operator gave them. */
  readonly range?: { readonly from?: number; readonly to?: number }
}

/** Pulls data in. Back-pressure is silence: the runtime calls `read` only while it has room. */
export interface Source {
  /** Connect. Throw a `ConnectionError` to be called again with back-off. */
  open?(signal: AbortSignal): Promise<void>
  /** Wait for the next batch. `null` ends the input and drains the pipeline; after a `seek` it may be called again. Never called concurrently. Rejects with the signal's reason when aborted. */
  read(signal: AbortSignal): Promise<Batch | null>
  /** Deliver the lane again from `position` (undefined: where a fresh start would begin); what it had buffered is dropped. Required of a replayable source. */
  seek?(lane: string, position: Position | undefined): Promise<void>
  /** Everything before `position` is durable downstream. Monotonic per lane, coalesced, at most once per `commit_interval`. */
  commit?(lane: string, position: Position): Promise<void>
  /**
   * Has the lane's last successful poll found nothing more to read? Only then may silence be taken for idleness. A source that polls
   * answers with the `clock.monotonic()` at which that poll began: what came after it is not known yet, and counts neither as silence.
   */
  caughtUp?(lane: string): boolean | number
  /** Where another's checkpoint decides where reading goes on, `commit` is for others to see: it is enough to be told so often, ms. Default: each time. */
  readonly commitNotifyInterval?: number
  /** Somebody waits for each `commit` (an HTTP caller, say): cycles are settled at once instead of every `commit_interval`. */
  readonly commitImmediately?: boolean
  /**
   * Messages of this source that were refused for good, called once everything else of their cycle is written, before the `commit`
   * that covers them. A source that has it tells the sender, so the pipeline may go on without a dlq; where there is one they are in it.
   * @returns those it can tell nobody of: without a dlq the pipeline stops in front of them.
   */
  reject?(rejections: readonly Rejection[]): readonly Rejection[] | void
  /** Is the peer reachable now? Feeds `/ready`. */
  healthy?(): boolean
  close?(): Promise<void>
}

export interface Rejection {
  /** `offset` and `origin` say which record of the source it came from. */
  readonly message: Message
  readonly error: Error
  /** Name of the step that refused it. */
  readonly step: string
}

/** Where a transform puts results. There is nothing to acknowledge. */
export interface Output {
  emit(message: Message): void
  /** To a named port, wired in YAML as `from: step.port`. */
  emitTo(port: string, message: Message): void
  /** Permanent failure of one message: it goes to the dead-letter queue with the error, and the batch goes on. */
  fail(message: Message, error: Error): void
}

/** Keyed state of one transform on one lane. Synchronous: it lives in memory and is made durable with the checkpoint. */
export interface State<V extends Json = Json> {
  get(key: string): V | undefined
  /** Required after every change, in-place changes too: only keys passed here reach the checkpoint. */
  set(key: string, value: V): void
  delete(key: string): void
  entries(): IterableIterator<[string, V]>
  readonly size: number
}

export interface TransformContext extends Context {
  readonly lane: LaneInfo
  /** Opens a named store, already restored to the lane's checkpoint. Call it in `create`, not later. */
  state<V extends Json>(name: string): State<V>
  /** One object for all lanes of this step in this process, made by the first that asks. Nothing durable may live in it alone: what a lane puts there must come back from its state, and its output then depends on more than its own lane. */
  shared<T>(name: string, make: () => T): T
  /** Report this step's event-time watermark (epoch ms) for metrics and the status line. */
  watermark(time: number): void
}

/** Changes data. One instance per lane, calls never overlap, so instance fields need no locks. */
export interface Transform {
  /**
   * Return nothing when done synchronously (the fast path); return a promise only when you must wait.
   * Throwing rewinds the lane to its checkpoint; the message that makes it throw is found and dead-lettered.
   * A `ConnectionError` says nothing about the messages: the call is made again with back-off, and what it had emitted is taken back;
   * throw it before you change state or a message. An `EnvironmentError` ends the run.
   * The array is only lent: do not keep it.
   */
  process(messages: Message[], out: Output): void | Promise<void>
  /** Wall-clock tick of an idle, caught-up lane: nothing came for `silence` ms. Close what only time can close. */
  onIdle?(silence: number, out: Output): void
  /** The input has ended for good (end of file, end of a back-fill): close what ends at or before `until` (epoch ms, Infinity: everything). */
  onEnd?(out: Output, until: number): void
  close?(): void | Promise<void>
}

export interface WriteContext {
  readonly signal: AbortSignal
  readonly lane: LaneInfo
  /** Present under `delivery: exactly_once`: write into it, do not commit it. */
  readonly transaction?: Transaction
}

/** Pushes data out. Resolving is the acknowledgement; throwing is the rejection. */
export interface Sink {
  open?(signal: AbortSignal): Promise<void>
  /**
   * Resolve only when every message is durable (or safely part of the transaction). Throw `BatchError` to name the ones that
   * are not; any other error means: none is known to be. Messages come in lane order. Calls of different lanes overlap, calls of one lane never do.
   */
  write(messages: readonly Message[], context: WriteContext): Promise<void>
  healthy?(): boolean
  close?(): Promise<void>
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
  /** Make the delta durable as a unit. @throws {FencedError} when the lane is somebody else's now. */
  save(lane: LaneInfo, delta: CheckpointDelta): Promise<void>
  /** Reads what is saved, and leaves the owner alone: for looking on. */
  peek?(lane: LaneInfo): Promise<Checkpoint | undefined>
  release(lane: LaneInfo): Promise<void>
  close(): Promise<void>
}

/** A checkpoint store in which outputs can take part. One open transaction per lane at most. */
export interface Transactor extends CheckpointStore {
  begin(lane: LaneInfo): Promise<Transaction>
}

/** Sinks of the same scope write into it; the runtime ends it. After any throw of `commit` the lane is rewound: claim, seek, go on. */
export interface Transaction {
  commit(delta: CheckpointDelta): Promise<void>
  abort(): Promise<void>
}

/** Identity of a place where outputs and positions can be committed together, e.g. `kafka:host:9092`. Equal strings, one transaction. */
export interface Transactional<Config> {
  scope(config: Config): string
  create(config: Config, context: Context): Transactor
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
  /** Unique in the dlq and the same for ever: `events.v1.dlq/0`. */
  readonly id: string
  readonly partition: number
  /** First offset that is still there. */
  readonly from: number
  /** Offset behind the last one; at least that. */
  readonly to: number
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
  /** What to do about it, as a command where there is one. */
  readonly fix?: string
}

/** Where a lane stands, as its source's peer knows it. */
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

export type Guarantee = 'exactly_once' | 'effectively_once' | 'at_least_once' | 'at_most_once'

interface Definition<Kind extends string, Config, Ctx, Instance> {
  readonly kind: Kind
  /** The name used in YAML: a noun for sources and sinks, a verb for transforms; `^[a-z][a-z0-9]*(_[a-z0-9]+)*$`. */
  readonly type: string
  /** The JSON Schema that sits next to this file: the only description of the config. */
  readonly schema: object
  /** What JSON Schema cannot say. Pure: runs under `validate` with no network. */
  validateConfig?(config: Config): ConfigProblem[]
  /** Build the instance: no I/O, no timers; both belong in `open`. */
  create(config: Config, ctx: Ctx): Instance
  /** Looks, changes nothing: is every peer that `config` uses reachable, authenticated, and does it have what is needed? Never throws for what it finds. */
  check?(config: Config, ctx: CheckContext): Promise<CheckResult[]>
}
/** A finding of `validateConfig`: `path` is relative to the plugin's config, e.g. `['fields', 'price']`; [] is the plugin key itself. */
export interface ConfigProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
  readonly suggestion?: string
}

export interface SourcePlugin<C = any> extends Definition<'source', C, SourceContext, Source> {
  /** Can it be read again from a position? Without that no guarantee above at_most_once can hold after a crash. */
  readonly replayable: boolean | ((config: C) => boolean)
  /** Why, in one line for `explain`. */
  readonly reason: string | ((config: C) => string)
  readonly transactions?: Transactional<C>
  /** Its instances keep to `ctx.range`. `run --from` and `--to` are refused for others. */
  readonly ranged?: boolean | ((config: C) => boolean)
  /** Its instances have `reject`: senders are told what was rejected, so no dlq is needed. */
  readonly reportsRejections?: boolean | ((config: C) => boolean)
  /** Where the source stands, for `runner lag`: every lane there is now, running or not. Joins and changes nothing. */
  positions?(config: C, ctx: CheckContext): Promise<LanePosition[]>
  /** A sink that writes records back to where this source reads them: to `message.origin.topic`, by their own key. For `runner dlq replay --to source`. */
  writeBack?(config: C): { readonly plugin: SinkPlugin; readonly config: unknown }
}
/** The rows for a question; throws a `DataError` where the peer would refuse it. */
export type Answer = (question: Json) => readonly Record<string, Json>[]

export interface TransformPlugin<C = any> extends Definition<'transform', C, TransformContext, Transform> {
  /** Extra output ports this transform can emit to (`emitTo`). */
  ports?(config: C): string[]
  /** False: never looks at `message.value`, so bytes need not be decoded for it. Default true. */
  readonly readsValue?: boolean
  /** True: opens state; its lane then needs a checkpoint store. */
  readonly stateful?: boolean
  /** The part of the config that decides what the state means: a key, a window's size. A restart with another one refuses the old state. Default: all of it. */
  stateShape?(config: C): Json
  /**
   * For transforms that ask a peer (a database, a service): the same transform, which asks `answer` instead, so that pipeline tests
   * can say what the peer would (`stubs`). The question is what the answer depends on: a key, named parameters.
   */
  stubbed?(config: C, ctx: TransformContext, answer: Answer): Transform
  /**
   * For windows over event time: ms within which messages can end up in one output, lateness and wrong clocks included. A back-fill
   * reads so much more on both sides of its bounds, and keeps the outputs whose `time`, the window's end, lies within.
   */
  windowSpan?(config: C): number
}
export interface SinkPlugin<C = any> extends Definition<'sink', C, Context, Sink> {
  /** What a repeated write does: `idempotent` overwrites itself by key, `appends` shows twice, `ephemeral` is gone if nobody listens. */
  readonly onRedelivery: RedeliveryEffect | ((config: C) => RedeliveryEffect)
  readonly reason: string | ((config: C) => string)
  /** Present when writes can join a transaction of that scope. */
  scope?(config: C): string
  /** Set when this sink's own transaction can hold the checkpoint of any source: a database, a log. Used where the source has none of that scope. */
  readonly transactions?: Transactional<C>
  /** True (default): reads `message.value`, e.g. for a key field. False or a function of the config: bytes pass through undecoded. */
  readonly readsValue?: boolean | ((config: C) => boolean)
  /**
   * What `write` makes of a message, without a peer: pipeline tests compare it. Pure; throws a `DataError` for a message that
   * `write` would refuse. Without it a message shows its own key, value and headers.
   */
  preview?(config: C): (message: Message) => Preview
  /** Reads back what was written, if that can be done without losing a byte. Connects. */
  readDeadLetters?(config: C, context: { readonly log: Logger }): Promise<DeadLetterReader>
}
export type RedeliveryEffect = 'idempotent' | 'appends' | 'ephemeral'
/** A record as it would be written. */
export interface Preview {
  readonly topic?: string
  readonly key: Buffer | string | null
  readonly value: Buffer | string | null
  readonly headers?: readonly Header[]
}
export type Plugin = SourcePlugin | TransformPlugin | SinkPlugin

export const defineSource = <C>(p: Omit<SourcePlugin<C>, 'kind'>): SourcePlugin<C> => ({ kind: 'source', ...p })
export const defineTransform = <C>(p: Omit<TransformPlugin<C>, 'kind'>): TransformPlugin<C> => ({ kind: 'transform', ...p })
export const defineSink = <C>(p: Omit<SinkPlugin<C>, 'kind'>): SinkPlugin<C> => ({ kind: 'sink', ...p })

export interface Logger {
  debug(o: object, m: string): void
  info(o: object, m: string): void
  warn(o: object, m: string): void
  error(o: object, m: string): void
}
export interface Counter {
  inc(n?: number): void
}
export interface Metrics {
  /** A counter child with fixed labels; created on first use, cached by the caller. Name and label names as in the docs. */
  counter(name: string, help: string, labels?: Record<string, string>): Counter
  gauge(name: string, help: string, labels?: Record<string, string>): { set(n: number): void }
}
