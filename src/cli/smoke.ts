/** `runner smoke`: runs records from a topic through a pipeline into another topic, and checks the result. */
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
    .description('test an installation end to end with Kafka')
    .option(...BROKERS)
    .addOption(durationOption('--timeout <duration>', 'timeout of the pipeline', '30s'))
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nCreates two temporary topics, sends records through a built-in pipeline, compares the output byte for byte,\nqueries the metrics server and deletes the topics. Without a broker, tests only the wiring, on the embedded log.\nExit codes: 0 ok, 2 a setting is invalid, 3 a system cannot be used, 4 a check failed.\n\nExample:\n  $ KAFKA_BROKERS=localhost:9092 runner smoke',
    )
    .action(async (flags: SmokeFlags) => {
      await runCommand(async () => (await import('./smoke/run.ts')).smoke(flags))
      setTimeout(() => process.exit(), 500).unref()
    })
}
