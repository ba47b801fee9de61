/**
 * The rows of `docs/guarantees.md`. `npm test` runs a few of them; `npm run faults` runs all, or those it is asked for, and writes the page.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { explain } from '../../src/engine/index.ts'
import { KNOWN } from './matrix/known.ts'
import { doneRows, keepsGuarantee, notRun, pageText, readPage, title, writePage } from './matrix/page.ts'
import { PAIRS } from './matrix/pairs.ts'
import { type KafkaLine, Peers } from './matrix/peers.ts'
import { type Result, runRows } from './matrix/row.ts'
import { ROWS, runsOf } from './matrix/rows.ts'

/** Set by `scripts/faults.js`. */
const asked =
  process.env.FAULTS === undefined
    ? undefined
    : (JSON.parse(process.env.FAULTS) as { only: string; rows: string; kafka: KafkaLine; missing: boolean })
const SEED = Number(process.env.FAULT_SEED ?? 20_261_129)

/** Part of `npm test`: each kind of fault, each kind of server. */
const BOUNDED: Record<string, string[]> = {
  'the process is killed (SIGKILL) 4 times': [
    'kafka → kafka, exactly once, Kafka 4.1',
    'kafka → postgres, exactly once, Kafka 4.1',
    'postgres outbox → kafka, exactly once, Kafka 4.1',
    'kafka → redis stream, at least once, Kafka 4.1',
    'redis stream → kafka, at least once, Kafka 4.1',
    'kafka → file, at least once, Kafka 4.1',
    'kafka → google sheets, at least once, Kafka 4.1',
    'websocket → kafka, at most once, Kafka 4.1',
    'redis pubsub → kafka, at most once, Kafka 4.1',
  ],
  'one of 2 processes is frozen until the other has claimed its lanes': [
    'kafka → kafka, exactly once, Kafka 4.1',
    'kafka → redis string, at least once, Kafka 4.1',
  ],
  'Kafka is killed and away for 4 s, twice': [
    'kafka → kafka, exactly once, Kafka 4.1',
    'kafka → postgres, exactly once, Kafka 4.1',
    'postgres outbox → kafka, exactly once, Kafka 4.1',
  ],
  'connections to PostgreSQL are reset 10 times': [
    'kafka → postgres, exactly once, Kafka 4.1',
    'postgres outbox → kafka, exactly once, Kafka 4.1',
    'file → postgres, exactly once',
  ],
  'Redis accepts and does not answer for 12 s': [
    'kafka → redis string, at least once, Kafka 4.1',
    'redis stream → kafka, at least once, Kafka 4.1',
  ],
}
/** Entries of a Redis stream that a dead consumer had are claimed by another one after `claim_idle`, behind newer ones. */
const comesLate = (name: string): boolean => /^redis stream → .*: one of 2 processes is /.test(name)
const bounded = Object.entries(BOUNDED).flatMap(([fault, sections]) => sections.map(section => `${section}: ${fault}`))
const done = doneRows()
const chosen = ROWS.filter(row =>
  asked
    ? row.kafka === asked.kafka &&
      title(row).includes(asked.only) &&
      (asked.rows === 'all' || row.pair.delivery === 'exactly_once') &&
      (!asked.missing || !done.has(title(row)))
    : bounded.includes(title(row)),
)
const results: Result[] = []
let peers: Peers

beforeAll(() => {
  peers = new Peers(asked?.kafka ?? '4.1')
})
afterAll(async () => {
  await peers.stop()
  if (asked) writePage(ROWS, results)
})

for (const rows of runsOf(chosen)) {
  const [{ fault }] = rows
  describe(fault.name, () => {
    const of = new Map<string, Result>()
    beforeAll(async () => {
      const pairs = rows.map(row => row.pair)
      for (const [i, result] of (await runRows(pairs, fault, peers, SEED)).entries()) {
        of.set(title(rows[i]), result)
        results.push(result)
      }
      if (asked) writePage(ROWS, results)
    }, 600_000)
    test.each(rows.map(row => [title(row), row] as const))('%s', (name, { pair }) => {
      const { lost, doubled, disordered, wrong, problem } = of.get(name)!
      expect(problem).toBeUndefined()
      expect({ lost, wrong }).toEqual({ lost: 0, wrong: 0 })
      if (!comesLate(name)) expect(disordered).toBe(0)
      if (pair.delivery === 'exactly_once') expect(doubled).toBe(0)
    })
  })
}

test.skipIf(asked)('the page has each row of the matrix, and no other', () => {
  const page = [...readPage()].flatMap(([heading, faults]) => [...faults.keys()].map(fault => `${heading}: ${fault}`))
  const all = ROWS.map(title)
  expect([...page, ...notRun()].toSorted()).toEqual(all.toSorted())
  expect(bounded.filter(name => !page.includes(name))).toEqual([])
})

test.skipIf(asked)('each row has a result and keeps its guarantee, except those that the page lists with a reason', () => {
  const broken: string[] = notRun()
  for (const [heading, faults] of readPage()) {
    for (const [fault, text] of faults)
      if (!keepsGuarantee(heading, text, comesLate(`${heading}: ${fault}`))) broken.push(`${heading}: ${fault}`)
  }
  expect(broken.filter(name => !(name in KNOWN))).toEqual([])
  const titles = ROWS.map(title)
  expect(Object.keys(KNOWN).filter(name => !titles.includes(name))).toEqual([])
  const page = pageText()
  for (const [name, reason] of Object.entries(KNOWN)) expect(page).toContain(`- ${name}. ${reason}`)
})

const KAFKA = { kafka: { topic: 'out', brokers: '127.0.0.1:1' } }
test.skipIf(asked).each([
  ['websocket', { websocket: { url: 'ws://127.0.0.1:1' } }, KAFKA],
  ['redis_pubsub', { redis: { url: 'redis://127.0.0.1:1', patterns: ['a.*'] } }, KAFKA],
  ['stdin', { stdin: {} }, KAFKA],
  ['kafka', { kafka: { topics: ['in'], brokers: '127.0.0.1:1' } }, { websocket_server: { port: 1 } }],
])('%s: explain prints what its rows show', async (source, from, to) => {
  const { guarantees } = await explain({ name: 'p', sources: [from], sinks: [to] })
  const [pair] = PAIRS.filter(p => p.delivery === 'at_most_once' && p.source === source)
  expect(guarantees.map(g => g.guarantee)).toEqual([pair.delivery])
})

test('a row that failed does not keep its guarantee', () => {
  const row = (...cells: (number | string)[]): string => `| a fault | 100 | ${cells.join(' | ')} | 1.0 s | 200 throughout |`
  expect(keepsGuarantee('a → b, exactly once', row(0, 0, 0, 0), false)).toBe(true)
  expect(keepsGuarantee('a → b, at least once', row(0, 7, 0, 0), false)).toBe(true)
  expect(keepsGuarantee('a → b, exactly once', '| a fault | failed: a process ended | | | | | | |', false)).toBe(false)
  for (const broken of [row(1, 0, 0, 0), row(0, 1, 0, 0), row(0, 0, 1, 0), row(0, 0, 0, 1)])
    expect(keepsGuarantee('a → b, exactly once', broken, false)).toBe(false)
  const once = (...cells: number[]): boolean => keepsGuarantee('a → b, at most once', row(...cells), false)
  expect([once(9, 0, 0, 0, 0), once(0, 0, 3, 0, 0)]).toEqual([true, true])
  expect([once(9, 1, 0, 0, 0), once(0, 0, 0, 1, 0), once(0, 0, 0, 0, 1)]).toEqual([false, false, false])
})
