/** `runner dev FILE`: on each save validates, runs the tests, and shows what each step does to sample records. */
import type { Command } from 'commander'
import { runCommand } from './command.ts'
import { setOption, wholeNumber } from './options.ts'

export interface DevFlags {
  readonly input?: string
  readonly last: number
  readonly sinks?: boolean
  readonly once?: boolean
  readonly set?: string[]
  readonly json?: boolean
}

export function register(program: Command): void {
  program
    .command('dev')
    .description('validate, test and try a pipeline on every save')
    .argument('<file>', 'pipeline file')
    .option('--input <file>', 'sample records instead of the sources: JSON Lines, or a JSON array; - reads standard input')
    .option('--last <n>', 'how many of the last records run through the edited file', wholeNumber(1, 1000), 10)
    .option('--sinks', 'run the pipeline for real: write to its sinks, and commit positions')
    .option('--once', 'end after the first round; exit code 2: invalid, 4: a test failed')
    .addOption(setOption())
    .option('--json', 'print one JSON object per line')
    .addHelpText(
      'after',
      `
Without --sinks, the sources are read without a group, nothing is written, and nothing is committed.
An invalid edit is reported, and the last valid version keeps running. Ctrl-C ends it.

Examples:
  $ runner dev bars.yaml
  $ runner dev bars.yaml --input samples.jsonl
  $ runner dev bars.yaml --once --json          # in CI`,
    )
    .action(async (file: string, flags: DevFlags) => {
      await runCommand(async () => await (await import('./dev/session.ts')).develop(file, flags))
      // A plugin that hangs may leave sockets or timers open.
      setTimeout(() => process.exit(), 500).unref()
    })
}
