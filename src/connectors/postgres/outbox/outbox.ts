/**
 * The source: connects, returns the rows that the reader has read, and drops everything when the connection is lost. Leases, reads and
 * marks share one connection, so nothing can be marked under an expired lease.
 */
import type { PostgresOutboxSourceConfig } from '../../../generated/config-types.ts'
import {
  type Batch,
  ConnectionError,
  EnvironmentError,
  PipelineError,
  type Position,
  type Source,
  type SourceContext,
} from '../../../contract/plugin.ts'
import { connect, type PostgresHandle } from '../../../kit/postgres/connect.ts'
import { quoteTable } from '../../../kit/postgres/driver.ts'
import type { Bucket } from './bucket.ts'
import { Connection, type ConnectionHost } from './connection.ts'
import { alone, BucketLeases } from './bucket-leases.ts'
import { announcePublisher } from './live-publishers.ts'
import { OutboxMeter } from './meter.ts'
import { OutboxReader } from './outbox-reader.ts'
import { Signal } from './signal.ts'
import { type Statements, statements } from './table.ts'

export class Outbox implements Source {
  private readonly config: PostgresOutboxSourceConfig
  private readonly ctx: SourceContext
  private readonly statements: Statements
  private readonly meter: OutboxMeter
  private readonly buckets = new Map<number, Bucket>()
  private readonly arrived = new Signal()
  private readonly host: ConnectionHost
  private handle: PostgresHandle | undefined
  private connection: Connection | undefined
  private failure: Error | undefined
  private turn = 0
  private closed = false

  constructor(config: PostgresOutboxSourceConfig, ctx: SourceContext) {
    this.config = config
    this.ctx = ctx
    this.statements = statements(config)
    this.meter = new OutboxMeter(config, ctx.metrics)
    this.host = {
      config,
      ctx,
      statements: this.statements,
      meter: this.meter,
      buckets: this.buckets,
      closed: () => this.closed,
      lose: (connection, error) => this.lose(connection, error),
      broke: error => this.broke(error),
    }
  }

  async open(): Promise<void> {
    if (this.ctx.range) throw new EnvironmentError('an outbox cannot be read again from the past: replay the topic that it is published to')
    await this.connect()
  }

  async read(signal: AbortSignal): Promise<Batch | null> {
    for (;;) {
      signal.throwIfAborted()
      this.fail()
      if (this.connection === undefined) {
        await this.connect()
        // The connection may have been lost while the runtime claimed the lanes.
        continue
      }
      const { reader } = this.connection
      const waiting = [...this.buckets.values()].filter(bucket => bucket.waiting > 0)
      if (waiting.length > 0) {
        const batch = waiting[this.turn++ % waiting.length].take(this.ctx.clock.now(), reader.more)
        reader.wake()
        return batch
      }
      if (!this.config.follow && reader.drained) return null
      await this.arrived.wait(signal)
    }
  }

  async seek(lane: string, position: Position | undefined): Promise<void> {
    const bucket = this.find(lane)
    if (bucket === undefined) return
    await this.connection?.restore(bucket, position)
    this.connection?.reader.refresh()
  }

  /** Marked with the next query, which follows immediately: this saves a round trip, and nothing waits for it. */
  async commit(lane: string, position: Position): Promise<void> {
    const bucket = this.find(lane)
    if (bucket === undefined) return
    this.meter.published.inc(bucket.commit(position))
    this.connection?.reader.wake()
  }

  caughtUp(lane: string): boolean {
    return this.connection?.reader.more === false && this.find(lane)?.waiting === 0
  }

  holds(): boolean {
    return this.connection?.holds ?? false
  }

  healthy(): true | string {
    return this.connection === undefined ? 'not connected to the database' : (this.connection.silent ?? true)
  }

  async close(): Promise<void> {
    this.closed = true
    const { connection } = this
    this.connection = undefined
    if (connection !== undefined) {
      connection.end()
      await connection.leave().catch(error => this.ctx.log.debug({ error: (error as Error).message }, 'leaving the outbox'))
      await connection.session.release()
      connection.unlock()
    }
    this.buckets.clear()
    await this.handle?.release()
    this.handle = undefined
  }

  private find(lane: string): Bucket | undefined {
    for (const bucket of this.buckets.values()) if (bucket.lane === lane) return bucket
    return undefined
  }

  private async connect(): Promise<void> {
    const { config, ctx } = this
    this.handle ??= await connect(config, ctx.log)
    const { driver } = this.handle
    const session = await driver.session()
    let unlock = (): void => {}
    try {
      const { rows } = await session.query('SELECT $1::text::regclass::oid::text AS oid', [quoteTable(config.table)])
      const oid = String(rows[0].oid)
      if (driver.embedded) unlock = alone(driver, oid)
      if (!driver.embedded) for (const name of PLANS) await session.query(`SET ${name}`)
      const leases = new BucketLeases(session, oid, config.buckets)
      await leases.join()
      if (ctx.live && !driver.embedded) {
        // A publisher that has vanished must not block its replacement.
        await leases.evict(config.lease)
        await announcePublisher(session, oid, config.table, ctx.live)
      }
      const reader = new OutboxReader(
        session,
        this.statements,
        config,
        this.buckets,
        () => this.arrived.fire(),
        error => this.broke(error),
        driver.embedded,
      )
      const connection = new Connection(session, leases, reader, unlock, driver.embedded, this.host)
      this.connection = connection
      session.onLost(error => this.lose(connection, error))
      if (config.channel !== '') await session.listen(config.channel, () => reader.hint())
      await connection.tend()
      // Lost while the runtime claimed the lanes: `lose` has reported it, and this connection is not used any more.
      if (this.connection !== connection) return
      reader.start()
      connection.schedule()
    } catch (error) {
      if (this.connection?.session === session) this.lose(this.connection, error as Error, false)
      else {
        unlock()
        await session.release()
      }
      throw error
    }
  }

  /** The locks are lost, and the lanes with them. The next `read` connects again. */
  private lose(connection: Connection, error: Error, report = true): void {
    if (this.connection !== connection) return
    this.connection = undefined
    connection.end()
    connection.reader.abandon()
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

/**
 * A plan for the given ids finds them by a hash table; a generic plan would scan the list for every row. And a long backlog leads the
 * planner to read and sort all of it, although the index already has its beginning in order.
 */
const PLANS = ['plan_cache_mode = force_custom_plan', 'enable_bitmapscan = off', 'enable_seqscan = off', 'enable_sort = off']
