/** `runner run FILE...`: runs pipelines until their input ends, a signal arrives, or one fails. */
import { type Command, Option } from 'commander'
import { EXIT, exitCodeOf } from '../kit/exit-codes.ts'
import { EnvironmentError, type Logger, VerdictError } from '../contract/plugin.ts'
import type { Pipeline, Problem } from '../config/model.ts'
import { STANDARD_INPUT } from '../config/read.ts'
import { launch, type PipelineHandle, withoutTimes } from '../engine/launch.ts'
import { createLogger, type LogOptions } from '../runtime/telemetry/log.ts'
import type { PipelineRun } from '../runtime/pipeline.ts'
import type { StatusLine } from '../runtime/telemetry/status.ts'
import { loadAll } from './load.ts'
import { logLevelOption, parseDurationOption, parseTimeOption, setOption, wholeNumber } from './options.ts'
import { logLook, quiet, usageError, verbose } from './output.ts'
import { timeText } from './time-text.ts'
import type { StartOptions } from './run-start.ts'
import { StrayErrors } from './stray-errors.ts'

export interface RunFlags {
  readonly set?: string[]
  readonly untilIdle?: number
  readonly from?: number
  readonly to?: number
  readonly fresh?: boolean
  readonly dryRun?: boolean
  readonly json?: boolean
  readonly junit?: string
  readonly failOnDead?: number
  /** Default: by --quiet and --verbose. */
  readonly logLevel?: LogOptions['level']
  readonly logFormat: 'auto' | 'json' | 'pretty'
}

export function register(program: Command): void {
  program
    .command('run')
    .description('run pipelines until their input ends or a signal arrives')
    .argument('<file...>', 'pipeline files, several run in one process; - reads one from standard input')
    .addOption(setOption('override a value, e.g. sinks[0].kafka.topic=bars.test'))
    .option('--until-idle <duration>', 'end after this long without input, e.g. 5s', parseDurationOption)
    .option('--from <time>', 'backfill: read without a group from this time (ISO 8601 or epoch ms)', parseTimeOption)
    .option('--to <time>', 'backfill: read up to this time, exclusive', parseTimeOption)
    .option('--fresh', 'delete the checkpoints and state of these pipelines and start as on a first run (see start_at); outputs are kept')
    .option('--dry-run', 'read and transform, print the outputs; write and commit nothing')
    .option('--json', 'print the result of a one-shot pipeline as JSON instead of a table')
    .option('--junit <path>', 'also write the result of a one-shot pipeline as JUnit XML')
    .option('--fail-on-dead <n>', 'end with exit code 4 if at least n records were dead-lettered, late or dropped', wholeNumber(1))
    .addOption(logLevelOption('info, with -q warn, with -v debug'))
    .addOption(new Option('--log-format <format>', 'auto: pretty on a terminal').choices(['json', 'pretty', 'auto']).default('auto'))
    .addHelpText('after', '\nExample:\n  $ runner run pipelines/bars.yaml --until-idle 5s --set transforms[0].bars.interval=5m')
    .action(async (files: string[], flags: RunFlags) => {
      process.exitCode = await run(files, flags)
      // A plugin that hangs may leave sockets or timers open; they must not keep the process alive.
      setTimeout(() => process.exit(), 500).unref()
    })
}

/** @returns the exit code. */
export async function run(files: readonly string[], flags: RunFlags): Promise<number> {
  const warnings: Problem[] = []
  const pipelines = await loadAll(files, flags.set, undefined, found => void warnings.push(...found))
  if (typeof pipelines === 'number') return pipelines
  const wrong = misuse(pipelines, flags)
  if (wrong !== undefined) return usageError(wrong)
  const tty = process.stderr.isTTY === true
  let status: StatusLine | undefined
  const pretty = flags.logFormat === 'pretty' || (flags.logFormat === 'auto' && tty)
  const level = flags.logLevel ?? (quiet() ? 'warn' : verbose() ? 'debug' : 'info')
  const log = await createLogger({
    level,
    pretty,
    ...logLook(),
    before: () => status?.clear(),
  })
  for (const w of warnings) log.warn({ code: w.code }, `${w.file}:${w.line}:${w.column} ${w.message}`)
  const range = flags.from !== undefined || flags.to !== undefined ? { from: flags.from, to: flags.to } : flags.dryRun ? {} : undefined
  const dryRun = flags.dryRun ? (line: string) => void process.stdout.write(`${line}\n`) : undefined
  const strays = new StrayErrors(pipelines, log)
  const signals = onSignals(log)
  try {
    if (flags.fresh) for (const pipeline of pipelines) if (pipeline.links) await startOver(pipeline, log)
  } catch (error) {
    log.error({}, (error as Error).message)
    return exitCodeOf(error)
  }
  const launched = await launch(pipelines, { log, range, dryRun, fresh: flags.fresh, untilIdle: flags.untilIdle }).catch((error: Error) => {
    log.error({}, error.message)
    return error
  })
  const { handles, runs } = launched instanceof Error ? { handles: [], runs: [] } : launched
  strays.attach(handles)
  if (launched instanceof Error) return exitCodeOf(launched)
  signals.attach(handles)
  // At other levels the line is hidden, and computing it loads modules that nothing else needs.
  if (level === 'info' || level === 'debug') await announce(runs, { range, dryRun: flags.dryRun, fresh: flags.fresh }, log, pretty)
  const ends = handles.map(handle =>
    handle.completed.then(
      () => undefined,
      (error: Error) => error,
    ),
  )
  if (tty && flags.logFormat !== 'json' && !flags.dryRun && !quiet())
    status = await (await import('../runtime/telemetry/status.ts')).showStatus(runs, timeText)
  let running = handles.length
  const codes = await Promise.all(
    handles.map(async (handle, i) => {
      const error = await ends[i]
      if (--running === 0) status?.done()
      // Reported immediately: the others may run for weeks.
      return report(handle, error, log, flags.failOnDead)
    }),
  )
  signals.forget()
  const printed = await printReports(handles, flags, log)
  return Math.max(...codes, printed, strays.exitCode)
}

async function announce(runs: readonly PipelineRun[], options: StartOptions, log: Logger, pretty: boolean): Promise<void> {
  const { startOf, startText } = await import('./run-start.ts')
  for (const { built } of runs) {
    const start = startOf(built.pipeline, built.sources, options)
    // Readable lines print each field on a line of its own.
    log.info(pretty ? {} : start, startText(start))
  }
}

/** `--fresh` of a pipeline with `repartition`. @throws {EnvironmentError} while another process runs it */
async function startOver(pipeline: Pipeline, log: Logger): Promise<void> {
  const { planLinkedReset } = await import('../operations/reset-linked.ts')
  const plan = await planLinkedReset(pipeline, undefined)
  try {
    if (plan.members.length > 0)
      throw new EnvironmentError(
        `--fresh: ${pipeline.name} is running; stop these processes first (a killed process is removed after session_timeout):\n` +
          plan.members.map(m => `  ${m.client} ${m.id} on ${m.host}`).join('\n'),
      )
    await plan.apply()
    const state = plan.moves.reduce((n, m) => n + m.state, 0)
    log.info({ pipeline: pipeline.name, lanes: plan.moves.length, state }, '--fresh: checkpoints deleted; all lanes start over')
  } finally {
    await plan.close()
  }
}

/** The mistake in the command line, if each file is valid. */
function misuse(pipelines: readonly Pipeline[], { from, to, fresh, dryRun }: RunFlags): string | undefined {
  const twice = pipelines.find((p, i) => pipelines.findIndex(other => other.name === p.name) < i)
  // Checkpoints, transactions and metrics are identified by the name: the two would share them.
  if (twice) return `${twice.file}: another file has the name ${twice.name}, too; pipelines in one process need different names`
  if (fresh && (dryRun || from !== undefined || to !== undefined))
    return '--fresh deletes checkpoints, and a backfill or a dry run does not use them: leave out --fresh'
  if (pipelines.some(p => p.file === STANDARD_INPUT && p.sources.some(s => s.type === 'stdin')))
    return '-: standard input is the pipeline file, and its source stdin would read the rest of it; write the pipeline to a file'
  if (from === undefined && to === undefined) return undefined
  if (from !== undefined && to !== undefined && from >= to) return '--from must be earlier than --to'
  for (const pipeline of pipelines) {
    const whole = withoutTimes(pipeline)
    if (whole)
      return `${pipeline.file}: source ${whole.name} cannot be read by time: --from and --to work with topics, and with tables that have a time column`
  }
  return undefined
}

/** ms. A terminal and a wrapper (npm, timeout) may both forward the same signal. */
const ECHO = 250

interface Signals {
  /** The pipelines run. */
  attach(handles: readonly PipelineHandle[]): void
  forget(): void
}

/** The first signal drains, the second ends the process immediately. Before the pipelines run, the first one ends. */
function onSignals(log: Logger): Signals {
  let handles: readonly PipelineHandle[] | undefined
  let first: number | undefined
  const onSignal = (signal: NodeJS.Signals): void => {
    if (handles === undefined) {
      log.info({ signal }, 'stopped before the start')
      process.exit(EXIT.ok)
    }
    if (first !== undefined && performance.now() - first < ECHO) return
    if (first !== undefined) {
      log.warn({ signal }, 'second signal: ending immediately; records in flight will be read again')
      process.exit(EXIT.runtime)
    }
    first = performance.now()
    log.info({ signal }, 'draining; a second signal ends the process immediately')
    // `completed` reports how it ends.
    for (const handle of handles) void handle.stop().catch(() => {})
  }
  // A terminal that closes sends SIGHUP.
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, onSignal)
  return {
    attach: running => void (handles = running),
    forget() {
      for (const signal of signals) process.off(signal, onSignal)
    },
  }
}

/** @returns the exit code of printing. */
async function printReports(handles: readonly PipelineHandle[], flags: RunFlags, log: Logger): Promise<number> {
  const reports = handles.flatMap(h => h.reports)
  if (reports.length === 0) return EXIT.ok
  const { formatReports, writeJunit } = await import('./run-report.ts')
  const text = formatReports(reports, flags.json === true)
  // Before the process ends: writing to a pipe is asynchronous.
  await new Promise<void>(resolve => process.stdout.write(text, () => resolve()))
  try {
    if (flags.junit !== undefined) writeJunit(flags.junit, reports)
    return EXIT.ok
  } catch (error) {
    log.error({}, (error as Error).message)
    return exitCodeOf(error)
  }
}

function report(handle: PipelineHandle, error: Error | undefined, log: Logger, failOnDead = Number.POSITIVE_INFINITY): number {
  const { pipeline, in: read, out, dead } = handle.status()
  const counts = { pipeline, in: read, out, dead, ...handle.losses }
  // The report below contains the verdict.
  if (error === undefined || error instanceof VerdictError) log.info(counts, 'pipeline ended')
  else log.error({ ...counts, error: error.name }, error.message)
  if (error === undefined) {
    const { late = 0, dropped = 0 } = handle.losses
    const missing = dead + late + dropped
    if (missing < failOnDead) return EXIT.ok
    const records = missing === 1 ? '1 record was' : `${missing} records were`
    log.error({ pipeline }, `${records} dead-lettered, late or dropped; with --fail-on-dead ${failOnDead}, the exit code is 4`)
    return EXIT.verdict
  }
  log.debug({ stack: error.stack }, 'stack')
  return exitCodeOf(error)
}
