/** `runner offsets show|reset`: the positions of a group and its pipeline, and changing them. */
import type { Command } from 'commander'
import { runCommand } from './command.ts'
import { collectDistinct, parseTimeOption, setOption, wholeNumber } from './options.ts'
import { BROKERS } from './topics.ts'

export interface OffsetsFlags {
  readonly source?: string
  readonly group?: string
  readonly topic?: string[]
  readonly set?: string[]
  readonly brokers?: string
  readonly json?: boolean
}
export interface ResetFlags extends OffsetsFlags {
  readonly toLatest?: boolean
  readonly toEarliest?: boolean
  readonly toTime?: number
  readonly toOffset?: number
  readonly partition?: number[]
  readonly yes?: boolean
}

export function register(program: Command): void {
  const offsets = program.command('offsets').description('show or reset the positions of a pipeline or a group')
  const common = (name: string, description: string): Command =>
    offsets
      .command(name)
      .description(description)
      .argument('[file]', 'pipeline file; or --group and --topic')
      .option('--source <step>', 'a source of the file; required if the file has several kafka sources')
      .option('--group <name>', 'a consumer group, without a file')
      .option('--topic <name>', 'a topic; repeatable', collectDistinct)
      .addOption(setOption())
      .option(...BROKERS)
      .option('--json', 'print JSON')
  common('show', 'show the committed offset, checkpoint, first and last offset of each lane')
    .addHelpText('after', '\nExample:\n  $ runner offsets show pipelines/bars.yaml')
    .action((file: string | undefined, flags: OffsetsFlags) =>
      runCommand(async () => (await import('./offsets/show.ts')).show(file, flags)),
    )
  common('reset', 'set the offsets of the group and the checkpoint, and clear its state; without --yes, only print the change')
    .option('--to-earliest', 'to the first record')
    .option('--to-latest', 'after the last record')
    .option('--to-time <time>', 'to the first record at or after this time (ISO 8601 or epoch ms)', parseTimeOption)
    .option('--to-offset <n>', 'to this offset', wholeNumber(0))
    .option('--partition <n>', 'reset only this partition; repeatable', (v, all: number[] | undefined) => [
      ...(all ?? []),
      wholeNumber(0)(v),
    ])
    .option('--yes', 'apply the change')
    .addHelpText(
      'after',
      '\nRejected while the group has members: stop the pipeline first.\nExit codes: 0 done or shown, 2 the command or the file is invalid, 3 the log cannot be used, 4 rejected.\n\nExample:\n  $ runner offsets reset pipelines/bars.yaml --to-earliest\n  $ runner offsets reset pipelines/bars.yaml --to-earliest --yes',
    )
    .action((file: string | undefined, flags: ResetFlags) =>
      runCommand(async () => (await import('./offsets/reset.ts')).reset(file, flags)),
    )
  for (const command of offsets.commands) command.exitOverride().showSuggestionAfterError()
}
