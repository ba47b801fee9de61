/** The message: one record with its original bytes. */
import { isAscii, isUtf8 } from 'node:buffer'
import { DecodeError } from './errors.ts'
import { DEFAULT_DEPTH, detached, encodeJson, inspect, Need, parseJson, tooDeep } from './json.ts'
import { malformedJson } from './json-scan.ts'

/** One header: name and bytes. Headers are a list because Kafka allows duplicate names, and a copied record must keep them. */
export type Header = readonly [name: string, value: Buffer | string | null]

/** How the bytes of a source become values. `json`: parsed, must be valid UTF-8. `text`: a string. `bytes`: a Buffer. */
export type Format = 'json' | 'text' | 'bytes'

/** The origin of a batch: one object, shared by all its messages. */
export interface Origin {
  /** The lane's id, e.g. `ticks.BTCUSDT/0`. */
  readonly lane: string
  /** Name of the source step. */
  readonly source: string
  readonly topic?: string
  readonly partition?: number
  /** Path of the file. */
  readonly file?: string
  /** The offset is the number of a line. */
  readonly lines?: true
  readonly format: Format
  /**
   * Distinguishes contents that had the same lane and offsets at different times: a file that was rewritten, a topic that was deleted and
   * created again. Stable across restarts as long as the content is the same. Undefined: only the lane and the offset are known.
   */
  readonly generation?: string
  /** The offset in the lane, if it differs from `offset`: a replayed dead letter keeps the offset in its source topic. */
  readonly at?: number
  /** Maximum nesting depth of a value that is decoded at its first read. Set by the runtime from `limits.depth`; undefined: 256. */
  readonly depth?: number
}

/**
 * Identifies a message that a step made from many records. It replaces the offset and is the same whenever the step makes the message again
 * from the same records. Sinks derive idempotency keys from it.
 */
export type ResultId = {
  /** The step that made the message. */
  readonly step: string
  readonly key: string | null
  /** The window in epoch ms, end exclusive. A backfill keeps the results whose end is within its bounds. */
  readonly start: number
  readonly end: number
  /** Number of the result within its window: revisions of a bar, or messages that an interval passes on. */
  readonly pane?: number
  /** `Origin.generation` of the records that the message was made from. */
  readonly generation?: string
}

/** The offset in the lane, which a restore goes back to. */
export const laneOffset = (m: Message): number => m.origin?.at ?? m.offset

/**
 * One record. It is a class so that every message has the same hidden shape and property access stays monomorphic.
 *
 * `value` is decoded at the first read. Reading does not change the message: unless `value` is assigned, the message is written with its
 * original bytes. Treat a value as immutable. To change a message, assign `value`, which marks it as changed; the same object is allowed
 * after an in-place change. `payload`, `keyBytes` and `offset` always belong to the source record, also in messages made by `derive`, so a
 * dead letter contains the original bytes.
 */
export class Message {
  headers: readonly Header[] | undefined
  /** Bytes of the source record. `null`: a tombstone, or a message without a source record. */
  readonly payload: Buffer | null
  /** Key bytes of the source record. */
  readonly keyBytes: Buffer | null
  /** Offset of the source record (line number, row id) in its lane; -1 if it has none. */
  readonly offset: number
  readonly origin: Origin | undefined
  /** Set by a source that cannot unpack the record (for example, unknown compression). The runtime dead-letters the record. */
  failure: Error | undefined
  /** The part of the source record that the message was made from, such as `rows[3]`; undefined: the whole record. */
  part: string | undefined
  /** Set on a message that was made from many records, such as the result of a window. */
  result: ResultId | undefined
  /**
   * After a step that merges lanes: the event time that all of them have reached, epoch ms. Older records can still arrive from a lane.
   * Undefined: the messages of the lane itself advance event time.
   */
  clock: number | undefined
  /** For the runtime: the branch of a `route` step that the message is in. "declare": without such a step, messages do not have the field. */
  declare branch: string | undefined
  private _time: number
  /** Undefined while `time` is the time of the record. A second number in each message would be a second allocation. */
  private _recordTime: number | undefined
  private _value: unknown
  private _key: string | null | undefined
  /** The key was assigned or passed to the constructor; otherwise it is decoded from `keyBytes`. */
  private _ownKey: boolean
  private _state: number

  /**
   * Creates a message from a value, for transforms and tests. Sources with bytes use `Message.fromRecord`; transforms that make a message
   * from another one prefer `derive`. With `key` undefined, the key of the source record is kept.
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
    recordTime?: number,
  ) {
    this._time = time
    this._recordTime = recordTime
    this.headers = headers
    this.payload = payload
    this.keyBytes = keyBytes
    this.offset = offset
    this.origin = origin
    this.failure = undefined
    this.part = undefined
    this.result = undefined
    this.clock = undefined
    this._value = value
    this._key = key
    this._ownKey = key !== undefined
    this._state = CHANGED
  }

  /** A message with the bytes of its record: value and key are decoded at the first access. */
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

  /** Event time in epoch ms. Initially the timestamp of the source record, such as that of a Kafka record, or the time of reading. */
  get time(): number {
    return this._time
  }

  set time(t: number) {
    this._recordTime ??= this._time
    this._time = t
  }

  /**
   * Time of the source record in epoch ms, regardless of changes to `time`. For a message made from several records, the time of the newest
   * one.
   */
  get recordTime(): number {
    return this._recordTime ?? this._time
  }

  /** The decoded value. @throws {DecodeError} when the bytes do not match the `format` of the source. */
  get value(): unknown {
    if (this._state === RAW) {
      this._value = decode(this.payload, this.origin!.format, this.origin!.depth ?? DEFAULT_DEPTH)
      this._state = READ
    }
    return this._value
  }

  /**
   * Decodes the value with its own nesting limit, unless it is decoded already. `need`: a known result of `inspect`.
   * @throws {DecodeError} as `value` does.
   */
  decode(depth: number, need?: Need): void {
    if (this._state !== RAW) return
    this._value = decode(this.payload, this.origin!.format, depth, need)
    this._state = READ
  }

  /** For `BatchDecoder`: JSON bytes that are not decoded yet. */
  get rawJson(): Buffer | null {
    return this._state === RAW && this.failure === undefined && this.origin!.format === 'json' ? this.payload : null
  }

  /** For `BatchDecoder`: sets the decoded value of the bytes. */
  setParsed(value: unknown): void {
    this._value = value
    this._state = READ
  }

  set value(v: unknown) {
    this._value = v
    this._state = CHANGED
  }

  /**
   * Key for order and state; `null` if there is none. Bytes that are not UTF-8 are converted by `keyTextOf`; `keyBytes` has them unchanged.
   */
  get key(): string | null {
    if (this._key === undefined) this._key = this.keyBytes === null ? null : keyTextOf(this.keyBytes)
    return this._key
  }

  set key(k: string | null) {
    this._key = k
    this._ownKey = true
  }

  /** True if `value` was assigned: the message is no longer written with its original bytes. */
  get changed(): boolean {
    return this._state === CHANGED
  }

  /** A new message from the same source record, with the same headers, and with the same key and time unless others are given. */
  derive(value: unknown, key: string | null | undefined = this._ownKey ? this._key : undefined, time: number = this.time): Message {
    const recordTime = time === this._time ? this._recordTime : this.recordTime
    const m = new Message(value, key, time, this.headers, this.offset, this.origin, this.payload, this.keyBytes, recordTime)
    m.part = this.part
    m.result = this.result
    m.clock = this.clock
    return m
  }

  /**
   * For the runtime: saves messages as their source made them.
   * @returns a function that makes the same messages again, without the assignments of steps
   */
  static keep(given: readonly Message[]): () => Message[] {
    const messages = given.slice()
    let headers: Message['headers'][] | undefined
    // Most messages can be made again from their record alone.
    let copies: (Message | undefined)[] | undefined
    for (let i = 0; i < messages.length; i++) {
      const m = messages[i]
      if (m.headers !== undefined) (headers ??= [])[i] = m.headers
      if (m.isMore) (copies ??= [])[i] = m.copy()
    }
    return () =>
      messages.map((m, i) => {
        const copy = copies?.[i]
        if (copy) return copy.copy()
        const record = Message.fromRecord(m.payload, m.keyBytes, m.recordTime, headers?.[i], m.offset, m.origin!)
        record.failure = m.failure
        return record
      })
  }

  /** A field was assigned, or the value does not come from the bytes. */
  private get isMore(): boolean {
    const { _state, _ownKey, _recordTime, part, result, clock } = this
    return _state === CHANGED || _ownKey || _recordTime !== undefined || part !== undefined || result !== undefined || clock !== undefined
  }

  /** For a step that emits a message several times: a copy that shares nothing that a later step may change. @param part of the copy */
  duplicate(part: string): Message {
    const m = this.copy()
    if (m._state === CHANGED) m._value = detached(m._value)
    m.part = part
    return m
  }

  private copy(): Message {
    const { payload, keyBytes, offset, origin } = this
    const m = new Message(this._value, this._key, this._time, this.headers, offset, origin, payload, keyBytes, this._recordTime)
    m._ownKey = this._ownKey
    // A parsed value is parsed again, because a step may have changed it in place.
    m._state = this._state === READ ? RAW : this._state
    m.failure = this.failure
    m.part = this.part
    m.result = this.result
    m.clock = this.clock
    return m
  }

  /**
   * The value to write: the original bytes, or the value as JSON text. Buffers and strings of a `text` source are written unchanged; null
   * is a tombstone.
   * @throws {DataError} for a value that cannot be written as JSON
   */
  encode(): Buffer | string | null {
    if (this._state !== CHANGED) return this.payload
    const v = this._value
    if (v === null || v === undefined) return null
    if (typeof v === 'string' && this.origin?.format === 'text') return v
    if (Buffer.isBuffer(v)) return v
    return encodeJson(v)
  }

  /** The key to write: the key bytes of the source record unless `key` was assigned. */
  encodeKey(): Buffer | string | null {
    return this._ownKey ? this._key! : this.keyBytes
  }
}

/**
 * A key as text, different for different bytes. Bytes that are not UTF-8, such as a binary number, become U+FFFD followed by their
 * hexadecimal digits. Plain decoding would replace all of them by U+FFFD and make different keys equal.
 */
export function keyTextOf(bytes: Buffer): string {
  const text = bytes.toString()
  return text.includes('\ufffd') && !isUtf8(bytes) ? `\ufffd0x${bytes.toString('hex')}` : text
}

/** The value of a header as text; bytes that are not UTF-8 as in keys, different for different bytes. */
export const headerTextOf = (value: Header[1]): string | null => (Buffer.isBuffer(value) ? keyTextOf(value) : value)

const RAW = 0
const READ = 1
const CHANGED = 2

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decode(payload: Buffer | null, format: Format, depth: number, known?: Need): unknown {
  if (format === 'bytes') return payload
  if (payload === null) throw new DecodeError('the record is a tombstone (null payload)')
  if (payload.length === 0) throw new DecodeError('the payload is empty')
  if (format === 'text') return decodeText(payload)
  const need = known ?? inspect(payload, depth)
  if (need === Need.tooDeep) throw tooDeep(depth)
  // latin1 decodes several times faster than UTF-8, and gives the same text if all bytes are ASCII.
  const text = need === Need.plain || need === Need.whole ? payload.toString('latin1') : decodeText(payload)
  try {
    return need === Need.exact ? parseJson(text, depth) : JSON.parse(text)
  } catch (error) {
    throw error instanceof DecodeError ? error : malformedJson(payload, error)
  }
}

const decodeText = (payload: Buffer): string => (isAscii(payload) ? payload.toString('latin1') : decodeUtf8(payload))

function decodeUtf8(payload: Buffer): string {
  try {
    return strictUtf8.decode(payload)
  } catch {
    throw new DecodeError('the payload is not valid UTF-8')
  }
}
