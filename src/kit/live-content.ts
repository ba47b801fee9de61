/** Compares what two running processes of one identity do. */
import { LiveConflictError, type LiveContent } from '../contract/plugin.ts'

/** A content that came from another process; undefined: not one that this version understands. */
export function liveContentOf(value: unknown): LiveContent | undefined {
  const { owner, file, runner, settings } = (value ?? {}) as Partial<LiveContent>
  const whole = [owner, file, runner].every(text => typeof text === 'string') && typeof settings === 'object' && settings !== null
  return whole ? (value as LiveContent) : undefined
}

/** One line per setting. Versions of the runner may know other settings; then only what both know counts. */
export function liveDifferences(running: LiveContent, mine: LiveContent): string[] {
  const sameVersion = running.runner === mine.runner
  const keys = [...new Set([...Object.keys(running.settings), ...Object.keys(mine.settings)])]
  const lines = keys.flatMap(key => {
    const [a, b] = [running.settings[key], mine.settings[key]]
    if (a === b || (!sameVersion && (a === undefined || b === undefined))) return []
    return [`${key}: running ${a ?? 'without it'}, here ${b ?? 'without it'}`]
  })
  return running.owner === mine.owner ? lines : [`pipeline: running ${running.owner}, here ${mine.owner}`, ...lines]
}

/**
 * @param place where the two meet: `group bars`.
 * @param where the running process: `runner on 10.0.0.7`.
 * @param shares processes that do the same may run side by side there.
 * @param apart what makes this one independent.
 * @returns undefined when both do the same, and may share their work.
 */
export function liveConflict(
  running: LiveContent,
  where: string,
  mine: LiveContent,
  place: string,
  shares = true,
  apart = 'give this one another name, version or group: it then reads everything on its own',
): LiveConflictError | undefined {
  const differences = liveDifferences(running, mine)
  if (differences.length === 0) return undefined
  return new LiveConflictError(
    `another process is running in ${place}, and does something else${shares ? '; sharing the work with it would give each a part of the records' : ''}:\n` +
      `${differences.map(line => `  ${line}`).join('\n')}\n` +
      `  running: ${running.file}, ${where}\n  here:    ${mine.file}\n` +
      `  - stop the running process first, if this one replaces it\n` +
      `  - ${apart}` +
      (shares ? '\n  - make both files the same: they then share the work' : ''),
  )
}
