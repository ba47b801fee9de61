/**
 * Allows one writer per file: a second one could cut the lines of the first when it removes a torn line. The lock is a file beside the
 * output, locked by the operating system, so it ends with its process however that ends. A note beside it describes the holder. Both are
 * removed when the file is closed; after a killed process they stay, without effect, until the next writer has finished.
 */
import { fstatSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { EnvironmentError, type Logger } from '../contract/plugin.ts'
import { networkFileSystem } from './network-fs.ts'
import type { FileLock } from './sqlite/file-lock.ts'
import { reasonOf } from './system-error.ts'

/** A file that this process alone writes. */
export interface FileClaim {
  /** The writer closes the file: a second writer in this process waits instead of failing. */
  closing(closed: Promise<void>): void
  release(): void
}

interface Held {
  readonly writer: string
  /** Set while its writer closes the file. */
  closed?: Promise<void>
}

/** Files that this process writes, by their real path. */
const held = new Map<string, Held>()
/** Folders in which no lock is possible, and network file systems: logged once each. */
const reported = new Set<string>()
const ATTEMPTS = 20

/**
 * @param path an existing regular file
 * @param writer who writes it, for the error of a second writer: `step 'out' of pipeline 'trades'`
 * @throws {EnvironmentError} while another writer has the file
 */
export async function claimFile(path: string, writer: string, log: Logger): Promise<FileClaim> {
  const real = realpathSync(path)
  for (let other = held.get(real); other; other = held.get(real)) {
    if (other.closed === undefined) throw taken(path, `${other.writer}, in this process`)
    await other.closed.catch(() => {})
  }
  const own: Held = { writer }
  held.set(real, own)
  try {
    const unlock = await lockFile(real, path, writer, log)
    return {
      closing: closed => void (own.closed = closed),
      release() {
        unlock()
        held.delete(real)
      },
    }
  } catch (error) {
    held.delete(real)
    throw error
  }
}

class TakenError extends EnvironmentError {}

const taken = (path: string, by: string): EnvironmentError =>
  new TakenError(
    `${path} is being written by ${by}: two writers could cut each other's lines; write to another file, or stop the other writer first`,
  )

async function lockFile(real: string, path: string, writer: string, log: Logger): Promise<() => void> {
  const folder = dirname(real)
  const file = join(folder, `.${basename(real)}.lock`)
  const note = `${file}.json`
  const report = (what: string, fields: object): void => {
    if (reported.has(`${folder} ${what}`)) return
    reported.add(`${folder} ${what}`)
    log.warn({ file: path, ...fields }, what)
  }
  const { tryLock } = await import('./sqlite/file-lock.ts')
  let locked: FileLock
  try {
    const lock = acquire(tryLock, file)
    if (lock === undefined) throw taken(path, readNote(note) ?? 'another process')
    locked = lock
  } catch (error) {
    if (error instanceof TakenError) throw error
    report('a second process that writes this file cannot be detected: no lock file can be created beside it', { error: reasonOf(error) })
    return () => {}
  }
  // The lock works without its note, which a full disk may prevent.
  ignoringErrors(() =>
    writeFileSync(note, JSON.stringify({ writer, process: `process ${process.pid} on ${hostname()}`, since: new Date().toISOString() })),
  )
  const network = networkFileSystem(folder)
  if (network !== undefined)
    report('the file is on a network file system: a second process that writes it on another machine may not be detected', { network })
  return () => {
    ignoringErrors(() => rmSync(note, { force: true }))
    // While it is locked, so that no other process has locked it. One that has opened it already detects that it was removed.
    if (process.platform !== 'win32') ignoringErrors(() => rmSync(file, { force: true }))
    locked.release()
  }
}

/** For the files beside the output: what cannot be written or removed there has no effect on it. */
function ignoringErrors(work: () => void): void {
  try {
    work()
  } catch {
    // As described.
  }
}

/** A former holder that ends at the same moment removes the file; the next attempt makes a new one. */
function acquire(tryLock: (file: string) => FileLock | undefined, file: string): FileLock | undefined {
  for (let n = 0; ; n++) {
    const lock = tryLock(file)
    if (lock === undefined || isOpenHere(file) || n === ATTEMPTS) return lock
    lock.release()
  }
}

/**
 * The file at the path is the one that was locked: its former holder may have removed it meanwhile. It is not opened here, because closing
 * it would release the lock (POSIX).
 */
function isOpenHere(file: string): boolean {
  const fds = descriptors()
  if (fds === undefined) return true
  const found = statSync(file, { throwIfNoEntry: false })
  return found !== undefined && fds.some(fd => isSame(fd, found))
}

function descriptors(): number[] | undefined {
  try {
    return readdirSync(process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd').map(Number)
  } catch {
    return undefined
  }
}

function isSame(fd: number, { dev, ino }: { readonly dev: number; readonly ino: number }): boolean {
  try {
    const info = fstatSync(fd)
    return info.ino === ino && info.dev === dev
  } catch {
    return false
  }
}

function readNote(file: string): string | undefined {
  try {
    const { writer, process: where, since } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>
    return `${writer} (${where}, since ${since})`
  } catch {
    return undefined
  }
}
