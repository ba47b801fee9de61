/** Bars and windows by the calendar of a zone: the output for ticks around days with a clock change. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json } from '../../src/contract/plugin.ts'
import type { BarsConfig, WindowConfig } from '../../src/generated/config-types.ts'
import bars from '../../src/transforms/bars.ts'
import window from '../../src/transforms/window.ts'
import { type Durable, type Input, messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const shared = { allowed_lateness: 0, idle_timeout: 0, on_late: 'drop', max_future: HOUR, on_gap: 'stop', outside: 'drop' } as const
const barsConfig = (o: Partial<BarsConfig>): BarsConfig => ({
  interval: DAY,
  ...shared,
  retain: HOUR,
  gap_fill: 'none',
  gap_limit: 1440,
  prices: 'positive',
  fields: { symbol: 'symbol', price: 'price', volume: 'volume', ts: 'ts' },
  ...o,
})
const windowConfig = (o: Partial<WindowConfig>): WindowConfig => ({
  aggregates: { n: { count: '*' } },
  collect_limit: 10_000,
  ...shared,
  ...o,
})

const tick = (ts: number, price: Json = 1): Input => ({ value: { symbol: 'A', price, volume: 1, ts }, time: ts })
const hourly = (from: string, to: string): Input[] => {
  const ticks: Input[] = []
  for (let ts = Date.parse(from); ts < Date.parse(to); ts += HOUR / 2) ticks.push(tick(ts))
  return ticks
}
const spans = (run: { out: { value: unknown }[] }) =>
  run.out.map(m => {
    const { start, end, count, n } = m.value as Record<string, number>
    return [new Date(start).toISOString().slice(0, 16), (end - start) / HOUR, count ?? n]
  })
const zone = 'America/New_York'

describe('bars', () => {
  test('days with a clock change have 23 or 25 hours and are one bar', async () => {
    const run = (from: string, to: string) => runTransform(bars, barsConfig({ zone }), [messagesOf(hourly(from, to))], { end: true })
    expect(spans(await run('2026-03-07T05:00Z', '2026-03-10T04:00Z'))).toEqual([
      ['2026-03-07T05:00', 24, 48],
      ['2026-03-08T05:00', 23, 46],
      ['2026-03-09T04:00', 24, 48],
    ])
    expect(spans(await run('2026-11-01T04:00Z', '2026-11-02T05:00Z'))).toEqual([['2026-11-01T04:00', 25, 50]])
  })

  test('weeks and months are labeled by their interval', async () => {
    const month = await runTransform(
      bars,
      barsConfig({ interval: '1mo', zone }),
      [messagesOf(hourly('2026-02-01T05:00Z', '2026-03-01T05:00Z'))],
      {
        end: true,
      },
    )
    expect(month.out.map(m => m.value)).toMatchObject([{ interval: '1mo', count: 28 * 48 }])
    const week = await runTransform(
      bars,
      barsConfig({ interval: '1w', week_start: 'sunday' }),
      [messagesOf([tick(Date.parse('2026-01-31T00:00Z'))])],
      {
        end: true,
      },
    )
    expect(spans(week)).toEqual([['2026-01-25T00:00', 168, 1]])
  })

  const session = { start: '09:30', end: '16:00', days: 'mon-fri' }
  const around = [
    '2026-01-30T14:29:59Z',
    '2026-01-30T14:30Z',
    '2026-01-30T20:59:59Z',
    '2026-01-30T21:00Z',
    '2026-01-31T15:00Z',
    '2026-02-02T14:30Z',
  ]

  test('trades outside the session are counted', async () => {
    const run = await runTransform(bars, barsConfig({ zone, session }), [messagesOf(around.map(t => tick(Date.parse(t))))], { end: true })
    expect(spans(run)).toEqual([
      ['2026-01-30T14:30', 6.5, 2],
      ['2026-02-02T14:30', 6.5, 1],
    ])
    expect(run.counters['runner_outside_session_messages_total{pipeline="test",step="bars",action="dropped"}']).toBe(3)
    expect(run.failures).toEqual([])
  })

  test('trades outside the session go to the dead-letter queue', async () => {
    const run = await runTransform(
      bars,
      barsConfig({ zone, session, outside: 'dlq' }),
      [messagesOf(around.map(t => tick(Date.parse(t))))],
      {
        end: true,
      },
    )
    expect(run.failures.map(f => f.error.message)).toEqual([
      '2026-01-30T14:29:59.000Z is outside of the session 09:30 to 16:00 mon-fri (America/New_York)',
      '2026-01-30T21:00:00.000Z is outside of the session 09:30 to 16:00 mon-fri (America/New_York)',
      '2026-01-31T15:00:00.000Z is outside of the session 09:30 to 16:00 mon-fri (America/New_York)',
    ])
  })

  test('gaps are filled only with windows inside sessions, not with nights', async () => {
    const ticks = [tick(Date.parse('2026-01-30T20:00Z'), 5), tick(Date.parse('2026-02-02T15:45Z'), 6)]
    const run = await runTransform(bars, barsConfig({ interval: HOUR, zone, session, gap_fill: 'previous' }), [messagesOf(ticks)], {
      end: true,
    })
    expect(spans(run)).toEqual([
      ['2026-01-30T19:30', 1, 1],
      ['2026-01-30T20:30', 0.5, 0],
      ['2026-02-02T14:30', 1, 0],
      ['2026-02-02T15:30', 1, 1],
    ])
  })

  test('a restart continues the open bar; a restart with another zone is an error', async () => {
    const run = (o: Partial<BarsConfig>, ticks: Input[], end: boolean, state?: Durable) =>
      runTransform(bars, barsConfig(o), [messagesOf(ticks)], { end, state })
    const [first, second] = [Date.parse('2026-11-01T04:00Z'), Date.parse('2026-11-02T04:59Z')]
    const open = async () => (await run({ zone }, [tick(first)], false)).state
    expect(spans(await run({ zone }, [tick(second)], true, await open()))).toEqual([['2026-11-01T04:00', 25, 2]])
    await expect(run({ zone: 'Europe/Paris' }, [], true, await open())).rejects.toThrow(
      "1 open windows of step 'bars' made as 1d, zone America/New_York; the file has 1d, zone Europe/Paris",
    )
    await expect(run({}, [], true, await open())).rejects.toThrow('the file has 1d')
  })

  test.each<[Partial<BarsConfig>, unknown]>([
    [{ interval: 7 * DAY }, { message: 'bars longer than a day follow the calendar: write 1w, 1mo, 3mo, 1y', suggestion: '1w' }],
    [{ interval: '5mo' }, { message: expect.stringContaining('5mo is not a calendar window') }],
    [{ session: { start: '9', end: '16:00' } }, { path: ['session', 'start'] }],
  ])('%j is rejected', (o, problem) => {
    expect(bars.validateConfig!(barsConfig(o))).toMatchObject([problem])
  })

  // Output and open windows must not depend on how the input is split, in any zone.
  const near = fc
    .tuple(fc.constantFrom('2026-03-08T07:00Z', '2026-11-01T06:00Z', '2026-01-31T15:00Z'), fc.integer({ min: -3 * DAY, max: 3 * DAY }))
    .map(([change, by]) => tick(Date.parse(change) + by))
  const inputs = fc.array(near, { maxLength: 40 })
  transformConformance('bars of a zone', bars, barsConfig({ zone }), inputs, { numRuns: 100 })
  transformConformance('bars of sessions', bars, barsConfig({ interval: HOUR, zone, session, gap_fill: 'previous' }), inputs, {
    numRuns: 100,
  })
  transformConformance('windows of a zone', window, windowConfig({ size: 4 * HOUR, zone, session }), inputs, { numRuns: 100 })
})

describe('windows', () => {
  const at = (time: string): Input => ({ value: {}, time: Date.parse(time), key: 'k' })
  const run = (o: Partial<WindowConfig>, ...times: string[]) =>
    runTransform(window, windowConfig(o), [messagesOf(times.map(at))], { end: true })

  test('7d begins on Monday, on week_start, or at align', async () => {
    const time = '2026-01-31T12:00Z'
    expect(spans(await run({ size: 7 * DAY }, time))).toEqual([['2026-01-26T00:00', 168, 1]])
    expect(spans(await run({ size: 7 * DAY, week_start: 'thursday' }, time))).toEqual([['2026-01-29T00:00', 168, 1]])
    expect(spans(await run({ size: 7 * DAY, align: '2026-01-01T06:00:00Z' }, time))).toEqual([['2026-01-29T06:00', 168, 1]])
    expect(spans(await run({ size: DAY, every: DAY / 2, align: '2026-01-01T06:00:00Z' }, time))).toEqual([
      ['2026-01-30T18:00', 24, 1],
      ['2026-01-31T06:00', 24, 1],
    ])
  })

  test('days, weeks and months follow the zone', async () => {
    expect(spans(await run({ size: DAY, zone }, '2026-03-08T12:00Z'))).toEqual([['2026-03-08T05:00', 23, 1]])
    expect(spans(await run({ size: '1w', zone }, '2026-03-08T12:00Z'))).toEqual([['2026-03-02T05:00', 167, 1]])
    expect(spans(await run({ size: '1mo', zone }, '2026-11-08T12:00Z'))).toEqual([['2026-11-01T04:00', 30 * 24 + 1, 1]])
  })

  test('a time before 1970 belongs to its window', async () => {
    expect(spans(await run({ size: HOUR }, '1969-12-31T23:30Z'))).toEqual([['1969-12-31T23:00', 1, 1]])
  })

  test('the error of a late message has its window', async () => {
    const late = await runTransform(
      window,
      windowConfig({ size: DAY, zone, on_late: 'dlq' }),
      [messagesOf([at('2026-03-10T12:00Z'), at('2026-03-08T12:00Z')])],
      { end: true },
    )
    expect(late.failures[0].error.message).toContain(
      `belongs to the window ${Date.parse('2026-03-08T05:00Z')}-${Date.parse('2026-03-09T04:00Z')}`,
    )
  })

  test('open windows of weeks from Thursday are not mixed with those from Monday', async () => {
    const open = await runTransform(
      window,
      windowConfig({ size: 7 * DAY, week_start: 'thursday' }),
      [messagesOf([at('2026-01-31T12:00Z')])],
      {},
    )
    await expect(runTransform(window, windowConfig({ size: 7 * DAY }), [], { state: open.state })).rejects.toThrow('weeks from thursday')
  })

  test.each<[Partial<WindowConfig>, string]>([
    [{ size: '1mo', every: DAY }, '`every` needs a `size` with a fixed length in UTC'],
    [{ size: DAY, zone, align: '2026-01-01T00:00:00Z' }, '`align` needs a `size` with a fixed length in UTC'],
    [{ gap: HOUR, zone }, '`zone` needs `size`; sessions of `gap` begin with their first message'],
    [{ size: 7 * HOUR, zone }, '7h must divide a day, or be a whole number of days'],
  ])('%j is rejected', (o, message) => {
    expect(window.validateConfig!(windowConfig(o)).map(p => p.message)).toEqual([message])
  })
})
