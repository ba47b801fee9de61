/** Times: epoch milliseconds, timestamps and durations of CEL, and their text. */
import { ExactNumber } from '../contract/plugin.ts'
import { checkParseFormat, formatTimeText, timeFormat } from '../kit/values/time-format.ts'
import { isFormat, parseTimeText } from '../kit/values/time-text.ts'
import { zoneOf } from '../kit/values/zone.ts'
import type { FunctionEntry, Overload } from './function-entry.ts'
import * as impl from './implementations.ts'
import {
  CALENDAR,
  calendarField,
  CLOCK,
  type CalendarField,
  Duration,
  parseDuration,
  parseTimestamp,
  Timestamp,
  timestampOfSeconds,
} from './instants.ts'

const UTC = zoneOf('UTC')

/** The result of parse_time. `second` is a zone or a format. @throws {Error} */
export const readTime = (text: string, second?: string, zone?: string): number => {
  try {
    if (second === undefined) return parseTimeText(text)
    return isFormat(second) || zone !== undefined ? parseTimeText(text, second, zone) : parseTimeText(text, undefined, second)
  } catch (error) {
    const { message } = error as Error
    throw new Error(message.startsWith('"') ? `parse_time() cannot read ${message}` : message)
  }
}
const writeTime = (ms: number, format?: string, zone?: string): string =>
  format === undefined ? impl.formatTime(ms) : formatTimeText(ms, format, zone)

/** Checks literal arguments after the first of parse_time and format_time. @throws {Error} if one is invalid */
export function checkTimeArguments(name: string, args: readonly string[]): void {
  const [second, zone] = args
  if (second === undefined) return
  if (zone !== undefined) zoneOf(zone)
  if (name === 'parse_time' && zone === undefined && !isFormat(second)) zoneOf(second)
  else if (second.includes('%')) (name === 'parse_time' ? checkParseFormat : timeFormat)(second)
  else if (!isFormat(second) || name === 'format_time')
    throw new Error(`${JSON.stringify(second)} is not a time format: write one such as "%Y-%m-%d"`)
}

const NUMBERS = ['double', 'int', 'decimal']

const fields = (name: string, field: CalendarField): Overload[] => [
  [`timestamp.${name}(): int`, (t: Timestamp) => calendarField(t, field, UTC)],
  [`timestamp.${name}(string): int`, (t: Timestamp, zone: string) => calendarField(t, field, zoneOf(zone))],
]
const usage = (name: string, of: string): string => `${of}.${name}(), ${of}.${name}(zone)`
const at = 'timestamp("2026-01-31T22:30:15.5Z")'
const EXAMPLES: Readonly<Record<string, FunctionEntry['examples']>> = {
  getFullYear: [[`${at}.getFullYear()`, 2026]],
  getMonth: [[`${at}.getMonth()`, 0]],
  getDate: [
    [`${at}.getDate()`, 31],
    [`${at}.getDate("Asia/Tokyo")`, 1],
  ],
  getDayOfMonth: [[`${at}.getDayOfMonth()`, 30]],
  getDayOfWeek: [[`${at}.getDayOfWeek()`, 6]],
  getDayOfYear: [[`${at}.getDayOfYear()`, 30]],
  getHours: [
    [`${at}.getHours("America/New_York")`, 17],
    ['duration("90m").getHours()', 1],
  ],
  getMinutes: [[`${at}.getMinutes()`, 30]],
  getSeconds: [[`${at}.getSeconds()`, 15]],
  getMilliseconds: [[`${at}.getMilliseconds()`, 500]],
}

export const TIME_FUNCTIONS: readonly FunctionEntry[] = [
  {
    name: 'parse_time',
    form: 'function',
    arity: [1, 2, 3],
    usage: 'parse_time(text), parse_time(text, zone), parse_time(text, format), parse_time(text, format, zone)',
    description:
      'Epoch milliseconds of a time as a string: in one of the common forms, in a format of `%` directives, or as digits in units of `"s"`, `"ms"`, `"us"` or `"ns"`. `zone` applies to strings without a zone. See [Times](#times).',
    examples: [
      ['parse_time("2026-01-31T12:00:00Z")', 1_769_860_800_000],
      ['parse_time("2026-01-31 13:00:00.5 +0100")', 1_769_860_800_500],
      ['parse_time("2026-01-31 07:00:00", "America/New_York")', 1_769_860_800_000],
      ['parse_time("31/01/2026 12:00", "%d/%m/%Y %H:%M", "UTC")', 1_769_860_800_000],
      ['parse_time("1769860800", "s")', 1_769_860_800_000],
    ],
    overloads: [
      ['parse_time(string): double', (text: string) => readTime(text)],
      ['parse_time(string, string): double', readTime],
      ['parse_time(string, string, string): double', readTime],
    ],
  },
  {
    name: 'format_time',
    form: 'function',
    arity: [1, 2, 3],
    usage: 'format_time(ms), format_time(ms, format), format_time(ms, format, zone)',
    description: 'Formats epoch milliseconds as ISO 8601 in UTC, or in a format of `%` directives in the zone.',
    examples: [
      ['format_time(1769860800000)', '2026-01-31T12:00:00.000Z'],
      ['format_time(1769860800000, "%d %b %Y %H:%M", "America/New_York")', '31 Jan 2026 07:00'],
    ],
    overloads: NUMBERS.flatMap(type =>
      ['', ', string', ', string, string'].map(
        (more): Overload => [
          `format_time(${type}${more}): string`,
          (x: number | bigint | ExactNumber, format?: string, zone?: string) => writeTime(Number(x), format, zone),
        ],
      ),
    ),
  },
  {
    name: 'timestamp',
    form: 'function',
    arity: [1],
    usage: 'timestamp(x)',
    as: 'to_timestamp',
    description:
      'A timestamp with nanoseconds, from an RFC 3339 string or whole seconds since 1970. Timestamps can be compared and subtracted, and durations added. The result of an expression is an RFC 3339 string.',
    examples: [
      ['timestamp("2026-01-31T12:00:00+01:00")', '2026-01-31T11:00:00Z'],
      ['timestamp("2026-01-31T12:00:00Z") + duration("36h")', '2026-02-02T00:00:00Z'],
      ['timestamp(1769860800)', '2026-01-31T12:00:00Z'],
    ],
    overloads: [
      ['to_timestamp(string): timestamp', parseTimestamp],
      ['to_timestamp(int): timestamp', timestampOfSeconds],
      ['to_timestamp(timestamp): timestamp', (t: Timestamp) => t],
    ],
  },
  {
    name: 'duration',
    form: 'function',
    arity: [1],
    usage: 'duration(text)',
    as: 'to_duration',
    description: 'A duration, such as `1h30m`, `-1.5s` or `250ms`. The result of an expression is a string in seconds.',
    examples: [
      ['duration("1h30m")', '5400s'],
      ['duration("1m") > duration("59.5s")', true],
    ],
    overloads: [
      ['to_duration(string): duration', parseDuration],
      ['to_duration(duration): duration', (d: Duration) => d],
    ],
  },
]

export const TIME_METHODS: readonly FunctionEntry[] = [
  ...Object.entries(CALENDAR).map(
    ([name, { description, field }]): FunctionEntry => ({
      name,
      form: 'method',
      arity: [0, 1],
      usage: usage(name, 'timestamp'),
      description: `${description} For a timestamp in UTC, or in a zone.`,
      examples: EXAMPLES[name],
      as: `at_${name}`,
      overloads: fields(`at_${name}`, field),
    }),
  ),
  ...Object.entries(CLOCK).map(
    ([name, { description, field, of }]): FunctionEntry => ({
      name,
      form: 'method',
      arity: [0, 1],
      usage: `${usage(name, 'timestamp')}, duration.${name}()`,
      description,
      examples: EXAMPLES[name],
      as: `at_${name}`,
      overloads: [...fields(`at_${name}`, field), [`duration.at_${name}(): int`, of]],
    }),
  ),
]
