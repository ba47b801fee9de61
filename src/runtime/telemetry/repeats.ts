/** A peer that is away fails a thousand times: its error is logged once and then counted. */
import type { Logger } from '../../contract/plugin.ts'

type Level = 'warn' | 'error'

interface Repeated {
  /** Since the last line about it. */
  count: number
  /** ms until the next look. */
  interval: number
  /** `performance.now()` of the last line about it. */
  at: number
  details: object
  timer: NodeJS.Timeout
}

/** First wait before the repeats of a line are reported, and the longest, ms; doubled in between. */
const FIRST = 10_000
const LONGEST = 300_000
/** Beyond this number of different lines, the oldest count as new. */
const KNOWN = 1000

/**
 * Lines of warnings and errors that have an `error` are logged when they are new. The same line of the same step, whichever lane or
 * number is in it, is counted from then on; the count is logged after 10 seconds and then ever more rarely. A line that has not come
 * for such an interval is new again.
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
