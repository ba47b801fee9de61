/**
 * A message in the internal topic of `repartition`: beside the key and the value of the step, the record contains the identity of the
 * message: position, bytes and key of its source record (for dead letters), its times, and the progress of its lane.
 */
import {
  DataError,
  DecodeError,
  type Format,
  type Header,
  type LaneInfo,
  type LinkRecord,
  Message,
  type Origin,
  parseJson,
  type ResultId,
} from '../../../contract/plugin.ts'
import { partitionOf } from '../partitioner.ts'

/** Always the first of the added headers, after those of the message. */
const LINK = 'runner_link'
/** Bytes and key of the source record, if the message now has different ones. */
const PAYLOAD = 'runner_payload'
const KEY = 'runner_key'

export type Mark = 'time' | 'idle'

/** The data in a record about its original lane. */
export interface LinkInfo {
  readonly lane: string
  readonly source: string
  readonly topic?: string
  /** Lanes of the topic. */
  readonly lanes?: number
  /** Event time of the message, or the progress of the lane; null: no message has come yet. */
  readonly time: number | null
  /** Not a message: a mark, in every partition. */
  readonly mark?: Mark
}

/** Of a message that came through a link. `at` is its position in the lane of the link. */
export interface LinkOrigin extends Origin {
  readonly at: number
  readonly link: LinkInfo
}

interface Wire extends LinkInfo {
  /** How the value is encoded: the original bytes, or the changed value. */
  readonly as?: 'raw' | 'json' | 'text' | 'bytes'
  readonly from?: Omit<Origin, 'at'> & { readonly offset: number }
  readonly times?: readonly [time: number, recordTime: number]
  readonly part?: string
  readonly result?: ResultId
}

/** A message that is only a mark. */
export function mark(kind: Mark, time: number): Message {
  const message = new Message(null, null)
  message.headers = [[LINK, kind]]
  message.clock = time
  return message
}

/** The message has a key by now; its headers are its own, with any names. */
const isMark = ({ key, headers }: Message): boolean => key === null && headers?.length === 1 && headers[0][0] === LINK

/** @throws {DataError} for a value that cannot be written */
export function linkRecords(message: Message, lane: LaneInfo, partitions: number): LinkRecord[] {
  const { clock = message.time } = message
  const info: LinkInfo = {
    lane: lane.id,
    source: lane.source,
    topic: lane.topic,
    lanes: lane.lanes,
    time: Number.isFinite(clock) ? clock : null,
  }
  if (isMark(message)) {
    const headers: Header[] = [[LINK, JSON.stringify({ ...info, mark: message.headers![0][1] })]]
    return Array.from({ length: partitions }, (_, partition) => ({ partition, key: null, value: null, headers }))
  }
  const { changed, origin, key } = message
  if (key === null) throw new DataError('the message has no key')
  const value = message.encode()
  const wire: Wire = {
    ...info,
    as: changed ? kindOf(message) : 'raw',
    // The reading part sets its own depth.
    from: { ...(origin ?? { lane: lane.id, source: lane.source, format: 'json' }), depth: undefined, offset: message.offset },
    times: [message.time, message.recordTime],
    part: message.part,
    result: message.result,
  }
  const headers: Header[] = [...(message.headers ?? []), [LINK, JSON.stringify(wire)]]
  if (changed && message.payload !== null) headers.push([PAYLOAD, message.payload])
  if (message.keyBytes !== null && !message.keyBytes.equals(Buffer.from(key))) headers.push([KEY, message.keyBytes])
  else if (message.keyBytes === null) headers.push([KEY, null])
  return [{ partition: partitionOf(key, partitions), key, value, headers }]
}

function kindOf({ value, origin }: Message): Wire['as'] {
  if (Buffer.isBuffer(value)) return 'bytes'
  return typeof value === 'string' && origin?.format === 'text' ? 'text' : 'json'
}

/** The message that was written. A foreign record has `failure` set. */
export function messageOf({ key, value, headers }: LinkRecord, offset: number, lane: LaneInfo): Message {
  const at = headers.findLastIndex(([name]) => name === LINK)
  const wire = at < 0 ? undefined : parseWire(headers[at][1])
  const bytes = bufferOf(value)
  if (wire === undefined) {
    const own: Origin = { lane: lane.id, source: lane.source, topic: lane.topic, partition: lane.partition, format: 'bytes' }
    const stranger = Message.fromRecord(bytes, bufferOf(key), 0, headers, offset, own)
    stranger.failure = new DecodeError(`the record was not written by this pipeline, but ${lane.topic} is an internal topic`)
    return stranger
  }
  const { from, as, times = [0, 0], part, result, ...link } = wire
  const { offset: sourceOffset, ...source } = from ?? { lane: link.lane, source: link.source, format: 'json' as Format, offset: -1 }
  const origin: LinkOrigin = { ...source, at: offset, link }
  if (link.mark !== undefined) return new Message(null, null, link.time ?? 0, undefined, -1, origin)
  const added = new Map(headers.slice(at))
  const own = at === 0 ? undefined : headers.slice(0, at)
  const keyBytes = added.has(KEY) ? bufferOf(added.get(KEY)!) : bufferOf(key)
  const [time, recordTime] = times
  let message: Message
  if (as === 'raw') {
    message = Message.fromRecord(bytes, keyBytes, recordTime, own, sourceOffset, origin)
    message.time = time
  } else {
    const changed = as === 'json' && bytes !== null ? parseJson(bytes.toString()) : as === 'text' ? (bytes?.toString() ?? null) : bytes
    message = new Message(changed, undefined, time, own, sourceOffset, origin, bufferOf(added.get(PAYLOAD) ?? null), keyBytes, recordTime)
  }
  message.key = key === null ? null : key.toString()
  message.part = part
  message.result = result
  return message
}

function parseWire(text: Buffer | string | null): Wire | undefined {
  try {
    return JSON.parse(String(text)) as Wire
  } catch {
    return undefined
  }
}

const bufferOf = (data: Buffer | string | null): Buffer | null => (typeof data === 'string' ? Buffer.from(data) : data)
