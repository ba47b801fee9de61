/** `runner topics list|cat|create|plan|apply`: the topics of a log, one by one or from catalogs. */
import { type Command, InvalidArgumentError } from 'commander'
import { parseDuration, parseTimestamp } from '../kit/text/units.ts'
import type { CatStart } from '../operations/cat.ts'
import { runCommand } from './command.ts'
import { wholeNumber } from './options.ts'
import type { CatFlags } from './topics/cat.ts'

export interface ConnectionFlags {
  readonly brokers?: string
  readonly json?: boolean
}
export interface CreateFlags extends ConnectionFlags {
  readonly partitions: number
  readonly replication?: number
  readonly retentionMs?: number
  readonly config?: Record<string, string>
}
export interface PlanFlags extends ConnectionFlags {
  readonly prune?: boolean
  readonly yes?: boolean
}

export const BROKERS: [string, string] = ['--brokers <list>', 'host:port,… or embedded; default: KAFKA_BROKERS, else embedded']
const CONNECTION =
  '\nThe connection comes from the environment as in a pipeline: KAFKA_BROKERS, KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_…, KAFKA_SSL_….\n'
const CODES = '\nExit codes: 0 done, 2 a catalog or a setting is invalid, 3 the log cannot be used, 4 rejected.\n'

export function register(program: Command): void {
  const topics = program.command('topics').description('list, print and create topics, and apply catalogs')
  topics
    .command('list')
    .description('list topics with partitions, replication and retention')
    .option(...BROKERS)
    .option('--json', 'print JSON with the settings')
    .addHelpText('after', `${CONNECTION}\nExample:\n  $ runner topics list --brokers localhost:9092`)
    .action((flags: ConnectionFlags) => runCommand(async () => (await import('./topics/list.ts')).listTopics(flags)))
  topics
    .command('cat')
    .description('print records of a topic: partition, offset, time, key, headers, value; joins no group and changes nothing')
    .argument('<topic>', 'name of the topic')
    .option(
      '--from <where>',
      'earliest; -5: the newest five of each partition; 120: an offset; 2h: an age; or a time, 2026-01-31T12:00:00Z',
      start,
      'earliest',
    )
    .option('--limit <n>', 'maximum number of records to print', whole, 20)
    .option('--partition <n>', 'print only this partition', partition)
    .option(...BROKERS)
    .option('--json', 'print one JSON object per line; bytes that are not UTF-8 as base64')
    .addHelpText(
      'after',
      `\nOnly committed records are read. Control characters are escaped.\n${CONNECTION}${CODES}\nExamples:\n  $ runner topics cat bars.BTCUSDT.1m --from -5\n  $ runner topics cat pulse.journal --from 2h --limit 100 --json | jq .value`,
    )
    .action((topic: string, flags: CatFlags) => runCommand(async () => (await import('./topics/cat.ts')).catTopic(topic, flags)))
  topics
    .command('create')
    .description('create one topic; fails if it exists')
    .argument('<name>', 'name of the topic')
    .option('--partitions <n>', 'number of partitions', whole, 1)
    .option('--replication <n>', 'replicas of each partition; default: the default of the brokers', whole)
    .option('--retention-ms <ms>', 'how long records are kept; -1: forever', wholeNumber(-1))
    .option('--config <key=value>', 'a Kafka topic setting; repeatable', setting)
    .option(...BROKERS)
    .option('--json', 'print JSON')
    .addHelpText('after', `${CONNECTION}${CODES}\nExample:\n  $ runner topics create ticks.v1.raw --partitions 6 --retention-ms 86400000`)
    .action((name: string, flags: CreateFlags) => runCommand(async () => (await import('./topics/create.ts')).createTopic(name, flags)))
  topics
    .command('plan')
    .description('show the changes that apply would make')
    .argument('<file...>', 'catalogs, pipeline files (for their internal topics), folders or globs')
    .option('--prune', 'include deletions: topics and ACLs that are not in any of the catalogs')
    .option(...BROKERS)
    .option('--json', 'print JSON')
    .addHelpText('after', `${CONNECTION}\nExample:\n  $ runner topics plan topics/exchange.yaml`)
    .action((files: string[], flags: PlanFlags) => runCommand(async () => (await import('./topics/apply.ts')).planTopics(files, flags)))
  topics
    .command('apply')
    .description('create and change topics and ACLs to match the catalogs')
    .argument('<file...>', 'catalogs, pipeline files (for their internal topics), folders or globs')
    .option('--prune', 'delete topics and ACLs that are not in any of the catalogs; requires --yes')
    .option('--yes', 'confirm the deletion')
    .option(...BROKERS)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `\nIf a catalog has fewer partitions or another replication than the topic, nothing is changed and the exit code is 4.\n${CONNECTION}${CODES}\nExample:\n  $ runner topics apply topics/wallex.yaml`,
    )
    .action((files: string[], flags: PlanFlags) => runCommand(async () => (await import('./topics/apply.ts')).applyTopics(files, flags)))
  for (const command of topics.commands) command.exitOverride().showSuggestionAfterError()
}

const whole = wholeNumber(1, 999_999)
const partition = wholeNumber(0, 999_999)

function start(text: string): CatStart {
  if (text === 'earliest') return text
  if (/^-[1-9]\d{0,11}$/.test(text)) return { last: Number(text.slice(1)) }
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) }
  const ago = parseDuration(text)
  const time = ago === undefined ? parseTimestamp(text) : Date.now() - ago
  if (time === undefined)
    throw new InvalidArgumentError('write earliest, -5, an offset, an age (2h), or a time such as 2026-01-31T12:00:00Z.')
  return { time }
}

function setting(text: string, all: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('write key=value, e.g. cleanup.policy=compact.')
  return { ...all, [text.slice(0, at)]: text.slice(at + 1) }
}
