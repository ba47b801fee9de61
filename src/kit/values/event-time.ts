/** Reading event times from records. */
import { canonicalText, DataError, ExactNumber, type Message } from '../../contract/plugin.ts'
import { getter, show } from './fields.ts'
import { formatDuration, MAX_TIME } from './time.ts'

/** Unit of a number that represents a time. */
export type TimeUnit = 's' | 'ms' | 'us' | 'ns'

/** One unit in ms. */
const UNITS: Record<TimeUnit, number> = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 }
/** A unit in words. */
export const UNIT_NAMES: Readonly<Record<TimeUnit, string>> = { s: 'seconds', ms: 'milliseconds', us: 'microseconds', ns: 'nanoseconds' }

/**
 * Epoch ms from a number or a string of digits; NaN: it is neither. Without a `unit` it must be whole milliseconds; other units may have a
 * fraction, and anything finer than a millisecond is cut off.
 */
export function parseTime(raw: unknown, unit?: TimeUnit): number {
  if (raw instanceof ExactNumber) return parseTime(raw.safe ?? canonicalText(raw), unit)
  const time = typeof raw === 'number' ? millisOf(raw, unit) : typeof raw === 'string' ? cut(raw, unit) : Number.NaN
  return Number.isInteger(time) && time >= 0 && time <= MAX_TIME ? time : Number.NaN
}

function millisOf(given: number, unit: TimeUnit | undefined): number {
  if (unit === undefined || unit === 'ms') return given
  if (!Number.isSafeInteger(given)) return cut(String(given), unit)
  if (unit === 's') return given * 1000
  const size = unit === 'us' ? 1000 : 1e6
  return (given - (given % size)) / size
}

/** Works on the digits: a product with a fraction could be slightly less than a whole millisecond, or be rounded up to the next. */
function cut(text: string, unit: TimeUnit | undefined): number {
  const match = /^(\d{1,19})(?:\.(\d{1,9}))?$/.exec(text)
  if (!match) return Number.NaN
  const [, whole, fraction = ''] = match
  if (unit === 's') return Number(whole + fraction.slice(0, 3).padEnd(3, '0'))
  if (unit === 'us' || unit === 'ns') return Number(whole.slice(0, unit === 'us' ? -3 : -6))
  return Number(text)
}

/**
 * Numbers that are in January or February 1970 as milliseconds are present times in seconds; those beyond the year 5138 are micro- or
 * nanoseconds.
 */
const SECONDS_FROM = 5e8
const SECONDS_TO = 5e9
const MICROSECONDS_FROM = 1e14
const NANOSECONDS_FROM = 1e17

/** The probable unit of a number, if that is not milliseconds. */
export function otherUnit(raw: unknown): TimeUnit | undefined {
  const time = typeof raw === 'string' || raw instanceof ExactNumber ? Number(raw) : raw
  if (typeof time !== 'number') return undefined
  const unit =
    time >= SECONDS_FROM && time < SECONDS_TO ? 's' : time >= NANOSECONDS_FROM ? 'ns' : time >= MICROSECONDS_FROM ? 'us' : undefined
  return unit === undefined || Number.isNaN(parseTime(raw, unit)) ? undefined : unit
}

/** From 1985 to 2128, in epoch ms: a plausible time in any unit. */
const OUR_DAYS_FROM = SECONDS_FROM * 1000
const OUR_DAYS_TO = SECONDS_TO * 1000

/**
 * The unit in which a number is a plausible time, if it is not one in the configured unit. `ms` is always accepted: it is the way to write
 * 1970.
 */
export function contradicted(raw: unknown, time: number, unit: TimeUnit): TimeUnit | undefined {
  if (unit === 'ms' || (time >= OUR_DAYS_FROM && time < OUR_DAYS_TO)) return undefined
  return (Object.keys(UNITS) as TimeUnit[]).find(other => {
    const meant = other === unit ? Number.NaN : parseTime(raw, other)
    return meant >= OUR_DAYS_FROM && meant < OUR_DAYS_TO
  })
}

/**
 * The problem of a time in `field`; undefined: none. A record whose own time is unknown (0) allows any time.
 * @param unit the unit in the pipeline file; undefined: milliseconds, and a number that can only be in another unit is an error
 */
export function timeProblem(
  field: string,
  raw: unknown,
  time: number,
  message: Message,
  maxFuture: number,
  unit?: TimeUnit,
): DataError | undefined {
  if (unit === undefined && !(time >= SECONDS_TO && time < MICROSECONDS_FROM)) {
    const likely = otherUnit(raw)
    if (likely !== undefined) {
      const fix = `set \`time_unit: ${likely}\`, or \`time_unit: ms\` if it counts milliseconds`
      return new DataError(
        `${field} is ${show(raw)}, which looks like ${UNIT_NAMES[likely]} (${new Date(parseTime(raw, likely)).toISOString()}): ${fix}`,
      )
    }
  }
  const likely = unit === undefined ? undefined : contradicted(raw, time, unit)
  if (likely !== undefined)
    return new DataError(
      `${field} is ${show(raw)}, which looks like ${UNIT_NAMES[likely]} (${new Date(parseTime(raw, likely)).toISOString()}), not ${UNIT_NAMES[unit!]}: set \`time_unit: ${likely}\``,
    )
  if (Number.isNaN(time))
    return wrong(
      field,
      raw,
      unit === undefined
        ? 'an integer, epoch milliseconds, or one as a string of digits'
        : `epoch ${UNIT_NAMES[unit]} (time_unit), as a number or a string of digits`,
    )
  const recordTime = message.time
  if (recordTime <= 0 || time <= recordTime + maxFuture) return undefined
  const limit = `at most ${formatDuration(maxFuture)} after the record's own time ${recordTime}`
  return wrong(field, raw, `${limit}; this is ${formatDuration(time - recordTime)} after it`)
}

/** Reads a message's event time from a field, or uses its own. The reader throws a `DataError` for an invalid time. */
export function timeReader(field: string | undefined, maxFuture: number, unit?: TimeUnit): (message: Message) => number {
  if (field === undefined) return message => message.time
  const get = getter(field)
  return message => {
    const raw = get(message.value)
    const time = parseTime(raw, unit)
    const problem = timeProblem(field, raw, time, message, maxFuture, unit)
    if (problem) throw problem
    return time
  }
}

/** The error for a field whose value is not allowed. */
export function wrong(field: string, value: unknown, allowed: string): DataError {
  return new DataError(`${field} is ${show(value)}; allowed: ${allowed}`)
}
