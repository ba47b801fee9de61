/** `runner check FILE...`: checks for every step whether it can run now, on this machine. Read-only. */
import type { Command } from 'commander'
import { runCommand } from './command.ts'
import { durationOption, setOption } from './options.ts'
import { BROKERS } from './topics.ts'

export interface CheckFlags {
  readonly set?: string[]
  readonly brokers?: string
  readonly timeout: number
  readonly json?: boolean
}

export function register(program: Command): void {
  program
    .command('check')
    .description('check connectivity, credentials and permissions')
    .argument('<file...>', 'pipeline files')
    .addOption(setOption())
    .option(...BROKERS)
    .addOption(durationOption('--timeout <duration>', 'timeout of a step', '10s'))
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nChanges nothing. Exit codes: 0 all checks passed, 2 a file is invalid, 3 a check failed.\n\nExample:\n  $ runner check pipelines/bars.yaml',
    )
    .action(async (files: string[], flags: CheckFlags) => {
      await runCommand(async () => (await import('./check/run.ts')).check(files, flags))
      // A peer that did not answer in time may still hold a socket open.
      setTimeout(() => process.exit(), 500).unref()
    })
}
