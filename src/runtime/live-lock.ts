/**
 * Allows one process per identity, for sources that cannot share their work: two processes that read one file would both write all of it.
 * The lock is in the state directory: processes with the same state directory belong to one deployment. A note beside the lock describes
 * its holder, for the error of a rejected process.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { LiveConflictError, type LiveContent, type Logger } from '../contract/plugin.ts'
import { consumerGroupOf, sharesWork } from '../config/traits.ts'
import { liveConflict, liveContentOf } from '../kit/live-content.ts'
import { inStateDir } from '../kit/state-dir.ts'
import { stateOwner } from '../kit/state-owner.ts'
import type { Built, BuiltSource } from './build.ts'
import { reasonOf } from '../kit/system-error.ts'

/** The lock file of an owner, see `stateOwner`. */
export const liveLockFile = (owner: string): string => inStateDir(`live/${owner.replaceAll(/[^\w.-]/g, '_')}.lock`)

export interface LiveLock {
  release(): void
}

/**
 * @throws {LiveConflictError} while another process runs. @throws {EnvironmentError} if the state directory is required but cannot be used
 */
export async function lockLive({ live, pipeline, sources }: Built, log: Logger): Promise<LiveLock> {
  const held: { readonly lock: LiveLock; readonly note: string }[] = []
  const release = (): void => {
    for (const { lock, note } of held.splice(0)) {
      rmSync(note, { force: true })
      lock.release()
    }
  }
  const alone = sources.filter(s => s.alone)
  const files = new Map(alone.map(source => [liveLockFile(stateOwner(live.owner, consumerGroupOf(source.step))), source]))
  try {
    for (const [file, source] of files) {
      const { tryLock } = await import('../kit/sqlite/file-lock.ts')
      const note = file.replace(/lock$/, 'json')
      const lock = tryLock(file)
      if (!lock) throw rejection(live, readNote(note), pipeline, source)
      held.push({ lock, note })
      writeFileSync(note, JSON.stringify({ live, process: `process ${process.pid} on ${hostname()}`, since: new Date().toISOString() }), {
        mode: 0o600,
      })
    }
  } catch (error) {
    if (error instanceof LiveConflictError || alone.some(s => s.keptLocally)) {
      release()
      throw error
    }
    log.warn({ error: reasonOf(error) }, 'a second process of this pipeline cannot be detected: the state directory cannot be used')
  }
  return { release }
}

interface Note {
  readonly live: LiveContent
  readonly where: string
}

/** Undefined: the holder has just started or just ended. */
function readNote(file: string): Note | undefined {
  try {
    const { live, process: where, since } = JSON.parse(readFileSync(file, 'utf8')) as { live: unknown; process: string; since: string }
    const content = liveContentOf(live)
    return content && { live: content, where: `${where}, since ${since}` }
  } catch {
    return undefined
  }
}

function rejection(
  mine: LiveContent,
  running: Note | undefined,
  { name, version }: Built['pipeline'],
  source: BuiltSource,
): LiveConflictError {
  const dir = inStateDir('')
  const conflict = running && liveConflict(running.live, running.where, mine, `state directory ${dir}`, false)
  if (conflict) return conflict
  const { step } = source
  const why = sharesWork(step)
    ? `the state behind source ${step.name} (${step.type}) is in the state directory, which only one process can use`
    : `source ${step.name} (${step.type}) cannot share its records with a second process: both would write all of them`
  return new LiveConflictError(
    `pipeline ${name} (version ${version}) is already running${running ? ` (${running.live.file}, ${running.where})` : ''}; ${why}\n` +
      `  - stop the running process first, if this one replaces it\n` +
      `  - give this one another name or version: it then reads and writes everything independently\n` +
      `  - for another deployment, set RUNNER_STATE_DIR to a directory other than ${dir}`,
  )
}
