/**
 * The plugin contract for authors of sources, transforms and sinks. Optional members that few plugins need are in `advanced.ts`. Contains
 * no code except the `define*` identity functions.
 */
import type {
  AdvancedSinkPlugin,
  AdvancedSource,
  AdvancedSourcePlugin,
  AdvancedTransformPlugin,
  CheckContext,
  CheckResult,
  LaneOrigin,
  LiveContent,
  Preview,
  Report,
  Transaction,
} from './advanced.ts'
import type { ExactNumber } from './exact-number.ts'
import type { Message } from './message.ts'

/** A value of a record. Numbers that a JavaScript number cannot represent exactly are `ExactNumber`. */
export type Json = null | boolean | number | string | ExactNumber | Json[] | { [key: string]: Json }

/**
 * The position at which reading continues: an offset, an LSN, a stream id. The runtime stores it and returns it without interpreting it.
 */
export type Position = Json

/** The unit of order in a source: a Kafka partition, a file, a socket. */
export interface LaneInfo {
  /** Unique within the pipeline and stable across restarts: `<topic>/<partition>`, or the path of a file as configured. */
  readonly id: string
  /** Name of the source step. */
  readonly source: string
  readonly topic?: string
  readonly partition?: number
  readonly group?: string
  /** Number of lanes that the records of `topic` are spread over, if the source can determine it. */
  readonly lanes?: number
}

/** Records of a lane that were deleted before they were read. */
export interface Gap {
  /** Number of lost records; undefined: unknown. */
  readonly lost?: number
  /** What happened to the records, for the log: `the records of in/0 from 15 to 24 were deleted before they were read (retention)`. */
  readonly reason: string
}

/** The unit that a source reads: messages of ONE lane, in order. */
export interface Batch {
  /** A lane that the source has claimed with `assign`. */
  readonly lane: string
  readonly messages: Message[]
  /** The position after this batch: reading from here returns exactly the records that follow it. */
  readonly position: Position
  /** Number of records after this batch in the same lane; undefined: unknown. */
  readonly lag?: number
  /** Records are missing before this batch. Steps whose state would be wrong without them stop the run or mark the affected results. */
  readonly gap?: Gap
}

export interface Context {
  /** Name of the step in the pipeline. */
  readonly step: string
  readonly pipeline: string
  /** `version` of the pipeline. Name and version identify checkpoints and transactional ids. */
  readonly version: number
  readonly log: Logger
  readonly metrics: Metrics
  /**
   * `now`: the wall clock in epoch ms, for timestamps. `monotonic`: a clock in ms that cannot be set, for durations. Tests control both.
   */
  readonly clock: { now(): number; monotonic(): number }
  /** Maximum nesting depth of decoded values: `limits.depth` of the pipeline. */
  readonly depth: number
  /** True for the dlq of the pipeline. A record that it rejects stops the pipeline. */
  readonly dlq?: boolean
  /**
   * Reports the result of a one-shot pipeline, which is printed at the end of the run. A result that is not `ok` gives exit code 4. A later
   * report of the step replaces an earlier one.
   */
  report(report: Report): void
}

export interface SourceContext extends Context {
  /**
   * Claims lanes: fences the former owner, restores the state, and returns the position to read from (undefined: never checkpointed). It
   * takes precedence over a position that the source stores itself.
   * @param originOf returns what the records of a lane are. Called after the lane is claimed, if a checkpoint store is used, so that state
   * is never continued with other records.
   */
  assign(lanes: readonly LaneInfo[], originOf?: (lane: LaneInfo) => Promise<LaneOrigin>): Promise<Map<string, Position | undefined>>
  /**
   * Releases lanes. Resolves when their in-flight messages are written and committed, or the time for draining has passed. No commit for
   * them follows.
   */
  revoke(lanes: readonly string[]): Promise<void>
  /** Drops lanes that another instance already owns (the session was lost), at once and without a commit. */
  lose(lanes: readonly string[]): void
  /** Bounds of a backfill (`--from`, `--to`) in epoch ms, if set. */
  readonly range?: { readonly from?: number; readonly to?: number }
  /**
   * The content of this process. A source whose processes share their work compares it with the content of the others, see `liveConflict`
   * of the kit.
   */
  readonly live?: LiveContent
}

/** Reads data. Backpressure is the absence of calls: the runtime calls `read` only while it has room. */
export interface Source extends AdvancedSource {
  /** Connects. After a `ConnectionError` it is called again with back-off. */
  open?(signal: AbortSignal): Promise<void>
  /**
   * Waits for the next batch. `null` ends the input and drains the pipeline; after a `seek`, `read` may be called again. Calls never
   * overlap. Rejects with the reason of the signal when it is aborted.
   */
  read(signal: AbortSignal): Promise<Batch | null>
  /**
   * Reads the lane again from `position` (undefined: from where a first run begins) and drops what was buffered. Required for a replayable
   * source.
   */
  seek?(lane: string, position: Position | undefined): Promise<void>
  /** Everything before `position` is durable in the sinks. Positions increase per lane; normally at most one call per `commit_interval`. */
  commit?(lane: string, position: Position): Promise<void>
  /**
   * Whether the peer is reachable. Called several times a second; must not wait. `/ready` shows the result; a text gives the reason. A peer
   * that accepts a connection but does not answer is not reachable: measure the time since its last answer.
   */
  healthy?(): boolean | string
  close?(): Promise<void>
}

/** Receives the results of a transform. There are no acknowledgments. */
export interface Output {
  emit(message: Message): void
  /** Emits to a named port, which the pipeline file connects with `from: step.port`. */
  emitTo(port: string, message: Message): void
  /** Reports a permanent failure of one message: it goes to the dead-letter queue with the error, and the batch continues. */
  fail(message: Message, error: Error): void
}

/** Keyed state of one transform on one lane. Synchronous: it is in memory, and becomes durable with the checkpoint. */
export interface State<V extends Json = Json> {
  get(key: string): V | undefined
  /** Required after every change, including changes in place: only keys passed to `set` reach the checkpoint. */
  set(key: string, value: V): void
  delete(key: string): void
  entries(): IterableIterator<[string, V]>
  readonly size: number
}

export interface TransformContext extends Context {
  readonly lane: LaneInfo
  /** Opens a named store, which contains the state of the checkpoint of the lane. Call it in `create`, not later. */
  state<V extends Json>(name: string): State<V>
  /**
   * One object for all lanes of this step in this process, made by the first call. Do not keep durable data only in it: each lane must
   * restore its part from its state. Output that depends on it depends on more than one lane.
   */
  shared<T>(name: string, make: () => T): T
  /** Reports the watermark of this step (epoch ms) for metrics and the status line. */
  watermark(time: number): void
}

/** Changes data. There is one instance per lane, and calls never overlap, so fields need no locks. */
export interface Transform {
  /**
   * Called before the first batch, when the lane is claimed: loads what every batch needs. After a `ConnectionError` the lane is claimed
   * again with back-off, with a new instance; an `EnvironmentError` ends the run.
   */
  open?(): Promise<void>
  /**
   * Processes a batch. Return nothing if the work is synchronous (the fast path), and a promise only if it must wait.
   * If it throws, the message that causes the error is found and dead-lettered; a lane with state restores its checkpoint first.
   * A `ConnectionError` does not fail messages: the call is repeated with back-off, and its output is undone. Throw it before you change
   * state or a message. An `EnvironmentError` ends the run.
   * Do not keep the array: it is valid only during the call.
   */
  process(messages: Message[], out: Output): void | Promise<void>
  /** Records before the next message are gone. Called only if `survivesGap` of the plugin is true. */
  onGap?(gap: Gap): void
  /** Called at intervals on an idle, caught-up lane without input for `silence` ms. Close what only time can close. */
  onIdle?(silence: number, out: Output): void
  /**
   * Event time has reached `time` on all merged lanes (`Message.clock`), although no message of this batch shows it. Close what ends by
   * then.
   */
  onClock?(time: number, out: Output): void
  /** The input has ended (end of a file, end of a backfill). Close what ends at or before `until` (epoch ms, Infinity: everything). */
  onEnd?(out: Output, until: number): void
  /** As `Source.healthy`. A batch that waits for the peer of the transform is reported as not ready in any case. */
  healthy?(): boolean | string
  close?(): void | Promise<void>
}

export interface WriteContext {
  readonly signal: AbortSignal
  readonly lane: LaneInfo
  /** Set with `delivery: exactly_once`. Write into it, but do not commit it. */
  readonly transaction?: Transaction
  /** Call it when a part of a long write is acknowledged. Without an acknowledgment for 8 seconds, the sink is reported as not ready. */
  readonly progress?: () => void
  /**
   * Call it before each part of a long write that is not in a transaction.
   * @throws {FencedError} when another instance owns the lane, or may own it
   */
  readonly assertOwned?: () => void
}

/** Writes data. A resolved `write` acknowledges its messages; a rejected one does not. */
export interface Sink {
  open?(signal: AbortSignal): Promise<void>
  /**
   * Resolves only when every message is durable, or part of the transaction. Throw `BatchError` to list the messages that failed; any other
   * error means that no message is known to be durable. Messages arrive in lane order. Calls of different lanes overlap, calls of one lane
   * never do.
   */
  write(messages: readonly Message[], context: WriteContext): Promise<void>
  /**
   * Called when this instance has claimed a lane whose former owner may still write (its source has `holds`). Make the peer reject those
   * writes from now on, and make them fail with a `FencedError` in the former owner. Called before anything of the lane is written, and
   * again after each restore. Not called if the sink writes into the transactions of the lane.
   */
  claim?(lane: LaneInfo): Promise<void>
  /** As `Source.healthy`. A write without an acknowledgment for 8 seconds is reported as not ready in any case. */
  healthy?(): boolean | string
  close?(): Promise<void>
}

interface Definition<Kind extends string, Config, Ctx, Instance> {
  readonly kind: Kind
  /** The name in the pipeline file: a noun for sources and sinks, a verb for transforms; `^[a-z][a-z0-9]*(_[a-z0-9]+)*$`. */
  readonly type: string
  /** The JSON Schema next to the plugin file: the only description of the config. */
  readonly schema: object
  /**
   * Checks that JSON Schema cannot express. Pure: `validate` calls it without a network.
   * @param use.dlq a sink is the dlq: its messages are the original bytes of records, with headers
   */
  validateConfig?(config: Config, use?: { readonly dlq: boolean }): ConfigProblem[]
  /** Creates the instance. No I/O and no timers; both belong in `open`. */
  create(config: Config, ctx: Ctx): Instance
  /**
   * Checks, without changing anything, that every peer in `config` is reachable, accepts the credentials, and has what is needed. Failed
   * checks are results, not errors.
   */
  check?(config: Config, ctx: CheckContext): Promise<CheckResult[]>
}

/**
 * A finding of `validateConfig`. `path` is relative to the config of the plugin, such as `['fields', 'price']`; [] is the plugin key
 * itself.
 */
export interface ConfigProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
  readonly suggestion?: string
  /** The marked token: the value at `path` (default) or its key. */
  readonly on?: 'key' | 'value'
  /** The location of the problem if it is in another file, which the config names at `path`. Line and column are 1-based. */
  readonly source?: { readonly file: string; readonly line: number; readonly column: number }
}

export interface SourcePlugin<C = any> extends Definition<'source', C, SourceContext, Source>, AdvancedSourcePlugin<C> {
  /** Whether the source can be read again from a position. If not, only at_most_once is possible after a crash. */
  readonly replayable: boolean | ((config: C) => boolean)
  /** The reason, in one line for `explain`. */
  readonly reason: string | ((config: C) => string)
  /**
   * The JSON Schema of the values of its records. `validate` compares the fields that later steps read with it: with
   * `additionalProperties: false`, every other field is an error. Undefined: unknown, so nothing is checked.
   */
  readonly outputSchema?: object | ((config: C) => object | undefined)
}

export interface TransformPlugin<C = any> extends Definition<'transform', C, TransformContext, Transform>, AdvancedTransformPlugin<C> {
  /**
   * The JSON Schema of the values that it emits, as in `SourcePlugin`. `input` is what is known of its input; return it if the values pass
   * unchanged.
   */
  readonly outputSchema?: object | ((config: C, input: object) => object | undefined)
  /** Output ports of this transform besides its main output (`emitTo`). */
  ports?(config: C): string[]
  /** False: the transform does not read `message.value`, so bytes need not be decoded for it. Default: true. */
  readonly readsValue?: boolean
  /** True: the transform opens state, so its lanes need a checkpoint store. */
  readonly stateful?: boolean
}

export interface SinkPlugin<C = any> extends Definition<'sink', C, Context, Sink>, AdvancedSinkPlugin<C> {
  /**
   * The effect of a repeated write: `idempotent` overwrites the first write by key, `appends` adds a duplicate, `ephemeral` reaches only
   * current subscribers.
   */
  readonly onRedelivery: RedeliveryEffect | ((config: C) => RedeliveryEffect)
  readonly reason: string | ((config: C) => string)
  /** True (default): the sink reads `message.value`, for example for a key field. False: it writes bytes without decoding them. */
  readonly readsValue?: boolean | ((config: C) => boolean)
  /**
   * The record that `write` would write for a message, without a peer; pipeline tests compare it. Pure. Throws a `DataError` for a message
   * that `write` would reject. Default: key, value and headers of the message.
   */
  preview?(config: C): (message: Message) => Preview
}

export type RedeliveryEffect = 'idempotent' | 'appends' | 'ephemeral'

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
  /**
   * A counter with fixed labels, created at the first use and cached by the caller. Name and label names as in the documentation.
   * @param loss set if the counter counts losses because of a limit: the final log line and the status show it under this name, such as
   * `late`
   */
  counter(name: string, help: string, labels?: Record<string, string>, loss?: string): Counter
  gauge(name: string, help: string, labels?: Record<string, string>): { set(n: number): void }
}
