/** `runner run FILE...`: runs pipelines until their input ends, a signal comes, or one fails. */
import type { Command } from 'commander'
import { EXIT, exitCodeOf } from '../errors.ts'
import { type Logger, VerdictError } from '../plugin.ts'
import type { Range } from '../runtime/backfill.ts'
import { build } from '../runtime/build.ts'
import { localCheckpoints } from '../runtime/checkpoints/local.ts'
import { systemClock } from '../runtime/clock.ts'
import { loadPipeline } from '../runtime/config/load.ts'
import type { Pipeline } from '../runtime/config/model.ts'
import { PipelineRun } from '../runtime/pipeline.ts'
import { observe } from '../runtime/telemetry/observed.ts'
import { createLogger } from '../runtime/telemetry/log.ts'
import { asDryRun } from './dry-run.ts'
import { parseDurationOption, parseTimeOption } from './options.ts'

export interface RunFlags {
  readonly set: string[]
  readonly untilIdle?: number
  readonly from?: number
  readonly to?: number
  readonly dryRun?: boolean
  readonly json?: boolean
  readonly junit?: string
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  readonly logFormat: 'auto' | 'json' | 'pretty'
}

export function register(program: Command): void {
  program
    .command('run')
    .description('run pipelines until their input ends or a signal comes')
    .argument('<file...>', 'pipeline files; several run in one process')
    .option(
      '--set <path=value>',
      'override a value, e.g. sinks[0].kafka.topic=bars.test',
      (v, all: string[]) => [...all, v],
      [] as string[],
    )
    .option('--until-idle <duration>', 'end once nothing more came for so long, e.g. 5s', parseDurationOption)
    .option('--from <time>', 'back-fill: read without a group from this time (ISO 8601 or epoch ms)', parseTimeOption)
    .option('--to <time>', 'back-fill: up to this time, exclusive', parseTimeOption)
    .option('--dry-run', 'read and transform, print what would be written; write and commit nothing')
    .option('--json', 'print the result of a one-shot pipeline as JSON instead of a table')
    .option('--junit <path>', 'write the result of a one-shot pipeline as JUnit XML, too')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .option('--log-format <format>', 'json, pretty, or auto: pretty on a terminal', 'auto')
    .addHelpText('after', '\nExample:\n  $ runner run pipelines/bars.yaml --until-idle 5s --set transforms[0].bars.interval=5m')
    .action(async (files: string[], flags: RunFlags) => {
      process.exitCode = await run(files, flags)
      // A plugin that hangs may have left sockets or timers behind; they must not keep the process.
      setTimeout(() => process.exit(), 500).unref()
    })
}

/** @returns the exit code. */
export async function run(files: readonly string[], flags: RunFlags): Promise<number> {
  const pipelines = await load(files, flags)
  if (!pipelines) return EXIT.config
  const tty = process.stderr.isTTY === true
  const log = await createLogger({ level: flags.logLevel, pretty: flags.logFormat === 'pretty' || (flags.logFormat === 'auto' && tty) })
  const range: Range | undefined =
    flags.from !== undefined || flags.to !== undefined ? { from: flags.from, to: flags.to } : flags.dryRun ? {} : undefined
  const runs = pipelines.map(pipeline => prepare(pipeline, range, flags, log))
  const servers = await serve(runs).catch((error: Error) => {
    log.error({}, error.message)
    return error
  })
  if (servers instanceof Error) return exitCodeOf(servers)
  const forget = onSignals(runs, log)
  const unobserve = observe(runs)
  const status =
    tty && flags.logFormat !== 'json' && !flags.dryRun ? await (await import('../runtime/telemetry/status.ts')).showStatus(runs) : undefined
  const results = await Promise.allSettled(runs.map(r => r.run()))
  status?.done()
  forget()
  unobserve()
  await Promise.all(servers.map(server => server.detach()))
  return Math.max(report(runs, results, log), await printReports(runs, flags, log))
}

async function load(files: readonly string[], flags: RunFlags): Promise<Pipeline[] | undefined> {
  const loaded = await Promise.all(files.map(file => loadPipeline(file, { env: process.env, set: flags.set })))
  const problems = loaded.flatMap(l => l.problems)
  if (problems.length > 0) {
    const { formatText } = await import('../runtime/config/format.ts')
    process.stderr.write(formatText(problems))
  }
  const pipelines = loaded.map(l => l.pipeline).filter(p => p !== undefined)
  return pipelines.length === files.length && !problems.some(p => p.severity === 'error') ? pipelines : undefined
}

function prepare(pipeline: Pipeline, range: Range | undefined, flags: RunFlags, log: Logger): PipelineRun {
  const built = build(flags.dryRun ? asDryRun(pipeline, line => process.stdout.write(`${line}\n`)) : pipeline, {
    clock: systemClock,
    log,
    range,
    localCheckpoints: p => localCheckpoints({ id: `${p.name}.${p.version}` }),
  })
  return new PipelineRun(built, {
    clock: systemClock,
    log,
    untilIdle: flags.untilIdle,
    // A back-fill that ends in the middle of a window must not emit half of it.
    endAt: range ? (range.to ?? Number.NEGATIVE_INFINITY) : Number.POSITIVE_INFINITY,
  })
}

/** Metrics of all pipelines on one address are one page; status endpoints are each pipeline's own. */
async function serve(runs: readonly PipelineRun[]): Promise<import('../runtime/http/listener.ts').Attachment[]> {
  const byAddress = Map.groupBy(
    runs.filter(r => r.built.pipeline.metrics?.enabled),
    r => `${r.built.pipeline.metrics!.host} ${r.built.pipeline.metrics!.port}`,
  )
  const withEndpoints = runs.filter(r => (r.built.pipeline.endpoints ?? []).length > 0)
  if (byAddress.size === 0 && withEndpoints.length === 0) return []
  const { serveTelemetry } = await import('../runtime/telemetry/server.ts')
  const { serveEndpoints } = await import('../runtime/http/endpoints.ts')
  const metrics = [...byAddress.values()].map(group => {
    const { host, port } = group[0].built.pipeline.metrics!
    return serveTelemetry(host, port, group)
  })
  const endpoints = await Promise.all(withEndpoints.map(r => serveEndpoints(r)))
  return [...(await Promise.all(metrics)), ...endpoints.flat()]
}

/** ms. A terminal and the tool in between (npm, timeout) may both pass on the one signal that somebody sent. */
const ECHO = 250

/** The first signal drains, the second ends at once. */
function onSignals(runs: readonly PipelineRun[], log: Logger): () => void {
  let first: number | undefined
  const onSignal = (signal: NodeJS.Signals): void => {
    if (first !== undefined && performance.now() - first < ECHO) return
    if (first !== undefined) {
      log.warn({ signal }, 'second signal: ending at once, what is in flight will be read again')
      process.exit(EXIT.runtime)
    }
    first = performance.now()
    log.info({ signal }, 'draining; a second signal ends at once')
    for (const r of runs) r.stop()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return () => {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
  }
}

/** @returns the exit code as far as printing decides it. */
async function printReports(runs: readonly PipelineRun[], flags: RunFlags, log: Logger): Promise<number> {
  const reports = runs.flatMap(({ built }) => [...built.reports].map(([step, r]) => ({ pipeline: built.pipeline.name, step, ...r })))
  if (reports.length === 0) return EXIT.ok
  const { formatReports, writeJunit } = await import('./run-report.ts')
  const text = await formatReports(reports, flags.json === true)
  // Before the process may end: a pipe takes its time.
  await new Promise<void>(resolve => process.stdout.write(text, () => resolve()))
  try {
    if (flags.junit !== undefined) writeJunit(flags.junit, reports)
    return EXIT.ok
  } catch (error) {
    log.error({}, (error as Error).message)
    return exitCodeOf(error)
  }
}

function report(runs: readonly PipelineRun[], results: PromiseSettledResult<void>[], log: Logger): number {
  let code: number = EXIT.ok
  runs.forEach((r, i) => {
    const { meters, pipeline } = r.built
    const result = results[i]
    const counts = {
      pipeline: pipeline.name,
      in: meters.sum('source', 'in'),
      out: meters.sum('sink', 'out'),
      dead: meters.steps.reduce((n, m) => n + m.dead, 0),
    }
    if (result.status === 'fulfilled') {
      log.info(counts, 'pipeline ended')
      return
    }
    code = Math.max(code, exitCodeOf(result.reason))
    // Said by the report that follows.
    if (result.reason instanceof VerdictError) log.info(counts, 'pipeline ended')
    else log.error({ ...counts, error: (result.reason as Error).name }, (result.reason as Error).message)
    log.debug({ stack: (result.reason as Error).stack }, 'stack')
  })
  return code
}
