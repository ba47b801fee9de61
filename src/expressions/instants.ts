/** The timestamp and duration of CEL, with nanosecond precision. */
import { fromLocal, toLocal, utc, type Zone, zoneOf } from '../kit/values/zone.ts'

const SECOND = 1_000_000_000n
const MS = 1_000_000n
/** The first and last nanosecond of the years 1 to 9999. */
const FIRST = -62_135_596_800n * SECOND
const LAST = 253_402_300_800n * SECOND - 1n
/** The range of a duration in protocol buffers: about 10,000 years. */
const LONGEST = 315_576_000_000n * SECOND

export class Timestamp {
  /** Nanoseconds since 1970. */
  readonly ns: bigint

  constructor(ns: bigint) {
    if (ns < FIRST || ns > LAST) throw new Error('a timestamp must be in the years 1 to 9999')
    this.ns = ns
  }

  get ms(): number {
    return Number(floorDivide(this.ns, MS))
  }

  /** RFC 3339. */
  toString(): string {
    const seconds = floorDivide(this.ns, SECOND)
    return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}${fraction(this.ns - seconds * SECOND)}Z`
  }

  valueOf(): bigint {
    return this.ns
  }
}

export class Duration {
  readonly ns: bigint

  constructor(ns: bigint) {
    if (ns < -LONGEST || ns > LONGEST) throw new Error('a duration must be at most 10,000 years')
    this.ns = ns
  }

  /** `90s`, `-1.5s`. */
  toString(): string {
    const ns = this.ns < 0n ? -this.ns : this.ns
    return `${this.ns < 0n ? '-' : ''}${ns / SECOND}${fraction(ns % SECOND)}s`
  }

  valueOf(): bigint {
    return this.ns
  }
}

function fraction(ns: bigint): string {
  return ns === 0n ? '' : `.${String(ns).padStart(9, '0').replace(/0+$/, '')}`
}

const floorDivide = (a: bigint, b: bigint): bigint => (a < 0n && a % b !== 0n ? a / b - 1n : a / b)

const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/

export function parseTimestamp(text: string): Timestamp {
  const match = RFC_3339.exec(text)
  if (match) {
    const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number)
    const local = utc(year, month, day, hour, minute, second)
    const date = new Date(local)
    const exists = date.getUTCMonth() + 1 === month && date.getUTCDate() === day && hour < 24 && minute < 60 && second < 60
    const [, hours, minutes] = /^[+-](\d\d):(\d\d)$/.exec(match[8]) ?? ['', '0', '0']
    if (exists && Number(hours) < 24 && Number(minutes) < 60)
      return new Timestamp(BigInt(fromLocal(zoneOf(match[8]), local)) * MS + BigInt((match[7] ?? '').padEnd(9, '0')))
  }
  throw new Error(
    `timestamp() cannot read ${JSON.stringify(text.slice(0, 60))}: it takes RFC 3339, such as 2026-01-31T12:00:00Z; parse_time(text) reads other forms`,
  )
}

export const timestampOfSeconds = (seconds: bigint): Timestamp => {
  try {
    return new Timestamp(seconds * SECOND)
  } catch {
    throw new Error(`timestamp() takes seconds of the years 1 to 9999, got ${seconds}; to convert milliseconds, write int(ms) / 1000`)
  }
}

const UNITS: Readonly<Record<string, bigint>> = {
  h: 3600n * SECOND,
  m: 60n * SECOND,
  s: SECOND,
  ms: MS,
  us: 1000n,
  µs: 1000n,
  μs: 1000n,
  ns: 1n,
}

/** In the notation of Go: `1h30m`, `-1.5s`, `0`. */
export function parseDuration(text: string): Duration {
  const [, sign, rest] = /^([+-]?)(.*)$/s.exec(text)!
  const parts = rest.length > 100 ? [] : [...rest.matchAll(/(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/g)]
  const whole = parts.map(([part]) => part).join('')
  if (rest !== '0' && (parts.length === 0 || whole !== rest || parts.some(([, digits, decimals = '']) => digits + decimals === '')))
    throw new Error(`duration() cannot read ${JSON.stringify(text.slice(0, 60))}: it takes units of h, m, s, ms, us and ns, such as 1h30m`)
  let ns = 0n
  for (const [, digits, decimals = '', unit] of parts) {
    ns += BigInt(digits || '0') * UNITS[unit]
    if (decimals !== '') ns += (BigInt(decimals) * UNITS[unit]) / 10n ** BigInt(decimals.length)
  }
  return new Duration(sign === '-' ? -ns : ns)
}

export const plus = (a: Timestamp, b: Duration): Timestamp => new Timestamp(a.ns + b.ns)

/** A calendar field in the time zone. */
export type CalendarField = (local: Date, timestamp: Timestamp) => number

export const CALENDAR: Readonly<Record<string, { readonly description: string; readonly field: CalendarField }>> = {
  getFullYear: { description: 'The year.', field: d => d.getUTCFullYear() },
  getMonth: { description: 'The month, from 0 for January.', field: d => d.getUTCMonth() },
  getDate: { description: 'The day of the month, from 1.', field: d => d.getUTCDate() },
  getDayOfMonth: { description: 'The day of the month, from 0.', field: d => d.getUTCDate() - 1 },
  getDayOfWeek: { description: 'The day of the week, from 0 for Sunday.', field: d => d.getUTCDay() },
  getDayOfYear: {
    description: 'The day of the year, from 0.',
    field: d => Math.floor((d.getTime() - utc(d.getUTCFullYear(), 1, 1)) / 86_400_000),
  },
}

/** Fields that durations also have: their whole length in that unit, except milliseconds. */
export const CLOCK: Readonly<
  Record<string, { readonly description: string; readonly field: CalendarField; readonly of: (d: Duration) => bigint }>
> = {
  getHours: {
    description: 'The hour of a timestamp, or the whole hours of a duration.',
    field: d => d.getUTCHours(),
    of: d => d.ns / (3600n * SECOND),
  },
  getMinutes: {
    description: 'The minute of a timestamp, or the whole minutes of a duration.',
    field: d => d.getUTCMinutes(),
    of: d => d.ns / (60n * SECOND),
  },
  getSeconds: {
    description: 'The second of a timestamp, or the whole seconds of a duration.',
    field: d => d.getUTCSeconds(),
    of: d => d.ns / SECOND,
  },
  getMilliseconds: {
    description: 'The milliseconds within the second.',
    field: d => d.getUTCMilliseconds(),
    of: d => (d.ns % SECOND) / MS,
  },
}

export function calendarField(timestamp: Timestamp, field: CalendarField, zone: Zone): bigint {
  return BigInt(field(new Date(toLocal(zone, timestamp.ms)), timestamp))
}
