/**
 * One bucket of an outbox: which of its rows are read, in progress, and published but not marked yet. The position of a lane is a list of
 * ids instead of the highest one: transactions commit out of the order of their ids, so "everything up to" has no meaning here.
 */
import { type Batch, DataError, encodeJson, type Header, Message, type Origin, parseJson, type Position } from '../../../contract/plugin.ts'
import { attempt } from '../../../kit/fail.ts'
import { isRecord } from '../../../kit/values/records.ts'
import { packIds, unpackIds } from './ids.ts'
import type { OutboxRow } from './table.ts'

/** Published, and perhaps not marked yet: the rows in `ids`. `n` counts the batches of the lane. */
interface BucketPosition {
  readonly n: number
  readonly ids: string
}

interface Piece {
  readonly n: number
  readonly ids: readonly number[]
}

export class Bucket {
  readonly lane: string
  /** Counts seeks: rows requested before a seek are discarded after it. */
  generation = 0
  /** Being released: no more rows are read for it. */
  retired = false
  /** Certainly published; to be marked, or being marked. */
  readonly published = new Set<number>()
  private readonly origin: Origin
  private rows: OutboxRow[] = []
  /** Passed to the pipeline, oldest first. */
  private handed: Piece[] = []
  private n = 0

  constructor(lane: string, origin: Origin) {
    this.lane = lane
    this.origin = origin
  }

  /** Starts again after a position. @returns the rows that the position lists as published, as far as that was unknown. */
  seek(position: Position | undefined): number[] {
    this.generation++
    this.rows = []
    this.handed = []
    if (position === undefined) return []
    const { n, ids } = position as unknown as BucketPosition
    this.n = Math.max(this.n, n)
    const known = unpackIds(ids).filter(id => !this.published.has(id))
    for (const id of known) this.published.add(id)
    return known
  }

  add(row: OutboxRow): void {
    this.rows.push(row)
  }

  get waiting(): number {
    return this.rows.length
  }

  /** Rows that are not marked: waiting, in progress, or about to be marked. */
  get unmarked(): number {
    return this.rows.length + this.published.size + this.handed.reduce((sum, piece) => sum + piece.ids.length, 0)
  }

  /** Ids of all these rows, for the next read to leave out. */
  collect(into: number[]): void {
    for (const id of this.published) into.push(id)
    for (const { ids } of this.handed) for (const id of ids) into.push(id)
    for (const { id } of this.rows) into.push(id)
  }

  /** Returns waiting rows. `more`: the table may contain more than was read. */
  take(now: number, more: boolean): Batch {
    const { rows } = this
    this.rows = []
    const piece: Piece = { n: ++this.n, ids: rows.map(row => row.id) }
    this.handed.push(piece)
    return {
      lane: this.lane,
      messages: rows.map(row => this.message(row, now)),
      position: this.position(),
      lag: more ? undefined : 0,
    }
  }

  /** The pipeline has finished everything up to `position`. @returns the number of rows. */
  commit(position: Position): number {
    const { n } = position as unknown as BucketPosition
    let rows = 0
    while (this.handed.length > 0 && this.handed[0].n <= n) {
      const { ids } = this.handed.shift()!
      for (const id of ids) this.published.add(id)
      rows += ids.length
    }
    return rows
  }

  /** The bucket is being released: rows not yet returned belong to the next publisher. */
  retire(): void {
    this.generation++
    this.rows = []
    this.retired = true
  }

  private position(): Position {
    const ids = [...this.published]
    for (const piece of this.handed) for (const id of piece.ids) ids.push(id)
    return { n: this.n, ids: packIds(ids.sort((a, b) => a - b)) }
  }

  private message(row: OutboxRow, now: number): Message {
    const payload = row.payload === null ? null : Buffer.from(row.payload)
    const key = row.key === null ? null : Buffer.from(row.key)
    const headers = headersOf(row)
    const list = headers instanceof DataError ? undefined : headers
    const message = Message.fromRecord(payload, key, row.created ?? now, list, row.id, this.origin)
    if (headers instanceof DataError) message.failure = headers
    return message
  }
}

/** @returns the error of a row whose headers are not an object */
function headersOf(row: OutboxRow): Header[] | DataError {
  const headers: Header[] = [['outbox-id', String(row.id)]]
  if (row.type !== null) headers.push(['event-type', row.type])
  if (row.headers !== null) {
    let own: unknown
    try {
      own = parseJson(row.headers) ?? {}
    } catch {
      // The column may be text. The next line reports it.
    }
    if (!isRecord(own)) return new DataError(`the headers of row ${row.id} must be a JSON object`)
    for (const [name, value] of Object.entries(own)) {
      const text = value === null || typeof value === 'string' ? value : attempt(() => encodeJson(value))
      if (text instanceof DataError) return text
      headers.push([name, text])
    }
  }
  return headers
}
