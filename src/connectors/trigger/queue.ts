/** The file of pending triggers in the state directory, shared by the command and the pipelines of this machine. */
import { openSqlite, type Sqlite, type SqliteKind } from '../../kit/sqlite/sqlite.ts'
import { inStateDir } from '../../kit/state-dir.ts'

/** AUTOINCREMENT: a number is never reused, although rows are deleted. */
const kind: SqliteKind = {
  what: 'trigger file',
  applicationId: 0x52545247,
  version: 1,
  schema: `CREATE TABLE trigger_request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL,
    source TEXT NOT NULL,
    key TEXT,
    data TEXT NOT NULL,
    created_at INTEGER NOT NULL
  )`,
}

export const triggerFile = (): string => inStateDir('triggers.db')

export interface Trigger {
  readonly id: number
  readonly key: string | null
  /** JSON text. */
  readonly data: string
  /** Epoch ms. */
  readonly created_at: number
}

export class TriggerQueue {
  private readonly db: Sqlite
  private readonly pipeline: string
  private readonly source: string

  private constructor(db: Sqlite, pipeline: string, source: string) {
    this.db = db
    this.pipeline = pipeline
    this.source = source
  }

  /** @throws {EnvironmentError} the file cannot be used */
  static async open(pipeline: string, source: string): Promise<TriggerQueue> {
    return new TriggerQueue(await openSqlite(triggerFile(), kind, 'full'), pipeline, source)
  }

  /** @returns the number of the trigger, after it is on disk. */
  put(data: string, key: string | null, now: number): Promise<number> {
    return this.db.write(() => {
      const row = this.db
        .prepare('INSERT INTO trigger_request (pipeline, source, key, data, created_at) VALUES (?, ?, ?, ?, ?) RETURNING id')
        .get(this.pipeline, this.source, key, data, now) as { id: number }
      return row.id
    })
  }

  after(id: number, limit: number): Trigger[] {
    return this.db
      .prepare('SELECT id, key, data, created_at FROM trigger_request WHERE pipeline = ? AND source = ? AND id > ? ORDER BY id LIMIT ?')
      .all(this.pipeline, this.source, id, limit) as unknown as Trigger[]
  }

  /** Deletes all triggers up to this number. */
  async forget(id: number): Promise<void> {
    await this.db.write(() =>
      this.db.prepare('DELETE FROM trigger_request WHERE pipeline = ? AND source = ? AND id <= ?').run(this.pipeline, this.source, id),
    )
  }

  holds(id: number): boolean {
    return this.db.prepare('SELECT 1 FROM trigger_request WHERE id = ?').get(id) !== undefined
  }

  /** Calls `fn` soon after a change of the file, by any process. */
  watch(fn: () => void): () => void {
    return this.db.watch(fn)
  }

  close(): void {
    this.db.close()
  }
}
