/** Windows by the calendar, compared with the clocks of each zone in Intl. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { calendarProblems, type CalendarConfig, timeline, type WindowSize } from '../../../src/kit/values/calendar.ts'
import { zoneOf } from '../../../src/kit/values/zone.ts'
import changes from './zone-changes.json' with { type: 'json' }

const HOUR = 3_600_000
const DAY = 24 * HOUR
const show = (span: { start: number; end: number } | undefined, hour = HOUR) =>
  span && [new Date(span.start).toISOString().slice(0, 16), (span.end - span.start) / hour]
const at = (time: string, size: WindowSize, config: CalendarConfig = {}, align?: number) =>
  timeline(size, config, align).at(Date.parse(time))

describe('offsets', () => {
  // Made by Python's zoneinfo: [epoch seconds, offset before, offset after], from 1970 to 2023, since rules of later years still change.
  test.each(Object.entries(changes as unknown as Record<string, [number, number, number][]>))('%s match Python', (name, all) => {
    const zone = zoneOf(name)
    for (const [i, [time, before, after]] of all.entries()) {
      expect([zone.offset(time * 1000 - 1) / 1000, zone.offset(time * 1000) / 1000]).toEqual([before, after])
      const next = all[i + 1]?.[0] ?? time
      for (const part of [0.1, 0.5, 0.9]) expect(zone.offset((time + (next - time) * part) * 1000) / 1000).toBe(after)
    }
  })
})

describe('fixed windows', () => {
  test('weeks begin on Monday, other windows at the epoch', () => {
    expect(show(at('2026-01-31T12:00Z', 7 * DAY), DAY)).toEqual(['2026-01-26T00:00', 7])
    expect(show(at('2026-01-31T12:00Z', 7 * DAY, { week_start: 'sunday' }), DAY)).toEqual(['2026-01-25T00:00', 7])
    expect(show(at('2026-01-31T12:00Z', 7 * DAY, {}, 0), DAY)).toEqual(['2026-01-29T00:00', 7])
    expect(show(at('2026-01-31T12:34Z', HOUR))).toEqual(['2026-01-31T12:00', 1])
    expect(show(at('2026-01-31T12:34Z', DAY, {}, Date.parse('2020-05-05T06:00Z')))).toEqual(['2026-01-31T06:00', 24])
  })

  test('a time before 1970 belongs to its window', () => {
    expect(show(at('1969-12-31T23:59:59Z', HOUR))).toEqual(['1969-12-31T23:00', 1])
    expect(show(at('1969-12-28T12:00Z', 7 * DAY), DAY)).toEqual(['1969-12-22T00:00', 7])
  })
})

describe('days', () => {
  const zone = 'America/New_York'
  test.each([
    ['2026-01-31T04:59Z', '2026-01-30T05:00', 24],
    ['2026-01-31T05:00Z', '2026-01-31T05:00', 24],
    ['2026-03-08T12:00Z', '2026-03-08T05:00', 23],
    ['2026-11-01T05:30Z', '2026-11-01T04:00', 25],
    ['2026-11-01T06:30Z', '2026-11-01T04:00', 25],
  ])('%s', (time, start, hours) => {
    expect(show(at(time, DAY, { zone }))).toEqual([start, hours])
  })

  test('Samoa had no December 30, 2011', () => {
    expect(show(at('2011-12-30T09:59Z', DAY, { zone: 'Pacific/Apia' }))).toEqual(['2011-12-29T10:00', 24])
    expect(show(at('2011-12-30T10:00Z', DAY, { zone: 'Pacific/Apia' }))).toEqual(['2011-12-30T10:00', 24])
  })

  test('midnight can be missing or occur twice', () => {
    expect(show(at('2018-11-04T12:00Z', DAY, { zone: 'America/Sao_Paulo' }))).toEqual(['2018-11-04T03:00', 23])
    // St John's put its clocks back at one minute past midnight.
    expect(show(at('2006-10-29T02:30Z', DAY, { zone: 'America/St_Johns' }), 60_000)).toEqual(['2006-10-29T02:30', 1500])
    expect(show(at('2006-10-29T03:00Z', DAY, { zone: 'America/St_Johns' }), 60_000)).toEqual(['2006-10-29T02:30', 1500])
  })
})

const ZONES = [...Object.keys(changes), 'Asia/Kolkata', 'UTC', 'Pacific/Kiritimati', '-09:30']
const clocks = new Map(
  ZONES.map(timeZone => [
    timeZone,
    new Intl.DateTimeFormat('sv-SE', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit' }),
  ]),
)
const changeTimes = Object.values(changes as unknown as Record<string, [number, number, number][]>).flatMap(all =>
  all.map(([time]) => time * 1000),
)
const times = fc.oneof(
  fc.integer({ min: Date.UTC(1971, 0, 1), max: Date.UTC(2037, 0, 1) }),
  fc.tuple(fc.constantFrom(...changeTimes), fc.integer({ min: -2 * DAY, max: 2 * DAY })).map(([time, by]) => Math.max(DAY, time + by)),
)
/** The windows that a clock shows: the beginning of the text that it shows in all of one, and in no other. */
const SIZES: [WindowSize, number][] = [
  [DAY, 10],
  ['1mo', 7],
  ['1y', 4],
]

test('an instant is in its window, windows are adjacent, and each is one day, month or year on the clock', () => {
  fc.assert(
    fc.property(times, fc.constantFrom(...ZONES), fc.constantFrom(...SIZES), (time, zone, [size, length]) => {
      const windows = timeline(size, { zone })
      const span = windows.at(time)!
      expect(span.start <= time && time < span.end).toBe(true)
      expect(span.end - span.start).toBeLessThanOrEqual(windows.longest)
      expect(windows.at(span.start)).toEqual(span)
      expect(windows.at(span.end - 1)).toEqual(span)
      expect(windows.at(span.end)!.start).toBe(span.end)
      expect(windows.at(span.start - 1)!.end).toBe(span.start)
      const shown = (t: number) => clocks.get(zone)!.format(t).slice(0, length)
      expect(shown(span.start)).not.toBe(shown(span.start - 60_000))
      // A midnight that occurs twice belongs to the day that it begins, and so does the hour before the second.
      if (shown(time) !== shown(span.start)) expect(time - span.start).toBeLessThan(3 * HOUR)
      else expect(shown(span.end - 60_000) === shown(time) || span.end - time < 3 * HOUR).toBe(true)
    }),
    { numRuns: 3000 },
  )
})

test('parts of days and weeks are adjacent, and begin at multiples on the clock', () => {
  fc.assert(
    fc.property(
      times,
      fc.constantFrom(...ZONES),
      fc.constantFrom(HOUR / 4, HOUR, 4 * HOUR, 12 * HOUR, '1w', 3 * DAY),
      (time, zone, size) => {
        const windows = timeline(size, { zone })
        const span = windows.at(time)!
        expect(span.start <= time && time < span.end).toBe(true)
        expect(span.end - span.start).toBeLessThanOrEqual(windows.longest)
        expect(windows.at(span.start)).toEqual(span)
        expect(windows.at(span.end - 1)).toEqual(span)
        expect(windows.at(span.end)!.start).toBe(span.end)
        expect(windows.at(span.start - 1)!.end).toBe(span.start)
        if (typeof size === 'number' && size <= HOUR) expect(span.end - span.start).toBeLessThanOrEqual(size)
      },
    ),
    { numRuns: 3000 },
  )
})

describe('weeks, months and parts of days', () => {
  const zone = 'Europe/Paris'
  test.each<[string, WindowSize, string, number]>([
    ['2026-03-29T12:00Z', '1w', '2026-03-22T23:00', 167],
    ['2026-02-10T00:00Z', '1mo', '2026-01-31T23:00', 28 * 24],
    ['2026-03-10T00:00Z', '1mo', '2026-02-28T23:00', 31 * 24 - 1],
    ['2026-05-10T00:00Z', '3mo', '2026-03-31T22:00', 91 * 24],
    ['2026-05-10T00:00Z', '1y', '2025-12-31T23:00', 365 * 24],
    // By the clock, 00:00 to 04:00 has three hours when clocks are put forward.
    ['2026-03-29T01:30Z', 4 * HOUR, '2026-03-28T23:00', 3],
    ['2026-03-29T03:00Z', 4 * HOUR, '2026-03-29T02:00', 4],
    ['2026-10-25T01:30Z', 4 * HOUR, '2026-10-24T22:00', 5],
    // The hour that occurs twice has two windows.
    ['2026-10-25T00:30Z', HOUR, '2026-10-25T00:00', 1],
    ['2026-10-25T01:30Z', HOUR, '2026-10-25T01:00', 1],
  ])('%s %s', (time, size, start, hours) => {
    expect(show(at(time, size, { zone }))).toEqual([start, hours])
  })

  test('full hours in India begin at half past in UTC', () => {
    expect(show(at('2026-01-01T12:00Z', HOUR, { zone: 'Asia/Kolkata' }))).toEqual(['2026-01-01T11:30', 1])
  })
})

describe('sessions', () => {
  const nyse: CalendarConfig = { zone: 'America/New_York', session: { start: '09:30', end: '16:00', days: 'mon-fri' } }
  test.each<[string, WindowSize, unknown]>([
    ['2026-01-30T14:29Z', DAY, undefined],
    ['2026-01-30T14:30Z', DAY, ['2026-01-30T14:30', 6.5]],
    ['2026-07-30T13:30Z', DAY, ['2026-07-30T13:30', 6.5]],
    ['2026-01-30T21:00Z', DAY, undefined],
    ['2026-01-31T15:00Z', DAY, undefined],
    ['2026-01-30T15:29Z', HOUR, ['2026-01-30T14:30', 1]],
    // The last hour is half an hour.
    ['2026-01-30T20:45Z', HOUR, ['2026-01-30T20:30', 0.5]],
    ['2026-01-30T20:45Z', '1mo', ['2026-01-01T05:00', 31 * 24]],
    ['2026-01-30T21:45Z', '1mo', undefined],
  ])('%s %s', (time, size, span) => {
    expect(show(at(time, size, nyse))).toEqual(span)
  })

  test('a session may pass midnight, or start on Sunday evening', () => {
    const futures: CalendarConfig = { zone: 'America/Chicago', session: { start: '17:00', end: '16:00', days: 'sun-thu' } }
    expect(show(at('2026-02-01T22:59Z', DAY, futures))).toBeUndefined()
    expect(show(at('2026-02-01T23:00Z', DAY, futures))).toEqual(['2026-02-01T23:00', 23])
    expect(show(at('2026-02-02T12:00Z', DAY, futures))).toEqual(['2026-02-01T23:00', 23])
    expect(show(at('2026-02-02T22:30Z', DAY, futures))).toBeUndefined()
    // Clocks are put forward within it.
    expect(show(at('2026-03-09T12:00Z', DAY, futures))).toEqual(['2026-03-08T22:00', 23])
  })

  test('the window after the last one of a week is that of Monday', () => {
    expect(show(timeline(DAY, nyse).after(Date.parse('2026-01-30T21:00Z')))).toEqual(['2026-02-02T14:30', 6.5])
    expect(show(timeline(HOUR, nyse).after(Date.parse('2026-01-30T21:00Z')))).toEqual(['2026-02-02T14:30', 1])
    expect(show(timeline(HOUR, nyse).after(Date.parse('2026-01-30T15:30Z')))).toEqual(['2026-01-30T15:30', 1])
  })
})

test.each<[WindowSize, CalendarConfig, string]>([
  ['5mo', {}, '5mo is not a calendar window'],
  ['2w', {}, '2w is not a calendar window'],
  [7 * HOUR, { zone: 'Europe/Paris' }, '7h must divide a day'],
  [2 * DAY, { session: { start: '09:30', end: '16:00' } }, 'with session, a window must divide a day'],
  [DAY, { session: { start: '9:30', end: '16:00' } }, '9:30 is not a time of day'],
  [DAY, { session: { start: '09:30', end: '24:30' } }, '24:30 is not a time of day'],
  [DAY, { session: { start: '09:30', end: '16:00', days: 'mo-fr' } }, 'mo-fr must be days of the week'],
  [DAY, { week_start: 'sunday' }, '`week_start` needs a window of weeks, and size is 1d'],
  [DAY, { outside: 'dlq' }, '`outside` needs `session`'],
])('%s %j is rejected', (size, config, message) => {
  expect(calendarProblems(size, config, 'size').map(p => p.message)).toEqual([expect.stringContaining(message)])
})
