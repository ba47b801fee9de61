/**
 * The contract of plugins: what an author of a source, a transform or a sink needs. Optional members that few plugins have are in
 * `advanced.ts`. No code except the `define*` identities.
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
  /** Lanes that the records of `topic` are spread over, where the source knows. */
  readonly lanes?: number
}

/** Records of a lane that are gone before they were read. */
export interface Gap {
  /** How many; undefined: not known. */
  readonly lost?: number
  /** What has become of them, for the log: `the records of in/0 from 15 to 24 were deleted before they were read (retention)`. */
  readonly reason: string
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
  /** Records are missing in front of this batch. Steps whose state would be wrong without them stop the run, or mark what it touches. */
  readonly gap?: Gap
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
  /** How deep what it decodes may be nested: `limits.depth` of the pipeline. */
  readonly depth: number
  /** True for the sink that is the pipeline's dlq: what it rejects has nowhere else to go. */
  readonly dlq?: boolean
  /** The result of a one-shot pipeline: printed when the run has ended; one that is not `ok` makes the command exit with 4. A later one of the step replaces it. */
  report(report: Report): void
}

export interface SourceContext extends Context {
  /**
   * Claim lanes: fences a former owner, restores their state, and says where to read from (undefined: never checkpointed). Wins over the source's own memory.
   * @param originOf called after a lane was claimed, where a checkpoint store is used: the state must not outlive what it was made from.
   */
  assign(lanes: readonly LaneInfo[], originOf?: (lane: LaneInfo) => Promise<LaneOrigin>): Promise<Map<string, Position | undefined>>
  /** Give lanes back. Resolves once what they have in flight is written and committed, or the drain budget is spent; no commit for them follows. */
  revoke(lanes: readonly string[]): Promise<void>
  /** Another instance owns the lanes already (session lost): drop them at once, commit nothing. */
  lose(lanes: readonly string[]): void
  /** Bounds of a backfill (`--from`, `--to`), epoch ms, if they are set. */
  readonly range?: { readonly from?: number; readonly to?: number }
  /** What this process does. A source whose processes share their work compares it with that of the others, see `liveConflict` of the kit. */
  readonly live?: LiveContent
}

/** Pulls data in. Back-pressure is silence: the runtime calls `read` only while it has room. */
export interface Source extends AdvancedSource {
  /** Connect. Throw a `ConnectionError` to be called again with back-off. */
  open?(signal: AbortSignal): Promise<void>
  /** Wait for the next batch. `null` ends the input and drains the pipeline; after a `seek` it may be called again. Never called concurrently. Rejects with the signal's reason when aborted. */
  read(signal: AbortSignal): Promise<Batch | null>
  /** Deliver the lane again from `position` (undefined: where a fresh start would begin); what it had buffered is dropped. Required of a replayable source. */
  seek?(lane: string, position: Position | undefined): Promise<void>
  /** Everything before `position` is durable downstream. Monotonic per lane, coalesced, at most once per `commit_interval`. */
  commit?(lane: string, position: Position): Promise<void>
  /**
   * Is the peer reachable now? Called several times a second, must not wait. Feeds `/ready`; a text says why it is not. What accepts a
   * connection and does not answer is not reachable: measure the time since the last answer.
   */
  healthy?(): boolean | string
  close?(): Promise<void>
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
   * Throwing restores the lane's checkpoint; the message that makes it throw is found and dead-lettered.
   * A `ConnectionError` says nothing about the messages: the call is made again with back-off, and what it had emitted is taken back;
   * throw it before you change state or a message. An `EnvironmentError` ends the run.
   * The array is only lent: do not keep it.
   */
  process(messages: Message[], out: Output): void | Promise<void>
  /** Records that lay in front of the next message are gone. Only called where the plugin's `survivesGap` is true. */
  onGap?(gap: Gap): void
  /** Wall-clock tick of an idle, caught-up lane: nothing came for `silence` ms. Close what only time can close. */
  onIdle?(silence: number, out: Output): void
  /** Time has come so far, by the messages of all lanes that were brought together (`Message.clock`), and no message here says so. Close what ends by then. */
  onClock?(time: number, out: Output): void
  /** The input has ended for good (end of file, end of a backfill): close what ends at or before `until` (epoch ms, Infinity: everything). */
  onEnd?(out: Output, until: number): void
  close?(): void | Promise<void>
}

export interface WriteContext {
  readonly signal: AbortSignal
  readonly lane: LaneInfo
  /** Present under `delivery: exactly_once`: write into it, do not commit it. */
  readonly transaction?: Transaction
  /** Call it when part of a long write is acknowledged: a sink that takes messages is slow, one that takes none for 8 seconds is not ready. */
  readonly progress?: () => void
  /**
   * Call it before each part of a long write that is not in a transaction. @throws {FencedError} when the lane is, or may be, another
   * instance's by now.
   */
  readonly assertOwned?: () => void
}

/** Pushes data out. Resolving is the acknowledgement; throwing is the rejection. */
export interface Sink {
  open?(signal: AbortSignal): Promise<void>
  /**
   * Resolve only when every message is durable (or safely part of the transaction). Throw `BatchError` to name the ones that
   * are not; any other error means: none is known to be. Messages come in lane order. Calls of different lanes overlap, calls of one lane never do.
   */
  write(messages: readonly Message[], context: WriteContext): Promise<void>
  /**
   * This instance has claimed a lane whose former owner may still be writing (its source has `holds`): make the peer refuse those writes
   * from now on, and throw a `FencedError` for them there. Called before anything of the lane is written, again after each restore. Not called
   * where the sink writes into the lane's transactions.
   */
  claim?(lane: LaneInfo): Promise<void>
  /** As `Source.healthy`. A write that is not acknowledged within 8 seconds is seen without it. */
  healthy?(): boolean | string
  close?(): Promise<void>
}

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
  /** What is marked: the value at `path` (default), or its key. */
  readonly on?: 'key' | 'value'
  /** The problem is in another file, which the config names at `path`. 1-based. */
  readonly source?: { readonly file: string; readonly line: number; readonly column: number }
}

export interface SourcePlugin<C = any> extends Definition<'source', C, SourceContext, Source>, AdvancedSourcePlugin<C> {
  /** Can it be read again from a position? Without that no guarantee above at_most_once can hold after a crash. */
  readonly replayable: boolean | ((config: C) => boolean)
  /** Why, in one line for `explain`. */
  readonly reason: string | ((config: C) => string)
}

export interface TransformPlugin<C = any> extends Definition<'transform', C, TransformContext, Transform>, AdvancedTransformPlugin<C> {
  /** Extra output ports this transform can emit to (`emitTo`). */
  ports?(config: C): string[]
  /** False: never looks at `message.value`, so bytes need not be decoded for it. Default true. */
  readonly readsValue?: boolean
  /** True: opens state; its lane then needs a checkpoint store. */
  readonly stateful?: boolean
}

export interface SinkPlugin<C = any> extends Definition<'sink', C, Context, Sink>, AdvancedSinkPlugin<C> {
  /** What a repeated write does: `idempotent` overwrites itself by key, `appends` shows twice, `ephemeral` reaches only those who listen. */
  readonly onRedelivery: RedeliveryEffect | ((config: C) => RedeliveryEffect)
  readonly reason: string | ((config: C) => string)
  /** True (default): reads `message.value`, e.g. for a key field. False or a function of the config: bytes pass through undecoded. */
  readonly readsValue?: boolean | ((config: C) => boolean)
  /**
   * What `write` makes of a message, without a peer: pipeline tests compare it. Pure; throws a `DataError` for a message that
   * `write` would reject. Without it a message shows its own key, value and headers.
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
   * A counter child with fixed labels; created on first use, cached by the caller. Name and label names as in the docs.
   * @param loss what it counts is lost because of a bound: the end line and the status show it under this word, such as `late`
   */
  counter(name: string, help: string, labels?: Record<string, string>, loss?: string): Counter
  gauge(name: string, help: string, labels?: Record<string, string>): { set(n: number): void }
}
