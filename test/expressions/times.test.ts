/** Times as text, against Intl and Date as references. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Message } from '../../src/contract/plugin.ts'
import { compile } from '../../src/expressions/index.ts'
import { DIRECTIVES, formatTimeText } from '../../src/kit/values/time-format.ts'
import { parseTimeText } from '../../src/kit/values/time-text.ts'

const noon = Date.UTC(2026, 0, 31, 12)
const parse = (...args: string[]) =>
  compile(`parse_time(${args.map((_, i) => `a${i}`).join(', ')})`).evaluate(
    new Message(Object.fromEntries(args.map((a, i) => [`a${i}`, a]))),
  )

describe('common forms', () => {
  test.each([
    '2026-01-31T12:00:00Z',
    '2026-01-31t12:00:00z',
    '2026-01-31 12:00:00Z',
    '2026-01-31 12:00:00 UTC',
    '2026-01-31 13:00:00 +0100',
    '2026-01-31 13:00:00+01:00',
    '2026-01-31 13:00+01',
    '2026/01/31 12:00 GMT',
    '20260131T120000Z',
    '2026-01-31T07:00:00 America/New_York',
    '2026-01-31T13:00:00+01:00[Europe/Paris]',
    '2026-01-31T13:00[Europe/Paris]',
    'Sat, 31 Jan 2026 12:00:00 GMT',
    'Saturday, 31-Jan-2026 12:00:00 GMT',
    '31 Jan 2026 13:00 +0100',
    'Sat, 31 Jan 2026 07:00:00 EST',
    'Sat, 31 Jan 2026 12:00:00 +0000 (UTC)',
  ])('%s', text => {
    expect(parse(text)).toBe(noon)
  })

  test.each([
    [['2026-01-31 12:00:00.123456789Z'], noon + 123],
    [['2026-01-31 12:00:00,5 +0000'], noon + 500],
    [['2026-01-31', 'UTC'], noon - 12 * 3_600_000],
    [['2026-01-31 07:00:00', 'America/New_York'], noon],
    [['2026-01-31 13:00:00 +0100', 'Asia/Tokyo'], noon],
    [['2026-01-31 17:30:00', '+05:30'], noon],
    [['1769860800', 's'], noon],
    [['1769860800.25', 's'], noon + 250],
    [['1769860800000999', 'us'], noon],
    [['1769860800000999999', 'ns'], noon],
    [['-1', 'ms'], -1],
    [['01/31/26 07:00 AM', '%m/%d/%y %I:%M %p', 'America/New_York'], noon],
    [['Sat 31 January 2026 12:00:00.25 +0000', '%a %d %B %Y %T.%f %z'], noon + 250],
    [['2026-031 12', '%Y-%j %H', 'UTC'], noon],
    [['31.01.2026 um 13 Uhr Europe/Paris', '%d.%m.%Y um %H Uhr %Z'], noon],
  ] as [string[], number][])('%j', (args, ms) => {
    expect(parse(...args)).toBe(ms)
  })
})

describe('text that does not match the format is an error with the reason', () => {
  test.each([
    [['01/02/2026 12:00', 'UTC'], 'does not have a common form'],
    [['2026-01-31 12:00:00'], 'it has no time zone: add one as the last argument'],
    [['2026-02-29T00:00:00Z'], 'it has the day 29 in a month of 28'],
    [['2026-01-31T24:00:00Z'], 'it has a time of day that does not exist'],
    [['Sun, 31 Jan 2026 12:00:00 GMT'], 'it contains Sunday, but that day is a Saturday'],
    [['2026-01-31 12:00:00 Europe/Pariss'], 'has the unknown time zone'],
    [['2026-03-29 02:30:00', 'Europe/Paris'], 'it does not exist in Europe/Paris: clocks skip this time when they are put forward'],
    [['31/01/2026', '%Y-%m-%d', 'UTC'], 'does not match the format "%Y-%m-%d"'],
    [['1769860800'], 'it is a number: give its unit, "s", "ms", "us" or "ns"'],
    [['1769860800000000000', 's'], 'it looks like nanoseconds, not seconds'],
    [['9999999999999999999', 's'], 'it is beyond any date in seconds'],
    [['x', 's'], 'it is not a number of seconds'],
    [['2026 1 13:00 PM', '%Y %m %I:%M %p', 'UTC'], 'it has the hour 13 with AM or PM'],
    [['12:00', '%H:%M', 'UTC'], 'has no year: %Y or %y reads one'],
    [['Jan 31 12:00:00', '%b %d %T', 'UTC'], 'has no year'],
    [['2026 31', '%Y %d', 'UTC'], 'has a day without its month'],
    [['2026 031 1', '%Y %j %m', 'UTC'], 'has a day of the year beside month or day'],
    [['2026-01-31 07:00', '%F %I:%M', 'UTC'], 'needs both %I and %p, or %H'],
    [['2026 30', '%Y %M', 'UTC'], 'has minutes without an hour'],
    [['2026', 'Y', 'UTC'], 'has no directive such as %Y'],
  ] as [string[], string][])('%j', (args, message) => {
    expect(() => parse(...args)).toThrow(message)
  })
})

const ZONES = [
  'UTC',
  'Europe/Paris',
  'America/New_York',
  'America/St_Johns',
  'America/Sao_Paulo',
  'Australia/Lord_Howe',
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'Africa/Casablanca',
  'Pacific/Apia',
  'Pacific/Kiritimati',
]
const shown = new Map(
  ZONES.map(timeZone => [
    timeZone,
    new Intl.DateTimeFormat('sv-SE', {
      timeZone,
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      fractionalSecondDigits: 3,
    }),
  ]),
)
// Changes of the clock are where it matters; some are near these months.
const times = fc.integer({ min: Date.UTC(1970, 0, 1), max: Date.UTC(2040, 0, 1) })
const nearChange = fc
  .tuple(
    fc.integer({ min: 1975, max: 2037 }),
    fc.constantFrom(2, 3, 9, 10, 11, 4),
    fc.integer({ min: -3 * 86_400_000, max: 31 * 86_400_000 }),
  )
  .map(([year, month, ms]) => Date.UTC(year, month, 1) + ms)

test('format_time matches Intl, and parse_time returns the instant or, in an hour that occurs twice, an earlier one', () => {
  fc.assert(
    fc.property(fc.oneof(times, nearChange), fc.constantFrom(...ZONES), (time, zone) => {
      const text = formatTimeText(time, '%Y-%m-%d %H:%M:%S,%f', zone)
      expect(text).toBe(shown.get(zone)!.format(time))
      const back = parseTimeText(text, undefined, zone)
      expect(formatTimeText(back, '%Y-%m-%d %H:%M:%S,%f', zone)).toBe(text)
      if (back !== time) expect(time - back).toSatisfy((ms: number) => ms > 0 && ms <= 3 * 3_600_000)
    }),
    { numRuns: 3000 },
  )
})

test('a time skipped by the clocks of a zone is an error, and any other time is valid', () => {
  fc.assert(
    fc.property(nearChange, fc.constantFrom(...ZONES), (local, zone) => {
      const text = new Date(local).toISOString().slice(0, 23).replace('T', ' ')
      // The time exists if clocks show it at one of the possible instants.
      const exists = Array.from({ length: 385 }, (_, i) => local + (i - 192) * 300_000).some(
        at => shown.get(zone)!.format(at) === text.replace('.', ','),
      )
      const read = () => parseTimeText(text, undefined, zone)
      if (exists) expect(formatTimeText(read(), '%F %T.%f', zone)).toBe(text)
      else expect(read).toThrow('does not exist')
    }),
    { numRuns: 300 },
  )
})

test('every directive that can be parsed parses its own output', () => {
  fc.assert(
    fc.property(times, fc.constantFrom(...ZONES), (time, zone) => {
      const second = Math.floor(time / 1000) * 1000
      for (const format of ['%A %e %B %Y %I:%M:%S %p %z', '%a, %d %b %Y %T %Z', '%Y %j %H %M %S %z', '%s', '%Q', '%%%F %T%z'])
        expect(Math.abs(parseTimeText(formatTimeText(second, format, zone), format) - second)).toSatisfy(
          (ms: number) => ms === 0 || (format.includes('%Z') && ms <= 3 * 3_600_000),
        )
    }),
    { numRuns: 300 },
  )
})

test('the guide lists every directive', () => {
  const guide = readFileSync(new URL('../../docs/guide/expressions.md', import.meta.url), 'utf8')
  const from = guide.indexOf('<!-- directives')
  const table = guide
    .slice(from, guide.indexOf('`timestamp(x)` and', from))
    .split('\n')
    .filter(line => line.startsWith('|'))
  expect(table.slice(2)).toEqual(Object.entries(DIRECTIVES).map(([letter, { description }]) => `| \`%${letter}\` | ${description} |`))
})
