/** The times of a schedule: pure functions of a time, all in epoch ms. */
import { Cron } from 'croner'

export interface Times {
  /** The first time after this one; undefined if there is none. */
  next(after: number): number | undefined
  /** The last time at or before this one; undefined if there is none. */
  last(until: number): number | undefined
}

export function intervals(every: number): Times {
  return { next: after => (Math.floor(after / every) + 1) * every, last: until => Math.floor(until / every) * every }
}

/** @throws {Error} the expression or the zone is wrong */
export function cronTimes(expression: string, timezone: string): Times {
  const job = new Cron(expression, { timezone, paused: true })
  // A wrong zone shows only when it is used.
  job.nextRun(new Date(0))
  return {
    next: after => job.nextRun(new Date(after))?.getTime(),
    // Exclusive, and in whole seconds.
    last: until => job.previousRuns(1, new Date(until + 1))[0]?.getTime(),
  }
}

export function isCron(expression: string, timezone: string): boolean {
  try {
    cronTimes(expression, timezone)
    return true
  } catch {
    return false
  }
}

const FIELDS = [
  ['second', '0 to 59'],
  ['minute', '0 to 59'],
  ['hour', '0 to 23'],
  ['day of the month', '1 to 31'],
  ['month', '1 to 12'],
  ['day of the week', '0 to 7'],
] as const

/** @returns the problem of a cron expression, if any. */
export function cronProblem(expression: string): string | undefined {
  if (isCron(expression, 'UTC')) return undefined
  const given = expression.trim().split(/\s+/)
  const fields = given.length === 5 ? FIELDS.slice(1) : FIELDS
  const alone = (i: number): string => fields.map((_, at) => (at === i ? given[at] : '*')).join(' ')
  const wrong = given.length === fields.length ? fields.findIndex((_, i) => !isCron(alone(i), 'UTC')) : -1
  if (wrong < 0)
    return 'must have five fields (minute, hour, day, month, weekday), or six with seconds first: for example "*/5 * * * *" or "0 8 * * 1-5"'
  const [name, range] = fields[wrong]!
  return `'${given[wrong]}' is not valid as ${name}: write *, or values from ${range} such as 5, 1-5 or */5`
}
