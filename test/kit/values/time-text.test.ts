import { describe, expect, test } from 'vitest'
import { formatTimeText } from '../../../src/kit/values/time-format.ts'
import { parseTimeText } from '../../../src/kit/values/time-text.ts'
import { utc } from '../../../src/kit/values/zone.ts'

const TIME = Date.UTC(2026, 8, 30, 21, 5, 7)

describe('a time format runs in bounded time whatever the text is', () => {
  // Backtracking took 13 s for one text of the first.
  test.each(['%b%B%a%A%Z %Y', '%Y %Z%b%B%a%A', '%Z%s%Q%f%d%e%H%I%M%S%p'])('%s', format => {
    for (const text of ['a'.repeat(200), `2026 ${'a'.repeat(195)}`, `a${'1'.repeat(199)}`, `2026 ${'a'.repeat(190)} !`])
      expect(() => parseTimeText(text, format)).toThrow()
  })

  test('a format with several ways to split a text reads its own output', () => {
    const format = '%b.%B.%a.%A.%Z %Y %d %H%M%S'
    const text = formatTimeText(TIME, format)
    expect(text).toBe('Sep.September.Wed.Wednesday.UTC 2026 30 210507')
    expect(parseTimeText(text, format)).toBe(TIME)
    expect(parseTimeText(`\u00a0${text}\u2028`, format)).toBe(TIME)
  })

  test.each(['%Y%m%d%H%M%S%z', '%a, %d %b %Y %H:%M:%S %z', '%d/%b/%Y:%H:%M:%S %z', '%Y-%m-%dT%H:%M:%S.%f%z', '%I:%M:%S %p %e %B %Y %Z'])(
    '%s',
    format => {
      expect(parseTimeText(formatTimeText(TIME, format), format)).toBe(TIME)
    },
  )
})

test('every zone of the IANA data and its older names is accepted', () => {
  const older = [
    'EST5EDT',
    'CST6CDT',
    'MST7MDT',
    'PST8PDT',
    'GMT0',
    'GMT+0',
    'Etc/GMT-14',
    'NZ-CHAT',
    'W-SU',
    'US/East-Indiana',
    'CET',
    'ROC',
  ]
  for (const zone of [...Intl.supportedValuesOf('timeZone'), ...older])
    expect(() => parseTimeText('2026-01-31 12:00', undefined, zone), zone).not.toThrow()
  expect(parseTimeText('2026-07-01 08:00', undefined, 'EST5EDT')).toBe(Date.UTC(2026, 6, 1, 12))
})

test('a zone in brackets must exist and match the offset next to it', () => {
  expect(parseTimeText('2026-07-01T02:00:00+02:00[Europe/Paris]')).toBe(Date.UTC(2026, 6, 1))
  expect(parseTimeText('2026-10-25T02:30:00+01:00[Europe/Paris]')).toBe(Date.UTC(2026, 9, 25, 1, 30))
  expect(parseTimeText('2026-07-01T00:00:00Z[Europe/Paris]')).toBe(Date.UTC(2026, 6, 1))
  expect(() => parseTimeText('2026-07-01T02:00:00+01:00[Europe/Paris]')).toThrow(
    /has the offset \+01:00, which is not in use in Europe\/Paris at that time/,
  )
  expect(() => parseTimeText('2026-07-01T02:00:00Z[Nowhere/Bad]')).toThrow(/unknown time zone "Nowhere\/Bad"/)
})

test.each([
  ['1767225600123', 's', 'milliseconds'],
  ['1767225600', 'us', 'seconds'],
  ['1767225600123', 'us', 'milliseconds'],
  ['1767225600123456789', 'us', 'nanoseconds'],
  ['1767225600', 'ns', 'seconds'],
])('digits that do not fit the unit are an error, not another date: %s in %s', (text, unit, likely) => {
  expect(() => parseTimeText(text, unit)).toThrow(new RegExp(`looks like ${likely}`))
})

test.each([
  ['+010000-01-01T00:00:00Z', 10_000, 1, 1],
  ['10000-01-01 00:00:00+00', 10_000, 1, 1],
  ['10000-01-01T00:00:00Z', 10_000, 1, 1],
  ['+275760-01-01', 275_760, 1, 1],
  ['0044-03-15 00:00:00+00 BC', -43, 3, 15],
  ['-000043-03-15T00:00:00.000Z', -43, 3, 15],
  ['0001-12-31 BC', 0, 12, 31],
])('a year beyond four digits, or before 1: %s', (text, year, month, day) => {
  const time = parseTimeText(text, undefined, 'UTC')
  expect(new Date(time)).toEqual(new Date(utc(year, month, day)))
  expect(parseTimeText(new Date(time).toISOString())).toBe(time)
})

test.each([
  ['infinity', 'is the infinity of PostgreSQL, which is not a time: replace or filter such values first'],
  ['-infinity', 'is the infinity of PostgreSQL'],
  ['294276-12-31 23:59:59+00', 'is beyond any date that the runner can represent'],
  ['+0100000101', 'is a number: give its unit'],
  ['100000101', 'is a number: give its unit'],
])('%s is not a time', (text, problem) => {
  expect(() => parseTimeText(text, undefined, 'UTC')).toThrow(problem)
})
