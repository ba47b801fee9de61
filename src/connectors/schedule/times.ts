/** When a schedule fires: pure functions of a time, all in epoch ms. */
import { Cron } from 'croner'

export interface Times {
  /** The first time after this one; undefined: there is none. */
  next(after: number): number | undefined
  /** The last time at or before this one; undefined: there is none. */
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
