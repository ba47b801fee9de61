/** Reports of a push queue: metrics, and at intervals a log line when it loses records or its disk fails. */
import type { Counter, Logger, Metrics } from '../../contract/plugin.ts'
import { reasonOf } from '../system-error.ts'

/** Interval between two log lines, ms. */
const INTERVAL = 60_000

export interface ReportOptions {
  readonly metrics: Metrics
  readonly log: Logger
  /** Step's name, for the metrics. */
  readonly step: string
  readonly clock: { now(): number; monotonic(): number }
}

/** No room in memory, none on disk, or the queue is closed. */
export type DropReason = 'full' | 'spill_full' | 'closed'

export class Report {
  private readonly options: ReportOptions
  private readonly queued: { set(n: number): void }
  private readonly spilled: { set(n: number): void }
  private readonly spillErrors: Counter
  private readonly drops: Readonly<Record<DropReason, Counter>>
  private loggedAt = Number.NEGATIVE_INFINITY

  constructor(options: ReportOptions) {
    const { metrics, step } = options
    this.options = options
    this.queued = metrics.gauge('runner_push_queued_bytes', 'Memory used by pushed records that are not committed yet.', { step })
    this.spilled = metrics.gauge('runner_push_spilled_bytes', 'Bytes of pushed records on disk, not yet committed.', { step })
    this.spillErrors = metrics.counter('runner_push_spill_errors_total', 'Writes of pushed records to disk that failed.', { step })
    const drops = (reason: DropReason): Counter =>
      metrics.counter('runner_push_dropped_total', 'Pushed records that were dropped.', { step, reason }, 'dropped')
    // Created at the start, because an alert needs a first value.
    this.drops = { full: drops('full'), spill_full: drops('spill_full'), closed: drops('closed') }
  }

  /** Bytes in memory and on disk. */
  held(queued: number, spilled: number): void {
    this.queued.set(queued)
    this.spilled.set(spilled)
  }

  dropped(reason: DropReason, records: number): void {
    this.drops[reason].inc(records)
    if (reason !== 'closed') this.warn({ reason, records }, 'the queue is full and drops records: see runner_push_dropped_total')
  }

  spillFailed(error: Error): void {
    this.spillErrors.inc()
    this.warn({ error: reasonOf(error) }, 'the queue cannot spill to disk')
  }

  private warn(details: object, message: string): void {
    const now = this.options.clock.monotonic()
    if (now - this.loggedAt < INTERVAL) return
    this.loggedAt = now
    this.options.log.warn({ step: this.options.step, ...details }, message)
  }
}
