/** A feed has no sender to notify and cannot be read again: a rejected message is counted and, at intervals, logged. */
import type { Logger, Rejection } from '../../contract/plugin.ts'
import type { Counters } from './counters.ts'

/** Interval between two log lines, ms. */
const INTERVAL = 10_000

export class RejectionLog {
  private readonly log: Logger
  private readonly counters: Counters
  private since = 0
  private loggedAt = Number.NEGATIVE_INFINITY

  constructor(log: Logger, counters: Counters) {
    this.log = log
    this.counters = counters
  }

  note({ message, error, step }: Rejection): void {
    this.counters.rejected()
    this.since++
    const now = performance.now()
    if (now - this.loggedAt < INTERVAL) return
    this.log.warn(
      { step, error: error.message, count: this.since, payload: message.payload?.toString('utf8', 0, 200) ?? null },
      'messages rejected',
    )
    this.loggedAt = now
    this.since = 0
  }
}
