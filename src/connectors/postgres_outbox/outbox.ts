/**
 * The source: takes leases, hands out what the pump reads, and gives everything up when the connection is lost. Leases, reads and
 * marks share one connection, so nothing can be marked under a lease that is gone.
 */
import type { PostgresOutboxSourceConfig } from '../../config.gen.ts'
import {
  type Batch,
  ConnectionError,
  EnvironmentError,
  PipelineError,
  type Position,
  type Source,
  type SourceContext,
} from '../../plugin.ts'
import { connect, type Lease } from '../postgres/connect.ts'
import { quoteTable, type Session } from '../postgres/driver.ts'
import { Bucket } from './bucket.ts'
import { alone, Leases } from './leases.ts'
import { OutboxMeter } from './meter.ts'
import { Pump } from './pump.ts'
import { Signal } from './signal.ts'
import { type Statements, statements } from './table.ts'

/** What belongs to one connection, and is gone with it. */
interface Connection {
  readonly session: Session
  readonly leases: Leases
  readonly pump: Pump
  /** Embedded database: the lock that its advisory locks are not. */
  readonly unlock: () => void
  timer: NodeJS.Timeout | undefined
  tending: Promise<void> | undefined
  /** Another publisher is about to give back what is ours by right. */
  lacking: boolean
  /** performance.now() at which the gauges are due. */
  metering: number
}

/** While buckets are to come from another publisher, how often to look for them, ms: nobody publishes them meanwhile. */
const SOON = 50

export class Outbox implements Source {
  private readonly config: PostgresOutboxSourceConfig
  private readonly ctx: SourceContext
  private readonly statements: Statements
  private readonly meter: OutboxMeter
  private readonly buckets = new Map<number, Bucket>()
  private readonly arrived = new Signal()
  private lease: Lease | undefined
  private connection: Connection | undefined
  private failure: Error | undefined
  private turn = 0
  private closed = false

  constructor(config: PostgresOutboxSourceConfig, ctx: SourceContext) {
    this.config = config
    this.ctx = ctx
    this.statements = statements(config)
    this.meter = new OutboxMeter(config, ctx.metrics)
  }

  async open(): Promise<void> {
    if (this.ctx.range) throw new EnvironmentError('an outbox has no past to read again: replay the topic it is published to')
    await this.connect()
  }

  async read(signal: AbortSignal): Promise<Batch | null> {
    for (;;) {
      signal.throwIfAborted()
      this.fail()
      if (this.connection === undefined) await this.connect()
      const pump = this.connection!.pump
      const waiting = [...this.buckets.values()].filter(bucket => bucket.waiting > 0)
      if (waiting.length > 0) {
        const batch = waiting[this.turn++ % waiting.length].take(this.ctx.clock.now(), pump.more)
        pump.wake()
        return batch
      }
      if (!this.config.follow && pump.drained) return null
      await this.arrived.wait(signal)
    }
  }

  async seek(lane: string, position: Position | undefined): Promise<void> {
    const bucket = this.find(lane)
    if (bucket === undefined) return
    await this.restore(this.connection!, bucket, position)
    this.connection?.pump.refresh()
  }

  /** Marked with the next look at the table, which comes at once: a round trip less, and nothing waits for it. */
  async commit(lane: string, position: Position): Promise<void> {
    const bucket = this.find(lane)
    if (bucket === undefined) return
    this.meter.published.inc(bucket.commit(position))
    this.connection?.pump.wake()
  }

  caughtUp(lane: string): boolean {
    return this.connection?.pump.more === false && this.find(lane)?.waiting === 0
  }

  healthy(): boolean {
    return this.connection !== undefined
  }

  async close(): Promise<void> {
    this.closed = true
    const { connection } = this
    this.connection = undefined
    if (connection !== undefined) {
      clearTimeout(connection.timer)
      await this.bounded(this.leave(connection)).catch(error =>
        this.ctx.log.debug({ error: (error as Error).message }, 'leaving the outbox'),
      )
      await connection.session.release()
      connection.unlock()
    }
    this.buckets.clear()
    await this.lease?.release()
    this.lease = undefined
  }

  /** Marks what is published and gives the buckets back; a server would do the latter by itself, the embedded one does not. */
  private async leave({ leases, pump }: Connection): Promise<void> {
    await pump.stop()
    await leases.give([...leases.held])
    await leases.leave()
  }

  private find(lane: string): Bucket | undefined {
    for (const bucket of this.buckets.values()) if (bucket.lane === lane) return bucket
    return undefined
  }

  private async connect(): Promise<void> {
    const { config, ctx } = this
    this.lease ??= await connect(config, ctx.log)
    const { driver } = this.lease
    const session = await driver.session()
    let unlock = (): void => {}
    try {
      const { rows } = await session.query('SELECT $1::text::regclass::oid::text AS oid', [quoteTable(config.table)])
      const oid = String(rows[0].oid)
      if (driver.embedded) unlock = alone(driver, oid)
      if (!driver.embedded) for (const name of PLANS) await session.query(`SET ${name}`)
      const leases = new Leases(session, oid, config.buckets)
      await leases.join()
      const pump = new Pump(
        session,
        this.statements,
        config,
        this.buckets,
        () => this.arrived.fire(),
        error => this.broke(error),
        driver.embedded,
      )
      const connection: Connection = { session, leases, pump, unlock, timer: undefined, tending: undefined, lacking: false, metering: 0 }
      this.connection = connection
      session.onLost(error => this.lose(connection, error))
      if (config.channel !== '') await session.listen(config.channel, () => pump.hint())
      await this.tend(connection)
      pump.start()
      this.schedule(connection)
    } catch (error) {
      if (this.connection?.session === session) this.lose(this.connection, error as Error, false)
      else {
        unlock()
        await session.release()
      }
      throw error
    }
  }

  private schedule(connection: Connection): void {
    const { lease_interval } = this.config
    connection.timer = setTimeout(
      () => {
        connection.tending = this.tend(connection)
          .catch(error => this.broke(error as Error))
          .finally(() => {
            if (this.connection === connection) this.schedule(connection)
          })
      },
      connection.lacking ? Math.min(SOON, lease_interval) : lease_interval,
    )
    connection.timer.unref()
  }

  /** Looks at who is there; gives back what is more than our share, takes what is free, and refreshes the gauges. */
  private async tend(connection: Connection): Promise<void> {
    const { leases, session } = connection
    const { share, free } = await this.answered(connection, leases.look())
    const surplus = [...leases.held].slice(Math.max(share, 0))
    if (surplus.length > 0) await this.giveBack(connection, surplus)
    const lacking = share - leases.held.size
    const got = lacking > 0 ? await this.answered(connection, leases.take(free.slice(0, lacking))) : []
    if (got.length > 0) await this.takeOver(connection, got)
    connection.lacking = got.length < lacking
    if (this.connection !== connection || performance.now() < connection.metering) return
    connection.metering = performance.now() + this.config.lease_interval / 2
    await this.answered(connection, this.meter.refresh(session, this.buckets.size))
  }

  private async takeOver(connection: Connection, indexes: readonly number[]): Promise<void> {
    const { ctx } = this
    const buckets = new Map(indexes.map(index => [index, this.bucket(index)]))
    const positions = await ctx.assign([...buckets.values()].map(({ lane }) => ({ id: lane, source: ctx.step })))
    // Lost while the runtime was claiming: the lanes are somebody else's.
    if (this.connection !== connection || this.closed) return
    for (const [index, bucket] of buckets) {
      await this.restore(connection, bucket, positions.get(bucket.lane))
      this.buckets.set(index, bucket)
    }
    connection.pump.refresh()
  }

  private async giveBack(connection: Connection, indexes: readonly number[]): Promise<void> {
    const lanes: string[] = []
    for (const index of indexes) {
      const bucket = this.buckets.get(index)
      if (bucket === undefined) continue
      bucket.retire()
      lanes.push(bucket.lane)
    }
    await this.ctx.revoke(lanes)
    if (this.connection !== connection) return
    await this.answered(connection, connection.pump.flush())
    for (const index of indexes) this.buckets.delete(index)
    await this.answered(connection, connection.leases.give(indexes))
  }

  private bucket(index: number): Bucket {
    const { ctx, config } = this
    const lane = `${config.table}/${index}`
    return new Bucket(lane, { lane, source: ctx.step, format: config.format })
  }

  /** Marks what the checkpoint says is published: a crash came between the two. */
  private async restore(connection: Connection, bucket: Bucket, position: Position | undefined): Promise<void> {
    const ids = bucket.seek(position)
    if (ids.length === 0) return
    const { rowCount } = await this.answered(connection, connection.session.query(this.statements.mark, [ids]))
    for (const id of ids) bucket.published.delete(id)
    this.meter.suppressed.inc(rowCount)
  }

  /** @throws {ConnectionError} after `lease_timeout`: the server may have given our locks to somebody else. */
  private async answered<T>(connection: Connection, answer: Promise<T>): Promise<T> {
    try {
      return await this.bounded(answer)
    } catch (error) {
      if (error === LATE) {
        const gone = new ConnectionError(`the database has not answered for ${this.config.lease_timeout} ms`)
        this.lose(connection, gone)
        throw gone
      }
      throw error
    }
  }

  private async bounded<T>(answer: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(LATE), this.config.lease_timeout)
    try {
      return await Promise.race([answer, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  /** The locks are gone, so the lanes are. The next `read` connects again. */
  private lose(connection: Connection, error: Error, report = true): void {
    if (this.connection !== connection) return
    this.connection = undefined
    clearTimeout(connection.timer)
    connection.pump.abandon()
    const lanes = [...this.buckets.values()].map(({ lane }) => lane)
    this.buckets.clear()
    if (lanes.length > 0) this.ctx.lose(lanes)
    this.meter.leases.set(0)
    connection.unlock()
    void connection.session.release().catch(() => {})
    if (report) this.broke(error)
  }

  private broke(error: Error): void {
    if (this.closed) return
    this.failure ??= error instanceof PipelineError ? error : new ConnectionError(error.message, error)
    this.arrived.fire()
  }

  private fail(): void {
    const { failure } = this
    this.failure = undefined
    if (failure !== undefined) throw failure
  }
}

const LATE = new Error('late')

/**
 * A plan for the ids at hand finds them by a hash table; one for any ids would go through the list for every row. And a long
 * backlog tempts the planner to read and sort all of it, when the index has its beginning in order.
 */
const PLANS = ['plan_cache_mode = force_custom_plan', 'enable_bitmapscan = off', 'enable_seqscan = off', 'enable_sort = off']
