/** Logs a repeated error once and then counts it, so an unreachable peer does not fill the log. */
import type { Logger } from '../../contract/plugin.ts'

type Level = 'warn' | 'error'

interface Repeated {
  /** Repeats since the last line about it. */
  count: number
  /** Time until the next report, ms. */
  interval: number
  /** `performance.now()` of the last line about it. */
  at: number
  details: object
  timer: NodeJS.Timeout
}

/** The first and the longest interval between reports of repeats, ms. The interval doubles after each report. */
const FIRST = 10_000
const LONGEST = 300_000
/** Number of different lines that are remembered. Beyond it, the oldest is forgotten and counts as new. */
const KNOWN = 1000

/**
 * Logs a warning or an error with an `error` field when it is new. Lines of the same step that differ only in numbers are the same line:
 * repeats are counted, and the count is logged after 10 seconds, then at doubling intervals. A line without a repeat in such an interval is
 * forgotten and counts as new.
 */
export function countRepeats(log: Logger): Logger {
  const known = new Map<string, Repeated>()
  const forget = (id: string): void => {
    clearTimeout(known.get(id)?.timer)
    known.delete(id)
  }
  const report = (id: string, level: Level, message: string): void => {
    const entry = known.get(id)
    if (entry === undefined) return
    if (entry.count === 0) return forget(id)
    const seconds = Math.round((performance.now() - entry.at) / 1000)
    log[level]({ ...entry.details, repeated: entry.count, seconds }, `${message} (${entry.count} times more in ${seconds} s)`)
    entry.count = 0
    entry.at = performance.now()
    entry.interval = Math.min(LONGEST, entry.interval * 2)
    entry.timer = setTimeout(() => report(id, level, message), entry.interval).unref()
  }
  const line = (level: Level, details: object, message: string): void => {
    const { step, error } = details as { step?: unknown; error?: unknown }
    if (typeof error !== 'string') return log[level](details, message)
    const id = `${level} ${String(step)} ${message} ${error}`.replace(/\d+/g, '#')
    const entry = known.get(id)
    if (entry !== undefined) {
      entry.count++
      entry.details = details
      return
    }
    if (known.size >= KNOWN) forget(known.keys().next().value!)
    const timer = setTimeout(() => report(id, level, message), FIRST).unref()
    known.set(id, { count: 0, interval: FIRST, at: performance.now(), details, timer })
    log[level](details, message)
  }
  return {
    debug: (details, message) => log.debug(details, message),
    info: (details, message) => log.info(details, message),
    warn: (details, message) => line('warn', details, message),
    error: (details, message) => line('error', details, message),
  }
}
