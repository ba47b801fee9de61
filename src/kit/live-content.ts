/** Compares the settings of two running processes of one identity. */
import { LiveConflictError, type LiveContent } from '../contract/plugin.ts'

/**
 * The setting of a process that starts lanes over, with a value of its own: it shares its work with no other process. Each starts a lane
 * over at its first claim, so a lane that moves would be processed twice.
 */
export const STARTS_OVER = '--fresh'

/** The content of another process; undefined: this version does not understand it. */
export function liveContentOf(value: unknown): LiveContent | undefined {
  const { owner, file, runner, settings } = (value ?? {}) as Partial<LiveContent>
  const whole = [owner, file, runner].every(text => typeof text === 'string') && typeof settings === 'object' && settings !== null
  return whole ? (value as LiveContent) : undefined
}

/** One line per setting. Different versions of the runner may have different settings; then only common ones count. */
export function liveDifferences(running: LiveContent, mine: LiveContent): string[] {
  const sameVersion = running.runner === mine.runner
  const keys = [...new Set([...Object.keys(running.settings), ...Object.keys(mine.settings)])]
  const lines = keys.flatMap(key => {
    const [a, b] = [running.settings[key], mine.settings[key]]
    if (a === b || (!sameVersion && (a === undefined || b === undefined))) return []
    return [`${key}: running ${a ?? 'not set'}, here ${b ?? 'not set'}`]
  })
  return running.owner === mine.owner ? lines : [`pipeline: running ${running.owner}, here ${mine.owner}`, ...lines]
}

/**
 * @param place what the two share: `group bars`.
 * @param where the running process: `runner on 10.0.0.7`.
 * @param shares equal processes may run side by side there.
 * @param apart how to make this process independent.
 * @returns undefined when both are equal, and may share their work.
 */
export function liveConflict(
  running: LiveContent,
  where: string,
  mine: LiveContent,
  place: string,
  shares = true,
  apart = 'give this one another name, version or group, so that it reads all records itself',
): LiveConflictError | undefined {
  const differences = liveDifferences(running, mine)
  if (differences.length === 0) return undefined
  if (differences.every(line => line.startsWith(`${STARTS_OVER}: `)))
    return new LiveConflictError(
      `another process is running in ${place}, and ${mine.settings[STARTS_OVER] === undefined ? 'it was started with --fresh' : 'this one was started with --fresh'}: ` +
        `a lane that moves between the two would be started over after it has been processed.\n` +
        `  running: ${running.file}, ${where}\n` +
        `  - stop the running process first\n` +
        `  - to share the work, run --fresh once and alone, stop it, and start all processes without --fresh`,
    )
  return new LiveConflictError(
    `another process is running in ${place}, with different settings${shares ? '; each of the two would process only a part of the records' : ''}:\n` +
      `${differences.map(line => `  ${line}`).join('\n')}\n` +
      `  running: ${running.file}, ${where}\n  here:    ${mine.file}\n` +
      `  - stop the running process first, if this one replaces it\n` +
      `  - ${apart}` +
      (shares ? '\n  - make both files equal, so that they share the work' : ''),
  )
}
