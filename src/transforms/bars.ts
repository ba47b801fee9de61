/** Aggregates trades into OHLCV bars by event time, with exact decimal arithmetic. */
import type { BarsConfig } from '../generated/config-types.ts'
import {
  type ConfigProblem,
  defineTransform,
  type Json,
  Message,
  type Output,
  type Transform,
  type TransformContext,
} from '../contract/plugin.ts'
import { saidOnce } from '../kit/said-once.ts'
import { EventClock } from '../kit/event-clock.ts'
import { withKeys } from '../kit/keys/with-keys.ts'
import calendar from '../kit/keys/calendar.schema.json' with { type: 'json' }
import eventTime from '../kit/keys/event-time.schema.json' with { type: 'json' }
import schema from './bars.schema.json' with { type: 'json' }
import type { Bar } from './bars/bar.ts'
import { BarBook, type DatedBar } from './bars/bar-book.ts'
import { Gaps } from './lib/gaps.ts'
import { lateCounters, LateError } from './lib/late.ts'
import { outsideSessions } from './lib/outside.ts'
import { Results } from './lib/results.ts'
import { claimShape } from './lib/shape.ts'
import { TickReader } from './bars/tick.ts'
import { calendarProblems, calendarShape, isCalendar, type Span, sizeText, timeline } from '../kit/values/calendar.ts'
import { DAY, formatDuration } from '../kit/values/time.ts'

export default defineTransform<BarsConfig>({
  type: 'bars',
  varies: ({ idle_timeout }, { endless }) => (endless && idle_timeout > 0 ? 'closes bars in silence (idle_timeout)' : undefined),
  schema: withKeys(withKeys(schema, eventTime, ['time_unit']), calendar),
  stateful: true,
  groupsBy: ({ fields: { symbol } }) =>
    /^[a-z_]\w*(\.[a-z_]\w*)*$/i.test(symbol)
      ? symbol
      : `value${symbol
          .split('.')
          .map(name => `[${JSON.stringify(name)}]`)
          .join('')}`,
  stateShape: ({ interval, zone, week_start, session, fields, time_unit }) =>
    ({ interval, zone, week_start, session, time_unit, ...fields }) as unknown as Json,
  windowSpan: c => timeline(c.interval, c).longest + c.allowed_lateness + c.max_future,
  survivesGap: c => c.on_gap !== 'stop',
  outputSchema: config => outputSchema(config),
  validateConfig,
  create,
})

function validateConfig(config: BarsConfig): ConfigProblem[] {
  const { interval } = config
  if (typeof interval === 'string') return calendarProblems(interval, config, 'interval')
  if (interval >= 1000 && interval <= DAY && DAY % interval === 0) return calendarProblems(interval, config, 'interval')
  if (interval === 7 * DAY || interval === 30 * DAY)
    return [
      {
        path: ['interval'],
        message: 'bars longer than a day follow the calendar: write 1w, 1mo, 3mo, 1y',
        suggestion: interval === 7 * DAY ? '1w' : '1mo',
      },
    ]
  const near = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 28_800, 43_200, 86_400]
    .map(s => s * 1000)
    .reduce((best, ms) => (Math.abs(ms - interval) < Math.abs(best - interval) ? ms : best))
  const message = `interval must be between 1s and 1d and divide 24h evenly, so that every day begins with a new bar, or be 1w, 1mo, 3mo or 1y; got ${formatDuration(interval)}`
  return [{ path: ['interval'], message, suggestion: formatDuration(near) }]
}

/** The fields of `BarRecord`. */
function outputSchema({ on_late, on_gap }: BarsConfig): object {
  const exact = { type: ['number', 'string'] }
  const [text, number] = [{ type: 'string' }, { type: 'number' }]
  const properties = {
    symbol: text,
    interval: text,
    start: number,
    end: number,
    open: exact,
    high: exact,
    low: exact,
    close: exact,
    volume: exact,
    vwap: { type: ['number', 'string', 'null'] },
    count: number,
  }
  return {
    type: 'object',
    required: Object.keys(properties),
    additionalProperties: false,
    properties: {
      ...properties,
      ...(on_late === 'revise' && { revision: number }),
      ...(on_gap === 'mark' && { incomplete: { type: 'boolean' } }),
    },
  }
}

function create(config: BarsConfig, ctx: TransformContext): Transform {
  const { interval, on_late, retain } = config
  const revise = on_late === 'revise'
  const fill = config.gap_fill === 'previous'
  const times = ctx.state('clock')
  const bars = ctx.state('bars')
  const windows = timeline(interval, config)
  const noteShape = claimShape(times, bars, isCalendar(interval, config) ? calendarShape(interval, config) : sizeText(interval), ctx.step)
  const clock = new EventClock(times, config)
  const book = new BarBook(bars, fill ? ctx.state('last') : undefined, clock.watermark, {
    windows,
    label: sizeText(interval),
    retain: revise ? retain : 0,
    gapLimit: config.gap_limit,
    leftOpen: openGaps(config, ctx),
  })
  const tick = new TickReader(config.fields, config.max_future, config.time_unit, config.prices)
  const results = new Results(ctx.step, times)
  const late = lateCounters(ctx)
  const outside = outsideSessions(config, ctx)
  const { on_gap, allowed_lateness } = config
  const gaps = new Gaps(ctx, times, { on_gap, allowed_lateness, span: windows.longest + (revise ? retain : 0) })

  const emit = (bar: Bar, out: Output): void => {
    for (const published of book.publish(bar)) emitDated(published, results, gaps, out)
  }
  const close = (out: Output): void => {
    for (const closed of book.close(clock.watermark)) emitDated(closed, results, gaps, out)
  }
  const save = (): void => {
    book.flush()
    if (!clock.save()) return
    noteShape()
    ctx.watermark(clock.watermark)
  }

  /** Handles a trade whose window is closed and has no stored bar. @returns the bar to revise, if `on_late` allows one */
  const tooLate = (message: Message, span: Span, out: Output): Bar | undefined => {
    const { start, end } = span
    if (revise && end + retain > clock.watermark) return book.open(tick.symbol, span, true)
    if (on_late === 'dlq') {
      late.dead.inc()
      out.fail(message, LateError.ofWindow(tick.ts, start, end, clock.watermark))
    } else {
      late.drop(tick.ts, end, clock.watermark)
    }
    return undefined
  }

  return {
    process(messages, out) {
      results.readFrom(messages)
      for (let i = 0; i < messages.length; i++) {
        const message = messages[i]
        const wrong = tick.read(message)
        if (wrong) {
          out.fail(message, wrong)
          continue
        }
        const ts = tick.ts
        if (gaps.pending && ts > clock.max) gaps.end(ts)
        // Checked per message: the closing of bars must not depend on batch boundaries.
        if (clock.reaches(book.nextDue, ts, message.clock)) close(out)
        let bar = book.at(tick.symbol, ts)
        if (bar === undefined) {
          const span = windows.at(ts)
          if (span === undefined) outside(message, ts, out)
          else bar = span.end <= clock.watermark ? tooLate(message, span, out) : book.open(tick.symbol, span, false)
          if (bar === undefined) continue
        }
        bar.add(tick.price, tick.volume, ts, tick.given, tick.text)
        book.touch(bar)
        if (bar.closed) {
          late.revised.inc()
          bar.revision++
          emit(bar, out)
        }
      }
      save()
    },

    onGap() {
      gaps.begin(clock.watermark)
    },

    onIdle(silence, out) {
      if (clock.idle(silence, book.nextDue, until => book.lastDue(until))) close(out)
      save()
    },

    onClock(time, out) {
      if (clock.follow(clock.max, time) >= book.nextDue) close(out)
      save()
    },

    onEnd(out, until) {
      // After a restart, trades for a bar closed here are late, as for any closed bar.
      clock.advance(book.lastEnd(until))
      close(out)
      save()
    },
  }
}

/** The event time of a bar is that of its newest trade: inside its own window, and never ahead of the input. */
function emitDated({ record, newest }: DatedBar, results: Results, gaps: Gaps, out: Output): void {
  const { symbol, start, end, revision } = record
  const message = results.name(new Message(record, symbol, newest), symbol, start, end, revision)
  if (!gaps.any || gaps.admit(message, record, start, end, out)) out.emit(message)
}

/** @returns a function that counts gaps that are too long to fill, and logs the first */
function openGaps({ gap_limit }: BarsConfig, ctx: TransformContext): (symbol: string, start: number) => void {
  const help = 'Gaps that were not filled, because they are longer than gap_limit'
  const count = ctx.metrics.counter('runner_bars_open_gaps_total', help, { pipeline: ctx.pipeline, step: ctx.step }, 'open_gaps')
  const say = saidOnce(ctx, 'open-gap')
  return (symbol, start) => {
    count.inc()
    say(() => ({
      details: { symbol, from: new Date(start).toISOString(), gap_limit },
      message: `left a gap open: it has more than gap_limit (${gap_limit}) intervals`,
    }))
  }
}
