/**
 * Everything a plugin author imports: the message, the three plugin kinds, and the errors.
 * No runtime code lives here except small classes and the `define*` identities.
 */

import { isAscii } from 'node:buffer'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** One header: name and bytes. A list, not a map: Kafka allows a name twice, and a mirror must not change that. */
export type Header = readonly [name: string, value: Buffer | string | null]

/** How a source's bytes become values. `json`: parsed, must be valid UTF-8. `text`: a string. `bytes`: a Buffer. */
export type Format = 'json' | 'text' | 'bytes'

/** Where a batch came from; one object shared by all its messages. */
export interface Origin {
  /** The lane's id, e.g. `ticks.BTCUSDT/0`. */
  readonly lane: string
  /** Name of the source step. */
  readonly source: string
  readonly topic?: string
  readonly partition?: number
  readonly format: Format
}

/**
 * One event. A class, not a literal, so that every message has one hidden shape and property access stays monomorphic.
 *
 * `value` is decoded on first read. Reading does not change the message: as long as nobody assigns `value`, it leaves
 * with the bytes it came with. Treat a value as immutable; to change a message assign `value` (the same object again is
 * fine after an in-place change), which marks it changed. `payload`, `keyBytes` and `offset` always stay those of the
 * source record, also on messages made by `derive`, so that a dead letter carries the original bytes.
 */
export class Message {
  /** Event time in epoch milliseconds: the source's best guess (a Kafka record's timestamp, else the time of reading). */
  time: number
  headers: readonly Header[] | undefined
  /** Source record's bytes; `null`: a tombstone, or a message that has no source record. */
  readonly payload: Buffer | null
  /** Source record's key bytes. */
  readonly keyBytes: Buffer | null
  /** Source record's offset (line number, row id…) within its lane, -1 when it has none. */
  readonly offset: number
  readonly origin: Origin | undefined
  /** Set by a source that could not even unpack the record (unknown compression…): the runtime dead-letters it. */
  failure: Error | undefined
  private _value: unknown
  private _key: string | null | undefined
  /** The key is ours, not the source record's bytes. */
  private _ownKey: boolean
  private _state: number

  /**
   * For transforms and tests: a message made of a value. Sources that have bytes use `Message.fromRecord`;
   * transforms that make a message out of another prefer `derive`. A `key` of undefined keeps the source record's key.
   */
  constructor(
    value: unknown,
    key?: string | null,
    time = 0,
    headers?: readonly Header[],
    offset = -1,
    origin?: Origin,
    payload: Buffer | null = null,
    keyBytes: Buffer | null = null,
  ) {
    this.time = time
    this.headers = headers
    this.payload = payload
    this.keyBytes = keyBytes
    this.offset = offset
    this.origin = origin
    this.failure = undefined
    this._value = value
    this._key = key
    this._ownKey = key !== undefined
    this._state = CHANGED
  }

  /** A message that still is the record it was read from: value and key are decoded only when somebody asks. */
  static fromRecord(
    payload: Buffer | null,
    keyBytes: Buffer | null,
    time: number,
    headers: readonly Header[] | undefined,
    offset: number,
    origin: Origin,
  ): Message {
    const m = new Message(undefined, null, time, headers, offset, origin, payload, keyBytes)
    m._key = undefined
    m._ownKey = false
    m._state = RAW
    return m
  }

  /** Decoded value. @throws {DecodeError} when the bytes are not what the source's `format` says. */
  get value(): unknown {
    if (this._state === RAW) {
      this._value = decode(this.payload, this.origin!.format)
      this._state = READ
    }
    return this._value
  }

  set value(v: unknown) {
    this._value = v
    this._state = CHANGED
  }

  /** Ordering and state key; `null` when there is none. Bytes that are not UTF-8 read as U+FFFD; `keyBytes` has them exactly. */
  get key(): string | null {
    if (this._key === undefined) this._key = this.keyBytes === null ? null : this.keyBytes.toString()
    return this._key
  }

  set key(k: string | null) {
    this._key = k
    this._ownKey = true
  }

  /** True when `value` was assigned: the message no longer leaves with its source bytes. */
  get changed(): boolean {
    return this._state === CHANGED
  }

  /** A new message from the same source record: same key and time unless given, same headers. */
  derive(value: unknown, key: string | null | undefined = this._ownKey ? this._key : undefined, time: number = this.time): Message {
    return new Message(value, key, time, this.headers, this.offset, this.origin, this.payload, this.keyBytes)
  }

  /** What a sink writes: the untouched source bytes, or the value as JSON text (Buffers, and strings of a `text` source, as they are; null: a tombstone). */
  encode(): Buffer | string | null {
    if (this._state !== CHANGED) return this.payload
    const v = this._value
    if (v === null || v === undefined) return null
    if (typeof v === 'string' && this.origin?.format === 'text') return v
    if (Buffer.isBuffer(v)) return v
    return JSON.stringify(v)
  }

  /** The key a sink writes: the source record's bytes unless `key` was assigned. */
  encodeKey(): Buffer | string | null {
    return this._ownKey ? this._key! : this.keyBytes
  }
}

const RAW = 0
const READ = 1
const CHANGED = 2

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decode(payload: Buffer | null, format: Format): unknown {
  if (format === 'bytes') return payload
  if (payload === null) throw new DecodeError('the record is a tombstone (null payload)')
  if (payload.length === 0) throw new DecodeError('the payload is empty')
  // latin1 is several times faster than UTF-8; it is right whenever no byte has its high bit set, which isAscii checks natively.
  const text = isAscii(payload) ? payload.toString('latin1') : decodeUtf8(payload)
  if (format === 'text') return text
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new DecodeError(`malformed JSON: ${(error as Error).message}`)
  }
}

function decodeUtf8(payload: Buffer): string {
  try {
    return strictUtf8.decode(payload)
  } catch {
    throw new DecodeError('the payload is not valid UTF-8')
  }
}

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
  readonly log: Logger
  readonly metrics: Metrics
  /** The only clock a plugin may read; tests drive it by hand. */
  readonly clock: { now(): number }
}

export interface SourceContext extends Context {
  /** Claim lanes: fences a former owner, restores their state, and says where to read from (undefined: never checkpointed). Wins over the source's own memory. */
  assign(lanes: readonly LaneInfo[]): Promise<Map<string, Position | undefined>>
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
  /** True when the lane's last successful poll found nothing more to read: only then may silence be taken for idleness. */
  caughtUp?(lane: string): boolean
  /** Is the peer reachable now? Feeds `/ready`. */
  healthy?(): boolean
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
  /** Report this step's event-time watermark (epoch ms) for metrics and the status line. */
  watermark(time: number): void
}

/** Changes data. One instance per lane, calls never overlap, so instance fields need no locks. */
export interface Transform {
  /**
   * Return nothing when done synchronously (the fast path); return a promise only when you must wait.
   * Throwing rewinds the lane to its checkpoint; the message that makes it throw is found and dead-lettered.
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

/** Pushes data out. Resolving is the acknowledgement; throwing is the refusal. */
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

export type Guarantee = 'exactly_once' | 'effectively_once' | 'at_least_once' | 'at_most_once'

interface Definition<Kind extends string, Config, Ctx, Instance> {
  readonly kind: Kind
  /** The name used in YAML: a noun for sources and sinks, a verb for transforms; `^[a-z][a-z0-9]*(_[a-z0-9]+)*$`. */
  readonly type: string
  /** The JSON Schema that sits next to this file: the only description of the config. */
  readonly schema: object
  /** What JSON Schema cannot say. Pure: runs under `validate` with no network. */
  check?(config: Config): CheckProblem[]
  /** Build the instance: no I/O, no timers; both belong in `open`. */
  create(config: Config, ctx: Ctx): Instance
}
/** A finding of `check`: `path` is relative to the plugin's config, e.g. `['fields', 'price']`; [] is the plugin key itself. */
export interface CheckProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
  readonly suggestion?: string
}

export interface SourcePlugin<C = any> extends Definition<'source', C, SourceContext, Source> {
  /** Can it be read again from a position? Without that no guarantee above at_most_once can hold after a crash. */
  readonly replayable: boolean
  /** Why, in one line for `explain`. */
  readonly reason: string
  readonly transactions?: Transactional<C>
}
export interface TransformPlugin<C = any> extends Definition<'transform', C, TransformContext, Transform> {
  /** Extra output ports this transform can emit to (`emitTo`). */
  ports?(config: C): string[]
  /** False: never looks at `message.value`, so bytes need not be decoded for it. Default true. */
  readonly readsValue?: boolean
  /** True: opens state; its lane then needs a checkpoint store. */
  readonly stateful?: boolean
}
export interface SinkPlugin<C = any> extends Definition<'sink', C, Context, Sink> {
  /** What a repeated write does: `idempotent` overwrites itself by key, `appends` shows twice, `ephemeral` is gone if nobody listens. */
  readonly repeat: 'idempotent' | 'appends' | 'ephemeral'
  readonly reason: string
  /** Present when writes can join a transaction of that scope. */
  scope?(config: C): string
  /** Set when this sink's own transaction can hold the checkpoint of any source (a database). */
  readonly transactions?: Transactional<C>
  /** True (default): reads `message.value`, e.g. for a key field. False or a function of the config: bytes pass through undecoded. */
  readonly readsValue?: boolean | ((config: C) => boolean)
  /**
   * What `write` makes of a message, without a peer: pipeline tests compare it. Pure; throws a `DataError` for a message that
   * `write` would refuse. Without it a message shows its own key, value and headers.
   */
  preview?(config: C): (message: Message) => Preview
}
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

/** Base of all errors thrown on purpose. `retryable` decides: retry with back-off, or dead-letter. Unknown errors stop the pipeline. */
export class PipelineError extends Error {
  readonly code: string
  readonly retryable: boolean
  constructor(code: string, message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super(message, { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.retryable = options.retryable ?? false
  }
}
/** A record's bytes are not what they should be. Dead-lettered with `error_type: decode`. */
export class DecodeError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_DECODE', message, { cause })
  }
}
/** A record's content breaks a step's rules (missing field, wrong type, negative price). Dead-lettered. */
export class DataError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_DATA', message, { cause })
  }
}
/** The peer is gone or not ready: tried again with back-off. */
export class ConnectionError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_CONNECTION', message, { cause, retryable: true })
  }
}
/** The world outside the file is wrong and waiting will not help: bad credentials, missing right, taken port. Exit code 3. */
export class EnvironmentError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_ENVIRONMENT', message, { cause })
  }
}
/** Somebody else owns the lane now. The runtime drops the lane; nothing of it was committed. */
export class FencedError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_FENCED', message, { cause })
  }
}
/** Nobody knows whether the transaction was committed. The runtime rewinds the lane, whose checkpoint tells. */
export class UnknownOutcomeError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_UNKNOWN_OUTCOME', message, { cause, retryable: true })
  }
}
/** Some messages of a batch failed for good; the others are durable (in a transaction: part of it). Index => error. */
export class BatchError extends PipelineError {
  readonly failed: ReadonlyMap<number, Error>
  constructor(failed: ReadonlyMap<number, Error>) {
    super('PIPE_BATCH', `${failed.size} message(s) of the batch failed: ${[...failed.values()][0]?.message}`)
    this.failed = failed
  }
}
