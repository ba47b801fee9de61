/** One bar: the trades of one symbol in one window. */
import { ExactNumber, type Json } from '../../contract/plugin.ts'
import { compareExact, type Exact, exactOf } from '../../kit/values/decimal.ts'
import { Text, Turnover, type TurnoverState } from './turnover.ts'

/** A number of a record, or the decimal of a text: a double, else digits. */
type Value = Exact | ExactNumber

/** Output of the `bars` step, with keys in this order. Times are epoch ms, `end` exclusive. */
export interface BarRecord {
  symbol: string
  /** Such as `1m`. */
  interval: string
  start: number
  end: number
  open: Value
  high: Value
  low: Value
  close: Value
  volume: Value
  /** Null when no volume was traded. */
  vwap: Value | null
  /** Number of trades; 0: the bar fills a gap. */
  count: number
  /** Only on bars emitted after their window closed: 1 for the first revision. */
  revision?: number
  /** Only with `on_gap: mark`: trades of the window are missing. */
  incomplete?: boolean
}

type BarState = [
  open: Value,
  openTs: number,
  high: Value,
  low: Value,
  close: Value,
  closeTs: number,
  count: number,
  revision: number,
  ...TurnoverState,
]

export class Bar {
  readonly symbol: string
  readonly start: number
  readonly end: number
  open: Value = 0
  /** Event time of the earliest trade; ties go to the first to arrive. */
  openTs = Number.POSITIVE_INFINITY
  high: Value = 0
  low: Value = 0
  close: Value = 0
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
  /** `high` and `low` for comparisons. */
  private highest: Exact = 0
  private lowest: Exact = 0
  private turnover = new Turnover()

  constructor(symbol: string, start: number, end: number) {
    this.symbol = symbol
    this.start = start
    this.end = end
  }

  /**
   * @param given the price as the bar writes it
   * @param text which of the values were text
   */
  add(price: Exact, volume: Exact, ts: number, given: Value, text: number): void {
    if (this.count++ === 0) {
      this.highest = this.lowest = price
      this.high = this.low = given
    } else if (typeof price === 'number' && typeof this.highest === 'number' && typeof this.lowest === 'number') {
      if (price > this.highest) this.raise(price, given)
      else if (price < this.lowest) this.lower(price, given)
    } else {
      if (compareExact(price, this.highest) > 0) this.raise(price, given)
      if (compareExact(price, this.lowest) < 0) this.lower(price, given)
    }
    if (ts < this.openTs) {
      this.openTs = ts
      this.open = given
    }
    if (ts >= this.closeTs) {
      this.closeTs = ts
      this.close = given
    }
    if (text !== Text.none) this.turnover.text |= text
    this.turnover.add(price, volume)
  }

  private raise(price: Exact, given: Value): void {
    this.highest = price
    this.high = given
  }

  private lower(price: Exact, given: Value): void {
    this.lowest = price
    this.low = given
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
    bar.raise(toCompare(high), high)
    bar.lower(toCompare(low), low)
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
export function emptyBar(symbol: string, interval: string, start: number, end: number, close: Value): BarRecord {
  return { symbol, interval, start, end, open: close, high: close, low: close, close, volume: 0, vwap: null, count: 0 }
}

const toCompare = (x: Value): Exact => (x instanceof ExactNumber ? exactOf(x)! : x)
