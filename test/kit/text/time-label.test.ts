import { afterEach, expect, test } from 'vitest'
import { timeLabel } from '../../../src/kit/text/time-label.ts'
import { parseTimestamp } from '../../../src/kit/text/units.ts'

const before = process.env.TZ
afterEach(() => {
  if (before === undefined) delete process.env.TZ
  else process.env.TZ = before
})

const T = Date.parse('2026-07-01T23:30:15.042Z')

test.each([
  ['UTC', '2026-07-01T23:30:15Z'],
  ['America/New_York', '2026-07-01T19:30:15-04:00'],
  ['Asia/Kolkata', '2026-07-02T05:00:15+05:30'],
])('in %s a time has the offset of that zone, and time options accept it', (zone, text) => {
  process.env.TZ = zone
  expect(timeLabel(T)).toBe(text)
  expect(parseTimestamp(timeLabel(T))).toBe(T - 42)
  expect(parseTimestamp(timeLabel(T, { precision: 'ms' }))).toBe(T)
})

test('the offset is that of the given time, not of today', () => {
  process.env.TZ = 'America/New_York'
  expect(timeLabel(Date.parse('2026-01-01T12:00:00Z'))).toBe('2026-01-01T07:00:00-05:00')
})

test('with utc, and for numbers that are not dates, the zone has no effect', () => {
  process.env.TZ = 'Asia/Kolkata'
  expect(timeLabel(T, { utc: true, precision: 'ms' })).toBe('2026-07-01T23:30:15.042Z')
  expect([timeLabel(Number.NaN), timeLabel(9e15)]).toEqual(['NaN', '9000000000000000'])
})
