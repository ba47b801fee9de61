/** Fetches snapshots, one at a time: exchanges limit requests, and a gap in one stream often comes with gaps in all. */
import type { Logger } from '../../contract/plugin.ts'
import { systemClock } from '../../kit/clock.ts'
import { type Backoff, backoff, pause } from '../../kit/pause.ts'
import type { Counters } from './counters.ts'
import type { Got, StatusError } from './http-get.ts'

export interface SnapshotOptions {
  /** Minimum time between two fetches for one stream, ms. */
  readonly interval: number
  readonly backoff: Backoff
  readonly random: () => number
  readonly log: Logger
  readonly counters: Counters
  get(key: string, signal: AbortSignal): Promise<Got>
  /** @returns why the snapshot cannot be used. */
  use(key: string, got: Got): string | undefined
  /** @returns whether the snapshot is no longer needed. */
  wanted(key: string): boolean
}

export class Snapshots {
  private readonly options: SnapshotOptions
  private readonly queue = new Set<string>()
  private readonly lastFetch = new Map<string, number>()
  private abort = new AbortController()
  private running = false
  /** Consecutive failures. */
  private failures = 0

  constructor(options: SnapshotOptions) {
    this.options = options
  }

  request(key: string): void {
    this.queue.add(key)
    if (!this.running) void this.run(this.abort.signal)
  }

  /** Removes all requests. */
  cancel(): void {
    this.abort.abort(new Error('no longer needed'))
    this.abort = new AbortController()
    this.queue.clear()
    this.running = false
  }

  private async run(signal: AbortSignal): Promise<void> {
    this.running = true
    while (!signal.aborted && this.queue.size > 0) {
      const [key] = this.queue
      this.queue.delete(key)
      const wait = (this.lastFetch.get(key) ?? Number.NEGATIVE_INFINITY) + this.options.interval - performance.now()
      if (wait > 0) await pause(systemClock, wait, signal)
      if (signal.aborted) return
      this.lastFetch.set(key, performance.now())
      if (this.options.wanted(key)) await this.fetch(key, signal)
    }
    if (!signal.aborted) this.running = false
  }

  private async fetch(key: string, signal: AbortSignal): Promise<void> {
    let problem: string | undefined
    let rest = 0
    try {
      const got = await this.options.get(key, signal)
      if (signal.aborted) return
      problem = this.options.use(key, got)
    } catch (error) {
      if (signal.aborted) return
      problem = (error as Error).message
      rest = (error as Partial<StatusError>).retryAfter ?? 0
    }
    if (problem === undefined) {
      this.failures = 0
      return
    }
    this.options.counters.snapshot('error')
    this.options.log.warn({ key, problem }, 'snapshot failed, retrying')
    this.queue.add(key)
    await pause(systemClock, Math.max(rest, backoff(this.options.backoff, this.failures++, this.options.random)), signal)
  }
}
