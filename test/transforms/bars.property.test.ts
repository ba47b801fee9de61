import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ExactNumber, type Json } from '../../src/contract/plugin.ts'
import type { BarsConfig } from '../../src/generated/config-types.ts'
import bars from '../../src/transforms/bars.ts'
import { type Input, messagesOf, runTransform, seen, split, transformConformance } from '../conformance/transform.ts'
import { type GoldenTick, goldenBars } from '../support/golden-bars.ts'

const M = 60_000
const base: BarsConfig = {
  interval: M,
  allowed_lateness: 2000,
  idle_timeout: 10_000,
  on_late: 'drop',
  retain: 3 * M,
  max_future: 3_600_000,
  on_gap: 'stop',
  gap_fill: 'none',
  gap_limit: 1440,
  outside: 'drop',
  prices: 'positive',
  fields: { symbol: 'symbol', price: 'price', volume: 'volume', ts: 'ts' },
}

/** A JSON number as the decoder gives it. */
const exact = (text: string): number | ExactNumber => (String(Number(text)) === text ? Number(text) : new ExactNumber(text))

/** Prices and volumes of every kind: cents, satoshis, any double, digits no double holds. */
const digits = (max: number) => fc.integer({ min: 1, max }).chain(n => fc.stringMatching(new RegExp(`^[1-9][0-9]{0,${n - 1}}$`)))
const decimalText = fc.tuple(digits(20), fc.option(digits(30), { nil: undefined })).map(([a, b]) => (b === undefined ? a : `${a}.${b}`))
const money = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 10_000_000 }).map(n => n / 100) },
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 10_000_000_000 }).map(n => n / 1e8) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 10_000_000 }).map(n => (n / 100).toFixed(2)) },
  { weight: 1, arbitrary: fc.double({ min: Number.MIN_VALUE, max: Number.MAX_VALUE, noNaN: true }) },
  { weight: 1, arbitrary: fc.double({ min: 1e-7, max: 1e21, noNaN: true }) },
  { weight: 1, arbitrary: decimalText },
  { weight: 2, arbitrary: decimalText.map(text => exact(text)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('1.10', '1.1', '1.100', '11e-1', '1E5', '100000.0', '9007199254740993').map(text => exact(text)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(1e15, 999_999_999_999_999.9, 2 ** 53, '9007199254740993', 0.1, 1e-7, '1e-7', '0.30000000000000004', 5e-324),
  },
)
const volume = fc.oneof({ weight: 9, arbitrary: money }, { weight: 1, arbitrary: fc.constantFrom(0, '0', '0.000') })
const tick: fc.Arbitrary<GoldenTick> = fc.record({
  symbol: fc.constantFrom('A', 'B', 'B|1', '5|A'),
  price: money,
  volume,
  ts: fc.oneof({ weight: 3, arbitrary: fc.nat(3 * M) }, { weight: 1, arbitrary: fc.nat(20 * M) }),
})
const ticks = fc.array(tick, { maxLength: 60 })
const inputs = ticks.map(all => all.map((value): Input => ({ value: value as unknown as Json })))
const withBad = fc.array(
  fc.oneof(
    { weight: 9, arbitrary: tick.map((value): Input => ({ value: value as unknown as Json })) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<Input>({ payload: '{' }, { value: { symbol: 'A', price: -1, volume: 1, ts: 1 } }, { payload: null }),
    },
  ),
  { maxLength: 60 },
)

transformConformance('bars', bars, base, withBad)
transformConformance('bars, late to the dead letters', bars, { ...base, on_late: 'dlq' }, withBad)
transformConformance('bars, revised', bars, { ...base, on_late: 'revise' }, withBad)
transformConformance('bars, gaps filled', bars, { ...base, gap_fill: 'previous', gap_limit: 10 }, withBad)
transformConformance('bars, revised and filled, closed by silence', bars, { ...base, on_late: 'revise', gap_fill: 'previous' }, withBad, {
  end: false,
  idle: 70_000,
})

const negative = (x: GoldenTick['price']): GoldenTick['price'] =>
  typeof x === 'number' ? -x : typeof x === 'string' ? `-${x}` : new ExactNumber(`-${x}`)

const lines = (run: Awaited<ReturnType<typeof runTransform>>) => run.out.map(m => String(m.encode()))

describe('bars against an independent computation', () => {
  test('any ticks give the same lines in the same order, and the same late count', async () => {
    await fc.assert(
      fc.asyncProperty(ticks, async all => {
        const golden = goldenBars(all, { interval: M, label: '1m', lateness: 2000, places: 1000 })
        const run = await runTransform(bars, base, [messagesOf(all.map(value => ({ value })))], { end: true })
        expect(lines(run)).toEqual(golden.lines)
        expect(run.counters['runner_late_messages_total{pipeline="test",step="bars",action="dropped"}']).toBe(golden.late)
      }),
      { numRuns: 500 },
    )
  })

  test('prices may be positive, negative or zero', async () => {
    const signed = fc.tuple(tick, fc.constantFrom(1, -1, 0)).map(
      ([t, sign]): GoldenTick => ({
        ...t,
        price: sign === 0 ? 0 : sign > 0 ? t.price : negative(t.price),
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(signed, { maxLength: 60 }), async all => {
        const golden = goldenBars(all, { interval: M, label: '1m', lateness: 2000, places: 1000 })
        const steps = messagesOf(all.map(value => ({ value: value as unknown as Json }))).flatMap(m => [[m], 'crash' as const])
        const run = await runTransform(bars, { ...base, prices: 'any' }, steps, { end: true })
        expect(run.failures).toEqual([])
        expect(lines(run)).toEqual(golden.lines)
      }),
      { numRuns: 300 },
    )
  })

  test('a million ticks, in many batches, with restarts', async () => {
    const all = million()
    const golden = goldenBars(all, { interval: M, label: '1m', lateness: 2000 })
    const batches = split(messagesOf(all.map(value => ({ value }))), [0.001, 0.2, 0.21, 0.5, 0.5, 0.77])
    const run = await runTransform(bars, base, batches, { end: true, restartAt: [1, 2, 5] })
    expect(golden.lines.length).toBeGreaterThan(300)
    expect(golden.late).toBeGreaterThan(100)
    expect(lines(run)).toEqual(golden.lines)
  })

  test('any order within the allowed lateness gives the same bars', async () => {
    const distinct = fc.uniqueArray(tick, { selector: t => t.ts, maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(distinct, fc.array(fc.nat(2000), { minLength: 60, maxLength: 60 }), async (all, delays) => {
        const inOrder = all.toSorted((a, b) => a.ts - b.ts)
        const arrival = inOrder.map((t, i) => ({ t, at: t.ts + delays[i] })).toSorted((a, b) => a.at - b.at)
        const of = async (list: readonly GoldenTick[]) =>
          lines(await runTransform(bars, base, [messagesOf(list.map(value => ({ value })))], { end: true }))
        expect(await of(arrival.map(a => a.t))).toEqual(await of(inOrder))
      }),
    )
  })

  test('with revisions, the last line of each window is the bar of all its ticks, whatever the lateness', async () => {
    await fc.assert(
      fc.asyncProperty(inputs, async all => {
        const patient = await runTransform(bars, { ...base, allowed_lateness: 1e9 }, [messagesOf(all)], { end: true })
        const revised = await runTransform(bars, { ...base, on_late: 'revise', retain: 1e9 }, [messagesOf(all)], { end: true })
        const last = new Map(revised.out.map(m => m.value as Record<string, unknown>).map(bar => [`${bar.start}|${bar.symbol}`, bar]))
        const order = (a: Record<string, any>, b: Record<string, any>) => a.start - b.start || (a.symbol < b.symbol ? -1 : 1)
        expect([...last.values()].toSorted(order)).toMatchObject(patient.out.map(m => m.value as object))
      }),
    )
  })

  test('a run continued from JSON after every message gives the same bars', async () => {
    await fc.assert(
      fc.asyncProperty(inputs, async all => {
        const steps = messagesOf(all).flatMap(m => [[m], 'crash' as const])
        const whole = await runTransform(bars, base, [messagesOf(all)], { end: true })
        expect(seen(await runTransform(bars, base, steps, { end: true }))).toEqual(seen(whole))
      }),
    )
  })
})

/** 10 ms apart, two symbols, cents and satoshis as numbers and as text, some late and some out of order. */
function million(): GoldenTick[] {
  let seed = 42
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
  let cents = 2_712_345
  return Array.from({ length: 1_000_000 }, (_, i) => {
    cents += Math.floor(random() * 201) - 100
    const satoshis = Math.floor(random() * (random() < 0.01 ? 1e11 : 1e8)) / 1e8
    const delay = random() < 0.002 ? 60_000 * random() : random() < 0.1 ? 2000 * random() : 0
    const text = random() < 0.2
    return {
      symbol: random() < 0.7 ? 'BTCUSDT' : 'ETHUSDT',
      price: text ? (cents / 100).toFixed(2) : cents / 100,
      volume: text ? satoshis.toFixed(8) : satoshis,
      ts: 1_762_000_000_000 + i * 10 - Math.floor(delay),
    }
  })
}
