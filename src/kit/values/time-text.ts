/** The instant of a text: in a form that logs, feeds and mails use, or in a user's format (`time-format.ts`). */
import type { TimeUnit } from './event-time.ts'
import { MAX_TIME } from './time.ts'
import { DAYS, epoch, matched, milliseconds, MONTHS, named, type Parts, quote } from './time-format.ts'
import { fixedOffset, fromLocal, isZone, occurs, utc, type Zone, zoneOf } from './zone.ts'

const EPOCH_UNITS: Readonly<Record<string, TimeUnit>> = { s: 's', ms: 'ms', us: 'us', ns: 'ns' }

/** @returns whether a text is a zone instead of a format. */
export const isFormat = (text: string): boolean => text.includes('%') || Object.hasOwn(EPOCH_UNITS, text)

/**
 * Epoch ms; anything finer than a millisecond is cut off.
 * @param format `s`, `ms`, `us`, `ns` for digits that count from 1970, else text with directives; undefined: one of the common forms
 * @param zone for a text without one
 * @throws {Error} with the problem and the fix
 */
export function parseTimeText(text: string, format?: string, zone?: string): number {
  const given = zone === undefined ? undefined : zoneOf(zone)
  if (format !== undefined && Object.hasOwn(EPOCH_UNITS, format)) return epoch(text, EPOCH_UNITS[format])
  const parts = format === undefined ? common(text) : matched(text, format)
  if (typeof parts === 'string') throw new Error(`${quote(text)}: it ${parts}`)
  return instant(parts, text, given)
}

function instant(parts: Parts, text: string, given: Zone | undefined): number {
  if (parts.epoch !== undefined) return parts.epoch
  const fail = (why: string): never => {
    throw new Error(`${quote(text)}: it ${why}`)
  }
  const { year = 1970, minute = 0, second = 0, ms = 0, pm } = parts
  let hour = parts.hour ?? 0
  if (pm !== undefined) {
    if (hour < 1 || hour > 12) fail(`has the hour ${hour} with AM or PM`)
    hour = (hour % 12) + (pm ? 12 : 0)
  }
  let { month = 1, day = 1 } = parts
  if (parts.dayOfYear !== undefined) {
    if (parts.dayOfYear < 1 || parts.dayOfYear > (daysIn(year, 2) === 29 ? 366 : 365))
      fail(`has day ${parts.dayOfYear} of the year, which does not exist in ${year}`)
    const date = new Date(utc(year, 1, parts.dayOfYear))
    ;[month, day] = [date.getUTCMonth() + 1, date.getUTCDate()]
  }
  if (month < 1 || month > 12) fail(`has the month ${month}`)
  if (day < 1 || day > daysIn(year, month)) fail(`has the day ${day} in a month of ${daysIn(year, month)}`)
  if (hour > 23 || minute > 59 || second > 59) fail('has a time of day that does not exist')
  const local = utc(year, month, day, hour, minute, second, ms)
  if (Math.abs(local) > MAX_TIME) fail('is beyond any date that the runner can represent (years -271821 to 275760)')
  const weekday = new Date(local).getUTCDay()
  if (parts.weekday !== undefined && parts.weekday !== weekday) fail(`contains ${DAYS[parts.weekday]}, but that day is a ${DAYS[weekday]}`)
  const zone = parts.zone ?? given
  if (zone === undefined) return fail('has no time zone: add one as the last argument, such as "UTC" or "Europe/Paris"')
  const { place } = parts
  if (place !== undefined && place.offset(fromLocal(zone, local)) !== zone.offset(fromLocal(zone, local)))
    fail(`has the offset ${zone.name}, which is not in use in ${place.name} at that time`)
  if (!occurs(zone, local)) fail(`does not exist in ${zone.name}: clocks skip this time when they are put forward`)
  return fromLocal(zone, local)
}

const daysIn = (year: number, month: number): number => new Date(utc(year, month + 1, 0)).getUTCDate()

// The common forms.

const ZONE = String.raw`(?:\s?(Z|z|[+-]\d\d(?::?\d\d)?|UTC|GMT|[A-Z][A-Za-z]+(?:\/[A-Za-z0-9_+-]+)+))?(?:\[([A-Za-z0-9_+/-]+)\])?`
/** A year with more than four digits, or a sign, is followed by `-`: without it, the text could be a number. */
const ISO = new RegExp(
  String.raw`^(\d{4}|(?:[+-]\d{6}|\d{5,6})(?=-))([-/]?)(\d\d)\2(\d\d)(?:[Tt]|\s+|$)(?:(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,12}))?)?)?${ZONE}(\s*BC)?$`,
)
const MAIL =
  /^(?:([A-Za-z]{3,9}),?\s+)?(\d{1,2})[\s-]([A-Za-z]{3,9})[\s-](\d{4})\s+(\d{1,2}):(\d\d)(?::(\d\d))?(?:\s+([+-]\d{4}|[A-Z]{1,3}))?(?:\s+\([^()]*\))?$/

/** Zones that RFC 2822 still allows. */
const MAIL_ZONES: Readonly<Record<string, string>> = {
  EST: '-0500',
  EDT: '-0400',
  CST: '-0600',
  CDT: '-0500',
  MST: '-0700',
  MDT: '-0600',
  PST: '-0800',
  PDT: '-0700',
}

function common(text: string): Parts | string {
  const iso = ISO.exec(text)
  if (iso) {
    const [, year, , month, day, hour, minute, second, fraction = '', offset, name, before] = iso
    const zone = offset ?? name
    for (const given of [offset, name])
      if (given !== undefined && fixedOffset(given) === undefined && !isZone(given)) return `has the unknown time zone ${quote(given)}`
    return {
      // The year before 1 AD is 1 BC: ISO 8601 counts it as 0.
      year: before === undefined ? Number(year) : 1 - Number(year),
      month: Number(month),
      day: Number(day),
      hour: Number(hour ?? 0),
      minute: Number(minute ?? 0),
      second: Number(second ?? 0),
      ms: milliseconds(fraction),
      ...(zone === undefined ? {} : { zone: zoneOf(zone) }),
      // Z is UTC, whatever the place.
      ...(name === undefined || offset === undefined || /^z$/i.test(offset) ? {} : { place: zoneOf(name) }),
    }
  }
  const mail = MAIL.exec(text)
  if (mail) {
    const [, weekday, day, month, year, hour, minute, second = '0', zone] = mail
    const at = named(MONTHS, month)
    const on = weekday === undefined ? undefined : named(DAYS, weekday)
    if (at === undefined || (weekday !== undefined && on === undefined)) return 'is not a date in email format (RFC 2822)'
    const offset = zone === undefined ? undefined : (MAIL_ZONES[zone] ?? zone)
    if (offset !== undefined && fixedOffset(offset) === undefined) return `has the unknown time zone ${quote(zone)}`
    return {
      year: Number(year),
      month: at + 1,
      day: Number(day),
      hour: Number(hour),
      minute: Number(minute),
      second: Number(second),
      ...(on === undefined ? {} : { weekday: on }),
      ...(offset === undefined ? {} : { zone: zoneOf(offset) }),
    }
  }
  if (/^[+-]?infinity$/i.test(text)) return 'is the infinity of PostgreSQL, which is not a time: replace or filter such values first'
  if (/^[+-]?\d+(\.\d+)?$/.test(text)) return 'is a number: give its unit, "s", "ms", "us" or "ns", as the second argument'
  return 'does not have a common form (2026-01-31T12:00:00Z, 2026-01-31 12:00:00 +0100, Sat, 31 Jan 2026 12:00:00 GMT): give its format, such as "%d/%m/%Y %H:%M"'
}
