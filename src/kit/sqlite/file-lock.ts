/**
 * A lock on a file that only one process holds. It is SQLite's, hence the operating system's: it ends with its process, however that
 * ends, even if its process id is reused, and it holds between containers that share the volume.
 */
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makePrivateDirs, makePrivateFile } from '../make-dirs.ts'
import { explain, isBusy } from './sqlite-errors.ts'

export interface FileLock {
  release(): void
}

/**
 * The file is created, and stays: deleting it would let two processes lock two files with one name. Never open it otherwise in this
 * process, because closing it would release the lock (POSIX).
 * @returns undefined while another process holds it. @throws {EnvironmentError} if it cannot be created or locked
 */
export function tryLock(file: string): FileLock | undefined {
  let db: DatabaseSync | undefined
  try {
    makePrivateDirs(dirname(file))
    makePrivateFile(file)
    db = new DatabaseSync(file, { timeout: 0 })
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    if (db?.isOpen) db.close()
    if (isBusy(error)) return undefined
    throw explain(error, 'lock file', file)
  }
  const held = db
  return { release: () => held.isOpen && held.close() }
}
