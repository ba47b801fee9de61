/**
 * Finished requests on disk, for the next process. An entry is durable before its request is answered; requests that one commit of the
 * pipeline answers share one transaction. The file is read once, at the start; after that, the memory of the process decides.
 */
import { EnvironmentError } from '../../../contract/plugin.ts'
import { openSqlite, type Sqlite, type SqliteKind } from '../../../kit/sqlite/sqlite.ts'
import { inStateDir } from '../../../kit/state-dir.ts'

export interface FinishedRequest {
  readonly key: string
  /** Of the body. */
  readonly digest: string
  /** Epoch ms. */
  readonly done: number
  readonly status: number
  /** Of the response; undefined: it was too long to remember. */
  readonly body: string | undefined
}

const kind: SqliteKind = {
  what: 'file of answered requests',
  applicationId: 0x52485251,
  version: 1,
  schema: `CREATE TABLE request (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    done INTEGER NOT NULL,
    until INTEGER NOT NULL,
    status INTEGER NOT NULL,
    body TEXT,
    PRIMARY KEY (owner, key)
  ) WITHOUT ROWID`,
}

interface Change {
  readonly owner: string
  readonly key: string
  /** Null: to be deleted. */
  readonly row: (FinishedRequest & { readonly until: number }) | null
}

const idOf = ({ owner, key }: Change): string => `${owner} ${key}`

export const requestFile = (): string => inStateDir('http-requests.db')

export class RequestJournal {
  private readonly db: Sqlite
  private readonly onError: (error: Error) => void
  /** By owner and key. Entries of a failed write are retried with the next one. */
  private readonly changes = new Map<string, Change>()
  /** The write that takes new entries: it has not started. */
  private next: Promise<void> | undefined
  /** The last write, started or not. */
  private last: Promise<void> = Promise.resolve()

  private constructor(db: Sqlite, onError: (error: Error) => void) {
    this.db = db
    this.onError = onError
  }

  /**
   * @param onError a write failed: its entries are lost with the process, unless a later write succeeds
   * @throws {EnvironmentError} the file cannot be used
   */
  static async open(now: number, onError: (error: Error) => void): Promise<RequestJournal> {
    try {
      const db = await openSqlite(requestFile(), kind, 'normal')
      // Also those of sources that no longer exist.
      await db.write(() => db.prepare('DELETE FROM request WHERE until <= ?').run(now))
      return new RequestJournal(db, onError)
    } catch (error) {
      if (!(error instanceof EnvironmentError)) throw error
      throw new EnvironmentError(
        `${error.message}. The file stores the answered requests; set RUNNER_STATE_DIR to a writable directory, or set remember: memory to keep them only until a restart`,
        error,
      )
    }
  }

  /** Oldest first. */
  load(owner: string): FinishedRequest[] {
    const rows = this.db.all<FinishedRequest & { body: string | null }>(
      'SELECT key, digest, done, status, body FROM request WHERE owner = ? ORDER BY done',
      owner,
    )
    return rows.map(row => ({ ...row, body: row.body ?? undefined }))
  }

  /** Resolves when the entry is durable, or could not be written. */
  put(owner: string, row: FinishedRequest, ttl: number): Promise<void> {
    this.change({ owner, key: row.key, row: { ...row, until: row.done + ttl } })
    return this.flush()
  }

  /** Adds the entry to the next write. */
  drop(owner: string, key: string): void {
    this.change({ owner, key, row: null })
  }

  async close(): Promise<void> {
    if (this.changes.size > 0) void this.flush()
    await this.last
    this.db.close()
  }

  private change(change: Change): void {
    this.changes.set(idOf(change), change)
  }

  /** One write at a time: another process may delay it. */
  private flush(): Promise<void> {
    this.next ??= this.last = Promise.all([this.last, new Promise(resolve => setImmediate(resolve))]).then(() => this.write())
    return this.next
  }

  private async write(): Promise<void> {
    this.next = undefined
    const { db } = this
    const changes = [...this.changes.values()]
    this.changes.clear()
    try {
      await db.write(() => {
        const put = db.prepare(
          'INSERT OR REPLACE INTO request (owner, key, digest, done, until, status, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
        )
        const drop = db.prepare('DELETE FROM request WHERE owner = ? AND key = ?')
        for (const { owner, key, row } of changes) {
          if (row === null) drop.run(owner, key)
          else put.run(owner, key, row.digest, row.done, row.until, row.status, row.body ?? null)
        }
      })
    } catch (error) {
      for (const change of changes) if (!this.changes.has(idOf(change))) this.change(change)
      this.onError(error as Error)
    }
  }
}
