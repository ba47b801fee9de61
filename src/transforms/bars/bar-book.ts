/** The bars of one lane: open ones, and closed ones that late trades may still revise. */
import type { State } from '../../contract/plugin.ts'
import { Bar, type BarRecord, emptyBar } from './bar.ts'
import type { Span, Timeline } from '../../kit/values/calendar.ts'
import type { Exact } from '../../kit/values/decimal.ts'

interface Series {
  readonly symbol: string
  /** Few: the allowed lateness bounds the open ones, `retain` the closed ones. */
  bars: Bar[]
  /** The one the last trade fell into. */
  current: Bar | undefined
  /** End and close of the newest bar that came out; only kept to fill gaps. */
  last: [end: number, close: Exact] | undefined
}

export interface BookOptions {
  readonly windows: Timeline
  readonly label: string
  /** ms a closed bar is kept; 0: not at all. */
  readonly retain: number
  /** Largest number of empty bars put into one gap; 0: gaps stay open. */
  readonly gapLimit: number
  /** A gap of a symbol is longer than that, and is left open. */
  leftOpen(symbol: string, start: number): void
}

/** A bar as it comes out, with the event time of its newest trade; of an empty bar, the last millisecond of its window. */
export interface DatedBar {
  readonly record: BarRecord
  readonly newest: number
}

export class BarBook {
  /** `close` has nothing to do while the watermark is below. */
  nextDue = Number.POSITIVE_INFINITY
  private readonly series = new Map<string, Series>()
  private readonly bars: State
  private readonly lasts: State | undefined
  private readonly options: BookOptions
  private dirty: Bar[] = []
  private recent: Series = { symbol: '', bars: [], current: undefined, last: undefined }

  /** `lasts` is needed to fill gaps only. */
  constructor(bars: State, lasts: State | undefined, watermark: number, options: BookOptions) {
    this.bars = bars
    this.lasts = lasts
    this.options = options
    for (const [key, value] of bars.entries()) {
      const bar = Bar.decode(key, value, start => options.windows.at(start)?.end ?? start + options.windows.longest)
      bar.closed = bar.end <= watermark
      this.keep(this.of(bar.symbol), bar)
    }
    for (const [symbol, last] of lasts?.entries() ?? []) this.of(symbol).last = last as [number, Exact]
  }

  /** The symbol's bar for an instant, if there is one. */
  at(symbol: string, ts: number): Bar | undefined {
    const series = this.lookup(symbol)
    if (series === undefined) return undefined
    const current = series.current
    if (current !== undefined && ts >= current.start && ts < current.end) return current
    for (const bar of series.bars) {
      if (ts >= bar.start && ts < bar.end) return (series.current = bar)
    }
    return undefined
  }

  /** A new bar for a window. */
  open(symbol: string, { start, end }: Span, closed: boolean): Bar {
    const series = this.of(symbol)
    const bar = new Bar(symbol, start, end)
    bar.closed = closed
    this.keep(series, bar)
    series.current = bar
    return bar
  }

  /** The bar has changed. */
  touch(bar: Bar): void {
    if (bar.dirty) return
    bar.dirty = true
    this.dirty.push(bar)
  }

  /** Closes what ends at or before the watermark. @returns what comes out, by end and symbol. */
  close(watermark: number): DatedBar[] {
    const due: Bar[] = []
    this.nextDue = Number.POSITIVE_INFINITY
    for (const series of this.series.values()) {
      const all = series.bars
      series.bars = []
      for (const bar of all) {
        if (!bar.closed && bar.end <= watermark) {
          bar.closed = true
          due.push(bar)
        }
        if (this.dueTime(bar) > watermark) this.keep(series, bar)
        else this.forget(bar)
      }
      if (series.current?.closed) series.current = undefined
      if (series.bars.length === 0 && this.lasts === undefined) this.drop(series)
    }
    due.sort(byEndAndSymbol)
    const out = due.flatMap(bar => this.publish(bar))
    return this.lasts ? out.toSorted((a, b) => byEndAndSymbol(a.record, b.record)) : out
  }

  /** The bar as it comes out, behind the empty ones that fill the gap before it. */
  publish(bar: Bar): DatedBar[] {
    const record = { record: bar.record(this.options.label), newest: bar.closeTs }
    if (this.lasts === undefined) return [record]
    const series = this.of(bar.symbol)
    const { last } = series
    if (last && bar.end < last[0]) return [record]
    series.last = [bar.end, bar.close]
    this.lasts.set(bar.symbol, series.last)
    return last ? [...this.gap(bar, last), record] : [record]
  }

  /** The largest end of an open bar at or before `until`. */
  lastEnd(until: number): number {
    let end = Number.NEGATIVE_INFINITY
    for (const { bars } of this.series.values()) for (const bar of bars) if (bar.end <= until && bar.end > end) end = bar.end
    return end
  }

  /** The largest time at or before `until` at which something of an open or retained bar is due. */
  lastDue(until: number): number {
    let last = Number.NEGATIVE_INFINITY
    for (const { bars } of this.series.values())
      for (const bar of bars) if (this.dueTime(bar) <= until && this.dueTime(bar) > last) last = this.dueTime(bar)
    return last
  }

  /** Writes changes to the state; the runtime cuts only between calls of the transform, so once per call is enough. */
  flush(): void {
    for (const bar of this.dirty) {
      if (!bar.dirty) continue
      bar.dirty = false
      bar.saved = true
      this.bars.set(bar.key, bar.encode())
    }
    this.dirty = []
  }

  private gap(bar: Bar, [end, close]: [number, Exact]): DatedBar[] {
    const { windows, label, gapLimit, leftOpen } = this.options
    const fill: DatedBar[] = []
    for (let empty = windows.after(end); empty.start < bar.start; empty = windows.after(empty.end)) {
      if (fill.length === gapLimit) {
        leftOpen(bar.symbol, end)
        return []
      }
      fill.push({ record: emptyBar(bar.symbol, label, empty.start, empty.end, close), newest: empty.end - 1 })
    }
    return fill
  }

  private lookup(symbol: string): Series | undefined {
    if (symbol === this.recent.symbol) return this.recent
    const series = this.series.get(symbol)
    if (series !== undefined) this.recent = series
    return series
  }

  private of(symbol: string): Series {
    let series = this.lookup(symbol)
    if (series === undefined) {
      series = { symbol, bars: [], current: undefined, last: undefined }
      this.series.set(symbol, series)
      this.recent = series
    }
    return series
  }

  private dueTime(bar: Bar): number {
    return bar.closed ? bar.end + this.options.retain : bar.end
  }

  private keep(series: Series, bar: Bar): void {
    series.bars.push(bar)
    const due = this.dueTime(bar)
    if (due < this.nextDue) this.nextDue = due
  }

  private forget(bar: Bar): void {
    bar.dirty = false
    if (bar.saved) this.bars.delete(bar.key)
  }

  private drop(series: Series): void {
    this.series.delete(series.symbol)
    if (this.recent === series) this.recent = { symbol: '', bars: [], current: undefined, last: undefined }
  }
}

function byEndAndSymbol(a: { end: number; symbol: string }, b: { end: number; symbol: string }): number {
  return a.end - b.end || (a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : 0)
}
