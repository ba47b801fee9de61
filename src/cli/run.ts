/** `runner run FILE...`: runs pipelines until their input ends, a signal comes, or one fails. */
import { type Command, Option } from 'commander'
import { EXIT, exitCodeOf } from '../kit/exit-codes.ts'
import { type Logger, VerdictError } from '../contract/plugin.ts'
import type { Range } from '../runtime/backfill.ts'
import { build } from '../runtime/build.ts'
import { localCheckpoints } from '../runtime/checkpoints/local.ts'
import { systemClock } from '../kit/clock.ts'
import type { Pipeline } from '../config/model.ts'
import { PipelineRun } from '../runtime/pipeline.ts'
import { observe } from '../runtime/telemetry/observed.ts'
import { createLogger } from '../runtime/telemetry/log.ts'
import { asDryRun } from '../runtime/dry-run.ts'
import type { StatusLine } from '../runtime/telemetry/status.ts'
import { loadAll } from './load.ts'
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
    .addOption(new Option('--log-level <level>', 'how much to say').choices(['debug', 'info', 'warn', 'error']).default('info'))
    .addOption(new Option('--log-format <format>', 'auto: pretty on a terminal').choices(['json', 'pretty', 'auto']).default('auto'))
    .addHelpText('after', '\nExample:\n  $ runner run pipelines/bars.yaml --until-idle 5s --set transforms[0].bars.interval=5m')
    .action(async (files: string[], flags: RunFlags) => {
      process.exitCode = await run(files, flags)
      // A plugin that hangs may have left sockets or timers behind; they must not keep the process.
      setTimeout(() => process.exit(), 500).unref()
    })
}

/** @returns the exit code. */
export async function run(files: readonly string[], flags: RunFlags): Promise<number> {
  const pipelines = await loadAll(files, flags.set)
  if (typeof pipelines === 'number') return pipelines
  const wrong = misuse(pipelines, flags)
  if (wrong !== undefined) {
    process.stderr.write(`${wrong}\n`)
    return EXIT.config
  }
  const tty = process.stderr.isTTY === true
  let status: StatusLine | undefined
  const pretty = flags.logFormat === 'pretty' || (flags.logFormat === 'auto' && tty)
  const log = await createLogger({ level: flags.logLevel, pretty, before: () => status?.clear() })
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
  if (tty && flags.logFormat !== 'json' && !flags.dryRun) status = await (await import('../runtime/telemetry/status.ts')).showStatus(runs)
  let running = runs.length
  const codes = await Promise.all(
    runs.map(async r => {
      const error = await r.run().then(
        () => undefined,
        (e: Error) => e,
      )
      if (--running === 0) status?.done()
      // At once: the others may run for weeks.
      return report(r, error, log)
    }),
  )
  forget()
  unobserve()
  await Promise.all(servers.map(server => server.detach()))
  return Math.max(...codes, await printReports(runs, flags, log))
}

/** What is wrong with the command line, although each file is right. */
function misuse(pipelines: readonly Pipeline[], { from, to }: RunFlags): string | undefined {
  const twice = pipelines.find((p, i) => pipelines.findIndex(other => other.name === p.name) < i)
  // Checkpoints, transactions and metrics go by the name: each would take them from the other.
  if (twice) return `${twice.file}: a pipeline named ${twice.name} is there already; in one process each needs a name of its own`
  if (from === undefined && to === undefined) return undefined
  if (from !== undefined && to !== undefined && from >= to) return '--from is not before --to: nothing lies between them'
  for (const { file, sources } of pipelines) {
    const whole = sources.find(({ plugin: { ranged }, config }) => !(typeof ranged === 'function' ? ranged(config) : ranged))
    if (whole) return `${file}: source ${whole.name} has no times to read from: --from and --to are for topics, and for tables with time`
  }
  return undefined
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
async function serve(runs: readonly PipelineRun[]): Promise<import('../kit/http/listener.ts').Attachment[]> {
  const byAddress = Map.groupBy(
    runs.filter(r => r.built.pipeline.metrics?.enabled),
    r => `${r.built.pipeline.metrics!.host} ${r.built.pipeline.metrics!.port}`,
  )
  const withEndpoints = runs.filter(r => (r.built.pipeline.endpoints ?? []).length > 0)
  if (byAddress.size === 0 && withEndpoints.length === 0) return []
  const { serveTelemetry } = await import('../runtime/telemetry/server.ts')
  const { serveEndpoints } = await import('../runtime/telemetry/endpoints.ts')
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

function report({ built: { meters, pipeline } }: PipelineRun, error: Error | undefined, log: Logger): number {
  const counts = {
    pipeline: pipeline.name,
    in: meters.sum('source', 'in'),
    out: meters.sum('sink', 'out'),
    dead: meters.steps.reduce((n, m) => n + m.dead, 0),
  }
  // A verdict is said by the report that follows.
  if (error === undefined || error instanceof VerdictError) log.info(counts, 'pipeline ended')
  else log.error({ ...counts, error: error.name }, error.message)
  if (error === undefined) return EXIT.ok
  log.debug({ stack: error.stack }, 'stack')
  return exitCodeOf(error)
}
