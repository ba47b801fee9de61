/** Seeded trades for the bars tests, and the bars they must become by the independent computation of `golden-bars.ts`. */
import { goldenBars, type GoldenTick } from './golden-bars.ts'
import type { TestRecord } from './kafka.ts'
import { seeded } from './random.ts'

export interface TickOptions {
  readonly seed: number
  /** Symbols of each partition: a symbol lives in one partition only. */
  readonly partitions: readonly (readonly string[])[]
  /** ms of event time between two trades of a partition; default 90. */
  readonly step?: number
}

export interface PartitionedTick extends GoldenTick {
  readonly partition: number
}

export interface ExpectedBar {
  readonly key: string
  readonly value: string
  /** Epoch ms: the end of the bar. */
  readonly time: number
}

export const BAR_INTERVAL = 10_000
export const BAR_LABEL = '10s'
export const LATENESS = 2_000
const START = 1_700_000_000_000

/** The first `count` of `tickStream`. */
export function makeTicks({ count, ...options }: TickOptions & { readonly count: number }): PartitionedTick[] {
  return tickStream(options).take(count).toArray()
}

/**
 * In arrival order, partitions taking turns. One in five is out of order within the allowed lateness, one in five hundred comes so late that its
 * bar may have closed, prices and volumes are numbers or decimal strings.
 */
export function* tickStream({ seed, partitions, step = 90 }: TickOptions): Generator<PartitionedTick, never> {
  const random = seeded(seed)
  const prices = new Map(partitions.flat().map((symbol, i) => [symbol, 100 * 10 ** (i % 3) * (1 + random())]))
  const clocks = partitions.map(() => START + Math.floor(random() * BAR_INTERVAL))
  for (let i = 0; ; i++) {
    const partition = i % partitions.length
    const symbols = partitions[partition]
    const symbol = symbols[Math.floor(random() * symbols.length)]
    const price = prices.get(symbol)! * (1 + (random() - 0.5) / 500)
    prices.set(symbol, price)
    clocks[partition] += Math.floor(random() * 2 * step)
    const fate = random()
    const back = fate < 0.002 ? 15_000 + random() * 15_000 : fate < 0.2 ? random() * LATENESS * 0.9 : 0
    const exact = price.toFixed(2)
    yield {
      partition,
      symbol,
      price: random() < 0.3 ? exact : Number(exact),
      volume: random() < 0.3 ? (random() * 3).toFixed(5) : Number((random() * 3).toFixed(5)),
      ts: Math.floor(clocks[partition] - back),
    }
  }
}

/** A trade per partition that is far enough ahead to close every bar before it; its own bar stays open. */
export function closingTicks(ticks: readonly PartitionedTick[]): PartitionedTick[] {
  const newest = new Map<number, number>()
  for (const { partition, ts } of ticks) newest.set(partition, Math.max(ts, newest.get(partition) ?? 0))
  return [...newest].map(([partition, ts]) => ({ partition, symbol: 'END', price: 1, volume: 1, ts: ts + BAR_INTERVAL * 10 }))
}

export const tickRecord = ({ partition, symbol, price, volume, ts }: PartitionedTick): TestRecord => ({
  partition,
  key: symbol,
  value: JSON.stringify({ symbol, price, volume, ts, exchange: 'test' }),
  time: ts,
})

/** Bars per symbol in the order they must come out, and the number of late trades. */
export function expectedBars(ticks: readonly PartitionedTick[]): { bars: Map<string, ExpectedBar[]>; count: number; late: number } {
  const bars = new Map<string, ExpectedBar[]>()
  let count = 0
  let late = 0
  for (const list of Map.groupBy(ticks, t => t.partition).values()) {
    const golden = goldenBars(list, { interval: BAR_INTERVAL, label: BAR_LABEL, lateness: LATENESS, places: 20 })
    late += golden.late
    count += golden.lines.length
    for (const [i, value] of golden.lines.entries()) {
      const { symbol } = JSON.parse(value) as { symbol: string }
      if (!bars.has(symbol)) bars.set(symbol, [])
      bars.get(symbol)!.push({ key: symbol, value, time: golden.newest[i] })
    }
  }
  return { bars, count, late }
}
