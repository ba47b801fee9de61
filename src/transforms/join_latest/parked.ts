/** Converts waiting messages to JSON for the state of the lane, and back with their original bytes. */
import { type Header, type Json, keyTextOf, type LaneInfo, Message, type ResultId } from '../../contract/plugin.ts'

export type Parked = {
  /** Absent: the message is its unchanged source record. */
  value?: Json
  key: string | null
  time: number
  offset: number
  format: 'json' | 'text' | 'bytes'
  /** Base64. */
  payload: string | null
  keyBytes: string | null
  part?: string
  result?: ResultId
  generation?: string
  /** `Origin.at`, `file` and `lines`: dead letters and sinks identify the record by them. */
  at?: number
  file?: string
  lines?: true
  /** Absent: it is `time`. */
  recordTime?: number
  headers?: [name: string, base64: string | null][]
}

export function park(m: Message): Parked {
  const parked: Parked = {
    key: m.key,
    time: m.time,
    offset: m.offset,
    format: m.origin?.format ?? 'json',
    payload: base64(m.payload),
    keyBytes: base64(m.keyBytes),
  }
  if (m.part !== undefined) parked.part = m.part
  if (m.result !== undefined) parked.result = m.result
  if (m.origin?.generation !== undefined) parked.generation = m.origin.generation
  if (m.origin?.at !== undefined) parked.at = m.origin.at
  if (m.origin?.file !== undefined) parked.file = m.origin.file
  if (m.origin?.lines !== undefined) parked.lines = m.origin.lines
  if (m.recordTime !== m.time) parked.recordTime = m.recordTime
  if (m.changed) parked.value = m.value as Json
  if (m.headers) parked.headers = m.headers.map(([name, value]) => [name, base64(value)])
  return parked
}

/** @param depth maximum nesting depth of its value */
export function unpark(p: Parked, lane: LaneInfo, depth: number): Message {
  const origin = {
    lane: lane.id,
    source: lane.source,
    topic: lane.topic,
    partition: lane.partition,
    format: p.format,
    generation: p.generation,
    depth,
    ...(p.at !== undefined && { at: p.at }),
    ...(p.file !== undefined && { file: p.file }),
    ...(p.lines !== undefined && { lines: p.lines }),
  }
  const headers = p.headers?.map(([name, value]): Header => [name, bytes(value)])
  const [payload, keyBytes] = [bytes(p.payload), bytes(p.keyBytes)]
  const key = ownKey(p, keyBytes)
  const m =
    'value' in p
      ? new Message(p.value, key, p.time, headers, p.offset, origin, payload, keyBytes, p.recordTime)
      : Message.fromRecord(payload, keyBytes, p.recordTime ?? p.time, headers, p.offset, origin)
  if (m.time !== p.time) m.time = p.time
  if (key !== undefined) m.key = key
  m.part = p.part
  m.result = p.result
  return m
}

/** Undefined if the key is that of the source record. */
const ownKey = ({ key }: Parked, keyBytes: Buffer | null): string | null | undefined =>
  (keyBytes === null ? null : keyTextOf(keyBytes)) === key ? undefined : key

const base64 = (value: Buffer | string | null): string | null => (value === null ? null : Buffer.from(value).toString('base64'))
const bytes = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text, 'base64'))
