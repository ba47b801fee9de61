/** The bars of one lane: open bars, and closed bars that late trades may still revise. */
import type { ExactNumber, State } from '../../contract/plugin.ts'
import { Bar, type BarRecord, emptyBar } from './bar.ts'
import type { Span, Timeline } from '../../kit/values/calendar.ts'
import type { Exact } from '../../kit/values/decimal.ts'

interface Series {
  readonly symbol: string
  /** Few: `allowed_lateness` limits the open bars, `retain` the closed ones. */
  bars: Bar[]
  /** The bar of the last trade. */
  current: Bar | undefined
  /** End and close of the newest emitted bar; only set when gaps are filled. */
  last: [end: number, close: Exact | ExactNumber] | undefined
}

export interface BookOptions {
  readonly windows: Timeline
  readonly label: string
  /** How long a closed bar is kept, ms; 0: not kept. */
  readonly retain: number
  /** Maximum number of empty bars in one gap; 0: gaps are not filled. */
  readonly gapLimit: number
  /** Called for a gap that is longer than `gapLimit` and is not filled. */
  leftOpen(symbol: string, start: number): void
}

/** An emitted bar and the event time of its newest trade; for an empty bar, the last millisecond of its window. */
export interface DatedBar {
  readonly record: BarRecord
  readonly newest: number
}

export class BarBook {
  /** `close` has no effect while the watermark is below this time. */
  nextDue = Number.POSITIVE_INFINITY
  private readonly series = new Map<string, Series>()
  private readonly bars: State
  private readonly lasts: State | undefined
  private readonly options: BookOptions
  private dirty: Bar[] = []
  private recent: Series = { symbol: '', bars: [], current: undefined, last: undefined }

  /** @param lasts only needed to fill gaps */
  constructor(bars: State, lasts: State | undefined, watermark: number, options: BookOptions) {
    this.bars = bars
    this.lasts = lasts
    this.options = options
    for (const [key, value] of bars.entries()) {
      const bar = Bar.decode(key, value, start => options.windows.at(start)?.end ?? start + options.windows.longest)
      bar.closed = bar.end <= watermark
      this.keep(this.of(bar.symbol), bar)
    }
    for (const [symbol, last] of lasts?.entries() ?? []) this.of(symbol).last = last as [number, Exact | ExactNumber]
  }

  /** The bar of a symbol at a time, if it exists. */
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

  /** Creates the bar of a window. */
  open(symbol: string, { start, end }: Span, closed: boolean): Bar {
    const series = this.of(symbol)
    const bar = new Bar(symbol, start, end)
    bar.closed = closed
    this.keep(series, bar)
    series.current = bar
    return bar
  }

  /** Marks the bar as changed. */
  touch(bar: Bar): void {
    if (bar.dirty) return
    bar.dirty = true
    this.dirty.push(bar)
  }

  /** Closes bars that end at or before the watermark. @returns the bars to emit, by end and symbol */
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

  /** @returns the bar to emit, after the empty bars that fill the gap before it */
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

  /** The largest due time of an open or retained bar at or before `until`. */
  lastDue(until: number): number {
    let last = Number.NEGATIVE_INFINITY
    for (const { bars } of this.series.values())
      for (const bar of bars) if (this.dueTime(bar) <= until && this.dueTime(bar) > last) last = this.dueTime(bar)
    return last
  }

  /** Writes changes to the state. Once per call is sufficient: checkpoints are made only between calls of the transform. */
  flush(): void {
    for (const bar of this.dirty) {
      if (!bar.dirty) continue
      bar.dirty = false
      bar.saved = true
      this.bars.set(bar.key, bar.encode())
    }
    this.dirty = []
  }

  private gap(bar: Bar, [end, close]: [number, Exact | ExactNumber]): DatedBar[] {
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
