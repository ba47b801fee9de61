/** One running pipeline: reads its sources, passes batches to lanes, and ends with the end of the input, a signal or a failure. */
import { getHeapStatistics } from 'node:v8'
import { EnvironmentError, FencedError, type Logger, PipelineError, type Source, VerdictError } from '../contract/plugin.ts'
import { isOneShot } from '../config/traits.ts'
import { Assignment } from './assignment.ts'
import type { Built, BuiltSource } from './build.ts'
import type { Clock } from '../kit/clock.ts'
import type { Lane } from './lane.ts'
import { useLimits } from '../kit/limits.ts'
import { pause } from '../kit/pause.ts'
import { isMistake } from '../kit/plugin-error.ts'
import { describeReason, type Finding, peerProblem, Readiness, type Reason, Trouble } from './readiness.ts'
import { Reader } from './reader.ts'
import { delayOf, isRetryable, type Writer } from './writer.ts'

export interface RunOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Ends the run when every lane has been silent and flushed for this long, ms. */
  readonly untilIdle?: number
  /** Windows that end at or before this time close at the end of the input; a backfill uses its `--to`. */
  readonly endAt: number
  readonly random?: () => number
}

/** Interval of the checks for silence, ms. */
const TICK = 250
/** Maximum time for which a one-shot pipeline waits for a peer of its sources, ms. It is limited because a caller waits for the result. */
export const PEER_WAIT_LIMIT = 30_000
/** Default of `limits.state`, bytes. The other half of the heap is for everything else and for the garbage collector. */
const DEFAULT_STATE_LIMIT = getHeapStatistics().heap_size_limit / 2
const mebibytes = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MiB`
/** Maximum time for closing, ms, so that a peer that does not answer does not keep the process running. */
const CLOSE_BUDGET = 5000
/** The same after a signal, so that the process ends within 2 s of its last commit. */
const STOP_BUDGET = 1500
/** After a stop during opening: maximum time for opening, and for closing afterwards, ms each. */
const OPENING_GRACE = 600

export class PipelineRun {
  readonly built: Built
  readonly lanes: ReadonlyMap<string, Lane>
  private readonly assignment: Assignment
  private readonly options: RunOptions
  private readonly readiness: Readiness
  /** Sources whose opening or claims fail because a peer is unreachable. */
  private readonly openings = new Map<string, Trouble>()
  private readonly opening = new AbortController()
  private readonly reading = new AbortController()
  private readonly writing = new AbortController()
  private readonly failed = Promise.withResolvers<void>()
  private readonly leftOpening = Promise.withResolvers<void>()
  private failure: Error | undefined
  private stopping = false
  private cancelTick: (() => void) | undefined
  private cancelDeadline: (() => void) | undefined
  /** `clock.monotonic()` since when every source has been reachable. */
  private reachableSince: number
  private opened = false
  /** Every source has reached the end of its input. */
  private ended = false
  private readonly oneShot: boolean
  /** The last connection error. */
  private lastError: string | undefined
  private cancelPatience: (() => void) | undefined

  constructor(built: Built, options: RunOptions) {
    this.built = built
    this.options = options
    this.readiness = new Readiness(options.clock)
    this.assignment = new Assignment({
      built,
      clock: options.clock,
      log: options.log,
      random: options.random ?? Math.random,
      signal: this.writing.signal,
      stopping: this.reading.signal,
      retrying: (step, fn) => this.retrying(step, fn),
      fatal: error => this.fatal(error),
    })
    this.lanes = this.assignment.lanes
    this.reachableSince = options.clock.monotonic()
    this.oneShot = built.sources.every(s => isOneShot(s.step))
  }

  /** Runs to the end. Resolves when everything is flushed and closed. @throws the error that stopped the pipeline. */
  async run(): Promise<void> {
    const release = useLimits(this.built.pipeline.limits)
    try {
      // Work that hangs (a plugin that never answers) is abandoned when the run has failed or its deadline has passed.
      await Promise.race([this.work(), this.failed.promise, this.leftOpening.promise])
      this.cancelDeadline?.()
      await this.close()
    } finally {
      release()
    }
    if (this.failure) throw this.failure
    if (this.oneShot && this.stopping && !this.ended)
      throw new PipelineError('PIPE_STOPPED', 'stopped before everything was read: the output, or comparison, is incomplete; run it again')
    const bad = [...this.built.reports.values()].filter(r => !r.ok)
    if (bad.length > 0) throw new VerdictError(bad.map(r => r.verdict).join('\n'))
  }

  /** Stops reading, flushes what is in memory within `shutdown_timeout`, and ends. `run` resolves, or rejects if the time was too short. */
  stop(): void {
    if (this.stopping) return
    this.stopping = true
    const budget = this.built.pipeline.shutdown_timeout
    this.cancelDeadline = this.options.clock.after(budget, () =>
      this.fatal(
        new Error(`not drained within shutdown_timeout (${budget} ms): records in flight are not committed and will be read again`),
      ),
    )
    if (!this.opened) {
      this.opening.abort(new Error('stopping'))
      // Nothing is read yet, so a peer that does not answer is not waited for.
      this.options.clock.after(OPENING_GRACE, () => void (this.opened || this.leftOpening.resolve()))
    }
    this.reading.abort(new Error('stopping'))
  }

  /** Ends at once: what is in memory is discarded, and nothing more is committed. */
  abort(reason: Error): void {
    this.fatal(reason)
  }

  /** Why the pipeline is not ready: each reason with its step and its beginning. Empty: the pipeline is ready. */
  reasons(): Reason[] {
    return this.readiness.look(this.findings())
  }

  /** `reasons()` as texts. */
  notReady(): string[] {
    return this.reasons().map(describeReason)
  }

  private *findings(): Generator<Finding> {
    if (this.failure) yield { kind: 'pipeline', aspect: 'failure', reason: this.failure.message }
    else if (!this.opened) yield { kind: 'pipeline', aspect: 'start', reason: 'starting' }
    for (const [name, trouble] of this.openings)
      if (trouble.since !== undefined) yield { kind: 'source', name, aspect: 'open', reason: trouble.text, since: trouble.since }
    for (const { step, source } of this.built.sources) {
      const reason = peerProblem(source)
      if (reason !== undefined) yield { kind: 'source', name: step.name, aspect: 'peer', reason }
    }
    for (const { step, committer } of this.built.sources) {
      const problem = peerProblem(committer)
      if (problem !== undefined) yield { kind: 'source', name: step.name, aspect: 'checkpoints', reason: `checkpoints: ${problem}` }
    }
    for (const writer of this.sinks) yield* writer.findings()
    for (const lane of this.lanes.values()) yield* lane.findings()
  }

  now(): number {
    return this.options.clock.now()
  }

  /** Resolves when everything read is committed. Tests on a virtual clock wait for it between two steps. */
  async flush(): Promise<void> {
    await Promise.all([...this.lanes.values()].map(l => l.drain()))
  }

  private async work(): Promise<void> {
    try {
      if (this.oneShot) this.watchPeers(this.options.clock.monotonic())
      await Promise.all(this.sinks.map(w => w.open(this.opening.signal)))
      await Promise.all(this.built.sources.map(s => this.openSource(s)))
      if (this.failure) return
      this.opened = true
      this.tick()
      await this.readAll()
      this.ended = !this.reading.signal.aborted
      if (!this.failure) await Promise.all([...this.lanes.values()].map(lane => lane.drain()))
      this.throwNotCommitted()
    } catch (error) {
      if (!this.stopping) this.fatal(error as Error)
    }
  }

  /** Reads each source to its end. The source behind a link ends when all sources of the part before the link have ended. */
  private async readAll(): Promise<void> {
    const { sources } = this.built
    const parts = this.built.routers.map((_, part) => sources.filter(s => s.part === part))
    const running = parts.map(part => Promise.all(part.map(s => this.reader(s).run())))
    for (let part = 1; part < parts.length; part++) {
      await Promise.race([running[part - 1], ...running.slice(part)])
      if (this.reading.signal.aborted) break
      for (const { source } of parts[part]) source.finish?.()
    }
    await Promise.all(running)
  }

  /** A lane that is restoring its checkpoint has discarded what it read. The next run reads it again, but the end is not clean. */
  private throwNotCommitted(): void {
    const lanes = [...this.lanes.values()].filter(lane => lane.notCommitted !== undefined)
    if (this.failure || !this.stopping || lanes.length === 0) return
    this.fatal(
      new PipelineError(
        'PIPE_STOPPED',
        `stopped while ${lanes.map(lane => lane.info.id).join(', ')} could not commit (${lanes[0].notCommitted!.message}): the next run will read the records in flight again`,
      ),
    )
  }

  private async openSource(entry: BuiltSource): Promise<void> {
    entry.connect(this.assignment.contextFor(entry))
    if (entry.source.open) await this.retrying(entry.step.name, () => entry.source.open!(this.reading.signal))
  }

  private reader(entry: BuiltSource): Reader {
    return new Reader(entry, {
      lanes: this.lanes,
      meters: this.built.meters,
      log: this.options.log,
      signal: this.reading.signal,
      endAt: this.options.endAt,
      handsOver: entry.part < this.built.routers.length - 1,
      failed: () => this.failure !== undefined,
      pause: () => this.pause(this.built.pipeline.retry.initial_delay),
    })
  }

  /** Called at intervals: idle windows, and the end of a run with `--until-idle`. */
  private tick(): void {
    this.cancelTick = this.options.clock.after(TICK, () => {
      const { untilIdle } = this.options
      this.reasons()
      this.boundState()
      if (this.built.sources.some(({ source }) => isAway(source))) this.reachableSince = this.options.clock.monotonic()
      if (untilIdle !== undefined && !this.stopping && this.idleFor() >= untilIdle) this.stop()
      else for (const lane of this.lanes.values()) void lane.tick(this.caughtUp(lane)).catch(error => this.fatal(error as Error))
      this.tick()
    })
  }

  /** Stops the run before the process runs out of memory, while it can still report which steps hold the memory. */
  private boundState(): void {
    const held = new Map<string, { bytes: number; keys: number }>()
    let total = 0
    for (const lane of this.lanes.values()) {
      for (const [store, bytes, keys] of lane.stateBytes()) {
        total += bytes
        const sum = held.get(store) ?? { bytes: 0, keys: 0 }
        held.set(store, { bytes: sum.bytes + bytes, keys: sum.keys + keys })
      }
    }
    const limit = this.built.pipeline.limits?.state ?? DEFAULT_STATE_LIMIT
    if (total <= limit) return
    const list = [...held].toSorted(([, a], [, b]) => b.bytes - a.bytes).slice(0, 3)
    const shown = list.map(([store, { bytes, keys }]) => `${store} ${mebibytes(bytes)} in ${keys} keys`).join(', ')
    this.fatal(
      new EnvironmentError(
        `the state of ${this.lanes.size} lanes takes about ${mebibytes(total)} of memory, more than limits.state (${mebibytes(limit)}): ${shown}. ` +
          'Reduce the state (a shorter ttl, fewer max_keys), add instances to share the lanes, or raise limits.state together with NODE_OPTIONS=--max-old-space-size. ' +
          'Committed state can be restored',
      ),
    )
  }

  /**
   * For a one-shot pipeline: ends the run when a peer has been unreachable for longer than `PEER_WAIT_LIMIT`.
   * @param since when the peer was last reachable
   */
  private watchPeers(since: number): void {
    const { clock } = this.options
    this.cancelPatience = clock.after(TICK, () => {
      const away = this.built.sources.filter(({ source }) => isAway(source)).map(s => s.step.name)
      const now = clock.monotonic()
      if (this.opened && away.length === 0) return this.watchPeers(now)
      if (now - since < PEER_WAIT_LIMIT) return this.watchPeers(since)
      const what = away.length > 0 ? `source ${away.join(' and ')}` : 'a peer'
      const why = this.lastError === undefined ? '' : `: ${this.lastError}`
      this.fatal(
        new EnvironmentError(`${what} could not be reached for ${PEER_WAIT_LIMIT / 1000} s, the time limit of a one-shot pipeline${why}`),
      )
    })
  }

  private caughtUp(lane: Lane): boolean | number {
    const entry = this.built.sources.find(s => s.step.name === lane.info.source)
    return entry?.source.caughtUp?.(lane.info.id) ?? true
  }

  /**
   * ms without input from reachable sources and without a write in progress. Outputs that only wait for the commit interval are drained at
   * the end.
   */
  private idleFor(): number {
    let silence = this.options.clock.monotonic() - this.reachableSince
    for (const lane of this.lanes.values()) silence = Math.min(silence, lane.quiet ? lane.silence : 0)
    return silence
  }

  private fatal(error: Error): void {
    if (!this.failure) this.failure = error
    this.opening.abort(this.failure)
    this.reading.abort(this.failure)
    this.writing.abort(this.failure)
    for (const lane of this.lanes.values()) lane.drop()
    this.failed.resolve()
  }

  private async close(): Promise<void> {
    this.cancelTick?.()
    this.cancelPatience?.()
    const budget = !this.stopping ? CLOSE_BUDGET : this.opened ? STOP_BUDGET : OPENING_GRACE
    const most = Math.min(budget, this.built.pipeline.shutdown_timeout)
    const mistake = await closeAll(this.closings(), most, this.options.clock, this.options.log, this.failure)
    if (this.failure && mistake) this.options.log.warn({}, mistake.message)
    this.failure ??= mistake
  }

  private *closings(): Generator<Closing> {
    if (!this.failure) yield ['lanes', () => Promise.all([...this.lanes.values()].map(l => l.release()))]
    for (const { step, source, committer } of this.built.sources) {
      yield [step.name, () => source.close?.()]
      yield [step.name, () => committer.close()]
    }
    for (const { step, sink } of this.sinks) yield [step.name, () => sink.close?.()]
  }

  /** For opening and claiming: retries connection errors with back-off until the run ends. */
  private async retrying<T>(step: string, fn: () => Promise<T>): Promise<T> {
    const { retry } = this.built.pipeline
    const trouble = new Trouble(this.options.clock)
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await fn()
        } catch (error) {
          if (this.reading.signal.aborted || !(isRetryable(error) || error instanceof FencedError)) throw error
          this.lastError = (error as Error).message
          trouble.failed(error as Error)
          this.openings.set(step, trouble)
          this.options.log.warn({ step, error: (error as Error).message, attempt }, 'peer not ready, trying again')
          await this.pause(delayOf(retry, attempt + 1, attempt, this.options.random ?? Math.random))
        }
      }
    } finally {
      if (this.openings.get(step) === trouble) this.openings.delete(step)
    }
  }

  private pause(ms: number): Promise<void> {
    return pause(this.options.clock, ms, this.reading.signal)
  }

  private get sinks(): Writer[] {
    return this.built.writers.concat(this.built.dlq ?? [])
  }
}

const isAway = (source: Source): boolean => peerProblem(source) !== undefined

type Closing = readonly [what: string, close: () => Promise<unknown> | undefined | void]

/**
 * Closes one after the other within `budget` ms in total. Failures and closings that take longer are logged, and closing continues.
 * @param failure why the run ends: it is logged at the end, and not also for what cannot be closed because of it
 * @returns the first mistake of an external plugin
 */
async function closeAll(
  closings: Iterable<Closing>,
  budget: number,
  clock: Clock,
  log: Logger,
  failure: Error | undefined,
): Promise<Error | undefined> {
  let mistake: Error | undefined
  const late = Promise.withResolvers<'late'>()
  const cancel = clock.after(budget, () => late.resolve('late'))
  for (const [what, close] of closings) {
    try {
      if ((await Promise.race([close(), late.promise])) === 'late') log.warn({}, `closing ${what} takes too long; not waiting any longer`)
    } catch (error) {
      if (isMistake(error)) mistake ??= error
      else if ((error as Error).message !== failure?.message) log.warn({ error: (error as Error).message }, `closing ${what} failed`)
    }
  }
  cancel()
  return mistake
}
