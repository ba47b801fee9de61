/** `runner check FILE...`: asks every step whether it could run now, from here. Looks only. */
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
    .description('look whether everything that pipelines need is there: peers, logins, topics, tables, rights')
    .argument('<file...>', 'pipeline files')
    .addOption(setOption())
    .option(...BROKERS)
    .addOption(durationOption('--timeout <duration>', 'how long a step may take to find out', '10s'))
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nChanges nothing. Exit codes: 0 all is well, 2 a file is wrong, 3 something is missing.\n\nExample:\n  $ runner check pipelines/bars.yaml',
    )
    .action(async (files: string[], flags: CheckFlags) => {
      await runCommand(async () => (await import('./check/run.ts')).check(files, flags))
      // Who did not answer in time may still hold a socket.
      setTimeout(() => process.exit(), 500).unref()
    })
}
