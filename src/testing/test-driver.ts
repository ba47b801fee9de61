/** Runs a pipeline under test step by step on a virtual clock. Each step waits until the pipeline is idle, not for real time. */
import { loadLanguageFor } from '../config/lane-keys.ts'
import { build } from '../runtime/build.ts'
import { VirtualClock } from '../kit/clock.ts'
import type { Pipeline } from '../config/model.ts'
import { PipelineRun } from '../runtime/pipeline.ts'
import { silentLogger } from '../runtime/telemetry/log.ts'
import type { BatchSplit } from './feed.ts'
import type { InputRecord, TestCase } from './model.ts'
import { type FakedPipeline, recordsOf, withFakes } from './fakes.ts'
import { Totals } from './totals.ts'
import { InMemorySinks } from './in-memory-sinks.ts'

export class TestDriver {
  readonly sinks = new InMemorySinks()
  readonly clock: VirtualClock
  readonly totals = new Totals()
  private readonly faked: FakedPipeline
  private readonly restTimeout: number
  private run!: PipelineRun
  private ended: { readonly error: Error | undefined } | undefined

  /** @param restTimeout real time after which a pipeline that is not idle fails the test, ms: a promise is never resolved */
  constructor(pipeline: Pipeline, test: TestCase, cut: BatchSplit, restTimeout: number) {
    this.restTimeout = restTimeout
    this.clock = new VirtualClock(test.clock)
    this.faked = withFakes(pipeline, test, this.sinks, cut)
  }

  /** The error that stopped the pipeline; undefined: it has not failed. */
  get failure(): Error | undefined {
    return this.ended?.error
  }

  /** Starts the pipeline from the stored checkpoints. */
  async start(): Promise<void> {
    this.ended = undefined
    await loadLanguageFor(this.faked.pipeline)
    const built = build(this.faked.pipeline, {
      clock: this.clock,
      log: silentLogger,
      localCheckpoints: () => this.sinks.checkpoints(),
    })
    this.totals.add(built.meters)
    this.run = new PipelineRun(built, { clock: this.clock, log: silentLogger, endAt: Number.POSITIVE_INFINITY, random: () => 0.5 })
    const { run } = this
    run.run().then(
      () => this.finished(run, undefined),
      error => this.finished(run, error as Error),
    )
    await this.quiet()
  }

  async input(records: readonly InputRecord[]): Promise<void> {
    for (const record of records) {
      const { step, feed, lane } = this.faked.laneOf(record)
      const time = record.time ?? this.clock.now()
      for (const one of recordsOf(step, feed.format, record, time))
        feed.push(lane, { key: record.key, headers: record.headers, time, failure: record.failure, ...one })
    }
    for (const feed of this.faked.feeds.values()) feed.flush()
    await this.quiet()
  }

  /** Fires each timer at its time, and waits until the pipeline is idle before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.clock.monotonic() + ms
    while (this.clock.step(until)) await this.quiet()
  }

  /** Discards uncommitted work, as if the process had been killed, and restarts. */
  async crash(): Promise<void> {
    if (!this.ended) {
      this.run.abort(new Error('crash'))
      await this.over()
    }
    await this.start()
  }

  /** Drains and stops as on SIGTERM, and restarts. */
  async restart(): Promise<void> {
    if (!this.ended) {
      this.run.stop()
      await this.over()
    }
    if (!this.failure) await this.start()
  }

  /** Ends the input: windows close, and all output is flushed. */
  async end(): Promise<void> {
    for (const { name } of this.faked.pipeline.sources) {
      const feed = this.faked.feeds.get(name)!
      feed.end()
      feed.flush()
    }
    if (!this.ended) await this.over()
  }

  /** Writes and commits all records read so far. */
  async flush(): Promise<void> {
    // Each part of a pipeline with links reads the committed output of the part before it.
    for (let part = 0; part <= (this.faked.pipeline.links?.length ?? 0); part++) await this.flushOnce()
  }

  private async flushOnce(): Promise<void> {
    if (this.ended) return
    let done = false
    const flushed = this.run.flush().then(() => {
      done = true
    })
    await this.until(() => done || this.ended !== undefined)
    if (done) await flushed
    await this.quiet()
  }

  /** Stops the pipeline and discards uncommitted work. */
  async close(): Promise<void> {
    if (this.ended) return
    this.run.abort(new Error('the test has ended'))
    await this.over()
  }

  private finished(run: PipelineRun, error: Error | undefined): void {
    if (run === this.run) this.ended = { error }
  }

  private over(): Promise<void> {
    return this.until(() => this.ended !== undefined)
  }

  private quiet(): Promise<void> {
    return this.until(() => {
      if (this.ended) return true
      for (const feed of this.faked.feeds.values()) if (!feed.parked) return false
      for (const lane of this.run.lanes.values()) if (!lane.quiet) return false
      return true
    })
  }

  /** Waits with promises first; then yields to the event loop for steps with real I/O. */
  private async until(condition: () => boolean): Promise<void> {
    for (let turn = 0; turn < 100; turn++) {
      if (condition()) return
      await Promise.resolve()
    }
    const started = performance.now()
    while (!condition()) {
      if (performance.now() - started > this.restTimeout) throw new StuckError(this.stuck())
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  private stuck(): string {
    const lanes = [...this.run.lanes.values()].filter(l => !l.quiet).map(l => l.info.id)
    return `the pipeline did not come to rest within ${this.restTimeout / 1000} s of real time${lanes.length > 0 ? ` (lane ${lanes.join(', ')})` : ''}: a step may wait for an event that never happens`
  }
}

class StuckError extends Error {}
