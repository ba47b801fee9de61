/** The driver for PostgreSQL servers, on `pg`. */
import { createHash } from 'node:crypto'
import pg from 'pg'
import type { Logger } from '../../../contract/plugin.ts'
import { type Driver, inTransaction, type OpenTransaction, type Param, type QueryOptions, type Result, type Session } from '../driver.ts'
import { classify, isConnectionLoss, TLS_ADVICE } from '../errors.ts'
import { BoundedQuery } from './bounded-query.ts'
import { closedFailure, failureOf, tlsError } from '../../tls-failure.ts'
import { PeerWatch } from '../../peer-watch.ts'
import { ServerSession } from './session.ts'
import { isBroken, type Runner, ServerTransaction } from './transaction.ts'
import { decode, encode } from '../types.ts'

export interface ServerOptions {
  readonly dsn: string
  /** The name of the server in messages. */
  readonly place: string
  /** `options` of the DSN: `-c search_path=…` */
  readonly options: string
  readonly ssl: object | false
  readonly applicationName: string
  readonly poolSize: number
  readonly statementTimeout: number
  readonly lockTimeout: number
  readonly idleInTransactionTimeout: number
}

const CONNECT_TIMEOUT = 10_000
/** A server that is silent for this much longer than its own statement_timeout counts as unreachable. */
const SILENCE = 10_000
const PING_TIMEOUT = 10_000

/** Tests the connection once: wrong credentials end the run immediately. */
export async function openServer(options: ServerOptions, log: Logger): Promise<Driver> {
  const driver = new ServerDriver(options, log)
  try {
    await driver.query('select 1')
  } catch (error) {
    await driver.close()
    const ended = failureOf(error) ? undefined : closedFailure((error as Error).cause, TLS_ADVICE, options.ssl !== false)
    throw ended === undefined ? error : tlsError(`PostgreSQL at ${options.place}`, ended, error)
  }
  return driver
}

class ServerDriver implements Driver, Runner {
  readonly embedded = false
  private readonly config: pg.PoolConfig
  private readonly pool: pg.Pool
  private readonly place: string
  private readonly sessions = new Set<ServerSession>()
  private readonly watch = new PeerWatch(() => this.ping())

  constructor(o: ServerOptions, log: Logger) {
    this.place = `PostgreSQL at ${o.place}`
    this.config = {
      connectionString: o.dsn,
      ssl: o.ssl,
      application_name: o.applicationName,
      statement_timeout: o.statementTimeout,
      lock_timeout: o.lockTimeout,
      idle_in_transaction_session_timeout: o.idleInTransactionTimeout,
      ...(o.statementTimeout > 0 ? { query_timeout: o.statementTimeout + SILENCE } : {}),
      // The text form of values must not depend on the settings of the server, the database or the role.
      options:
        `-c TimeZone=UTC -c DateStyle=ISO -c bytea_output=hex -c extra_float_digits=1 -c client_min_messages=error ${o.options}`.trim(),
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT,
      types: { getTypeParser: ((type: number) => (text: string) => decode(type, text)) as never },
    }
    this.pool = new pg.Pool({ ...this.config, max: o.poolSize, idleTimeoutMillis: 30_000, allowExitOnIdle: true })
    // An idle connection that ends is replaced when one is needed.
    this.pool.on('error', error => {
      this.watch.failed(error)
      log.debug({ error: error.message }, 'an idle PostgreSQL connection ended')
    })
  }

  async query(sql: string, params: readonly Param[] = [], options?: QueryOptions): Promise<Result> {
    const client = await this.client()
    try {
      const result = await this.run(client, sql, params, options)
      client.release()
      return result
    } catch (error) {
      client.release(isBroken(error))
      throw error
    }
  }

  async begin(): Promise<OpenTransaction> {
    const client = await this.client()
    return this.open(client, broken => client.release(broken))
  }

  transaction<T>(work: (tx: OpenTransaction) => Promise<T>): Promise<T> {
    return inTransaction(() => this.begin(), work as never)
  }

  async script(sql: string): Promise<void> {
    const client = await this.client()
    try {
      // Without parameters the simple protocol is used, which accepts several statements as one transaction.
      await client.query(sql)
      client.release()
    } catch (error) {
      client.release(true)
      throw this.failed(error)
    }
  }

  async session(): Promise<Session> {
    const client = new pg.Client(this.config)
    const session = new ServerSession(client, this, () => this.sessions.delete(session))
    try {
      await client.connect()
    } catch (error) {
      throw this.failed(error)
    }
    this.sessions.add(session)
    return session
  }

  healthy(): true | string {
    return this.watch.look()
  }

  async close(): Promise<void> {
    await Promise.all([...this.sessions].map(s => s.release()))
    if (!this.pool.ended) await this.pool.end()
  }

  async open(client: pg.ClientBase, release: (broken: boolean) => void): Promise<OpenTransaction> {
    try {
      await client.query('begin')
    } catch (error) {
      release(true)
      throw this.failed(error)
    }
    return new ServerTransaction(client, this, release)
  }

  async run(client: pg.ClientBase, sql: string, params: readonly Param[], options?: QueryOptions): Promise<Result> {
    try {
      const config = { text: sql, values: params.map(encode), name: options?.prepare ? nameOf(sql) : undefined }
      const { result, more } =
        options?.maxRows === undefined
          ? { result: await client.query(config), more: false }
          : await new BoundedQuery(config, options.maxRows).run(client)
      this.watch.answered()
      const fields = result.fields.map(f => ({ name: f.name, type: f.dataTypeID }))
      return { rows: result.rows, rowCount: result.rowCount ?? 0, fields, more }
    } catch (error) {
      throw this.failed(error)
    }
  }

  failed(error: unknown): Error {
    const known = classify(error, this.place)
    if (isConnectionLoss(error)) this.watch.failed(known)
    return known
  }

  private async ping(): Promise<void> {
    const client = await this.client()
    try {
      // Shorter than the time that a statement may take: nothing is done here.
      await client.query({ text: 'select 1', query_timeout: PING_TIMEOUT } as pg.QueryConfig)
      client.release()
    } catch (error) {
      client.release(true)
      throw this.failed(error)
    }
  }

  private async client(): Promise<pg.PoolClient> {
    try {
      const client = await this.pool.connect()
      // The running query is rejected by itself.
      if (client.listenerCount('error') < 2) client.on('error', () => {})
      return client
    } catch (error) {
      throw this.failed(error)
    }
  }
}

const names = new Map<string, string>()
function nameOf(sql: string): string {
  let name = names.get(sql)
  if (name === undefined) {
    name = `runner_${createHash('sha1').update(sql).digest('hex').slice(0, 20)}`
    names.set(sql, name)
  }
  return name
}
