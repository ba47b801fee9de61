/** The message: one event, with the bytes it came with. */
import { isAscii, isUtf8 } from 'node:buffer'
import { DecodeError } from './errors.ts'
import { DEFAULT_DEPTH, encodeJson, inspect, Need, parseJson, tooDeep } from './json.ts'
import type { RecordShapes } from './record-shapes.ts'

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
  /**
   * Distinguishes contents that had the same lane and offsets at different times: a file written anew, a topic deleted and created
   * again. The same after a restart, as long as the content is the same; undefined: the lane and the offset are all that is known.
   */
  readonly generation?: string
  /** Where the record lies in the lane, when that is not its `offset`: a dead letter that runs again has the offset of its source. */
  readonly at?: number
}

/**
 * Which result of a step over many records a message is, in place of a position: the same whenever the step makes it of the same records
 * again. Sinks build idempotency keys from it.
 */
export type ResultId = {
  /** The step that made it. */
  readonly step: string
  readonly key: string | null
  /** The window, epoch ms, its end exclusive. A backfill keeps the results that end within its bounds. */
  readonly start: number
  readonly end: number
  /** Several results of one window are numbered: revisions of a bar, the messages that an interval lets through. */
  readonly pane?: number
  /** As `Origin.generation`, of the records that it was made of. */
  readonly generation?: string
}

/** Place in the lane: what a rewind goes back to. */
export const laneOffset = (m: Message): number => m.origin?.at ?? m.offset

/**
 * One event. A class, not a literal, so that every message has one hidden shape and property access stays monomorphic.
 *
 * `value` is decoded on first read. Reading does not change the message: as long as `value` is not assigned, it leaves
 * with the bytes it came with. Treat a value as immutable; to change a message assign `value` (the same object again is
 * fine after an in-place change), which marks it changed. `payload`, `keyBytes` and `offset` always stay those of the
 * source record, also on messages made by `derive`, so that a dead letter carries the original bytes.
 */
export class Message {
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
  /** Which part of the source record it was made of, e.g. `rows[3]`; undefined: all of it. */
  part: string | undefined
  /** Of a message that stands for many records, such as the result of a window. */
  result: ResultId | undefined
  /**
   * Behind a step that brings several lanes together: the time that all of them have reached, epoch ms. What is older may still come from
   * one of them. Undefined: the lane's own messages say how far time has come.
   */
  clock: number | undefined
  private _time: number
  /** Undefined: `time` still is the record's. A second number in each message would be a second allocation. */
  private _recordTime: number | undefined
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

  /** A message that still is the record it was read from: value and key are decoded on first access. */
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

  /** Event time in epoch milliseconds: the source's best guess (a Kafka record's timestamp, else the time of reading). */
  get time(): number {
    return this._time
  }

  set time(t: number) {
    this._recordTime ??= this._time
    this._time = t
  }

  /** The source record's own time in epoch milliseconds, whatever `time` became on the way; of a message made of several records, the newest one's. */
  get recordTime(): number {
    return this._recordTime ?? this._time
  }

  /** Decoded value. @throws {DecodeError} when the bytes are not what the source's `format` says. */
  get value(): unknown {
    if (this._state === RAW) {
      this._value = decode(this.payload, this.origin!.format, DEFAULT_DEPTH)
      this._state = READ
    }
    return this._value
  }

  /**
   * Reads the value, unless that has been done, with a bound of its own for nesting. `need`: what `inspect` has found already.
   * @throws {DecodeError} as `value` does.
   */
  decode(depth: number, need?: Need): void {
    if (this._state !== RAW) return
    this._value = decode(this.payload, this.origin!.format, depth, need)
    this._state = READ
  }

  /** For `BatchDecoder`: bytes of JSON that are still to be read. */
  get rawJson(): Buffer | null {
    return this._state === RAW && this.failure === undefined && this.origin!.format === 'json' ? this.payload : null
  }

  /** For `BatchDecoder`: the value of these bytes. */
  setParsed(value: unknown): void {
    this._value = value
    this._state = READ
  }

  set value(v: unknown) {
    this._value = v
    this._state = CHANGED
  }

  /** Ordering and state key; `null` when there is none. Bytes that are not UTF-8 read as `keyTextOf` says; `keyBytes` has them exactly. */
  get key(): string | null {
    if (this._key === undefined) this._key = this.keyBytes === null ? null : keyTextOf(this.keyBytes)
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
    const recordTime = time === this._time ? this._recordTime : this.recordTime
    const m = new Message(value, key, time, this.headers, this.offset, this.origin, this.payload, this.keyBytes, recordTime)
    m.part = this.part
    m.result = this.result
    m.clock = this.clock
    return m
  }

  /**
   * Takes note of messages as their source made them, for the runtime.
   * @returns the same messages anew, whatever steps have assigned to the ones that are given
   */
  static keep(given: readonly Message[]): () => Message[] {
    const messages = given.slice()
    let headers: Message['headers'][] | undefined
    // Most are nothing but their record, and can be made of it again.
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

  /** Something was assigned, or the value is not that of the bytes. */
  private get isMore(): boolean {
    const { _state, _ownKey, _recordTime, part, result, clock } = this
    return _state === CHANGED || _ownKey || _recordTime !== undefined || part !== undefined || result !== undefined || clock !== undefined
  }

  private copy(): Message {
    const { payload, keyBytes, offset, origin } = this
    const m = new Message(this._value, this._key, this._time, this.headers, offset, origin, payload, keyBytes, this._recordTime)
    m._ownKey = this._ownKey
    // A value that was parsed is parsed again: a step may have written into it.
    m._state = this._state === READ ? RAW : this._state
    m.failure = this.failure
    m.part = this.part
    m.result = this.result
    m.clock = this.clock
    return m
  }

  /**
   * What a sink writes: the untouched source bytes, or the value as JSON text (Buffers, and strings of a `text` source, as they are; null: a tombstone).
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

  /** The key a sink writes: the source record's bytes unless `key` was assigned. */
  encodeKey(): Buffer | string | null {
    return this._ownKey ? this._key! : this.keyBytes
  }
}

/**
 * A key as text, another one for other bytes: those that are not UTF-8, such as a binary number, are U+FFFD and their hexadecimal digits.
 * As text alone, all of them would have U+FFFD in the same places, and count as one key.
 */
export function keyTextOf(bytes: Buffer): string {
  const text = bytes.toString()
  return text.includes('\ufffd') && !isUtf8(bytes) ? `\ufffd0x${bytes.toString('hex')}` : text
}

const RAW = 0
const READ = 1
const CHANGED = 2

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Records are parsed together up to this size: a larger text would not be a young object, and costs more than the join saves. */
const JOINED_BYTES = 1 << 16
/** A larger record is parsed on its own: the call is a small part of its cost. */
const MAX_JOINED = 1 << 12

const joined = Buffer.allocUnsafeSlow(JOINED_BYTES)
joined[0] = 91

/**
 * Reads the values of a batch: records of a known shape by that shape. The others that are one plain object or array each are parsed
 * together, as the items of one array. That takes a quarter less time than one call of the parser per record, which learns the shape of
 * the objects anew each time.
 *
 * `inspect` has seen that the brackets of such a record close at its last byte and not before. Therefore, if the array is valid JSON, each
 * record is exactly one item of it. If it is not, each record is parsed on its own, and the malformed one fails alone.
 */
export class BatchDecoder {
  private readonly messages: readonly Message[]
  private readonly depth: number
  private readonly shapes: RecordShapes
  /** The messages from `start` to `end` were looked at; `needs` says what each of them needs, undefined: it is not raw JSON. */
  private start = 0
  private end = 0
  private readonly needs: (Need | undefined)[] = []

  /** `shapes`: of the batches before, read with the same bound for nesting. */
  constructor(messages: readonly Message[], depth: number, shapes: RecordShapes) {
    this.messages = messages
    this.depth = depth
    this.shapes = shapes
  }

  /** Reads the value of the message at `i`, unless that has been done. Call it in order. @throws {DecodeError} */
  decode(i: number): void {
    if (i >= this.end) this.readAhead(i)
    this.messages[i].decode(this.depth, this.needs[i - this.start])
  }

  private readAhead(start: number): void {
    const { messages, depth, shapes, needs } = this
    needs.length = 0
    let [i, count, at] = [start, 0, 1]
    for (; i < messages.length && at + MAX_JOINED < JOINED_BYTES; i++) {
      const payload = messages[i].rawJson
      if (payload === null) {
        needs.push(undefined)
        continue
      }
      const value = shapes.parse(payload)
      if (value !== undefined) {
        messages[i].setParsed(value)
        needs.push(undefined)
        continue
      }
      let need: Need = inspect(payload, depth)
      if (need === Need.whole) {
        if (payload.length > MAX_JOINED) need = Need.plain
        else {
          joined.set(payload, at)
          at += payload.length
          joined[at++] = 44
          count++
        }
      }
      needs.push(need)
    }
    this.start = start
    this.end = i
    if (count < 2) return
    joined[at - 1] = 93
    let values: unknown[]
    try {
      values = JSON.parse(joined.toString('latin1', 0, at)) as unknown[]
    } catch {
      return
    }
    let next = 0
    for (let k = 0; k < needs.length; k++) if (needs[k] === Need.whole) messages[start + k].setParsed(values[next++])
  }
}

function decode(payload: Buffer | null, format: Format, depth: number, known?: Need): unknown {
  if (format === 'bytes') return payload
  if (payload === null) throw new DecodeError('the record is a tombstone (null payload)')
  if (payload.length === 0) throw new DecodeError('the payload is empty')
  if (format === 'text') return decodeText(payload)
  const need = known ?? inspect(payload, depth)
  if (need === Need.tooDeep) throw tooDeep(depth)
  // latin1 is several times faster than UTF-8, and right whenever no byte has its high bit set.
  const text = need === Need.plain || need === Need.whole ? payload.toString('latin1') : decodeText(payload)
  try {
    return need === Need.exact ? parseJson(text, depth) : JSON.parse(text)
  } catch (error) {
    throw error instanceof DecodeError ? error : new DecodeError(`malformed JSON: ${(error as Error).message}`)
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
