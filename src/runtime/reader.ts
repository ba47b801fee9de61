/** Reads one source to its end, and passes its batches to their lanes. */
import type { Batch, Logger } from '../contract/plugin.ts'
import type { BuiltSource } from './build.ts'
import type { Lane } from './lane.ts'
import type { Meters } from './telemetry/meters.ts'
import { isRetryable } from './writer.ts'

export interface ReaderHost {
  readonly lanes: ReadonlyMap<string, Lane>
  readonly meters: Meters
  readonly log: Logger
  /** Aborted when nothing more may be read. */
  readonly signal: AbortSignal
  /** Windows that end at or before this time close at the end of the input. */
  readonly endAt: number
  /** The lanes pass messages on through a link, whose lanes must receive the end of the input. */
  readonly handsOver: boolean
  /** The run has failed: batches that are read now are ignored. */
  failed(): boolean
  /** Waits before a failed source is read again. */
  pause(): Promise<void>
}

export class Reader {
  private readonly entry: BuiltSource
  private readonly host: ReaderHost

  constructor(entry: BuiltSource, host: ReaderHost) {
    this.entry = entry
    this.host = host
  }

  /** @throws errors of the source that are not retryable. */
  async run(): Promise<void> {
    const { host } = this
    const { source, step } = this.entry
    let yielded = performance.now()
    for (;;) {
      let batch: Batch | null
      const seeks = this.seeks
      try {
        batch = await source.read(host.signal)
      } catch (error) {
        if (host.signal.aborted) return
        if (!isRetryable(error)) throw error
        host.log.warn({ step: step.name, error: (error as Error).message }, 'source failed, reading again')
        await host.pause()
        continue
      }
      if (batch === null) {
        if (await this.end(seeks)) return
        continue
      }
      if (batch.lag !== undefined) host.meters.lag.set(batch.lane, batch.lag)
      await host.lanes.get(batch.lane)?.accept(batch)
      if (host.failed()) return
      // A source that never waits would starve timers and signals, because resolved promises alone do not let them run.
      if (performance.now() - yielded > 8) {
        await new Promise(resolve => setImmediate(resolve))
        yielded = performance.now()
      }
    }
  }

  /**
   * Flushes the lanes of the source at the end of the input. False: a lane was restored after the read that returned the end, so the source
   * must be read again.
   */
  private async end(seeks: number): Promise<boolean> {
    const { lanes, host } = this
    await Promise.all(lanes.map(l => l.drain()))
    await Promise.all(lanes.map(l => l.restored()))
    if (host.failed()) return true
    if (this.seeks !== seeks) return false
    // A backfill without `--to` ends in the middle of windows, which must not be emitted.
    if (host.endAt !== Number.NEGATIVE_INFINITY || host.handsOver) await Promise.all(lanes.map(l => l.end(host.endAt)))
    await Promise.all(lanes.map(l => l.restored()))
    return host.failed() || this.seeks === seeks
  }

  private get lanes(): Lane[] {
    return [...this.host.lanes.values()].filter(l => l.info.source === this.entry.step.name)
  }

  private get seeks(): number {
    let n = 0
    for (const lane of this.host.lanes.values()) if (lane.info.source === this.entry.step.name) n += lane.seeks
    return n
  }
}
