/** Groups messages into requests and assigns idempotency keys. */
import { createHash } from 'node:crypto'
import { DataError, laneOffset, type Message, type ResultId } from '../../../contract/plugin.ts'

export interface Item {
  readonly message: Message
  readonly body: Buffer
  /** The position in the source, or the identity of a result, as `positionsOf` writes it; undefined if the message has neither. */
  readonly position: string | undefined
}

export interface Parcel {
  readonly url: string
  readonly items: readonly Item[]
}

export interface ParcelOptions {
  readonly batch: 'one' | 'array' | 'ndjson'
  readonly max_batch: number
  readonly max_batch_bytes: number
}

/**
 * `lane@generation/offset`; for the result of a step over many records, `lane@generation/step/key/start-end`. Each part is percent-encoded.
 * If several messages are made from one record, the later ones are numbered.
 */
export function positionsOf(messages: readonly Message[], lane: string): (string | undefined)[] {
  const seen = new Map<string, number>()
  return messages.map(m => {
    const place = placeOf(m)
    if (place === undefined) return undefined
    const generation = m.origin?.generation ?? m.result?.generation
    const source = generation === undefined ? lane : `${lane}@${generation}`
    const position = `${encodeURIComponent(source)}/${place}${m.part === undefined ? '' : `/${encodeURIComponent(m.part)}`}`
    const n = seen.get(position) ?? 0
    seen.set(position, n + 1)
    return n === 0 ? position : `${position}.${n}`
  })
}

/** The position of a record in the lane that is read. After a link this differs from the offset in the source, which several lanes have. */
function placeOf(m: Message): string | undefined {
  const offset = laneOffset(m)
  if (offset >= 0) return String(offset)
  return m.result && resultText(m.result)
}

function resultText({ step, key, start, end, pane = 0 }: ResultId): string {
  return `${encodeURIComponent(step)}/${key === null ? '' : `=${encodeURIComponent(key)}`}/${start}-${end}${pane === 0 ? '' : `.${pane}`}`
}

/**
 * The idempotency key of a request: the sender, the source positions in it, and a hash of its body. Equal keys always have equal bodies,
 * even if data was lost or rewritten at the source. Undefined: a message has no source position.
 */
export function idempotencyKey(sender: string, items: readonly Item[], body: Buffer): string | undefined {
  const [first, last] = [items[0].position, items.at(-1)!.position]
  if (first === undefined || last === undefined) return undefined
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 16)
  const key = `${sender}/${items.length === 1 ? first : `${first}..${last}`}:${hash}`
  // Some services reject longer keys: the limit of Stripe is 255.
  return key.length <= 255 ? key : `${createHash('sha256').update(key).digest('base64url')}:${hash}`
}

/** In order, by URL. Skips messages that have an outcome; messages that cannot be sent get theirs here. */
export function parcels(
  messages: readonly Message[],
  positions: readonly (string | undefined)[],
  { batch, max_batch, max_batch_bytes }: ParcelOptions,
  urlOf: (m: Message) => string,
  outcomes: WeakMap<Message, Error | true>,
): Parcel[] {
  const list: { url: string; items: Item[]; bytes: number }[] = []
  const open = new Map<string, (typeof list)[number]>()
  messages.forEach((message, i) => {
    if (outcomes.has(message)) return
    let url: string
    let body: Buffer
    try {
      url = urlOf(message)
      body = encode(message, batch)
    } catch (error) {
      outcomes.set(message, error as Error)
      return
    }
    let parcel = open.get(url)
    if (!parcel || batch === 'one' || parcel.items.length >= max_batch || parcel.bytes + body.length > max_batch_bytes) {
      parcel = { url, items: [], bytes: 0 }
      open.set(url, parcel)
      list.push(parcel)
    }
    parcel.items.push({ message, body, position: positions[i] })
    parcel.bytes += body.length + 1
  })
  return list
}

/** @throws {DataError} for a message that such a request cannot contain. */
export function encode(message: Message, batch: ParcelOptions['batch']): Buffer {
  const data = message.encode()
  if (data === null) throw new DataError('a tombstone has no body to send')
  if (batch === 'one') return typeof data === 'string' ? Buffer.from(data) : data
  if (typeof data === 'string') return Buffer.from(message.origin?.format === 'text' ? JSON.stringify(data) : data)
  const format = message.origin?.format
  if (message.changed || format === 'bytes') throw new DataError('bytes cannot be sent as JSON')
  if (format === 'text') return Buffer.from(JSON.stringify(data.toString()))
  return batch === 'ndjson' ? oneLine(data) : data
}

export function bodyOf(items: readonly Item[], batch: ParcelOptions['batch']): Buffer {
  if (batch === 'one') return items[0].body
  const parts: Buffer[] = batch === 'array' ? [Buffer.from('[')] : []
  items.forEach(({ body }, i) => {
    if (batch === 'array' && i > 0) parts.push(COMMA)
    parts.push(body)
    if (batch === 'ndjson') parts.push(NEWLINE)
  })
  if (batch === 'array') parts.push(Buffer.from(']'))
  return Buffer.concat(parts)
}

const COMMA = Buffer.from(',')
const NEWLINE = Buffer.from('\n')

/** In valid JSON, line breaks occur only between tokens. */
function oneLine(json: Buffer): Buffer {
  if (!json.includes(0x0a) && !json.includes(0x0d)) return json
  return Buffer.from(json.map(c => (c === 0x0a || c === 0x0d ? 0x20 : c)))
}
