/** Holds the topic, the event store, the ledger and the read model against each other and against what the workers asked for. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { money } from './operations.ts'
import { query } from './servers.ts'

export interface Check {
  readonly what: string
  readonly ok: boolean
  readonly detail: string
}

export async function verify(
  dsn: string,
  brokers: string,
  expected: ReadonlyMap<string, bigint>,
  prefix: string,
  before: DeadLetterEnds,
): Promise<{ checks: Check[]; appended: ReadonlyMap<number, number> }> {
  const checks: Check[] = []
  const check = (what: string, ok: boolean, detail: string): void => void checks.push({ what, ok, detail })

  const [{ n: events }] = await query(dsn, "SELECT count(*)::text AS n FROM wallet_events WHERE wallet_id LIKE $1 || '-%'", [prefix])
  const topic = await readTopic(brokers, 'wallet-events', prefix)
  check(
    'topic: every event once',
    topic.count === Number(events) && topic.doubles === 0,
    `${topic.count} of ${events} events, ${topic.doubles} twice`,
  )
  check('topic: order per wallet', topic.inversions === 0, `${topic.wallets} wallets, ${topic.inversions} out of order`)
  const dead = await newDeadLetters(brokers, before)
  check('dead letters', dead === 0, String(dead))

  const balances = new Map(
    (await query(dsn, "SELECT wallet_id, balance FROM wallets WHERE wallet_id LIKE $1 || '-%'", [prefix])).map(r => [
      r.wallet_id,
      r.balance,
    ]),
  )
  const wrong = [...expected].filter(([wallet, sum]) => hundredths(balances.get(wallet)) !== sum)
  const first = wrong[0]
  check(
    'balances: as asked for',
    wrong.length === 0 && balances.size === expected.size,
    first === undefined
      ? `${expected.size} wallets`
      : `${wrong.length} wrong; ${first[0]} is ${balances.get(first[0])}, not ${money(first[1])}`,
  )
  const [{ n: different }] = await query(dsn, 'SELECT count(*)::text AS n FROM wallet_differences')
  check('event store = ledger = read model', different === '0', `${different} wallets differ`)
  const [{ total, transfers }] = await query(
    dsn,
    "SELECT coalesce(sum(amount), 0)::text AS total, coalesce(sum(amount) FILTER (WHERE account = 'transfers'), 0)::text AS transfers FROM ledger_entries",
  )
  check('ledger adds up to zero', Number(total) === 0 && Number(transfers) === 0, `all accounts ${total}, on the way ${transfers}`)
  const [{ n: pending }] = await query(dsn, 'SELECT count(*)::text AS n FROM outbox WHERE processed_at IS NULL')
  check('outbox is empty', pending === '0', `${pending} not marked`)
  return { checks, appended: topic.appended }
}

function hundredths(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined
  const [whole, fraction = ''] = text.split('.')
  return BigInt(whole + fraction.padEnd(2, '0').slice(0, 2))
}

/** Last offset by partition. */
export type DeadLetterEnds = ReadonlyMap<number, number>

/** What lies in the dead-letter queue: letters of earlier runs are not this one's. */
export async function deadLetterEnds(brokers: string): Promise<DeadLetterEnds> {
  const ends = new Map<number, number>()
  await deadLetters(brokers, (partition, offset) => void ends.set(partition, Math.max(offset, ends.get(partition) ?? -1)))
  return ends
}

export async function newDeadLetters(brokers: string, before: DeadLetterEnds): Promise<number> {
  let count = 0
  await deadLetters(brokers, (partition, offset) => {
    if (offset > (before.get(partition) ?? -1)) count++
  })
  return count
}

const deadLetters = (brokers: string, each: (partition: number, offset: number) => void): Promise<void> =>
  kcat(brokers, 'wallet-events-dlq', '%p\t%o\n', line => {
    const [partition, offset] = line.split('\t').map(Number)
    each(partition, offset)
  })

/** Reads a topic to its end, by another client, read committed: the view of other consumers. */
async function kcat(brokers: string, topic: string, format: string, each: (line: string) => void): Promise<void> {
  const child = spawn(
    'kcat',
    ['-C', '-q', '-e', '-b', brokers, '-t', topic, '-o', 'beginning', '-X', 'isolation.level=read_committed', '-f', format],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  for await (const line of createInterface(child.stdout)) each(line)
  const code = await ended
  if (code !== 0) throw new Error(`kcat: exit ${code}`)
}

interface TopicContent {
  count: number
  wallets: number
  doubles: number
  inversions: number
  /** Timestamps of the records, epoch ms, by event id. */
  readonly appended: Map<number, number>
}

/** The events of wallets that begin with `prefix`. */
async function readTopic(brokers: string, topic: string, prefix: string): Promise<TopicContent> {
  const versions = new Map<string, number>()
  const content: TopicContent = { count: 0, wallets: 0, doubles: 0, inversions: 0, appended: new Map() }
  await kcat(brokers, topic, '%k\t%T\t%s\n', line => {
    const tab = line.indexOf('\t')
    const key = line.slice(0, tab)
    if (!key.startsWith(`${prefix}-`)) return
    content.count++
    const second = line.indexOf('\t', tab + 1)
    const { eventId, version } = JSON.parse(line.slice(second + 1)) as { eventId: number; version: number }
    if (content.appended.has(eventId)) content.doubles++
    content.appended.set(eventId, Number(line.slice(tab + 1, second)))
    if (version !== (versions.get(key) ?? 0) + 1) content.inversions++
    versions.set(key, version)
  })
  content.wallets = versions.size
  return content
}
