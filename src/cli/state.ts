/** `runner state ls|show|export|import|rm`: inspects and moves the state of a pipeline. */
import { type Command } from 'commander'
import { runCommand } from './command.ts'
import { setOption } from './options.ts'
import { BROKERS } from './topics.ts'

export interface StateFlags {
  readonly set?: string[]
  readonly brokers?: string
  readonly json?: boolean
  readonly owner?: string
  readonly lane?: string
  readonly yes?: boolean
}

const EXITS =
  'Exit codes: 0 done or shown, 1 no state found, 2 the command or the file is invalid, 3 the state cannot be used or a process still runs.'

export function register(program: Command): void {
  const state = program.command('state').description('show, export, import or delete the state of a pipeline')
  const common = (name: string, description: string, example: string): Command =>
    state
      .command(name)
      .description(description)
      .argument('<file>', 'pipeline file')
      .addOption(setOption())
      .option(...BROKERS)
      .option('--json', 'print JSON')
      .addHelpText('after', `\n${EXITS}\n\nExample:\n  $ runner state ${example}`)
  const run = (name: 'ls' | 'show' | 'exportState' | 'remove') => (file: string, flags: StateFlags) =>
    runCommand(async () => (await import('./state/run.ts'))[name](file, flags))
  common('ls', 'list lanes with position and entries, of every version and group of the pipeline', 'ls pipelines/bars.yaml').action(
    run('ls'),
  )
  common('show', 'show the origin of the state and its entries, one JSON line each', 'show pipelines/bars.yaml --lane ticks.BTCUSDT/0')
    .option('--lane <id>', 'show only this lane')
    .option('--owner <name>', 'another version or group, as printed by ls')
    .action(run('show'))
  common('export', 'write positions and state as JSON to standard output', 'export pipelines/bars.yaml > bars.state.json')
    .option('--owner <name>', 'another version or group, as printed by ls')
    .action(run('exportState'))
  common(
    'import',
    'replace the stored state with an exported one; without --yes, only print the change',
    'import pipelines/bars.yaml bars.state.json --yes',
  )
    .argument('<state>', 'file written by runner state export')
    .option('--yes', 'apply the change')
    .action((file: string, from: string, flags: StateFlags) =>
      runCommand(async () => (await import('./state/run.ts')).importFrom(file, from, flags)),
    )
  common('rm', 'delete positions and state; without --yes, only print the change', 'rm pipelines/bars.yaml --owner bars.1 --yes')
    .option('--owner <name>', 'another version or group, as printed by ls; default: that of the current file')
    .option('--yes', 'apply the change')
    .action(run('remove'))
  for (const command of state.commands) command.exitOverride().showSuggestionAfterError()
}
