/** One bar: the trades of one symbol in one window. */
import type { Json } from '../../contract/plugin.ts'
import { compareExact, type Exact } from '../../kit/values/decimal.ts'
import { Turnover, type TurnoverState } from './turnover.ts'

/** Output of the `bars` step, with keys in this order. Times are epoch ms, `end` exclusive. */
export interface BarRecord {
  symbol: string
  /** Such as `1m`. */
  interval: string
  start: number
  end: number
  open: Exact
  high: Exact
  low: Exact
  close: Exact
  volume: Exact
  /** Null when no volume was traded. */
  vwap: Exact | null
  /** Number of trades; 0: the bar fills a gap. */
  count: number
  /** Only on bars emitted after their window closed: 1 for the first revision. */
  revision?: number
  /** Only with `on_gap: mark`: trades of the window are missing. */
  incomplete?: boolean
}

type BarState = [
  open: Exact,
  openTs: number,
  high: Exact,
  low: Exact,
  close: Exact,
  closeTs: number,
  count: number,
  revision: number,
  ...TurnoverState,
]

export class Bar {
  readonly symbol: string
  readonly start: number
  readonly end: number
  open: Exact = 0
  /** Event time of the earliest trade; ties go to the first to arrive. */
  openTs = Number.POSITIVE_INFINITY
  high: Exact = 0
  low: Exact = 0
  close: Exact = 0
  /** Event time of the latest trade; ties go to the last to arrive. */
  closeTs = Number.NEGATIVE_INFINITY
  count = 0
  revision = 0
  /** The window is closed; the bar is kept for late trades. */
  closed = false
  /** Changed since the last write to the state. */
  dirty = false
  /** Written to the state at least once. */
  saved = false
  private turnover = new Turnover()

  constructor(symbol: string, start: number, end: number) {
    this.symbol = symbol
    this.start = start
    this.end = end
  }

  add(price: Exact, volume: Exact, ts: number): void {
    if (this.count++ === 0) {
      this.high = this.low = price
    } else if (typeof price === 'number' && typeof this.high === 'number' && typeof this.low === 'number') {
      if (price > this.high) this.high = price
      else if (price < this.low) this.low = price
    } else {
      if (compareExact(price, this.high) > 0) this.high = price
      if (compareExact(price, this.low) < 0) this.low = price
    }
    if (ts < this.openTs) {
      this.openTs = ts
      this.open = price
    }
    if (ts >= this.closeTs) {
      this.closeTs = ts
      this.close = price
    }
    this.turnover.add(price, volume)
  }

  record(interval: string): BarRecord {
    const { symbol, start, end, open, high, low, close, turnover, count } = this
    const record: BarRecord = {
      symbol,
      interval,
      start,
      end,
      open,
      high,
      low,
      close,
      volume: turnover.totalVolume,
      vwap: turnover.vwap,
      count,
    }
    if (this.revision > 0) record.revision = this.revision
    return record
  }

  /** Key in the state. The number comes first, so the symbol needs no escaping. */
  get key(): string {
    return `${this.start}|${this.symbol}`
  }

  encode(): Json {
    const { open, openTs, high, low, close, closeTs, count, revision } = this
    return [open, openTs, high, low, close, closeTs, count, revision, ...this.turnover.encode()] satisfies BarState
  }

  /** @param endOf the end of the window that begins at a time */
  static decode(key: string, value: Json, endOf: (start: number) => number): Bar {
    const cut = key.indexOf('|')
    const start = Number(key.slice(0, cut))
    const bar = new Bar(key.slice(cut + 1), start, endOf(start))
    const [open, openTs, high, low, close, closeTs, count, revision, ...turnover] = value as BarState
    bar.open = open
    bar.openTs = openTs
    bar.high = high
    bar.low = low
    bar.close = close
    bar.closeTs = closeTs
    bar.count = count
    bar.revision = revision
    bar.turnover = Turnover.decode(turnover)
    bar.saved = true
    return bar
  }
}

/** A bar for a window without trades; repeats the previous close. */
export function emptyBar(symbol: string, interval: string, start: number, end: number, close: Exact): BarRecord {
  return { symbol, interval, start, end, open: close, high: close, low: close, close, volume: 0, vwap: null, count: 0 }
}
