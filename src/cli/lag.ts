/** `runner lag [FILE...]`: the lag of each lane, whether the pipeline runs or not. */
import type { Command } from 'commander'
import { runCommand } from './command.ts'
import { collectDistinct, parseDurationOption, setOption, wholeNumber } from './options.ts'
import { BROKERS } from './topics.ts'

export interface LagFlags {
  readonly set?: string[]
  readonly group?: string
  readonly topic?: string[]
  readonly failAbove?: number
  readonly watch?: number
  readonly brokers?: string
  readonly json?: boolean
}

export function register(program: Command): void {
  program
    .command('lag')
    .description('show the position and lag of each lane')
    .argument('[file...]', 'pipeline files; or --group and --topic')
    .option('--group <name>', 'a consumer group, without a file')
    .option('--topic <name>', 'a topic of that group; repeatable', collectDistinct)
    .option('--fail-above <n>', 'exit with 4 if the lag of a lane is larger', wholeNumber(0))
    .option('--watch <duration>', 'print again at this interval until interrupted', parseDurationOption)
    .addOption(setOption())
    .option(...BROKERS)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nThe checkpoint of exactly_once pipelines and of stateful pipelines takes precedence over the committed offset.\nExit codes: 0 ok, 2 a file is invalid, 3 the log cannot be used, 4 above --fail-above.\n\nExamples:\n  $ runner lag pipelines/bars.yaml --fail-above 10000\n  $ runner lag --group ledger-projector --topic wallet-events',
    )
    .action((files: string[], flags: LagFlags) => runCommand(async () => (await import('./lag/run.ts')).lag(files, flags)))
}
