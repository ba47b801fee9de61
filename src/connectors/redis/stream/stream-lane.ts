/** One stream as a lane: first what this consumer still has, then what dead ones have left, then what is new. */
import { type Batch, type Counter, DataError, Message, type Origin, type Position, type SourceContext } from '../../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../../generated/config-types.ts'
import { ask, type Driver, type Reply, ReplyError, type Session, sortError, text } from '../driver.ts'

export interface LaneOptions {
  readonly config: RedisSourceConfig
  readonly key: string
  readonly group: string
  readonly consumer: string
  readonly ctx: SourceContext
  readonly driver: Driver
  readonly meter: { readonly claimed: Counter; readonly missing: Counter }
}

/** Read and not acknowledged: a stretch of the stream, all of it ours, or single entries that were taken over. */
type Open = readonly [first: string, last: string] | { readonly ids: readonly string[] }
/** `n` counts batches. Within `open` lies what is done and not acknowledged. */
interface StreamPosition {
  readonly n: number
  readonly open: readonly Open[]
}
interface Delivered {
  readonly n: number
  readonly ids: readonly string[]
  readonly open: Open
}
type StreamEntry = readonly [id: string, fields: readonly Buffer[] | null]

/** Acknowledged in one command. */
const ACK = 5000

export class StreamLane {
  readonly id: string
  readonly key: string
  /** When the last look at the stream, which left nothing, was sent: `clock.monotonic()`. */
  caughtUp: number | false = false
  private readonly o: LaneOptions
  private readonly origin: Origin
  private delivered: Delivered[] = []
  private n = 0
  private generation = 0
  /** Where this consumer's own pending entries are read on from; undefined: all are read. */
  private own: string | undefined = '0-0'
  /** What a checkpoint from elsewhere says is done. */
  private done: readonly Open[] = []
  private lastClaim = Number.NEGATIVE_INFINITY
  /** Where the search for abandoned entries goes on. */
  private claimFrom = '0-0'
  private readonly made = new WeakMap<Batch, number>()

  constructor(options: LaneOptions) {
    this.o = options
    this.key = options.key
    this.id = `stream/${options.key}/${options.consumer}`
    this.origin = { lane: this.id, source: options.ctx.step, topic: options.key, format: options.config.format }
  }

  /** The group is there afterwards. */
  async prepare(): Promise<void> {
    const from = this.o.config.start_at === 'latest' ? '$' : '0'
    const [reply] = await this.o.driver.run([['XGROUP', 'CREATE', this.key, this.o.group, from, 'MKSTREAM']])
    if (reply instanceof ReplyError && reply.kind !== 'BUSYGROUP') throw sortError(reply, `stream ${this.key}`)
  }

  seek(position: Position | undefined): void {
    this.generation++
    this.own = '0-0'
    this.delivered = []
    this.done = (position as StreamPosition | undefined)?.open ?? []
    this.n = Math.max(this.n, (position as StreamPosition | undefined)?.n ?? 0)
    this.caughtUp = false
  }

  /** False: it was read before the lane was sent back. */
  isCurrent(batch: Batch): boolean {
    return this.made.get(batch) === this.generation
  }

  async commit(position: Position): Promise<void> {
    const { n } = position as unknown as StreamPosition
    const ids = this.delivered.filter(d => d.n <= n).flatMap(d => d.ids)
    await this.acknowledge(ids)
    this.delivered = this.delivered.filter(d => d.n > n)
  }

  /** The next batch, which may be empty. */
  async next(session: Session, block: number): Promise<Batch> {
    const { generation } = this
    if (this.own !== undefined) return await this.nextOwn(this.own, generation)
    const now = this.o.ctx.clock.monotonic()
    if (now - this.lastClaim >= this.o.config.claim_idle / 2) {
      this.lastClaim = now
      const entries = await this.claim()
      if (entries.length > 0) {
        this.o.meter.claimed.inc(entries.length)
        return this.batch(entries, generation, { ids: entries.map(([id]) => id) })
      }
    }
    const [reply] = await session.run([
      ['XREADGROUP', 'GROUP', this.o.group, this.o.consumer, 'COUNT', this.o.config.batch_size, 'BLOCK', block, 'STREAMS', this.key, '>'],
    ])
    if (reply instanceof ReplyError) {
      // The key was deleted, and the group with it.
      if (reply.kind === 'NOGROUP' || reply.kind === 'UNBLOCKED') await this.prepare()
      else throw sortError(reply, `stream ${this.key}`)
    }
    const entries = reply instanceof ReplyError ? [] : entriesOf(reply)
    this.caughtUp = entries.length < this.o.config.batch_size && now
    return this.batch(entries, generation, [entries[0]?.[0], entries.at(-1)?.[0] as string])
  }

  private async nextOwn(from: string, generation: number): Promise<Batch> {
    const { group, consumer, config, driver } = this.o
    const reply = await ask(
      driver,
      ['XREADGROUP', 'GROUP', group, consumer, 'COUNT', config.batch_size, 'STREAMS', this.key, from],
      `stream ${this.key}`,
    )
    const entries = entriesOf(reply)
    if (generation === this.generation) this.own = entries.at(-1)?.[0]
    const gone = entries.filter(([, fields]) => fields === null).map(([id]) => id)
    this.o.meter.missing.inc(gone.length)
    const done = entries.filter(([id, fields]) => fields !== null && this.done.some(open => lies(id, open))).map(([id]) => id)
    await this.acknowledge([...gone, ...done])
    const skip = new Set([...gone, ...done])
    const rest = entries.filter(([id]) => !skip.has(id))
    // Others may have had what lies between: named one by one.
    return this.batch(rest, generation, { ids: rest.map(([id]) => id) })
  }

  private async claim(): Promise<StreamEntry[]> {
    const { group, consumer, config, driver } = this.o
    const what = `stream ${this.key}`
    const reply = (await ask(
      driver,
      ['XAUTOCLAIM', this.key, group, consumer, config.claim_idle, this.claimFrom, 'COUNT', config.batch_size],
      what,
    )) as Reply[]
    this.o.meter.missing.inc((reply[2] as Reply[] | undefined)?.length ?? 0)
    const entries = toEntries(reply[1] as Reply[])
    // What we have in hand ourselves has only been in hand for long.
    const mine = new Set(this.delivered.flatMap(d => d.ids))
    const others = entries.filter(([id, fields]) => fields !== null && !mine.has(id))
    this.claimFrom = text(reply[0])
    if (this.claimFrom !== '0-0') this.lastClaim = Number.NEGATIVE_INFINITY
    return others
  }

  private batch(entries: readonly StreamEntry[], generation: number, open: Open): Batch {
    const messages = entries.map(([id, fields]) => this.message(id, fields!))
    if (generation === this.generation && entries.length > 0) this.delivered.push({ n: ++this.n, ids: entries.map(([id]) => id), open })
    const position: StreamPosition = { n: this.n, open: this.delivered.map(d => d.open) }
    const batch = { lane: this.id, messages, position: position as unknown as Position }
    this.made.set(batch, generation)
    return batch
  }

  private message(id: string, fields: readonly Buffer[]): Message {
    const { field, key_field } = this.o.config
    const key = key_field === undefined ? null : (valueOf(fields, key_field) ?? null)
    const payload = field === undefined || count(fields, field) > 1 ? undefined : valueOf(fields, field)
    // Of an entry without the field, or with several, the dead letter has whatever there is: acknowledged, it may be gone from Redis soon.
    const m = Message.fromRecord(
      payload ?? asObject(fields),
      key,
      Number(id.slice(0, id.indexOf('-'))),
      undefined,
      offsetOf(id),
      this.origin,
    )
    const times = field === undefined ? 1 : count(fields, field)
    if (times === 0) m.failure = new DataError(`entry ${id} of ${this.key} has no field "${field}"`)
    if (times > 1) m.failure = new DataError(`entry ${id} of ${this.key} has the field "${field}" ${times} times`)
    return m
  }

  private async acknowledge(ids: readonly string[]): Promise<void> {
    for (let at = 0; at < ids.length; at += ACK)
      await ask(this.o.driver, ['XACK', this.key, this.o.group, ...ids.slice(at, at + ACK)], `stream ${this.key}`)
  }
}

/** An id as a whole number that orders as ids do: its ms × 4096 plus its sequence, as far as that goes. */
export function offsetOf(id: string): number {
  const dash = id.indexOf('-')
  const ms = Number(id.slice(0, dash))
  const offset = ms * 4096 + Math.min(4095, Number(id.slice(dash + 1)))
  return Number.isSafeInteger(offset) ? offset : Math.min(ms, Number.MAX_SAFE_INTEGER)
}

function lies(id: string, open: Open): boolean {
  if ('ids' in open) return open.ids.includes(id)
  return compare(id, open[0]) >= 0 && compare(id, open[1]) <= 0
}

function compare(a: string, b: string): number {
  const [am, as] = a.split('-').map(Number)
  const [bm, bs] = b.split('-').map(Number)
  return am - bm || as - bs
}

/** Of an XREADGROUP on one stream. */
function entriesOf(reply: Reply): StreamEntry[] {
  if (!Array.isArray(reply) || reply.length === 0) return []
  return toEntries((reply[0] as Reply[])[1] as Reply[])
}

const toEntries = (list: Reply[]): StreamEntry[] =>
  list.filter(e => e !== null).map(e => [text((e as Reply[])[0]), (e as Reply[])[1] as Buffer[] | null])

function valueOf(fields: readonly Buffer[], name: string): Buffer | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i].toString() === name) return fields[i + 1]
  return undefined
}

function count(fields: readonly Buffer[], name: string): number {
  let n = 0
  for (let i = 0; i < fields.length; i += 2) if (fields[i].toString() === name) n++
  return n
}

/** XADD takes a field several times: its values are then a list. */
function asObject(fields: readonly Buffer[]): Buffer {
  const object = new Map<string, string | string[]>()
  for (let i = 0; i < fields.length; i += 2) {
    const [name, value] = [fields[i].toString(), fields[i + 1].toString()]
    const before = object.get(name)
    if (Array.isArray(before)) before.push(value)
    else object.set(name, before === undefined ? value : [before, value])
  }
  // Not by way of an object: a field may be called __proto__, and keys that look like numbers keep their place.
  return Buffer.from(`{${[...object].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join()}}`)
}
