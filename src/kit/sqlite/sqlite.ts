/**
 * One SQLite file, opened once per process and shared by everything in it: short synchronous transactions, a retry when another process
 * holds the write lock, errors of the contract, and a cheap signal after commits.
 */
import { randomBytes } from 'node:crypto'
import { linkSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { EnvironmentError, UnknownOutcomeError } from '../../contract/plugin.ts'
import { makePrivateDirs, makePrivateFile } from '../make-dirs.ts'
import { explain, IOERR, isBusy, primary } from './sqlite-errors.ts'
import { CommitWatch } from './sqlite-watch.ts'

/** The kind of a SQLite file, and how an empty one is created. */
export interface SqliteKind {
  /** The name of the kind for error texts: `event log`. */
  readonly what: string
  /** Written into the file, so that a database of another program is never used as ours. */
  readonly applicationId: number
  /** Version of `schema`; a file of another version is rejected. */
  readonly version: number
  /** Statements that create an empty file. */
  readonly schema: string
}

/** `normal`: a killed process loses nothing, a power cut may lose the last commits but never half of one. `full`: fsync on every commit. */
export type Durability = 'normal' | 'full'

/** Blocking the event loop is worse than waiting: after this time SQLite stops waiting and the call is retried asynchronously. */
const BUSY_BLOCK_MS = 50
const BUSY_GIVE_UP_MS = 10_000
/** How often to check that the file is still the one that was opened, ms. */
const CHECK_MS = 500

const open = new Map<string, { sqlite: Promise<Sqlite>; users: number }>()

/**
 * Opens `path` (created if missing, with its directories), or joins this process's connection to that path, with its durability. Release it
 * with `close`.
 */
export async function openSqlite(path: string, kind: SqliteKind, durability: Durability): Promise<Sqlite> {
  const file = resolve(path)
  let entry = open.get(file)
  if (!entry) {
    entry = { sqlite: connect(file, kind, durability), users: 0 }
    open.set(file, entry)
  }
  entry.users++
  try {
    return await entry.sqlite
  } catch (error) {
    if (open.get(file) === entry) open.delete(file)
    throw error
  }
}

async function connect(file: string, kind: SqliteKind, durability: Durability): Promise<Sqlite> {
  const started = performance.now()
  const { DatabaseSync: Database } = await import('node:sqlite')
  for (;;) {
    let db: DatabaseSync | undefined
    try {
      makePrivateDirs(dirname(file))
      makeFile(Database, file, kind, durability)
      db = new Database(file, { timeout: BUSY_BLOCK_MS })
      prepareFile(db, file, kind, durability)
      return new Sqlite(db, file, kind.what)
    } catch (error) {
      if (db?.isOpen) db.close()
      if (!isBusy(error) || performance.now() - started > BUSY_GIVE_UP_MS) throw explain(error, kind.what, file)
      await sleep(5 + Math.random() * 15)
    }
  }
}

/**
 * A missing file is built under another name and then linked: readers see either none or all of it. So a file of 0 bytes was truncated, and
 * its content is lost. @throws {EnvironmentError} for that
 */
function makeFile(Database: typeof DatabaseSync, file: string, kind: SqliteKind, durability: Durability): void {
  const found = statSync(file, { throwIfNoEntry: false })
  if (found?.isFile() && found.size === 0)
    throw new EnvironmentError(
      `the ${kind.what} ${file} has 0 bytes: its content is lost. Restore it from a copy, or delete it (and ${file}-wal) to start with an empty one`,
    )
  if (found) return makePrivateFile(file)
  const made = `${file}.${process.pid}-${randomBytes(4).toString('hex')}.new`
  try {
    makePrivateFile(made)
    const db = new Database(made)
    try {
      prepareFile(db, made, kind, durability)
    } finally {
      db.close()
    }
    link(made, file)
  } finally {
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(made + end, { force: true })
  }
}

/** Never overwrites a file that another process has created meanwhile, as far as the file system supports links. */
function link(made: string, file: string): void {
  try {
    linkSync(made, file)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error
    renameSync(made, file)
  }
}

function prepareFile(db: DatabaseSync, file: string, kind: SqliteKind, durability: Durability): void {
  // Checked before anything is changed: not even the journal mode of a foreign file is touched.
  const fresh = checkIdentity(db, file, kind)
  if (fresh) db.exec('PRAGMA auto_vacuum = INCREMENTAL')
  const mode = db.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string }
  if (mode.journal_mode !== 'wal')
    throw new EnvironmentError(`cannot use ${file}: its file system does not support SQLite's write-ahead log (a network drive?)`)
  db.exec(`PRAGMA synchronous = ${durability}; PRAGMA cache_size = -8000; PRAGMA journal_size_limit = 67108864`)
  if (!fresh) return
  db.exec('BEGIN IMMEDIATE')
  try {
    // Another process may have built it between our check and our lock.
    if (checkIdentity(db, file, kind))
      db.exec(`${kind.schema}; PRAGMA application_id = ${kind.applicationId}; PRAGMA user_version = ${kind.version}`)
    db.exec('COMMIT')
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

/** True when the file is empty, false when it is ours. @throws {EnvironmentError} when it is neither. */
function checkIdentity(db: DatabaseSync, file: string, kind: SqliteKind): boolean {
  const { application_id: id } = db.prepare('PRAGMA application_id').get() as { application_id: number }
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  if (id === 0 && version === 0) {
    const { n } = db.prepare('SELECT count(*) AS n FROM sqlite_master').get() as { n: number }
    if (n === 0) return true
  }
  if (id !== kind.applicationId)
    throw new EnvironmentError(`${file} is a SQLite database, but not the ${kind.what} of this program; choose another path`)
  if (version !== kind.version)
    throw new EnvironmentError(
      `${file} is an older or newer ${kind.what} (format ${version}); this version of the program reads format ${kind.version}; use the version that wrote it, or another path`,
    )
  return false
}

/** The shared connection. All its methods may be used by several owners; statements are cached by their text. */
export class Sqlite {
  readonly file: string
  private readonly db: DatabaseSync
  private readonly what: string
  private readonly statements = new Map<string, StatementSync>()
  private readonly commits: CommitWatch
  /** Of the file that was opened. */
  private readonly inode: number
  private checked = 0

  constructor(db: DatabaseSync, file: string, what: string) {
    this.db = db
    this.file = file
    this.what = what
    this.inode = statSync(file).ino
    // `data_version` changes when ANOTHER connection has committed; reading it touches shared memory only.
    const version = db.prepare('PRAGMA data_version')
    this.commits = new CommitWatch(() => (version.get() as { data_version: number }).data_version)
  }

  prepare(sql: string): StatementSync {
    let statement = this.statements.get(sql)
    if (!statement) {
      statement = this.db.prepare(sql)
      this.statements.set(sql, statement)
    }
    return statement
  }

  /** All rows. @throws {ConnectionError | EnvironmentError} */
  all<Row>(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.guard(() => this.prepare(sql).all(...values)) as Row[]
  }

  /** First row. @throws {ConnectionError | EnvironmentError} */
  get<Row>(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.guard(() => this.prepare(sql).get(...values)) as Row | undefined
  }

  /** Runs a read and turns SQLite's errors into ours. */
  guard<T>(fn: () => T): T {
    this.checkFile()
    try {
      return fn()
    } catch (error) {
      throw explain(error, this.what, this.file)
    }
  }

  /**
   * Runs `fn` in one transaction that holds the write lock from its start, so its reads are still valid at the commit.
   * `fn` is synchronous and may run again when another process held the lock; an error of `fn` rolls back and is thrown.
   * @throws {ConnectionError} the lock was not available for a long time
   * @throws {EnvironmentError} disk full, read-only, damaged
   * @throws {UnknownOutcomeError} the disk failed while committing
   */
  async write<T>(fn: () => T): Promise<T> {
    const started = performance.now()
    for (;;) {
      try {
        const result = this.transact(fn)
        this.commits.own()
        return result
      } catch (error) {
        if (!isBusy(error)) throw explain(error, this.what, this.file)
        if (performance.now() - started > BUSY_GIVE_UP_MS) throw explain(error, this.what, this.file)
      }
      await sleep(2 + Math.random() * 18)
    }
  }

  /**
   * Deleted, replaced or emptied while in use: SQLite continues in a file that cannot be found again. @throws {EnvironmentError}
   */
  private checkFile(): void {
    const now = performance.now()
    if (now - this.checked < CHECK_MS) return
    this.checked = now
    const found = statSync(this.file, { throwIfNoEntry: false })
    if (found !== undefined && found.ino === this.inode && found.size > 0) return
    this.checked = 0
    const happened = found === undefined ? 'was deleted' : found.ino === this.inode ? 'was emptied' : 'was replaced by another file'
    throw new EnvironmentError(
      `the ${this.what} ${this.file} ${happened} while it was in use: data written since then is lost. Stop every process that uses the file, and restore it from a copy`,
    )
  }

  private transact<T>(fn: () => T): T {
    this.checkFile()
    this.prepare('BEGIN IMMEDIATE').run()
    try {
      const result = fn()
      this.commit()
      return result
    } catch (error) {
      if (this.db.isTransaction) this.db.exec('ROLLBACK')
      throw error
    }
  }

  private commit(): void {
    try {
      this.prepare('COMMIT').run()
    } catch (error) {
      // After a failed fsync, the content of the disk is unknown. All other failures certainly roll back.
      if (primary(error) === IOERR)
        throw new UnknownOutcomeError(`${this.file}: the disk failed while committing: ${(error as Error).message}`, error)
      throw error
    }
  }

  /** Calls `fn` soon after a commit to this file, by this process or another, until the returned function is called. Calls are merged. */
  watch(fn: () => void): () => void {
    return this.commits.add(fn)
  }

  /** Returns free pages to the file system, at most `pages` of them. */
  shrink(pages: number): void {
    this.guard(() => this.db.exec(`PRAGMA incremental_vacuum(${pages})`))
  }

  /** Call once per `openSqlite`; the file is closed with its last user. */
  close(): void {
    const entry = open.get(this.file)
    if (!entry || --entry.users > 0) return
    open.delete(this.file)
    this.commits.stop()
    this.statements.clear()
    if (this.db.isOpen) this.db.close()
  }
}
