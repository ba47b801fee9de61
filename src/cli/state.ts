/** `runner state ls|show|export|import|rm`: what a pipeline has kept, and moving it. */
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
  'Exit codes: 0 done or shown, 1 there is none, 2 the command or the file is wrong, 3 the place cannot be used or a process still runs.'

export function register(program: Command): void {
  const state = program.command('state').description('show, export, import or delete the state a pipeline has kept')
  const common = (name: string, description: string, example: string): Command =>
    state
      .command(name)
      .description(description)
      .argument('<file>', 'pipeline file')
      .addOption(setOption())
      .option(...BROKERS)
      .option('--json', 'as JSON')
      .addHelpText('after', `\n${EXITS}\n\nExample:\n  $ runner state ${example}`)
  const run = (name: 'ls' | 'show' | 'exportState' | 'remove') => (file: string, flags: StateFlags) =>
    runCommand(async () => (await import('./state/run.ts'))[name](file, flags))
  common('ls', 'lanes with their position and entries, of every version and group of the pipeline', 'ls pipelines/bars.yaml').action(
    run('ls'),
  )
  common('show', 'what the state was made from, and its entries, one JSON line each', 'show pipelines/bars.yaml --lane ticks.BTCUSDT/0')
    .option('--lane <id>', 'only this lane')
    .option('--owner <name>', 'of another version or group, as ls names it')
    .action(run('show'))
  common('export', 'write positions and state as JSON to standard output', 'export pipelines/bars.yaml > bars.state.json')
    .option('--owner <name>', 'of another version or group, as ls names it')
    .action(run('exportState'))
  common(
    'import',
    'put exported state in the place of what is kept; shows only, without --yes',
    'import pipelines/bars.yaml bars.state.json --yes',
  )
    .argument('<state>', 'file of runner state export')
    .option('--yes', 'really do it')
    .action((file: string, from: string, flags: StateFlags) =>
      runCommand(async () => (await import('./state/run.ts')).importFrom(file, from, flags)),
    )
  common('rm', 'delete positions and state; shows only, without --yes', 'rm pipelines/bars.yaml --owner bars.1 --yes')
    .option('--owner <name>', 'of another version or group, as ls names it; default: those of the file as it is')
    .option('--yes', 'really do it')
    .action(run('remove'))
  for (const command of state.commands) command.exitOverride().showSuggestionAfterError()
}
