/** `runner dlq ls|show|replay|discard`: what to do with dead letters. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseDuration } from '../kit/text/units.ts'
import { collect, parseTimeOption, setOption } from './options.ts'

/** What picks dead letters; the same for every command. */
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
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
}

export function register(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('dead letters: list, look at, replay and discard them')
    .addHelpText(
      'after',
      `
Exit codes: 0 ok, 2 the file or the command line is wrong, 3 the dlq cannot be reached,
4 it worked and something is left: a dead letter that is not there, or that failed again.

Examples:
  $ runner dlq ls pipelines/bars.yaml --max 5
  $ runner dlq show pipelines/bars.yaml 0/17
  $ runner dlq replay pipelines/bars.yaml --to step --dry-run
  $ runner dlq replay pipelines/bars.yaml --to step --error-type data
  $ runner dlq discard pipelines/bars.yaml --until 2026-01-31 --yes`,
    )

  selecting(dlq.command('ls').description('list dead letters, oldest first, and count them by step and error type'))
    .argument('[file]', 'pipeline file; or --topic')
    .option('--topic <topic>', 'a dlq topic without a pipeline file: the dead letters of all pipelines in it')
    .option('--max <n>', 'show so many', parseCount, 20)
    .option('--all', 'also those that are done: replayed or discarded')
    .addHelpText(
      'after',
      '\nExamples:\n  $ runner dlq ls pipelines/bars.yaml --max 5\n  $ runner dlq ls --topic events.v1.dlq --error-type decode --since 1h --json',
    )
    .action(async (file: string | undefined, flags: SelectFlags & { max: number; all?: boolean }) => {
      const { ls } = await import('./dlq/ls.ts')
      process.exitCode = await ls(file, flags)
    })

  common(dlq.command('show').description('show one dead letter: headers, original bytes, what its step had in hand'))
    .usage('[options] [file] <id>')
    .argument('<args...>', 'pipeline file (or --topic), and partition/offset in the dlq, as ls prints it')
    .option('--topic <topic>', 'a dlq topic without a pipeline file')
    .option('--raw', 'the original bytes and nothing else')
    .addHelpText(
      'after',
      '\nExamples:\n  $ runner dlq show pipelines/bars.yaml 0/17\n  $ runner dlq show --topic events.v1.dlq 0/17 --raw > record.json',
    )
    .action(async (args: string[], flags: SelectFlags & { raw?: boolean }) => {
      const { show } = await import('./dlq/show.ts')
      process.exitCode = await show(args, flags)
    })

  selecting(dlq.command('replay').description('run dead letters through the pipeline again, with the file as it is now; each once'))
    .usage('[options] <file> [id...]')
    .argument('<file>', 'pipeline file')
    .argument('[id...]', 'only these')
    .addOption(
      new Option(
        '--to <where>',
        'step: enter the chain at the step that refused them; source: write the original records back to their topic',
      )
        .choices(['step', 'source'])
        .makeOptionMandatory(),
    )
    .option('--dry-run', 'print what would be written; write and mark nothing')
    .option('--max <n>', 'at most so many', parseCount)
    .option('--rate <n/s>', 'at most so many per second, e.g. 100/s', parseRate)
    .option('--fresh-state', 'let steps with state work on a state of the replays, which begins empty')
    .addOption(new Option('--log-level <level>', 'how much to say').choices(['debug', 'info', 'warn', 'error']).default('warn'))
    .addHelpText(
      'after',
      `
Outputs and the marks of what is done commit in one transaction where the file's outputs and its dlq allow it; a second replay
moves nothing. What fails again is in the dlq again, with one attempt more, and the exit code is 4.

Examples:
  $ runner dlq replay pipelines/bars.yaml --to source
  $ runner dlq replay pipelines/bars.yaml --to step --step map --since 2h --dry-run
  $ runner dlq replay pipelines/bars.yaml --to step 0/17 0/18`,
    )
    .action(async (file: string, ids: string[], flags: ReplayFlags) => {
      const { replayCommand } = await import('./dlq/replay.ts')
      process.exitCode = await replayCommand(file, ids, flags)
      // A plugin that hangs may have left sockets or timers behind; they must not keep the process.
      setTimeout(() => process.exit(), 500).unref()
    })

  selecting(dlq.command('discard').description('mark dead letters as done without replaying them; they stay in the topic'))
    .usage('[options] <file> [id...]')
    .argument('<file>', 'pipeline file')
    .argument('[id...]', 'only these')
    .option('--all', 'whatever there is')
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

const common = (command: Command): Command => command.addOption(setOption('override a value of the file')).option('--json', 'as JSON')

const selecting = (command: Command): Command =>
  common(command)
    .option('--step <name>', 'only what this step refused; may be given again', collect)
    .option('--error-type <type>', 'only this error type (decode, data, …); may be given again', collect)
    .option('--key <key>', 'only records with this key')
    .option('--contains <text>', 'only with this text in the record or in the error message')
    .option('--since <time>', 'died at or after: ISO 8601, epoch ms, or how long ago (2h)', parseAgo)
    .option('--until <time>', 'died before', parseAgo)
    .option('--pipeline <name>', 'dead letters of this pipeline; default: that of the file')

function parseAgo(text: string): number {
  const ago = parseDuration(text)
  return ago === undefined ? parseTimeOption(text) : Date.now() - ago
}

function parseCount(text: string): number {
  const n = Number(text)
  if (!Number.isInteger(n) || n < 0) throw new InvalidArgumentError('write a whole number.')
  return n
}

function parseRate(text: string): number {
  const n = Number(/^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text)?.[1])
  if (!(n > 0)) throw new InvalidArgumentError('write a number of records per second: 100/s.')
  return n
}
