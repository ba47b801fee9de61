/**
 * One connection, and the state that is lost with it. While it is open, it maintains our share of the buckets: claims free ones, releases
 * surplus ones. It is closed when the server has been silent for so long that other publishers may have our locks.
 */
import type { PostgresOutboxSourceConfig } from '../../../generated/config-types.ts'
import { ConnectionError, type Position, type SourceContext } from '../../../contract/plugin.ts'
import { monotonic } from '../../../kit/clock.ts'
import type { Session } from '../../../kit/postgres/driver.ts'
import { Bucket } from './bucket.ts'
import type { BucketLeases } from './bucket-leases.ts'
import type { OutboxMeter } from './meter.ts'
import type { OutboxReader } from './outbox-reader.ts'
import type { Statements } from './table.ts'

/** How often to check for buckets that another publisher will release, ms: they are not published meanwhile. */
const SOON = 50
/** After this long without a response from the database, the source is not ready, ms. */
const SILENT = 6000

/** The part of the outbox that a connection needs. */
export interface ConnectionHost {
  readonly config: PostgresOutboxSourceConfig
  readonly ctx: SourceContext
  readonly statements: Statements
  readonly meter: OutboxMeter
  /** Ours, by number. */
  readonly buckets: Map<number, Bucket>
  closed(): boolean
  lose(connection: Connection, error: Error): void
  /** Reported by the next `read`. */
  broke(error: Error): void
}

export class Connection {
  readonly session: Session
  readonly reader: OutboxReader
  /** Embedded database: the lock that replaces its advisory locks. */
  readonly unlock: () => void
  /** One backend for all, which allows no other. */
  private readonly embedded: boolean
  private readonly leases: BucketLeases
  private readonly host: ConnectionHost
  private timer: NodeJS.Timeout | undefined
  private beating: NodeJS.Timeout | undefined
  /** `monotonic` ms at which the last answered query was sent: up to then, the server has seen that this publisher is alive. */
  private heardAt = monotonic()
  /** Lost, or being closed: the connection may no longer change the buckets. */
  private ended = false
  /** Another publisher is about to release buckets of our share. */
  private lacking = false
  /** performance.now() at which the gauges are next updated. */
  private metering = 0
  /** performance.now() at which silent publishers are next checked for. */
  private evicting = 0
  /** Queries without a response yet: `monotonic` ms at which each was sent. */
  private readonly asked = new Set<{ readonly at: number }>()

  constructor(session: Session, leases: BucketLeases, reader: OutboxReader, unlock: () => void, embedded: boolean, host: ConnectionHost) {
    this.embedded = embedded
    this.session = session
    this.leases = leases
    this.reader = reader
    this.unlock = unlock
    this.host = host
  }

  /** Why the outbox is not ready; undefined: the database answers. */
  get silent(): string | undefined {
    const limit = monotonic() - SILENT
    for (const { at } of this.asked) if (at < limit) return 'the database does not answer'
    return undefined
  }

  /** After it, only `leave` claims or releases buckets. */
  end(): void {
    this.ended = true
    clearTimeout(this.timer)
    clearInterval(this.beating)
  }

  /** Marks the published rows and releases the buckets; a server would release them by itself, the embedded database does not. */
  leave(): Promise<void> {
    return this.bounded(this.giveUp())
  }

  /** False: other publishers may have replaced this one, because it was frozen or the database is silent. Nothing more may be written. */
  get holds(): boolean {
    return this.embedded || monotonic() - this.heardAt < this.host.config.lease
  }

  /** Runs `tend` repeatedly. While it releases buckets or waits for the runtime, the beats continue. */
  schedule(): void {
    const { lease_interval, lease } = this.host.config
    this.beating ??= setInterval(() => {
      if (this.asked.size === 0) void this.answered(this.leases.beat()).catch(() => {})
    }, lease / 4).unref()
    this.timer = setTimeout(
      () => {
        void this.tend()
          .catch(error => this.host.broke(error as Error))
          .finally(() => {
            if (!this.ended) this.schedule()
          })
      },
      this.lacking ? Math.min(SOON, lease_interval) : lease_interval,
    )
    this.timer.unref()
  }

  /** Checks the members; releases buckets above our share, claims free ones, and updates the gauges. */
  async tend(): Promise<void> {
    const { leases, session } = this
    await this.evict()
    const { share, free } = await this.answered(leases.look())
    const surplus = [...leases.held].slice(Math.max(share, 0))
    if (surplus.length > 0) await this.giveBack(surplus)
    const lacking = share - leases.held.size
    const got = lacking > 0 ? await this.answered(leases.take(free.slice(0, lacking))) : []
    if (got.length > 0) await this.takeOver(got)
    this.lacking = got.length < lacking
    if (this.ended || performance.now() < this.metering) return
    this.metering = performance.now() + this.host.config.lease_interval / 2
    await this.answered(this.host.meter.refresh(session, this.host.buckets.size))
  }

  /** Marks rows that the checkpoint lists as published: a crash happened between the two. */
  async restore(bucket: Bucket, position: Position | undefined): Promise<void> {
    const ids = bucket.seek(position)
    if (ids.length === 0) return
    const { rowCount } = await this.answered(this.session.query(this.host.statements.mark, [ids]))
    for (const id of ids) bucket.published.delete(id)
    this.host.meter.suppressed.inc(rowCount)
  }

  /** Checked less often than free buckets, because a publisher must be silent for a longer time. */
  private async evict(): Promise<void> {
    const { ctx, config } = this.host
    if (this.embedded || performance.now() < this.evicting) return
    this.evicting = performance.now() + Math.min(1000, config.lease / 4)
    const gone = await this.answered(this.leases.evict(config.lease))
    if (gone > 0)
      ctx.log.warn(
        { step: ctx.step, publishers: gone },
        `disconnected publishers that were silent for ${config.lease} ms; their buckets are free`,
      )
  }

  private async takeOver(indexes: readonly number[]): Promise<void> {
    const { ctx } = this.host
    const buckets = new Map(indexes.map(index => [index, this.bucket(index)]))
    const positions = await ctx.assign([...buckets.values()].map(({ lane }) => ({ id: lane, source: ctx.step })))
    // Lost while the runtime was claiming: other instances own the lanes.
    if (this.ended || this.host.closed()) return
    for (const [index, bucket] of buckets) {
      await this.restore(bucket, positions.get(bucket.lane))
      if (this.ended) return
      this.host.buckets.set(index, bucket)
    }
    this.reader.refresh()
  }

  private async giveBack(indexes: readonly number[]): Promise<void> {
    const lanes: string[] = []
    for (const index of indexes) {
      const bucket = this.host.buckets.get(index)
      if (bucket === undefined) continue
      bucket.retire()
      lanes.push(bucket.lane)
    }
    await this.host.ctx.revoke(lanes)
    if (this.ended) return
    await this.answered(this.reader.flush())
    for (const index of indexes) this.host.buckets.delete(index)
    await this.answered(this.leases.give(indexes))
  }

  private bucket(index: number): Bucket {
    const { ctx, config } = this.host
    const lane = `${config.table}/${index}`
    return new Bucket(lane, { lane, source: ctx.step, format: config.format })
  }

  private async giveUp(): Promise<void> {
    const { leases, reader } = this
    await reader.stop()
    await leases.give([...leases.held])
    await leases.leave()
  }

  /** @throws {ConnectionError} after `lease`: the server may have given our locks to another session. */
  private async answered<T>(answer: Promise<T>): Promise<T> {
    try {
      return await this.bounded(answer)
    } catch (error) {
      if (error === LATE) {
        const gone = new ConnectionError(`the database has not answered for ${this.host.config.lease} ms`)
        this.host.lose(this, gone)
        throw gone
      }
      throw error
    }
  }

  private async bounded<T>(answer: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(LATE), this.host.config.lease)
    const question = { at: monotonic() }
    this.asked.add(question)
    try {
      const result = await Promise.race([answer, late.promise])
      this.heardAt = Math.max(this.heardAt, question.at)
      return result
    } finally {
      this.asked.delete(question)
      clearTimeout(timer)
    }
  }
}

const LATE = new Error('late')
