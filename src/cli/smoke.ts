/** `runner smoke`: does the whole way work here, from a topic through a pipeline into another topic? */
import type { Command } from 'commander'
import { runCommand } from './command.ts'
import { durationOption } from './options.ts'
import { BROKERS } from './topics.ts'

export interface SmokeFlags {
  readonly brokers?: string
  readonly timeout: number
  readonly json?: boolean
}

export function register(program: Command): void {
  program
    .command('smoke')
    .description('end to end with Kafka; without a broker the wiring only, on the embedded log')
    .option(...BROKERS)
    .addOption(durationOption('--timeout <duration>', 'how long the pipeline may take', '30s'))
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nMakes two temporary topics, sends records through a small built-in pipeline, compares what comes out byte for byte,\nasks the metrics server, and deletes the topics.\nExit codes: 0 all works, 2 a setting is wrong, 3 something cannot be used, 4 something is not as it should be.\n\nExample:\n  $ KAFKA_BROKERS=localhost:9092 runner smoke',
    )
    .action(async (flags: SmokeFlags) => {
      await runCommand(async () => (await import('./smoke/run.ts')).smoke(flags))
      setTimeout(() => process.exit(), 500).unref()
    })
}
