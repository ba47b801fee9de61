/**
 * The table of posts: a row is `claimed` before the call that writes it and `posted` after it. The lock of the spreadsheet is held in
 * between, so a claim found while holding the lock was left by a crash or a lost response.
 */
import type { GoogleSheetsSinkConfig } from '../../generated/config-types.ts'
import { connect, type ConnectionConfig, connectionFor, isEmbedded, type PostgresHandle } from '../../kit/postgres/connect.ts'
import { quoteTable, type Session } from '../../kit/postgres/driver.ts'
import type { Logger } from '../../contract/plugin.ts'
import { RejectedPost } from './client.ts'

export interface RowKey {
  readonly tab: string
  readonly key: string
}

export interface Claims {
  /** Not claimed before: this process writes it. */
  readonly fresh: RowKey[]
  /** Claimed before but not confirmed: the sheet may or may not have it. */
  readonly uncertain: RowKey[]
}

/** The database of the posts, with the environment's settings for TLS. */
export const connectionOf = ({ dsn }: Pick<GoogleSheetsSinkConfig, 'dsn'>): ConnectionConfig => ({
  ...connectionFor(dsn),
  statement_timeout: 30_000,
  // Waits for the lock as long as another process writes to the spreadsheet.
  lock_timeout: 0,
  idle_in_transaction_timeout: 60_000,
})

const NAMESPACE = 0x53_48_45_54
const LEASE = 20_000

interface Holding {
  /** @throws {RejectedPost} when the last sign is so old that the lock may have another owner */
  check(): void
  silent(): boolean
  /** Rejects when the database has not answered for the time of the lease. */
  readonly lost: Promise<never>
  end(): void
}

/** Shows the database, while work goes on outside of it, that this process lives. */
function holding(session: Session, lease: number): Holding {
  const lost = Promise.withResolvers<never>()
  lost.promise.catch(() => {})
  let shownAt = performance.now()
  let asking = false
  const silent = (): boolean => performance.now() - shownAt >= 0.75 * lease
  const error = (): Error =>
    new RejectedPost('the database did not answer in time, or this process was frozen: the lock of the spreadsheet may be lost')
  const timer = setInterval(() => {
    if (performance.now() - shownAt >= lease) lost.reject(error())
    if (asking) return
    asking = true
    const at = performance.now()
    session.query('SELECT 1').then(
      () => {
        shownAt = at
        asking = false
      },
      // The work fails with its next query, or with `check`.
      () => {},
    )
  }, lease / 5)
  return {
    check() {
      if (silent()) throw error()
    },
    silent,
    lost: lost.promise,
    end: () => clearInterval(timer),
  }
}

export class Posts {
  private readonly config: ConnectionConfig
  private readonly table: string
  private readonly log: Logger
  private handle: Promise<PostgresHandle> | undefined
  private session: Promise<Session> | undefined
  /** In this process one session holds the lock of the database, so it excludes no other writer in this process. */
  private static readonly turns = new Map<string, Promise<unknown>>()

  private readonly lease: number

  /** @param lease ms without a sign of life after which the database ends the connection of the lock: its process has vanished or is frozen */
  constructor(config: ConnectionConfig, table: string, log: Logger, lease = LEASE) {
    this.config = config
    this.table = quoteTable(table)
    this.log = log
    this.lease = lease
  }

  /** @throws {ConnectionError | EnvironmentError} */
  async open(): Promise<void> {
    await (await this.connection()).query(`SELECT spreadsheet_id, tab, row_key, status, claimed_at, posted_at FROM ${this.table} LIMIT 0`)
  }

  /** Runs `work` while no other writer in any process writes to this spreadsheet. If the connection of the lock is lost, `work` fails. */
  async exclusively<T>(spreadsheet: string, work: (claims: SheetClaims) => Promise<T>): Promise<T> {
    const before = Posts.turns.get(spreadsheet) ?? Promise.resolve()
    const turn = before.catch(() => {}).then(() => this.locked(spreadsheet, work))
    Posts.turns.set(spreadsheet, turn)
    try {
      return await turn
    } finally {
      if (Posts.turns.get(spreadsheet) === turn) Posts.turns.delete(spreadsheet)
    }
  }

  async close(): Promise<void> {
    const { handle, session } = this
    this.handle = this.session = undefined
    await (await session?.catch(() => undefined))?.release()
    await (await handle?.catch(() => undefined))?.release()
  }

  private async locked<T>(spreadsheet: string, work: (claims: SheetClaims) => Promise<T>): Promise<T> {
    const current = this.connection()
    const session = await current
    /** A connection that hangs would keep the next query waiting, too. */
    const discard = (): void => {
      if (this.session === current) this.session = undefined
      void session.release().catch(() => {})
    }
    const lock = [NAMESPACE, spreadsheet]
    // PGlite is in this process, and vanishes with it.
    const idle = (ms: number): string =>
      isEmbedded(this.config.dsn) ? '' : `, (SELECT set_config(name, '${ms}', false) FROM pg_settings WHERE name = 'idle_session_timeout')`
    try {
      await session.query(`SELECT pg_advisory_lock($1::int, hashtext($2))${idle(this.lease)}`, lock)
    } catch (error) {
      discard()
      throw error
    }
    const held = holding(session, this.lease)
    try {
      return await Promise.race([work(new SheetClaims(session, this.table, spreadsheet, held.check)), held.lost])
    } finally {
      held.end()
      // The lock ends with its connection.
      if (held.silent()) discard()
      else await session.query(`SELECT pg_advisory_unlock($1::int, hashtext($2))${idle(0)}`, lock).catch(() => {})
    }
  }

  /** One connection for the lock and for all work under it: if the connection is lost, both end. */
  private connection(): Promise<Session> {
    if (this.session) return this.session
    const opening = this.openSession()
    this.session = opening
    opening.catch(() => {
      if (this.session === opening) this.session = undefined
    })
    return opening
  }

  private async openSession(): Promise<Session> {
    this.handle ??= connect(this.config, this.log)
    this.handle.catch(() => (this.handle = undefined))
    const session = await (await this.handle).driver.session()
    session.onLost(() => {
      this.session = undefined
    })
    return session
  }
}

/** The status of the rows of a spreadsheet, read under its lock. */
export class SheetClaims {
  private readonly session: Session
  private readonly table: string
  private readonly spreadsheet: string
  readonly check: () => void

  /** @param check call it before each call that writes. @throws {RejectedPost} when the lock may be lost */
  constructor(session: Session, table: string, spreadsheet: string, check: () => void) {
    this.session = session
    this.table = table
    this.spreadsheet = spreadsheet
    this.check = check
  }

  /** Rows that are already `posted` are in neither list. */
  async claim(rows: readonly RowKey[]): Promise<Claims> {
    const params = [this.spreadsheet, rows.map(r => r.tab), rows.map(r => r.key)]
    const { rows: made } = await this.session.query(
      `INSERT INTO ${this.table} (spreadsheet_id, tab, row_key, status, claimed_at)
       SELECT $1, u.tab, u.row_key, 'claimed', now() FROM unnest($2::text[], $3::text[]) AS u (tab, row_key)
       ON CONFLICT (spreadsheet_id, tab, row_key) DO NOTHING RETURNING tab, row_key`,
      params,
    )
    const { rows: open } = await this.session.query(
      `SELECT p.tab, p.row_key FROM ${this.table} p JOIN unnest($2::text[], $3::text[]) AS u (tab, row_key) USING (tab, row_key)
       WHERE p.spreadsheet_id = $1 AND p.status = 'claimed'`,
      params,
    )
    const id = (r: { tab: unknown; row_key: unknown }): string => JSON.stringify([r.tab, r.row_key])
    const fresh = new Set(made.map(r => id(r as never)))
    const list = (keep: (known: boolean) => boolean): RowKey[] =>
      open.filter(r => keep(fresh.has(id(r as never)))).map(r => ({ tab: String(r.tab), key: String(r.row_key) }))
    return { fresh: list(known => known), uncertain: list(known => !known) }
  }

  async confirm(rows: readonly RowKey[]): Promise<void> {
    if (rows.length === 0) return
    await this.change(`UPDATE ${this.table} p SET status = 'posted', posted_at = now()`, rows)
  }

  /** The call was rejected: deletes the claims. */
  async forget(rows: readonly RowKey[]): Promise<void> {
    await this.change(`DELETE FROM ${this.table} p`, rows)
  }

  private async change(what: string, rows: readonly RowKey[]): Promise<void> {
    const using = what.startsWith('DELETE') ? 'USING' : 'FROM'
    await this.session.query(
      `${what} ${using} unnest($2::text[], $3::text[]) AS u (tab, row_key)
       WHERE p.spreadsheet_id = $1 AND p.tab = u.tab AND p.row_key = u.row_key AND p.status = 'claimed'`,
      [this.spreadsheet, rows.map(r => r.tab), rows.map(r => r.key)],
    )
  }
}
