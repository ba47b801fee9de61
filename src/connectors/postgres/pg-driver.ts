/** The driver for PostgreSQL servers, on `pg`. */
import { createHash } from 'node:crypto'
import pg from 'pg'
import { type Logger, UnknownOutcomeError } from '../../plugin.ts'
import { type Driver, inTransaction, type OpenTransaction, type Param, quoteName, type Result, type Session } from './driver.ts'
import { classify, isConnectionLoss } from './errors.ts'
import { decode, encode } from './types.ts'

export interface ServerOptions {
  readonly dsn: string
  /** The server in messages. */
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
/** A server that says nothing for so much longer than its own statement_timeout is taken for gone. */
const SILENCE = 10_000

/** Looks once whether it can be used: wrong credentials end the run at once. */
export async function openServer(options: ServerOptions, log: Logger): Promise<Driver> {
  const driver = new ServerDriver(options, log)
  try {
    await driver.query('select 1')
  } catch (error) {
    await driver.close()
    throw error
  }
  return driver
}

class ServerDriver implements Driver {
  readonly embedded = false
  private readonly config: pg.PoolConfig
  private readonly pool: pg.Pool
  private readonly place: string
  private readonly sessions = new Set<ServerSession>()
  private up = true

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
      // Texts of times must not depend on the server's settings.
      options: `-c TimeZone=UTC -c DateStyle=ISO -c client_min_messages=error ${o.options}`.trim(),
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT,
      types: { getTypeParser: ((type: number) => (text: string) => decode(type, text)) as never },
    }
    this.pool = new pg.Pool({ ...this.config, max: o.poolSize, idleTimeoutMillis: 30_000, allowExitOnIdle: true })
    // An idle connection that ends is replaced when one is needed.
    this.pool.on('error', error => {
      this.up = false
      log.debug({ error: error.message }, 'an idle PostgreSQL connection ended')
    })
  }

  async query(sql: string, params: readonly Param[] = [], options?: { prepare?: boolean }): Promise<Result> {
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
      // Without parameters the simple protocol is used, which takes several statements, as one transaction.
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

  healthy(): boolean {
    return this.up
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

  async run(client: pg.ClientBase, sql: string, params: readonly Param[], options?: { prepare?: boolean }): Promise<Result> {
    try {
      const result = await client.query({ text: sql, values: params.map(encode), name: options?.prepare ? nameOf(sql) : undefined })
      this.up = true
      return { rows: result.rows, rowCount: result.rowCount ?? 0, fields: result.fields.map(f => ({ name: f.name, type: f.dataTypeID })) }
    } catch (error) {
      throw this.failed(error)
    }
  }

  failed(error: unknown): Error {
    if (isConnectionLoss(error)) this.up = false
    return classify(error, this.place)
  }

  private async client(): Promise<pg.PoolClient> {
    try {
      const client = await this.pool.connect()
      // The query that runs is told by its own rejection.
      if (client.listenerCount('error') < 2) client.on('error', ignore)
      return client
    } catch (error) {
      throw this.failed(error)
    }
  }
}

class ServerTransaction implements OpenTransaction {
  private readonly client: pg.ClientBase
  private readonly driver: ServerDriver
  private readonly release: (broken: boolean) => void
  private broken = false
  private ended = false

  constructor(client: pg.ClientBase, driver: ServerDriver, release: (broken: boolean) => void) {
    this.client = client
    this.driver = driver
    this.release = release
  }

  async query(sql: string, params: readonly Param[] = [], options?: { prepare?: boolean }): Promise<Result> {
    if (this.ended) throw new Error('the transaction has ended')
    try {
      return await this.driver.run(this.client, sql, params, options)
    } catch (error) {
      this.broken ||= isBroken(error)
      throw error
    }
  }

  async script(sql: string): Promise<void> {
    try {
      await this.client.query(sql)
    } catch (error) {
      this.broken ||= isBroken(error)
      throw this.driver.failed(error)
    }
  }

  async commit(): Promise<void> {
    if (this.ended) throw new Error('the transaction has ended')
    this.ended = true
    try {
      const { command } = await this.client.query('commit')
      this.release(false)
      // A transaction in which a statement failed is rolled back, and the answer to COMMIT says so without an error.
      if (command !== 'COMMIT') throw new Error(`the transaction was rolled back: one of its statements had failed`)
    } catch (error) {
      if ((error as Error).message.startsWith('the transaction was rolled back')) throw error
      this.release(true)
      const cause = this.driver.failed(error)
      if (!isConnectionLoss(error)) throw cause
      throw new UnknownOutcomeError(`the connection was lost during COMMIT: ${cause.message}`, error)
    }
  }

  async rollback(): Promise<void> {
    if (this.ended) return
    this.ended = true
    if (!this.broken) {
      try {
        await this.client.query('rollback')
        this.release(false)
        return
      } catch {
        // Closing it rolls back as well.
      }
    }
    this.release(true)
  }
}

class ServerSession implements Session {
  private readonly client: pg.Client
  private readonly driver: ServerDriver
  private readonly forget: () => void
  private readonly lost: ((error: Error) => void)[] = []
  private readonly listeners = new Map<string, ((payload: string) => void)[]>()
  private released = false
  private gone: Error | undefined

  constructor(client: pg.Client, driver: ServerDriver, forget: () => void) {
    this.client = client
    this.driver = driver
    this.forget = forget
    const lose = (error: Error): void => {
      if (this.released || this.gone !== undefined) return
      this.gone = driver.failed(error)
      forget()
      for (const callback of this.lost) callback(this.gone)
    }
    client.on('error', lose)
    client.on('end', () => lose(new Error('the connection ended')))
    client.on('notification', ({ channel, payload }) => {
      for (const callback of this.listeners.get(channel) ?? []) callback(payload ?? '')
    })
  }

  query(sql: string, params: readonly Param[] = [], options?: { prepare?: boolean }): Promise<Result> {
    if (this.gone) return Promise.reject(this.gone)
    return this.driver.run(this.client, sql, params, options)
  }

  begin(): Promise<OpenTransaction> {
    // A session whose transaction cannot be rolled back is of no more use: it is closed, and its user hears of that.
    return this.driver.open(this.client, broken => void (broken && this.client.end().catch(ignore)))
  }

  async listen(channel: string, callback: (payload: string) => void): Promise<void> {
    const known = this.listeners.get(channel)
    if (known) known.push(callback)
    else {
      this.listeners.set(channel, [callback])
      await this.query(`listen ${quoteName(channel)}`)
    }
  }

  onLost(callback: (error: Error) => void): void {
    if (this.gone) callback(this.gone)
    else this.lost.push(callback)
  }

  async release(): Promise<void> {
    if (this.released) return
    this.released = true
    this.forget()
    await this.client.end().catch(ignore)
  }
}

/** The connection must not be used again. */
const isBroken = (error: unknown): boolean => {
  const cause = (error as { cause?: unknown }).cause ?? error
  return isConnectionLoss(cause) || /cached plan|26000/.test(`${(cause as Error).message} ${(cause as { code?: string }).code}`)
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

function ignore(): void {}
