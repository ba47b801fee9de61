/** `runner dlq ls|show|replay|discard`: what to do with dead letters. */
import { type Command, InvalidArgumentError } from 'commander'
import { parseDuration } from '../runtime/config/units.ts'
import { parseTimeOption } from './options.ts'

/** What picks dead letters; the same for every command. */
export interface SelectFlags {
  readonly set: string[]
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

export function register(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('dead letters: list, look at, replay and discard them')
    .addHelpText(
      'after',
      `
Exit codes: 0 ok, 2 the file or the command line is wrong, 3 the dlq cannot be reached,
4 it worked and something is left: a letter that is not there, or that failed again.

Examples:
  $ runner dlq ls pipelines/bars.yaml --max 5
  $ runner dlq show pipelines/bars.yaml 0/17
  $ runner dlq replay pipelines/bars.yaml --to step --dry-run
  $ runner dlq replay pipelines/bars.yaml --to step --error-type data
  $ runner dlq discard pipelines/bars.yaml --until 2026-01-31 --yes`,
    )

  selecting(dlq.command('ls').description('list dead letters, oldest first, and count them by step and error type'))
    .argument('[file]', 'pipeline file; or --topic')
    .option('--topic <topic>', 'a dlq topic without a pipeline file: the letters of all pipelines in it')
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

  for (const command of dlq.commands) command.exitOverride().showSuggestionAfterError()
}

const common = (command: Command): Command =>
  command
    .option('--set <path=value>', 'override a value of the file', (v, all: string[]) => [...all, v], [] as string[])
    .option('--json', 'as JSON')

const selecting = (command: Command): Command =>
  common(command)
    .option('--step <name>', 'only what this step refused; may be given again', collect)
    .option('--error-type <type>', 'only this error type (decode, data, …); may be given again', collect)
    .option('--key <key>', 'only records with this key')
    .option('--contains <text>', 'only with this text in the record or in the error message')
    .option('--since <time>', 'died at or after: ISO 8601, epoch ms, or how long ago (2h)', parseAgo)
    .option('--until <time>', 'died before', parseAgo)
    .option('--pipeline <name>', 'letters of this pipeline; default: that of the file')

const collect = (value: string, all: string[] = []): string[] => [...all, value]

function parseAgo(text: string): number {
  const ago = parseDuration(text)
  return ago === undefined ? parseTimeOption(text) : Date.now() - ago
}

function parseCount(text: string): number {
  const n = Number(text)
  if (!Number.isInteger(n) || n < 0) throw new InvalidArgumentError('write a whole number.')
  return n
}
