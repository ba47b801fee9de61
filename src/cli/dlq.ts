/** `runner dlq ls|show|replay|discard`: lists, shows, replays and discards dead letters. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseDuration } from '../kit/text/units.ts'
import { collect, logLevelOption, parseTimeOption, setOption, wholeNumber } from './options.ts'

/** Filters for dead letters; the same for every command. */
export interface SelectFlags {
  readonly set?: string[]
  readonly topic?: string
  readonly pipeline?: string
  readonly step?: string[]
  readonly errorType?: string[]
  readonly key?: string
  readonly contains?: string
  readonly since?: number
  readonly until?: number
  readonly json?: boolean
}

export interface ReplayFlags extends SelectFlags {
  readonly to: 'step' | 'source'
  readonly dryRun?: boolean
  readonly max?: number
  readonly rate?: number
  readonly freshState?: boolean
  /** Default: warn, with --verbose debug. */
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error'
}

export function register(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('list, show, replay and discard dead letters')
    .addHelpText(
      'after',
      `
Exit codes: 0 ok, 2 the file or the command line is invalid, 3 the dlq cannot be reached,
4 not all dead letters were processed: some do not exist or failed again.

Examples:
  $ runner dlq ls pipelines/bars.yaml --max 5
  $ runner dlq show pipelines/bars.yaml 0/17
  $ runner dlq replay pipelines/bars.yaml --to step --dry-run
  $ runner dlq replay pipelines/bars.yaml --to step --error-type data
  $ runner dlq discard pipelines/bars.yaml --until 2026-01-31 --yes`,
    )

  selecting(dlq.command('ls').description('list dead letters, oldest first, and count them by step and error type'))
    .argument('[file]', 'pipeline file; or --topic')
    .option('--topic <topic>', 'a dlq topic, without a pipeline file: the dead letters of all pipelines in it')
    .option('--max <n>', 'maximum number of dead letters to show', wholeNumber(0), 20)
    .option('--all', 'include dead letters that are done: replayed or discarded')
    .addHelpText(
      'after',
      '\nExamples:\n  $ runner dlq ls pipelines/bars.yaml --max 5\n  $ runner dlq ls --topic events.v1.dlq --error-type decode --since 1h --json',
    )
    .action(async (file: string | undefined, flags: SelectFlags & { max: number; all?: boolean }) => {
      const { ls } = await import('./dlq/ls.ts')
      process.exitCode = await ls(file, flags)
    })

  common(dlq.command('show').description('show one dead letter: headers, original bytes, input of the failed step'))
    .usage('[options] [file] <id>')
    .argument('<args...>', 'pipeline file (or --topic), and partition/offset in the dlq as printed by ls')
    .option('--topic <topic>', 'a dlq topic, without a pipeline file')
    .option('--raw', 'print only the original bytes')
    .addHelpText(
      'after',
      '\nExamples:\n  $ runner dlq show pipelines/bars.yaml 0/17\n  $ runner dlq show --topic events.v1.dlq 0/17 --raw > record.json',
    )
    .action(async (args: string[], flags: SelectFlags & { raw?: boolean }) => {
      const { show } = await import('./dlq/show.ts')
      process.exitCode = await show(args, flags)
    })

  selecting(dlq.command('replay').description('run dead letters through the current pipeline file again, each one once'))
    .usage('[options] <file> [id...]')
    .argument('<file>', 'pipeline file')
    .argument('[id...]', 'ids of dead letters')
    .addOption(
      new Option('--to <where>', 'step: resume at the step that failed; source: write the original records back to their topic')
        .choices(['step', 'source'])
        .makeOptionMandatory(),
    )
    .option('--dry-run', 'print the outputs; write and mark nothing')
    .option('--max <n>', 'maximum number of dead letters to replay', wholeNumber(0))
    .option('--rate <n/s>', 'maximum rate, e.g. 100/s', parseRate)
    .option('--fresh-state', 'run stateful steps on a separate, initially empty state')
    .addOption(logLevelOption('warn, with -v debug'))
    .addHelpText(
      'after',
      `
Outputs and replay marks are committed in one transaction if the sinks and the dlq support it, so a second replay
replays nothing twice. Records that fail again return to the dlq with their attempt count increased, and the exit code is 4.

Examples:
  $ runner dlq replay pipelines/bars.yaml --to source
  $ runner dlq replay pipelines/bars.yaml --to step --step map --since 2h --dry-run
  $ runner dlq replay pipelines/bars.yaml --to step 0/17 0/18`,
    )
    .action(async (file: string, ids: string[], flags: ReplayFlags) => {
      const { replayCommand } = await import('./dlq/replay.ts')
      process.exitCode = await replayCommand(file, ids, flags)
      // A plugin that hangs may leave sockets or timers open; they must not keep the process alive.
      setTimeout(() => process.exit(), 500).unref()
    })

  selecting(dlq.command('discard').description('mark dead letters as done without replaying them; they stay in the topic'))
    .usage('[options] <file> [id...]')
    .argument('<file>', 'pipeline file')
    .argument('[id...]', 'ids of dead letters')
    .option('--all', 'all dead letters')
    .option('--yes', 'apply; without it, only print the count')
    .addHelpText(
      'after',
      '\nExamples:\n  $ runner dlq discard pipelines/bars.yaml 0/17 --yes\n  $ runner dlq discard pipelines/bars.yaml --error-type late --until 7d',
    )
    .action(async (file: string, ids: string[], flags: SelectFlags & { yes?: boolean; all?: boolean }) => {
      const { discardCommand } = await import('./dlq/replay.ts')
      process.exitCode = await discardCommand(file, ids, flags)
    })

  for (const command of dlq.commands) command.exitOverride().showSuggestionAfterError()
}

const common = (command: Command): Command => command.addOption(setOption('override a value of the file')).option('--json', 'print JSON')

const selecting = (command: Command): Command =>
  common(command)
    .option('--step <name>', 'only failures of this step; repeatable', collect)
    .option('--error-type <type>', 'only this error type (decode, data, …); repeatable', collect)
    .option('--key <key>', 'only records with this key')
    .option('--contains <text>', 'only with this text in the record or in the error message')
    .option('--since <time>', 'failed at or after: ISO 8601, epoch ms, or an age (2h)', parseAgo)
    .option('--until <time>', 'failed before', parseAgo)
    .option('--pipeline <name>', 'only dead letters of this pipeline; default: the pipeline of the file')

function parseAgo(text: string): number {
  const ago = parseDuration(text)
  return ago === undefined ? parseTimeOption(text) : Date.now() - ago
}

function parseRate(text: string): number {
  const n = Number(/^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text)?.[1])
  if (!(n > 0)) throw new InvalidArgumentError('write a number of records per second: 100/s.')
  return n
}
