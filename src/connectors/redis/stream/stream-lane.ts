/** One stream as a lane: reads first the entries that this consumer has pending, then those that dead consumers left, then new ones. */
import { isUtf8 } from 'node:buffer'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Batch,
  type Counter,
  DataError,
  DecodeError,
  type Gap,
  keyTextOf,
  Message,
  type Origin,
  type Position,
  type SourceContext,
} from '../../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../../generated/config-types.ts'
import { TrimmedEntries } from './trimmed.ts'
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

/** Read but not acknowledged: a range of the stream, all of it ours, or single entries claimed from other consumers. */
type Open = readonly [first: string, last: string] | { readonly ids: readonly string[] }
/** `n` counts batches. Inside `open` are entries that are done but not acknowledged. */
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
/** Minimum interval between checks for trimmed entries, ms; a lane that is behind checks before each read. */
const LOOK = 1000

export class StreamLane {
  readonly id: string
  readonly key: string
  /** When the last check that found nothing left was sent: `clock.monotonic()`. */
  caughtUp: number | false = false
  private readonly o: LaneOptions
  private readonly origin: Origin
  private delivered: Delivered[] = []
  private n = 0
  private generation = 0
  /** Where reading of this consumer's own pending entries continues; undefined: all are read. */
  private own: string | undefined = '0-0'
  /** The last entry received as new. Pending entries after it were in a reply that did not arrive. */
  private newest = '0-0'
  /** Entries that a checkpoint from elsewhere marks as done. */
  private done: readonly Open[] = []
  private lastClaim = Number.NEGATIVE_INFINITY
  /** Where the search for abandoned entries continues. */
  private claimFrom = '0-0'
  private readonly generations = new WeakMap<Batch, number>()
  /** The group did not exist at the last check. */
  private made = false
  /** The stream was deleted, and the group with it: its unread entries are lost. */
  private deleted = false
  private readonly trimmed: TrimmedEntries
  private lastLook = Number.NEGATIVE_INFINITY

  constructor(options: LaneOptions) {
    this.o = options
    this.key = options.key
    const { key, group, ctx, driver } = options
    this.trimmed = new TrimmedEntries(key, group, why => {
      const level = driver.scope.startsWith('embedded:') ? 'info' : 'warn'
      ctx.log[level](
        { step: ctx.step, error: why },
        `the runner cannot detect entries of stream ${key} that are trimmed before they are read`,
      )
    })
    this.id = `stream/${options.key}/${options.consumer}`
    this.origin = { lane: this.id, source: options.ctx.step, topic: options.key, format: options.config.format }
  }

  /** Makes sure that the group exists. @returns false: it existed before */
  async prepare(): Promise<boolean> {
    if (this.o.ctx.range) return false
    const from = this.o.config.start_at === 'latest' ? '$' : '0'
    const [reply] = await this.o.driver.run([['XGROUP', 'CREATE', this.key, this.o.group, from, 'MKSTREAM']])
    if (reply instanceof ReplyError && reply.kind !== 'BUSYGROUP') throw sortError(reply, `stream ${this.key}`)
    return (this.made = !(reply instanceof ReplyError))
  }

  seek(position: Position | undefined): void {
    this.generation++
    this.own = '0-0'
    this.delivered = []
    this.done = (position as StreamPosition | undefined)?.open ?? []
    this.n = Math.max(this.n, (position as StreamPosition | undefined)?.n ?? 0)
    this.caughtUp = false
    // This lane has read from the stream before, and the group is new.
    if (this.made && position !== undefined) this.deleted = true
    this.trimmed.forget()
    this.lastLook = Number.NEGATIVE_INFINITY
  }

  /** False: the batch was read before the lane was restored. */
  isCurrent(batch: Batch): boolean {
    return this.generations.get(batch) === this.generation
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
    if (this.o.ctx.range) return await this.look(block, generation)
    if (this.deleted) {
      this.deleted = this.made = false
      const reason = `stream ${this.key}, or its group ${this.o.group}, was deleted: its unread entries are lost`
      return this.batch([], generation, { ids: [] }, { reason })
    }
    if (this.own !== undefined) return await this.nextOwn(this.own, generation)
    const now = this.o.ctx.clock.monotonic()
    if (now - this.lastClaim >= this.o.config.claim_idle / 2) {
      this.lastClaim = now
      const { entries, gap } = await this.claim()
      if (entries.length > 0 || gap) {
        this.o.meter.claimed.inc(entries.length)
        return this.batch(entries, generation, { ids: entries.map(([id]) => id) }, gap)
      }
    }
    if (this.caughtUp === false || now - this.lastLook >= LOOK) {
      this.lastLook = now
      const gap = await this.trimmed.look(session)
      // Nothing has been read yet: if the run stops because of this, the next run detects it again.
      if (gap) return this.batch([], generation, { ids: [] }, gap)
    }
    const [reply] = await this.readNew(session, block, generation)
    if (reply instanceof ReplyError) {
      // The key was deleted, and the group with it.
      if (reply.kind === 'NOGROUP' || reply.kind === 'UNBLOCKED') this.deleted = await this.prepare()
      else throw sortError(reply, `stream ${this.key}`)
    }
    const entries = reply instanceof ReplyError ? [] : entriesOf(reply)
    this.newest = entries.at(-1)?.[0] ?? this.newest
    this.caughtUp = entries.length < this.o.config.batch_size && now
    return this.batch(entries, generation, [entries[0]?.[0], entries.at(-1)?.[0] as string])
  }

  /** A dry run has no group: entries that it reads stay for the consumers of the group. */
  private async look(block: number, generation: number): Promise<Batch> {
    const { clock } = this.o.ctx
    const now = clock.monotonic()
    const { batch_size } = this.o.config
    const what = `stream ${this.key}`
    const reply = await ask(this.o.driver, ['XRANGE', this.key, after(this.newest), '+', 'COUNT', batch_size], what)
    const entries = toEntries(reply as Reply[])
    this.newest = entries.at(-1)?.[0] ?? this.newest
    this.caughtUp = entries.length < batch_size && now
    if (entries.length === 0) await sleep(block)
    return this.batch(entries, generation, { ids: [] }, undefined, [])
  }

  private async readNew(session: Session, block: number, generation: number): Promise<(Reply | ReplyError)[]> {
    const { group, consumer, config } = this.o
    try {
      return await session.run([
        ['XREADGROUP', 'GROUP', group, consumer, 'COUNT', config.batch_size, 'BLOCK', block, 'STREAMS', this.key, '>'],
      ])
    } catch (error) {
      // The server may have delivered entries in a reply that was lost: they come before newer ones.
      if (generation === this.generation) this.own = this.newest
      throw error
    }
  }

  private async nextOwn(from: string, generation: number): Promise<Batch> {
    const { group, consumer, config, driver } = this.o
    const reply = await ask(
      driver,
      ['XREADGROUP', 'GROUP', group, consumer, 'COUNT', config.batch_size, 'STREAMS', this.key, from],
      `stream ${this.key}`,
    )
    const all = entriesOf(reply)
    if (generation === this.generation) this.own = all.at(-1)?.[0]
    const inHand = new Set(this.delivered.flatMap(d => d.ids))
    const entries = all.filter(([id]) => !inHand.has(id))
    const gone = entries.filter(([, fields]) => fields === null).map(([id]) => id)
    this.o.meter.missing.inc(gone.length)
    const done = entries.filter(([id, fields]) => fields !== null && this.done.some(open => lies(id, open))).map(([id]) => id)
    await this.acknowledge(done)
    const skip = new Set([...gone, ...done])
    const rest = entries.filter(([id]) => !skip.has(id))
    // Other consumers may have entries in between, so each entry is listed. Missing entries are acknowledged with the batch: if the run
    // stops because of them, the next run detects them again.
    const ids = [...gone, ...rest.map(([id]) => id)]
    return this.batch(rest, generation, { ids }, this.goneBefore(gone.length), ids)
  }

  private async claim(): Promise<{ entries: StreamEntry[]; gap: Gap | undefined }> {
    const { group, consumer, config, driver } = this.o
    const what = `stream ${this.key}`
    const reply = (await ask(
      driver,
      ['XAUTOCLAIM', this.key, group, consumer, config.claim_idle, this.claimFrom, 'COUNT', config.batch_size],
      what,
    )) as Reply[]
    const gone = (reply[2] as Reply[] | undefined)?.length ?? 0
    this.o.meter.missing.inc(gone)
    const entries = toEntries(reply[1] as Reply[])
    // Our own pending entries have only been pending for a long time.
    const mine = new Set(this.delivered.flatMap(d => d.ids))
    const others = entries.filter(([id, fields]) => fields !== null && !mine.has(id))
    this.claimFrom = text(reply[0])
    if (this.claimFrom !== '0-0') this.lastClaim = Number.NEGATIVE_INFINITY
    return { entries: others, gap: this.goneBefore(gone) }
  }

  private goneBefore(lost: number): Gap | undefined {
    if (lost === 0) return undefined
    return {
      lost,
      reason: `${lost} entries of stream ${this.key} were trimmed or deleted after they were delivered and before they were acknowledged`,
    }
  }

  private batch(
    entries: readonly StreamEntry[],
    generation: number,
    open: Open,
    gap?: Gap,
    ids: readonly string[] = entries.map(([id]) => id),
  ): Batch {
    const messages = entries.map(([id, fields]) => this.message(id, fields!))
    if (generation === this.generation && ids.length > 0) this.delivered.push({ n: ++this.n, ids, open })
    const position: StreamPosition = { n: this.n, open: this.delivered.map(d => d.open) }
    const batch: Batch = { lane: this.id, messages, position: position as unknown as Position, ...(gap && { gap }) }
    this.generations.set(batch, generation)
    return batch
  }

  private message(id: string, fields: readonly Buffer[]): Message {
    const { field, key_field } = this.o.config
    const key = key_field === undefined ? null : (valueOf(fields, key_field) ?? null)
    const payload = field === undefined || count(fields, field) > 1 ? undefined : valueOf(fields, field)
    // If an entry lacks the field or has it several times, the dead letter has the whole entry: once acknowledged, it may soon be deleted
    // from Redis.
    const m = Message.fromRecord(
      payload ?? asObject(fields),
      key,
      Number(id.slice(0, id.indexOf('-'))),
      undefined,
      offsetOf(id),
      this.origin,
    )
    if (payload === undefined && !fields.every(isUtf8))
      m.failure = new DecodeError(
        `entry ${id} of ${this.key} has a field with bytes that are not UTF-8; to read one field unchanged, set \`field\` and \`format: bytes\``,
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

/** Converts an id to a whole number with the same order: its ms × 4096 plus its sequence, as far as it fits. */
export function offsetOf(id: string): number {
  const dash = id.indexOf('-')
  const ms = Number(id.slice(0, dash))
  const offset = ms * 4096 + Math.min(4095, Number(id.slice(dash + 1)))
  return Number.isSafeInteger(offset) ? offset : Math.min(ms, Number.MAX_SAFE_INTEGER)
}

/** The next id. Both parts have up to 64 bits. */
function after(id: string): string {
  const [ms, sequence] = id.split('-')
  return `${ms}-${BigInt(sequence) + 1n}`
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

/** XADD accepts a field several times: its values then become a list. Bytes that are not UTF-8 become text as in keys. */
function asObject(fields: readonly Buffer[]): Buffer {
  const object = new Map<string, string | string[]>()
  for (let i = 0; i < fields.length; i += 2) {
    const [name, value] = [keyTextOf(fields[i]), keyTextOf(fields[i + 1])]
    const before = object.get(name)
    if (Array.isArray(before)) before.push(value)
    else object.set(name, before === undefined ? value : [before, value])
  }
  // Not through an object: a field may be called __proto__, and numeric keys must keep their order.
  return Buffer.from(`{${[...object].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join()}}`)
}
