/**
 * Windows by the calendar of a time zone: days of 23, 24 and 25 hours, weeks, months, trading sessions. Windows of a fixed length in UTC
 * are here too, so that a transform has one interface for the window of an instant.
 */
import { type ConfigProblem } from '../../contract/plugin.ts'
import { DAY, formatDuration } from './time.ts'
import { fromLocal, toLocal, utc, type Zone, zoneOf } from './zone.ts'

/** Epoch ms, the end exclusive. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** The positions of windows in time. */
export interface Timeline {
  /** The window of an instant; undefined: it is outside of every session. */
  at(time: number): Span | undefined
  /** The first window that starts at or after a time that is the end of a window. */
  after(end: number): Span
  /** Maximum length of a window, ms. */
  readonly longest: number
}

/** The keys that determine where windows start, shared by the steps that have them. */
export interface CalendarConfig {
  /** IANA name, or an offset. */
  readonly zone?: string
  readonly session?: SessionConfig
  readonly week_start?: string
  readonly outside?: string
}

interface SessionConfig {
  /** `09:30`. */
  readonly start: string
  readonly end: string
  /** `mon-fri`, `sun,mon-thu`: the days on which sessions start. */
  readonly days?: string
}

/** In the order of `Date.prototype.getUTCDay`. */
export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
const WEEK_STARTS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday']
const HOUR = 3_600_000

/** Length of a window: ms, or `1w`, `3mo`, `1y`. */
export type WindowSize = number | string

/** Months of a calendar window; undefined: its unit is not months. */
function monthsOf(size: WindowSize): number | undefined {
  const [, count, unit] = typeof size === 'string' ? (/^(\d+)(mo|y)$/.exec(size) ?? []) : []
  return unit === undefined ? undefined : Number(count) * (unit === 'y' ? 12 : 1)
}

/** The size as written in a pipeline file. */
export const sizeText = (size: WindowSize): string => (typeof size === 'number' ? formatDuration(size) : size)

/** @returns whether windows start by a calendar instead of at a fixed interval in ms. */
export const isCalendar = (size: WindowSize, { zone, session }: CalendarConfig): boolean =>
  typeof size === 'string' || zone !== undefined || session !== undefined

const isWeekly = (size: WindowSize): boolean => size === '1w' || (typeof size === 'number' && size % (7 * DAY) === 0)

/** The settings that determine where windows start and end, as text; configurations with equal texts have equal windows. */
export function calendarShape(size: WindowSize, { zone, session, week_start }: CalendarConfig, align?: string): string {
  const parts = [zone && `zone ${zone}`, session && `session ${session.start}-${session.end} ${session.days ?? 'every day'}`]
  if (align !== undefined) parts.push(`aligned to ${align}`)
  else if (isWeekly(size)) parts.push(`weeks from ${week_start ?? 'monday'}`)
  return [sizeText(size), ...parts.filter(part => part !== undefined)].join(', ')
}

/** The problems of a calendar config. @param key the name of the key with the size */
export function calendarProblems(size: WindowSize, config: CalendarConfig, key: string): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const { session } = config
  const months = monthsOf(size)
  if (typeof size === 'string' && size !== '1w' && (months === undefined || months < 1 || months > 12 || 12 % months !== 0))
    problems.push({
      path: [key],
      message: `${size} is not a calendar window; the calendar windows are 1w, 1mo, 2mo, 3mo, 4mo, 6mo and 1y`,
      suggestion: '1mo',
    })
  if (typeof size === 'number' && isCalendar(size, config)) {
    if (size < DAY ? size === 0 || DAY % size !== 0 : size % DAY !== 0)
      problems.push({ path: [key], message: `${formatDuration(size)} must divide a day, or be a whole number of days` })
    else if (session && size > DAY)
      problems.push({
        path: [key],
        message: 'with session, a window must divide a day, be 1d, or be a calendar window of 1w or longer',
        suggestion: '1d',
      })
  }
  if (config.week_start !== undefined && !isWeekly(size))
    problems.push({ path: ['week_start'], message: `\`week_start\` needs a window of weeks, and ${key} is ${sizeText(size)}` })
  if (config.outside === 'dlq' && !session) problems.push({ path: ['outside'], message: '`outside` needs `session`' })
  if (session) {
    for (const end of ['start', 'end'] as const)
      if (timeOfDay(session[end]) === undefined)
        problems.push({
          path: ['session', end],
          message: `${session[end]} is not a time of day such as 09:30`,
          suggestion: end === 'start' ? '"09:30"' : '"16:00"',
        })
    if (session.days !== undefined && weekdays(session.days) === undefined)
      problems.push({
        path: ['session', 'days'],
        message: `${session.days} must be days of the week such as mon-fri`,
        suggestion: 'mon-fri',
      })
  }
  return problems
}

/** ms; undefined: the text is not a time of day. */
function timeOfDay(text: string): number | undefined {
  const match = /^(\d\d):(\d\d)(?::(\d\d))?$/.exec(text)
  if (!match) return undefined
  const [hours, minutes, seconds] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)]
  const ms = ((hours * 60 + minutes) * 60 + seconds) * 1000
  return minutes < 60 && seconds < 60 && ms <= DAY ? ms : undefined
}

/** Numbers of days, 0 for Sunday; undefined: the text is not a list of days. */
function weekdays(text: string): ReadonlySet<number> | undefined {
  const days = new Set<number>()
  for (const part of text.toLowerCase().split(',')) {
    const [first, last, ...more] = part
      .trim()
      .split('-')
      .map(name => WEEKDAYS.findIndex(day => day === name.trim().slice(0, 3)))
    if (first < 0 || last === -1 || more.length > 0) return undefined
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day)
      if (day === (last ?? first)) break
    }
  }
  return days
}

/**
 * @param align an instant at which a window of a fixed length starts; without it, windows of whole weeks start on `week_start`, all others
 * at 1970
 * @throws {RangeError} for a zone that does not exist
 */
export function timeline(size: WindowSize, config: CalendarConfig = {}, align?: number): Timeline {
  const weekStart = Math.max(0, WEEK_STARTS.indexOf(config.week_start ?? 'monday'))
  if (typeof size === 'number' && !isCalendar(size, config))
    return fixed(size, align ?? (size % (7 * DAY) === 0 ? firstDay(weekStart) * DAY : 0))
  const zone = zoneOf(config.zone ?? 'UTC')
  const months = monthsOf(size)
  const { session } = config
  const days = (count: number, first: number) =>
    new Periods(
      zone,
      day => first + Math.floor((day - first) / count) * count,
      day => day + count,
      count,
    )
  const whole =
    months !== undefined
      ? new Periods(
          zone,
          day => monthOf(day, months, 0),
          day => monthOf(day, months, 1),
          months * 31,
        )
      : size === '1w'
        ? days(7, firstDay(weekStart))
        : typeof size === 'number' && size >= DAY
          ? days(size / DAY, size % (7 * DAY) === 0 ? firstDay(weekStart) : 0)
          : undefined
  if (session === undefined)
    return (
      whole ??
      new PartsOfDays(
        new Periods(
          zone,
          day => day,
          day => day + 1,
          1,
        ),
        zone,
        size as number,
      )
    )
  const sessions = new Sessions(
    zone,
    timeOfDay(session.start)!,
    timeOfDay(session.end)!,
    session.days === undefined ? undefined : weekdays(session.days),
  )
  if (size === DAY) return sessions
  return whole ? new Within(whole, sessions) : new PartsOfDays(sessions, zone, size as number)
}

/** Days since 1970 of the first such day; the 1st of January 1970 was a Thursday. */
const firstDay = (weekday: number): number => (weekday - 4 + 7) % 7
const weekdayOf = (day: number): number => (((day + 4) % 7) + 7) % 7

/** The first day of the months that contain a day, or of the months that come `next` later. */
function monthOf(day: number, months: number, next: number): number {
  const date = new Date(day * DAY)
  return utc(date.getUTCFullYear(), Math.floor(date.getUTCMonth() / months) * months + 1 + next * months, 1) / DAY
}

function fixed(size: number, align: number): Timeline {
  const from = (start: number): Span => ({ start, end: start + size })
  return {
    longest: size,
    at: time => from(align + Math.floor((time - align) / size) * size),
    after: from,
  }
}

/** Whole days of a zone: one, a week, a month. */
class Periods implements Timeline {
  readonly longest: number
  private readonly zone: Zone
  private readonly first: (day: number) => number
  private readonly next: (first: number) => number
  private last: Span = { start: 0, end: 0 }

  /** @param first the first day of the period that contains a day; with `next`, of the following period */
  constructor(zone: Zone, first: (day: number) => number, next: (first: number) => number, days: number) {
    this.zone = zone
    this.first = first
    this.next = next
    // Clocks are put forward and back by hours, not days; the day that Samoa skipped makes a window shorter.
    this.longest = days * DAY + 3 * HOUR
  }

  at(time: number): Span {
    const { last } = this
    if (time >= last.start && time < last.end) return last
    let day = this.first(Math.floor(toLocal(this.zone, time) / DAY))
    // An hour that occurs twice can be around midnight: then the day that clocks show again has already ended.
    for (;;) {
      const span = { start: this.begin(day), end: this.begin(this.next(day)) }
      if (time < span.start) day = this.first(day - 1)
      else if (time >= span.end) day = this.next(day)
      else return (this.last = span)
    }
  }

  after(end: number): Span {
    return this.at(end)
  }

  private begin(day: number): number {
    return fromLocal(this.zone, day * DAY)
  }
}

/** The trading hours of each day, possibly past midnight. */
class Sessions implements Timeline {
  readonly longest = DAY + 3 * HOUR
  private readonly zone: Zone
  private readonly from: number
  private readonly to: number
  private readonly days: ReadonlySet<number> | undefined
  private last: Span = { start: 0, end: 0 }

  constructor(zone: Zone, from: number, to: number, days: ReadonlySet<number> | undefined) {
    this.zone = zone
    this.from = from
    this.to = to > from ? to : to + DAY
    this.days = days
  }

  at(time: number): Span | undefined {
    const { last } = this
    if (time >= last.start && time < last.end) return last
    const day = Math.floor(toLocal(this.zone, time) / DAY)
    for (const begun of [day, day - 1]) {
      const span = this.of(begun)
      if (span && time >= span.start && time < span.end) return (this.last = span)
    }
    return undefined
  }

  after(end: number): Span {
    for (let day = Math.floor(toLocal(this.zone, end) / DAY) - 1; ; day++) {
      const span = this.of(day)
      if (span && span.start >= end) return span
    }
  }

  private of(day: number): Span | undefined {
    if (this.days && !this.days.has(weekdayOf(day))) return undefined
    const span = { start: fromLocal(this.zone, day * DAY + this.from), end: fromLocal(this.zone, day * DAY + this.to) }
    return span.end > span.start ? span : undefined
  }
}

/** Windows of a fixed length within days or sessions, from the start of each. */
class PartsOfDays implements Timeline {
  readonly longest: number
  private readonly days: Periods | Sessions
  private readonly zone: Zone
  private readonly size: number

  constructor(days: Periods | Sessions, zone: Zone, size: number) {
    this.days = days
    this.zone = zone
    this.size = size
    this.longest = size + 3 * HOUR
  }

  at(time: number): Span | undefined {
    const day = this.days.at(time)
    return day && this.part(day, time)
  }

  after(end: number): Span {
    const day = this.days.at(end) ?? this.days.after(end)
    return this.part(day, Math.max(end, day.start))
  }

  private part(day: Span, time: number): Span {
    const { size, zone } = this
    if (size <= HOUR) {
      // In elapsed time: where clocks are put back, the hour that occurs twice has two windows.
      const start = day.start + Math.floor((time - day.start) / size) * size
      return { start, end: Math.min(start + size, day.end) }
    }
    // By the clock: where it is put forward or back, the window of that hour is shorter or longer.
    const from = toLocal(zone, day.start)
    const border = (n: number): number => Math.min(Math.max(fromLocal(zone, from + n * size), day.start), day.end)
    let n = Math.max(0, Math.floor((toLocal(zone, time) - from) / size))
    while (n > 0 && border(n) > time) n--
    while (border(n + 1) <= time) n++
    return { start: border(n), end: border(n + 1) }
  }
}

/** Weeks and months of sessions. */
class Within implements Timeline {
  readonly longest: number
  private readonly periods: Timeline
  private readonly sessions: Timeline

  constructor(periods: Timeline, sessions: Timeline) {
    this.periods = periods
    this.sessions = sessions
    this.longest = periods.longest
  }

  at(time: number): Span | undefined {
    return this.sessions.at(time) && this.periods.at(time)
  }

  after(end: number): Span {
    return this.periods.after(end)
  }
}
