/** Converts SQLite's result codes to errors with a fix. */
import { ConnectionError, EnvironmentError, PipelineError } from '../../contract/plugin.ts'

const BUSY = 5
const LOCKED = 6
export const IOERR = 10

const reasons: Record<number, string> = {
  3: 'access is denied',
  8: 'it cannot be written (read-only file, directory or file system)',
  10: 'the disk reports an input/output error, or is full',
  11: 'it is damaged',
  13: 'the disk is full',
  14: 'it cannot be opened or created (missing permissions, or a directory or file with this name exists)',
  26: 'it is not a SQLite database',
}

/** SQLite's primary result code, or undefined for other errors. */
export function primary(error: unknown): number | undefined {
  const { code, errcode } = error as { code?: string; errcode?: number }
  return code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number' ? errcode & 0xff : undefined
}

/** Another connection holds the lock: a retry helps. */
export function isBusy(error: unknown): boolean {
  const code = primary(error)
  return code === BUSY || code === LOCKED
}

/** Converts to errors of the contract: ConnectionError, EnvironmentError; other errors are unchanged. */
export function explain(error: unknown, what: string, file: string): unknown {
  if (error instanceof PipelineError) return error
  const code = primary(error)
  if (code === BUSY || code === LOCKED) return new ConnectionError(`the ${what} ${file} is locked by another process`, error)
  if (code !== undefined && reasons[code]) return new EnvironmentError(`cannot use the ${what} ${file}: ${reasons[code]}`, error)
  const { code: system, message } = error as NodeJS.ErrnoException
  if (system && /^E[A-Z]+$/.test(system)) return new EnvironmentError(`cannot use the ${what} ${file}: ${message}`, error)
  return error
}
