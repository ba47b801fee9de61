/** The recorded ticks in the repository: made as the script says, containing what the summary says, and turned into the right bars. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CLEAN_BYTES, cleanTicks, makeTicks } from '../../examples/data/make-ticks.mjs'
import bars from '../../src/transforms/bars.ts'
import { messagesOf, runTransform } from '../conformance/transform.ts'
import { type GoldenTick, goldenBars } from '../support/golden-bars.ts'

const read = (name: string) => readFileSync(new URL(`../../examples/data/${name}`, import.meta.url))
const file = read('ticks.jsonl')
const summary = JSON.parse(read('ticks.summary.json').toString())
const lines = splitLines(file)

const config = {
  interval: 60_000,
  allowed_lateness: 2000,
  idle_timeout: 10_000,
  on_late: 'dlq',
  retain: 3_600_000,
  max_future: 3_600_000,
  on_gap: 'stop',
  gap_fill: 'none',
  gap_limit: 1440,
  outside: 'drop',
  prices: 'positive',
  fields: { symbol: 'symbol', price: 'price', volume: 'volume', ts: 'ts' },
} as const

describe('examples/data/ticks.jsonl', () => {
  test('is the output of the script', () => {
    const made = makeTicks()
    expect(Buffer.concat(made.lines.flatMap((l: Buffer) => [l, Buffer.from('\n')])).equals(file)).toBe(true)
    expect(made.summary).toEqual(summary)
  })

  test('contains at least two hours of both symbols, out-of-order and late trades, and every kind of invalid line, in under 3 MB', () => {
    expect(file.length).toBeLessThan(3e6)
    expect(lines).toHaveLength(summary.lines)
    expect(Date.parse(summary.last) - Date.parse(summary.first)).toBeGreaterThan(2 * 3_600_000)
    expect(Object.keys(summary.symbols).toSorted()).toEqual(['BTCUSDT', 'ETHUSDT'])
    expect(summary.out_of_order_within_2s).toBeGreaterThan(100)
    expect(Object.keys(summary.malformed_by_kind)).toHaveLength(20)
  })

  test('gives the bars of an independent computation; only late and invalid lines go to the dead-letter queue', async () => {
    const time = Date.parse('2026-11-21T00:00:00Z') // as if read then
    const run = await runTransform(bars, config, [messagesOf(lines.map(payload => ({ payload, time })))], { end: true })
    const broken = new Set(run.failures.filter(f => f.error.name !== 'LateError').map(f => f.message.offset))
    const trades = lines.flatMap((l, i): GoldenTick[] => (broken.has(i) ? [] : [JSON.parse(l.toString())]))
    const golden = goldenBars(trades, { interval: 60_000, label: '1m', lateness: 2000 })
    expect(trades).toHaveLength(summary.trades)
    expect(broken.size).toBe(summary.malformed)
    expect(run.out.map(m => m.encode())).toEqual(golden.lines)
    expect(golden.lines.length).toBeGreaterThan(240)
    expect(run.failures.length - broken.size).toBe(summary.late_with_1m_bars_and_2s_allowed)
    expect(golden.late).toBe(summary.late_with_1m_bars_and_2s_allowed)
  })
})

test('clean ticks have one symbol, are in order, 10 ms apart, and of equal length', () => {
  const ticks = [...cleanTicks(20_000)] as string[]
  expect(new Set(ticks.map(t => Buffer.byteLength(t)))).toEqual(new Set([CLEAN_BYTES]))
  const parsed = ticks.map(t => JSON.parse(t) as GoldenTick)
  expect(
    parsed.every((t, i) => t.ts === parsed[0].ts + i * 10 && t.symbol === 'BTCUSDT' && (t.price as number) > 0 && (t.volume as number) > 0),
  ).toBe(true)
  expect([...cleanTicks(20_000)]).toEqual(ticks)
})

function splitLines(bytes: Buffer): Buffer[] {
  const out: Buffer[] = []
  for (let at = 0, end = bytes.indexOf(10); end >= 0; at = end + 1, end = bytes.indexOf(10, at)) out.push(bytes.subarray(at, end))
  return out
}
