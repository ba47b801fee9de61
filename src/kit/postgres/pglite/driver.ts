/** PostgreSQL in this process, on PGlite: to try a pipeline without installing anything. One backend, so transactions take turns. */
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { PGlite } from '@electric-sql/pglite'
import { EnvironmentError } from '../../../contract/plugin.ts'
import { makePrivateDirs } from '../../make-dirs.ts'
import { needsPackage } from '../../optional-package.ts'
import {
  type Driver,
  inTransaction,
  type OpenTransaction,
  type Param,
  type Queryable,
  type QueryOptions,
  quoteName,
  type Result,
  type Session,
} from '../driver.ts'
import { classify } from '../errors.ts'
import { ARRAYS, decode, encode } from '../types.ts'
import { boundedQuery, type Protocol } from './bounded-query.ts'
import { reasonOf } from '../../system-error.ts'

/** @throws {EnvironmentError} when PGlite is not installed, or another process has the database open. */
export async function openPglite(path: string): Promise<Driver> {
  const { PGlite: Database, protocol } = await import('@electric-sql/pglite').catch(
    needsPackage('@electric-sql/pglite', 'dsn: pglite: (PostgreSQL in this process; or give the DSN of a server)'),
  )
  let unlock: (() => void) | undefined
  try {
    makePrivateDirs(dirname(path))
    unlock = lock(path)
    const db = await Database.create(path)
    await db.exec(
      "set TimeZone = 'UTC'; set DateStyle = 'ISO'; set bytea_output = 'hex'; set extra_float_digits = 1; set client_min_messages = error",
    )
    takeText(db)
    return new PgliteDriver(db, protocol, path, unlock)
  } catch (error) {
    unlock?.()
    if (error instanceof EnvironmentError) throw error
    throw new EnvironmentError(`cannot open the embedded PostgreSQL in ${path}: ${reasonOf(error)}`, error)
  }
}

class PgliteDriver implements Driver {
  readonly embedded = true
  private readonly db: PGlite
  private readonly protocol: Protocol
  private readonly place: string
  private readonly unlock: () => void
  /** Settles when the previous caller is done. */
  private tail: Promise<void> = Promise.resolve()
  private closed = false

  constructor(db: PGlite, protocol: Protocol, path: string, unlock: () => void) {
    this.db = db
    this.protocol = protocol
    this.place = `embedded PostgreSQL in ${path}`
    this.unlock = unlock
  }

  async query(sql: string, params: readonly Param[] = [], options?: QueryOptions): Promise<Result> {
    const done = await this.turn()
    try {
      return await this.run(sql, params, options)
    } finally {
      done()
    }
  }

  async begin(): Promise<OpenTransaction> {
    const done = await this.turn()
    try {
      await this.run('begin', [])
    } catch (error) {
      done()
      throw error
    }
    let ended = false
    const end = async (statement: string): Promise<void> => {
      ended = true
      try {
        await this.run(statement, [])
      } finally {
        done()
      }
    }
    return {
      query: (sql, params = [], options) =>
        ended ? Promise.reject(new Error('the transaction has ended')) : this.run(sql, params, options),
      script: sql => this.exec(sql),
      commit: async () => {
        if (ended) throw new Error('the transaction has ended')
        // As on a server, COMMIT of a failed transaction rolls back without an error; a statement that does nothing detects it.
        try {
          await this.run('select 1', [])
        } catch {
          await end('rollback')
          throw new Error('the transaction was rolled back: one of its statements had failed')
        }
        await end('commit')
      },
      rollback: async () => {
        if (!ended) await end('rollback').catch(() => {})
      },
    }
  }

  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return inTransaction(() => this.begin(), work)
  }

  async script(sql: string): Promise<void> {
    const done = await this.turn()
    try {
      await this.exec(sql)
    } finally {
      done()
    }
  }

  /** All sessions share the only backend. */
  session(): Promise<Session> {
    const undo: (() => void)[] = []
    return Promise.resolve({
      query: (sql, params, options) => this.query(sql, params, options),
      begin: () => this.begin(),
      listen: async (channel, callback) => {
        // PGlite's own `listen` folds names to lower case. The channel remains subscribed, because others in this process may use it.
        undo.push(this.db.onNotification((name, payload) => void (name === channel && callback(payload))))
        await this.query(`listen ${quoteName(channel)}`)
      },
      onLost: () => {},
      release: async () => {
        for (const stop of undo.splice(0)) stop()
      },
    })
  }

  healthy(): boolean {
    return !this.closed
  }

  async close(): Promise<void> {
    if (this.closed) return
    const done = await this.turn()
    this.closed = true
    try {
      await this.db.close()
    } finally {
      this.unlock()
      done()
    }
  }

  private async turn(): Promise<() => void> {
    const before = this.tail
    let done!: () => void
    this.tail = new Promise(resolve => (done = resolve))
    await before
    return done
  }

  private async exec(sql: string): Promise<void> {
    try {
      await this.db.exec(sql)
    } catch (error) {
      throw classify(error, this.place)
    }
  }

  private async run(sql: string, params: readonly Param[], options?: QueryOptions): Promise<Result> {
    try {
      if (options?.maxRows !== undefined) return await boundedQuery(this.db, this.protocol, sql, params, options.maxRows)
      const result = await this.db.query<Result['rows'][number]>(sql, params.map(encode))
      const { rowCount } = result as { rowCount?: number }
      return {
        rows: result.rows,
        rowCount: rowCount ?? result.affectedRows ?? 0,
        fields: result.fields.map(f => ({ name: f.name, type: f.dataTypeID })),
        more: false,
      }
    } catch (error) {
      throw classify(error, this.place)
    }
  }
}

/** PGlite's own conversions use floats and dates; these are the same as in the other driver. */
function takeText(db: PGlite): void {
  const types = new Set([...Object.keys(db.parsers), ...Object.keys(db.serializers), ...Object.keys(ARRAYS)].map(Number))
  for (const type of types) {
    db.parsers[type] = (text: string) => decode(type, text)
    db.serializers[type] = (text: unknown) => text as string
  }
}

/** Held by the operating system as long as this process lives: two processes on the same files would destroy them. */
function lock(path: string): () => void {
  const holder = new DatabaseSync(`${path}.lock`)
  try {
    holder.exec('pragma busy_timeout = 0; pragma locking_mode = exclusive; begin exclusive')
  } catch (error) {
    holder.close()
    throw new EnvironmentError(
      `the embedded PostgreSQL in ${path} is in use by another process: stop that process, use another path (pglite:PATH), or use a PostgreSQL server, which several processes can share`,
      error,
    )
  }
  return () => holder.close()
}
