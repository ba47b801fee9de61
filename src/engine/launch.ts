/**
 * Starts checked pipelines in this process, for the command line and for `run` of the package. Ending the process and handling signals is
 * left to the caller.
 */
import { resolve } from 'node:path'
import { loadLanguageFor } from '../config/lane-keys.ts'
import type { Registry } from 'prom-client'
import type { MetricsAttachment } from '../runtime/telemetry/server.ts'
import type { Pipeline } from '../config/model.ts'
import { isRanged } from '../config/traits.ts'
import { type Logger, PipelineError, type Report } from '../contract/plugin.ts'
import { systemClock } from '../kit/clock.ts'
import type { Attachment } from '../kit/http/listener.ts'
import { networkFileSystem } from '../kit/network-fs.ts'
import { pause } from '../kit/pause.ts'
import { inStateDir } from '../kit/state-dir.ts'
import type { Range } from '../runtime/backfill.ts'
import { build } from '../runtime/build.ts'
import { type LiveLock, lockLive } from '../runtime/live-lock.ts'
import { localCheckpoints } from '../runtime/checkpoints/local.ts'
import { asDryRun } from '../runtime/dry-run.ts'
import { withMemoryLinks } from '../runtime/memory-link.ts'
import { PipelineRun } from '../runtime/pipeline.ts'
import type { PipelineStatus } from '../kit/pipeline-status.ts'
import { observe, statusOf } from '../runtime/telemetry/observed.ts'
import { countRepeats } from '../runtime/telemetry/repeats.ts'
import { givenChannels, type MemoryChannels } from './memory.ts'

export interface LaunchOptions {
  readonly log: Logger
  /** Ends the run after this time without input, ms. */
  readonly untilIdle?: number
  /** Bounds of a backfill: reads without a group, and commits nothing. */
  readonly range?: Range
  /** Receives a line for each record that would be written; nothing is written or committed. */
  readonly dryRun?: (line: string) => void
  /** Drops state and positions, and begins like a first run. */
  readonly fresh?: boolean
  /** Channels by name. If set, every `memory` source and sink must have its channel in it. */
  readonly memory?: MemoryChannels
}

/** Committed records of a pipeline since its start. A record that is read again after a restore counts once. */
export interface RunCounts {
  readonly pipeline: string
  /** Records read by sources. */
  readonly in: number
  /** Records written by sinks. */
  readonly out: number
  /** Records sent to the dead-letter queue. */
  readonly dead: number
}

export interface StepReport extends Report {
  readonly pipeline: string
  readonly step: string
}

export interface RunResult extends RunCounts {
  /** Results of steps that compare or check, such as `reconcile`. */
  readonly reports: readonly StepReport[]
}

export interface RunStatus extends PipelineStatus {
  readonly state: 'running' | 'stopping' | 'ended' | 'failed'
}

/** A pipeline that was started. */
export class PipelineHandle implements AsyncDisposable {
  readonly name: string
  /**
   * Resolves when the pipeline has ended (at the end of its input or after `stop`) and everything is written and committed. Rejects with
   * the error that stopped it. Handle the rejection: an unhandled one ends a Node.js process.
   */
  readonly completed: Promise<RunResult>
  private readonly execution: PipelineRun
  private state: RunStatus['state'] = 'running'
  private registered: Promise<Registry> | undefined

  /** @param ended called when the pipeline has ended, before `completed` settles. */
  constructor(execution: PipelineRun, ended: (error: Error | undefined) => Promise<void>) {
    this.execution = execution
    this.name = execution.built.pipeline.name
    this.completed = this.complete(ended)
  }

  /** The current status; after the end, the final one. */
  status(): RunStatus {
    const status = statusOf(this.execution)
    const { state } = this
    if (state === 'running' || state === 'failed') return { ...status, state }
    const problems = [...status.problems, `the pipeline ${state === 'ended' ? 'has ended' : 'is stopping'}`]
    return { ...status, state, status: 'not_ready', problems }
  }

  /**
   * The metrics as a prom-client registry, without those of the process. `(await handle.registry()).metrics()` returns the text;
   * `Registry.merge([yours, await handle.registry()])` at every scrape combines them with yours.
   */
  async registry(): Promise<Registry> {
    this.registered ??= import('../runtime/telemetry/prometheus.ts').then(m => m.createRegistry([this.execution], { process: false }))
    return this.registered
  }

  /**
   * Losses so far because of limits: late records (`late`), keys that were dropped early (`forgotten_keys`), pushed records that did not
   * fit into the buffer (`dropped`), and losses that plugins declare. Zero counts are omitted.
   */
  get losses(): Readonly<Record<string, number>> {
    return this.execution.built.meters.losses()
  }

  /** Results so far of steps that compare or check. */
  get reports(): readonly StepReport[] {
    return [...this.execution.built.reports].map(([step, report]) => ({ pipeline: this.name, step, ...report }))
  }

  /** Stops reading, writes and commits what was read within `shutdown_timeout`, and ends. @returns `completed` */
  stop(): Promise<RunResult> {
    if (this.state === 'running') this.state = 'stopping'
    this.execution.stop()
    return this.completed
  }

  /** Ends at once: records in flight are neither written nor committed, and will be read again. `completed` rejects with the reason. */
  abort(reason: Error = new Error('aborted')): void {
    this.execution.abort(reason)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop().then(() => {})
  }

  private async complete(ended: (error: Error | undefined) => Promise<void>): Promise<RunResult> {
    let error: Error | undefined
    try {
      await this.execution.run()
      this.state = 'ended'
    } catch (reason) {
      error = reason as Error
      this.state = 'failed'
    }
    await ended(error)
    if (error) throw error
    const { pipeline, in: read, out, dead } = this.status()
    return { pipeline, in: read, out, dead, reports: this.reports }
  }
}

/** Names of the pipelines that run in this process. */
const names = new Set<string>()

/**
 * Starts all of the pipelines, or none. Metrics and endpoints are served until the last one has ended; a failed pipeline is reported as not
 * ready.
 * @throws {EnvironmentError} when a port is in use, or another process of the pipeline is running and cannot share its work
 * @throws {PipelineError} when a name is in use, or a channel is missing
 */
export async function launch(
  pipelines: readonly Pipeline[],
  options: LaunchOptions,
): Promise<{ handles: PipelineHandle[]; runs: PipelineRun[] }> {
  const given = pipelines.map(p => givenChannels(p, options.memory))
  const log = countRepeats(options.log)
  for (const { pipeline } of given) await loadLanguageFor(pipeline)
  const runs = given.map(({ pipeline }) => prepare(pipeline, { ...options, log }))
  const taken: string[] = []
  const locks: LiveLock[] = []
  let servers: Attachment[]
  try {
    for (const { name } of pipelines) {
      // Checkpoints, transactions and metrics are identified by the name, so pipelines with the same name would conflict.
      if (names.has(name))
        throw new PipelineError('PIPE_NAME', `a pipeline named '${name}' already runs in this process: use different names`)
      names.add(name)
      taken.push(name)
    }
    for (const run of runs) locks.push(await lockLive(run.built, options.log))
    warnOfNetwork(runs, options.log)
    servers = await serve(runs)
  } catch (error) {
    for (const lock of locks) lock.release()
    for (const name of taken) names.delete(name)
    throw error
  }
  const unobserve = observe(runs)
  for (const { start } of given) start()
  let running = runs.length
  const handles = runs.map(
    (run, i) =>
      new PipelineHandle(run, async error => {
        names.delete(run.built.pipeline.name)
        locks[i].release()
        given[i].end(error)
        if (--running > 0) return
        unobserve()
        await lingering(runs, servers)
        await Promise.all(servers.map(server => server.detach()))
      }),
  )
  return { handles, runs }
}

/** The first source that cannot read a time range. */
export const withoutTimes = (pipeline: Pipeline): Pipeline['sources'][number] | undefined =>
  pipeline.sources.find(source => !isRanged(source))

function prepare(pipeline: Pipeline, { log, range, dryRun, fresh, untilIdle }: LaunchOptions): PipelineRun {
  const shown = dryRun ? asDryRun(pipeline, dryRun) : pipeline
  const built = build(range || dryRun ? withMemoryLinks(shown) : shown, {
    clock: systemClock,
    log,
    range,
    // A pipeline with links is reset as a whole before it starts.
    fresh: fresh === true && pipeline.links === undefined,
    localCheckpoints: p => localCheckpoints({ id: `${p.name}.${p.version}` }),
  })
  // A backfill that ends in the middle of a window must not emit a part of it.
  const endAt = range ? (range.to ?? Number.NEGATIVE_INFINITY) : Number.POSITIVE_INFINITY
  return new PipelineRun(built, { clock: systemClock, log, untilIdle, endAt })
}

/** Folders of embedded servers and of stored responses. */
export function localPaths({ sources, transforms, sinks, dlq }: Pick<Pipeline, 'sources' | 'transforms' | 'sinks' | 'dlq'>): string[] {
  return [...sources, ...transforms, ...sinks, ...(dlq ? [dlq] : [])].flatMap(({ config }) => {
    const { brokers, url, dsn, remember } = (config ?? {}) as Record<'brokers' | 'url' | 'dsn' | 'remember', unknown>
    const embedded = /^(?:embedded|pglite)(?::(.*))?$/.exec(String(brokers ?? url ?? dsn))
    if (embedded) return [embedded[1] || inStateDir('')]
    return remember === 'disk' ? [inStateDir('')] : []
  })
}

/** Warns if local state is on a network file system: it is in SQLite files, whose locks work there on one machine at most. */
function warnOfNetwork(runs: readonly PipelineRun[], log: Logger): void {
  const paths = runs.flatMap(({ built }) => [...(built.sources.some(s => s.alone) ? [inStateDir('')] : []), ...localPaths(built.pipeline)])
  for (const path of new Set(paths)) {
    const kind = networkFileSystem(resolve(path))
    if (kind !== undefined)
      log.warn(
        { path, fileSystem: kind },
        `${path} is on ${kind}: if two machines use it, its files can be damaged, and a second process is not detected. ` +
          'Set RUNNER_STATE_DIR to a local disk, or to a volume that only one machine uses',
      )
  }
}

/** Keeps the metrics of a one-shot pipeline available until its result was scraped, or `metrics.linger` has passed. */
async function lingering(runs: readonly PipelineRun[], servers: readonly Attachment[]): Promise<void> {
  const linger = Math.max(0, ...runs.filter(r => r.built.reports.size > 0).map(r => r.built.pipeline.metrics?.linger ?? 0))
  const scraped = servers.flatMap(s => ('scraped' in s ? [(s as MetricsAttachment).scraped()] : []))
  if (linger === 0 || scraped.length === 0) return
  const seen = new AbortController()
  void Promise.all(scraped).then(() => seen.abort())
  await pause(systemClock, linger, seen.signal)
}

/** Pipelines with the same metrics address share one page. Each pipeline has its own status endpoints. */
async function serve(runs: readonly PipelineRun[]): Promise<Attachment[]> {
  const withMetrics = runs.filter(r => r.built.pipeline.metrics?.enabled)
  const withEndpoints = runs.filter(r => (r.built.pipeline.endpoints ?? []).length > 0)
  if (withMetrics.length === 0 && withEndpoints.length === 0) return []
  const { serveTelemetry } = await import('../runtime/telemetry/server.ts')
  const { serveEndpoints } = await import('../runtime/telemetry/endpoints.ts')
  const attaching = [
    ...withMetrics.map(async r => [await serveTelemetry(r.built.pipeline.metrics!.host, r.built.pipeline.metrics!.port, r)]),
    ...withEndpoints.map(r => serveEndpoints(r)),
  ]
  const results = await Promise.allSettled(attaching)
  const attached = results.flatMap(r => (r.status === 'fulfilled' ? r.value : []))
  const failed = results.find(r => r.status === 'rejected')
  if (!failed) return attached
  await Promise.all(attached.map(a => a.detach()))
  throw failed.reason
}
