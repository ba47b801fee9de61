import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/** Creates a directory and its parents. Node's own `recursive: true` retries forever where a file system returns ENOENT, as /proc does. */
export function makeDirs(path: string, mode = 0o777): void {
  if (made(path, mode)) return
  makeDirs(dirname(path), mode)
  if (!made(path, mode)) mkdirSync(path, { mode })
}

/**
 * The state contains records: only this user can enter its directories. The default state directory of an earlier version is closed to
 * others, too.
 */
export function makePrivateDirs(path: string): void {
  makeDirs(path, 0o700)
  const own = resolve('.runner')
  if (process.env.RUNNER_STATE_DIR || !`${resolve(path)}/`.startsWith(`${own}/`)) return
  const { mode, uid } = statSync(own)
  if ((mode & 0o077) !== 0 && uid === process.getuid?.()) chmodSync(own, 0o700)
}

/**
 * Creates an empty file that only this user can read, if it does not exist. An existing file is never opened: closing it would release
 * locks on it.
 */
export function makePrivateFile(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found) {
    if (found.isFile() && (found.mode & 0o077) !== 0 && found.uid === process.getuid?.()) chmodSync(path, 0o600)
    return
  }
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** False: the parent is missing. @throws {Error} as `mkdir` does. */
function made(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode })
    return true
  } catch (error) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return true
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error
    return false
  }
}
