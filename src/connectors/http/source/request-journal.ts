/**
 * Finished requests on disk, for the next process. What is put is durable before its request is answered; requests that are answered by
 * one commit of the pipeline share one transaction. Read once, at the start: in between the memory of the process decides.
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
  /** Of the answer; undefined: it was too long to remember. */
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

export const requestFile = (): string => inStateDir('http-requests.db')

export class RequestJournal {
  private readonly db: Sqlite
  private readonly onError: (error: Error) => void
  /** By owner and key; null: to be deleted. What a write that failed has left is tried again with the next one. */
  private readonly changes = new Map<string, { owner: string; key: string; row: (FinishedRequest & { until: number }) | null }>()
  private flushing: Promise<void> | undefined

  private constructor(db: Sqlite, onError: (error: Error) => void) {
    this.db = db
    this.onError = onError
  }

  /**
   * @param onError a write failed: what it held is lost with the process, unless a later one succeeds
   * @throws {EnvironmentError} the file cannot be used
   */
  static async open(now: number, onError: (error: Error) => void): Promise<RequestJournal> {
    try {
      const db = await openSqlite(requestFile(), kind, 'normal')
      // Those of sources that are gone, too.
      await db.write(() => db.prepare('DELETE FROM request WHERE until <= ?').run(now))
      return new RequestJournal(db, onError)
    } catch (error) {
      if (!(error instanceof EnvironmentError)) throw error
      throw new EnvironmentError(
        `${error.message}. It keeps which requests were answered; set RUNNER_STATE_DIR to a directory that can be written, or remember: memory, which forgets them at a restart`,
        error,
      )
    }
  }

  /** The oldest first. */
  load(owner: string): FinishedRequest[] {
    const rows = this.db.all<FinishedRequest & { body: string | null }>(
      'SELECT key, digest, done, status, body FROM request WHERE owner = ? ORDER BY done',
      owner,
    )
    return rows.map(row => ({ ...row, body: row.body ?? undefined }))
  }

  /** Resolves when it is durable, or could not be written. */
  put(owner: string, row: FinishedRequest, ttl: number): Promise<void> {
    this.changes.set(`${owner} ${row.key}`, { owner, key: row.key, row: { ...row, until: row.done + ttl } })
    return this.flush()
  }

  /** With the next write. */
  drop(owner: string, key: string): void {
    this.changes.set(`${owner} ${key}`, { owner, key, row: null })
  }

  async close(): Promise<void> {
    if (this.changes.size > 0) await this.flush()
    await this.flushing
    this.db.close()
  }

  private flush(): Promise<void> {
    this.flushing ??= new Promise<void>(resolve => setImmediate(resolve)).then(() => this.write())
    return this.flushing
  }

  private async write(): Promise<void> {
    this.flushing = undefined
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
      for (const change of changes) {
        const id = `${change.owner} ${change.key}`
        if (!this.changes.has(id)) this.changes.set(id, change)
      }
      this.onError(error as Error)
    }
  }
}
