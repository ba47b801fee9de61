/** The engine for programs that embed it, with the same code as the command line. Its API is documented in src/index.ts. */
import '../built-in.ts'
import { type LoadOptions as ConfigOptions, loadInput, type PipelineInput } from '../config/load.ts'
import type { Pipeline, Problem } from '../config/model.ts'
import { type Logger, PipelineError, type Plugin } from '../contract/plugin.ts'
import type { Explanation } from '../explain/describe.ts'
import { parseDuration } from '../kit/text/units.ts'
import { silentLogger } from '../runtime/telemetry/log.ts'
import { type TestFileReport, toJson } from '../testing/json.ts'
import { ConfigError } from './errors.ts'
import { launch, type LaunchOptions, type PipelineHandle, withoutTimes } from './launch.ts'
import type { MemoryChannels } from './memory.ts'

export interface LoadOptions {
  /** Variables for `${NAME}` in the pipeline. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Overrides in the syntax of `--set`, such as `sinks[0].kafka.topic=bars.test`. */
  readonly set?: readonly string[]
  /**
   * Base folder for relative paths in a pipeline that is a text or an object. Default: the working directory. Paths in a file are relative
   * to the folder of the file.
   */
  readonly base?: string
  /** Plugins of the program, available by type without an entry under `plugins:`. */
  readonly plugins?: readonly Plugin[]
}

export interface RunOptions extends LoadOptions {
  /** Channels of the `memory` sources and sinks of the pipeline, by name. */
  readonly memory?: MemoryChannels
  /** Receives the log of the pipeline; a pino or Fastify logger is suitable. Default: no log. */
  readonly logger?: Logger
  /** Stops the pipeline when it is aborted, as `stop()` does. */
  readonly signal?: AbortSignal
  /** Ends the run after this time without input: ms, or text such as `5s`. Default: the run ends with the input. */
  readonly untilIdle?: number | string
  /** Backfill: reads without a group from this time, and commits nothing. */
  readonly from?: Date | number
  /** Backfill: end of the time range, exclusive. */
  readonly to?: Date | number
}

export interface Validation {
  readonly ok: boolean
  readonly problems: readonly Problem[]
}

export interface TestOptions {
  /** Runs only tests whose name contains this text. */
  readonly filter?: string
  /** Number of runs per test. From the second run on, batches have other bounds. All runs must have the same result. Default: 1. */
  readonly repeat?: number
  /** Time limit of one step of a test, in ms of real time. Default: 10,000. */
  readonly timeout?: number
  /** Base folder for relative paths in tests that are a text or an object. Default: the working directory. */
  readonly base?: string
  /** The pipeline to test. Default: the file that the tests name. */
  readonly pipeline?: PipelineInput
  /** Plugins of the program, as for `run`. */
  readonly plugins?: readonly Plugin[]
}

export async function run(input: PipelineInput, options: RunOptions = {}): Promise<PipelineHandle> {
  const { signal, memory, logger = silentLogger } = options
  signal?.throwIfAborted()
  const pipeline = await load(input, options)
  const launchOptions: LaunchOptions = {
    log: logger,
    memory: memory ?? {},
    untilIdle: durationOf(options.untilIdle),
    range: rangeOf(pipeline, options),
  }
  const { handles } = await launch([pipeline], launchOptions)
  const [handle] = handles
  if (signal) {
    const stop = (): void => void handle.stop().catch(() => {})
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
    const forget = (): void => signal.removeEventListener('abort', stop)
    handle.completed.then(forget, forget)
  }
  return handle
}

export async function validate(input: PipelineInput, options: LoadOptions = {}): Promise<Validation> {
  const { problems } = await loadInput(input, options satisfies ConfigOptions)
  return { ok: !problems.some(p => p.severity === 'error'), problems }
}

export async function explain(input: PipelineInput, options: LoadOptions = {}): Promise<Explanation> {
  const pipeline = await load(input, options)
  const { describe } = await import('../explain/describe.ts')
  return describe(pipeline)
}

export async function test(input: PipelineInput, options: TestOptions = {}): Promise<TestFileReport> {
  const { runTests } = await import('../testing/engine.ts')
  const result = await runTests(input, {
    repeat: options.repeat ?? 1,
    restTimeout: options.timeout,
    filter: options.filter,
    base: options.base,
    pipelineGiven: options.pipeline !== undefined,
    load: (file, { env, set }) =>
      loadInput(options.pipeline ?? file, { env, set: set.map(s => s.argument), base: options.base, plugins: options.plugins }),
  })
  if (result.problems.length > 0) throw new ConfigError(result.problems)
  return toJson([result]).files[0]
}

async function load(input: PipelineInput, { env, set, base, plugins }: LoadOptions): Promise<Pipeline> {
  const { pipeline, problems } = await loadInput(input, { env, set, base, plugins })
  if (!pipeline) throw new ConfigError(problems)
  return pipeline
}

function durationOf(given: number | string | undefined): number | undefined {
  const ms = typeof given === 'string' ? parseDuration(given) : given
  if (given !== undefined && !(ms !== undefined && ms >= 0))
    throw new PipelineError('PIPE_SETTINGS', `untilIdle is ${given}: write milliseconds, or a number with its unit, such as 5s`)
  return ms
}

function rangeOf(pipeline: Pipeline, { from, to }: RunOptions): LaunchOptions['range'] {
  if (from === undefined && to === undefined) return undefined
  const range = { from: from?.valueOf(), to: to?.valueOf() }
  for (const [name, time] of Object.entries(range))
    if (time !== undefined && !Number.isFinite(time)) throw new PipelineError('PIPE_SETTINGS', `${name} is not a time`)
  if (range.from !== undefined && range.to !== undefined && range.from >= range.to)
    throw new PipelineError('PIPE_SETTINGS', 'from must be earlier than to')
  const source = withoutTimes(pipeline)
  if (source)
    throw new PipelineError(
      'PIPE_SETTINGS',
      `source '${source.name}' cannot read from a time: from and to are for topics, and for tables with time`,
    )
  return range
}
