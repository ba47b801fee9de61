/**
 * The rows of `docs/guarantees.md`. `npm test` runs a few of them; `npm run faults` runs all, or those it is asked for, and writes the page.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readPage, title, writePage } from './matrix/page.ts'
import { type KafkaLine, Peers } from './matrix/peers.ts'
import { type Result, runRow } from './matrix/row.ts'
import { ROWS } from './matrix/rows.ts'

/** Set by `scripts/faults.js`. */
const asked =
  process.env.FAULTS === undefined ? undefined : (JSON.parse(process.env.FAULTS) as { only: string; rows: string; kafka: KafkaLine })
const SEED = Number(process.env.FAULT_SEED ?? 20_261_129)

/** Each kind of fault once, over all kinds of pairs. */
const BOUNDED = ['kafka → kafka, exactly once, Kafka 4.1: the process is killed (SIGKILL) 4 times']
const chosen = ROWS.filter(row =>
  asked
    ? row.kafka === asked.kafka && title(row).includes(asked.only) && (asked.rows === 'all' || row.pair.delivery === 'exactly_once')
    : BOUNDED.includes(title(row)),
)
const results: Result[] = []
let peers: Peers

beforeAll(() => {
  peers = new Peers(asked?.kafka ?? '4.1')
})
afterAll(async () => {
  await peers.stop()
})

describe('rows', () => {
  test.each(chosen.map(row => [title(row), row] as const))('%s', { timeout: 300_000 }, async (_, { pair, fault }) => {
    const result = await runRow(pair, fault, peers, SEED)
    results.push(result)
    if (asked) writePage(ROWS, results)
    const { lost, doubled, disordered, wrong } = result
    expect({ lost, disordered, wrong }).toEqual({ lost: 0, disordered: 0, wrong: 0 })
    if (pair.delivery === 'exactly_once') expect(doubled).toBe(0)
  })
})

test.skipIf(asked)('the page has each row of the matrix, and no other', () => {
  const page = [...readPage()].flatMap(([heading, faults]) => [...faults.keys()].map(fault => `${heading}: ${fault}`))
  expect(page).toEqual(ROWS.map(title))
  expect(new Set(page).size).toBe(page.length)
  expect(BOUNDED.filter(name => !ROWS.some(row => title(row) === name))).toEqual([])
})
