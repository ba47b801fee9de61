/** SIGSTOP, at a moment that tests the frozen process and not its lock. */
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

interface Target {
  kill(signal: NodeJS.Signals): unknown
}

const TRIES = 100

/**
 * Freezes a process that works on the SQLite file at `path`, outside of its writes. One of about a hundred freezes hits a process
 * between BEGIN and COMMIT: it then sleeps while holding the write lock, and the others must wait for it.
 */
export async function freezeBetweenWrites(target: Target, path: string): Promise<void> {
  for (let i = 0; i < TRIES; i++) {
    target.kill('SIGSTOP')
    if (writable(path)) return
    target.kill('SIGCONT')
    await sleep(1 + Math.random() * 10)
  }
  throw new Error(`${path} cannot be written to: frozen ${TRIES} times, and each time somebody held the write lock`)
}

function writable(path: string): boolean {
  const db = new DatabaseSync(path, { timeout: 300 })
  try {
    db.exec('BEGIN IMMEDIATE; ROLLBACK')
    return true
  } catch (error) {
    if ((error as { errcode?: number }).errcode === 5) return false
    throw error
  } finally {
    db.close()
  }
}
