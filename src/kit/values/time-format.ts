/** Times by a pattern of `%` directives, as in strftime and strptime: one table of directives for both reading and writing. */
import { compileGroups } from '../text/pattern.ts'
import { contradicted, type TimeUnit, UNIT_NAMES } from './event-time.ts'
import { MAX_TIME } from './time.ts'
import { isZone, toLocal, utc, type Zone, zoneOf } from './zone.ts'

/** The parts of a time as they were read. */
export interface Parts {
  year?: number
  month?: number
  day?: number
  dayOfYear?: number
  hour?: number
  minute?: number
  second?: number
  ms?: number
  /** AM false, PM true. */
  pm?: boolean
  weekday?: number
  /** Of the text itself. */
  zone?: Zone
  /** Given in addition to the offset in `zone`. */
  place?: Zone
  /** Epoch ms, if the text contains it. */
  epoch?: number
}

const DIGITS_OF_MS: Record<TimeUnit, number> = { s: -3, ms: 0, us: 3, ns: 6 }

/** Epoch ms of a decimal number of units. */
export function epoch(text: string, unit: TimeUnit): number {
  const match = /^([+-]?)(\d{1,20})(?:\.(\d{1,12}))?$/.exec(text)
  if (!match) throw new Error(`${quote(text)}: it is not a number of ${UNIT_NAMES[unit]}`)
  const digits = match[2] + (match[3] ?? '').padEnd(12, '0')
  const cut = digits.slice(0, digits.length - 12 - DIGITS_OF_MS[unit])
  const ms = Number(cut === '' ? '0' : cut) * (match[1] === '-' ? -1 : 1) + 0
  const likely = match[1] === '-' ? undefined : contradicted(text, ms, unit)
  if (likely !== undefined) throw new Error(`${quote(text)}: it looks like ${UNIT_NAMES[likely]}, not ${UNIT_NAMES[unit]}`)
  if (Math.abs(ms) > MAX_TIME) throw new Error(`${quote(text)}: it is beyond any date in ${UNIT_NAMES[unit]}`)
  return ms
}

/** From the digits after the decimal point of seconds. */
export const milliseconds = (fraction: string): number => Number(fraction.slice(0, 3).padEnd(3, '0'))

export const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
] as const
export const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const

/** The position of a name, written in full or by its first three letters. */
export function named(names: readonly string[], text: string): number | undefined {
  const at = names.findIndex(name => name.toLowerCase() === text.toLowerCase() || name.slice(0, 3).toLowerCase() === text.toLowerCase())
  return at < 0 ? undefined : at
}

interface Directive {
  readonly description: string
  /** Source of a pattern with one group. */
  readonly pattern?: string
  /** @returns false when the text does not match the directive */
  readonly read?: (parts: Parts, text: string) => boolean | void
  /** @param local an instant whose UTC fields are the zone's own */
  readonly write: (local: Date, time: number, offset: number, zone: Zone) => string
}

const two = (n: number): string => String(n).padStart(2, '0')
const number = (key: keyof Parts, digits: string) => ({
  pattern: `(\\d{${digits}})`,
  read: (parts: Parts, text: string): void => {
    ;(parts as Record<string, unknown>)[key] = Number(text)
  },
})
const name = (key: 'month' | 'weekday', names: readonly string[], plus: number) => ({
  pattern: '([A-Za-z]{3,9})',
  read: (parts: Parts, text: string): boolean => {
    const at = named(names, text)
    if (at !== undefined) parts[key] = at + plus
    return at !== undefined
  },
})
const offsetText = (offset: number, colon: string): string => {
  const minutes = Math.abs(Math.round(offset / 60_000))
  return `${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}${colon}${two(minutes % 60)}`
}
const epochOf = (unit: TimeUnit) => ({
  pattern: '([+-]?\\d{1,20})',
  read: (parts: Parts, text: string): void => {
    parts.epoch = epoch(text, unit)
  },
})

/** Every directive; the guide has the same table. */
export const DIRECTIVES: Readonly<Record<string, Directive>> = {
  Y: { description: 'year, four digits', ...number('year', '4'), write: d => String(d.getUTCFullYear()).padStart(4, '0') },
  y: {
    description: 'year, two digits: 69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068',
    pattern: '(\\d\\d)',
    read: (parts, text) => {
      parts.year = Number(text) + (Number(text) >= 69 ? 1900 : 2000)
    },
    write: d => two(d.getUTCFullYear() % 100),
  },
  m: { description: 'month, 01 to 12', ...number('month', '1,2'), write: d => two(d.getUTCMonth() + 1) },
  b: { description: 'month, Jan to Dec', ...name('month', MONTHS, 1), write: d => MONTHS[d.getUTCMonth()].slice(0, 3) },
  B: { description: 'month, January to December', ...name('month', MONTHS, 1), write: d => MONTHS[d.getUTCMonth()] },
  d: { description: 'day of the month, 01 to 31', ...number('day', '1,2'), write: d => two(d.getUTCDate()) },
  e: {
    description: 'day of the month, 1 to 31',
    ...number('day', '1,2'),
    pattern: '\\s?(\\d{1,2})',
    write: d => String(d.getUTCDate()).padStart(2, ' '),
  },
  j: {
    description: 'day of the year, 001 to 366',
    ...number('dayOfYear', '3'),
    write: d => String(Math.floor((d.getTime() - utc(d.getUTCFullYear(), 1, 1)) / 86_400_000) + 1).padStart(3, '0'),
  },
  a: { description: 'weekday, Mon to Sun', ...name('weekday', DAYS, 0), write: d => DAYS[d.getUTCDay()].slice(0, 3) },
  A: { description: 'weekday, Monday to Sunday', ...name('weekday', DAYS, 0), write: d => DAYS[d.getUTCDay()] },
  H: { description: 'hour, 00 to 23', ...number('hour', '1,2'), write: d => two(d.getUTCHours()) },
  I: { description: 'hour, 01 to 12, with `%p`', ...number('hour', '1,2'), write: d => two(((d.getUTCHours() + 11) % 12) + 1) },
  p: {
    description: 'AM or PM',
    pattern: '([AaPp]\\.?[Mm]\\.?)',
    read: (parts, text) => {
      parts.pm = /^p/i.test(text)
    },
    write: d => (d.getUTCHours() < 12 ? 'AM' : 'PM'),
  },
  M: { description: 'minute, 00 to 59', ...number('minute', '1,2'), write: d => two(d.getUTCMinutes()) },
  S: { description: 'second, 00 to 59', ...number('second', '1,2'), write: d => two(d.getUTCSeconds()) },
  f: {
    description: 'fraction of a second: 1 to 12 digits are read, three are written',
    pattern: '(\\d{1,12})',
    read: (parts, text) => {
      parts.ms = milliseconds(text)
    },
    write: d => String(d.getUTCMilliseconds()).padStart(3, '0'),
  },
  z: {
    description: 'offset: +0100, +01:00, +01 and Z are read, +0100 is written',
    pattern: '(Z|[+-]\\d\\d(?::?\\d\\d)?)',
    read: (parts, text) => {
      parts.zone = zoneOf(text)
    },
    write: (_, __, offset) => offsetText(offset, ''),
  },
  Z: {
    description: 'zone: an IANA name, UTC, GMT or Z',
    pattern: '([A-Za-z][A-Za-z0-9_+/-]*)',
    read: (parts, text) => {
      if (!isZone(text)) return false
      parts.zone = zoneOf(text)
    },
    write: (_, __, ___, zone) => zone.name,
  },
  s: { description: 'seconds since 1970', ...epochOf('s'), write: (_, time) => String(Math.floor(time / 1000)) },
  Q: { description: 'milliseconds since 1970', ...epochOf('ms'), write: (_, time) => String(time) },
  F: { description: '`%Y-%m-%d`', write: () => '' },
  T: { description: '`%H:%M:%S`', write: () => '' },
  '%': { description: 'a percent sign', write: () => '%' },
}

const SHORTHANDS: Readonly<Record<string, string>> = { F: '%Y-%m-%d', T: '%H:%M:%S' }
const expand = (format: string): string => format.replaceAll(/%([%FT])/g, (whole, letter: string) => SHORTHANDS[letter] ?? whole)

interface Format {
  readonly match: (text: string) => readonly (string | null)[] | null | undefined
  readonly readers: readonly NonNullable<Directive['read']>[]
  /** Why no text in the format is an instant; undefined: it is one. */
  readonly incomplete: string | undefined
  /** Alternating literal text and directives. */
  readonly pieces: readonly (string | Directive)[]
}

const formats = new Map<string, Format>()

/** @throws {Error} for a directive that does not exist, or is duplicated */
export function timeFormat(format: string): Format {
  const known = formats.get(format)
  if (known) return known
  let source = ''
  const readers: NonNullable<Directive['read']>[] = []
  const pieces: (string | Directive)[] = []
  const seen = new Set<string>()
  for (const [piece] of expand(format).matchAll(/%[\s\S]?|[^%]+/g)) {
    if (!piece.startsWith('%') || piece === '%%') {
      const literal = piece === '%%' ? '%' : piece
      source += literal.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll(/\s+/g, String.raw`\s+`)
      pieces.push(literal)
      continue
    }
    const directive = Object.hasOwn(DIRECTIVES, piece.slice(1)) ? DIRECTIVES[piece.slice(1)] : undefined
    if (directive?.pattern === undefined || directive.read === undefined)
      throw new Error(
        `${piece} is not a directive of a time format; the directives are ${Object.keys(DIRECTIVES)
          .map(d => `%${d}`)
          .join(' ')}`,
      )
    if (seen.has(piece)) throw new Error(`the time format has ${piece} twice`)
    seen.add(piece)
    source += directive.pattern
    readers.push(directive.read)
    pieces.push(directive)
  }
  if (readers.length === 0) throw new Error(`the time format ${quote(format)} has no directive such as %Y`)
  const whole = `^\\s*${source}\\s*$`
  const regex = new RegExp(whole)
  // The regular expressions of JavaScript are several times faster; if a format could match a text in many ways, RE2 reads it in linear
  // time.
  const match = waysToSplit(pieces) > MAX_WAYS ? compileGroups(whole) : (text: string) => regex.exec(text)
  const made = { match, readers, pieces, incomplete: incomplete(format, seen) }
  if (formats.size < 1000) formats.set(format, made)
  return made
}

/** Maximum number of ways that a backtracking engine may try for a text, whose length {@link MAX_TEXT} limits. */
const MAX_WAYS = 1000
const MAX_TEXT = 200

/**
 * In how many ways a text can be shared out among directives that follow each other with nothing between them that only a literal matches:
 * `%b%B%a%A%Z` can split 200 characters in thousands of ways. The last of them takes what the others leave.
 */
function waysToSplit(pieces: readonly (string | Directive)[]): number {
  let ways = 1
  let longest = 1
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      if (!/[^\w+\-/.]/.test(piece)) continue
      ways /= longest
      longest = 1
      continue
    }
    let own = 1
    for (const [repeat, from, to] of piece.pattern!.matchAll(/\{(\d+),(\d+)\}|[*+]\)|[^(]\?/g))
      own *= from !== undefined ? Number(to) - Number(from) + 1 : repeat.endsWith('?') ? 2 : MAX_TEXT
    ways *= own
    longest = Math.max(longest, own)
  }
  return ways / longest
}

/** A missing part would be invented: a year as 1970, an hour as morning. */
function incomplete(format: string, directives: ReadonlySet<string>): string | undefined {
  const has = (...letters: string[]): boolean => letters.some(letter => directives.has(`%${letter}`))
  if (has('s', 'Q')) return undefined
  const because = (why: string): string => `the time format ${quote(format)} ${why}`
  if (!has('Y', 'y')) return because('has no year: %Y or %y reads one')
  if (has('Y') && has('y')) return because('has two years')
  if (has('d', 'e') && !has('m', 'b', 'B')) return because('has a day without its month')
  if (has('j') && has('m', 'b', 'B', 'd', 'e')) return because('has a day of the year beside month or day')
  if (has('I') !== has('p')) return because('needs both %I and %p, or %H')
  if (has('H') && has('I')) return because('has two hours')
  if (has('M') && !has('H', 'I')) return because('has minutes without an hour')
  if (has('S') && !has('M')) return because('has seconds without minutes')
  return has('f') && !has('S') ? because('has a fraction without seconds') : undefined
}

/** @throws {Error} for a format that cannot be read, or whose texts are not instants */
export function checkParseFormat(format: string): void {
  const { incomplete } = timeFormat(format)
  if (incomplete !== undefined) throw new Error(incomplete)
}

/** @returns the parts of a text in the format, or why it does not match */
export function matched(text: string, format: string): Parts | string {
  const { match, readers } = timeFormat(format)
  checkParseFormat(format)
  const found = text.length > MAX_TEXT ? null : match(text)
  const parts: Parts = {}
  if (!found || readers.some((read, i) => read(parts, found[i + 1]!) === false)) return `does not match the format ${quote(format)}`
  return parts
}

/** @throws {Error} for a time that is not a date, and see `timeFormat` and `zoneOf` */
export function formatTimeText(time: number, format: string, zoneName = 'UTC'): string {
  if (!(Math.abs(time) <= MAX_TIME)) throw new Error(`${time} is beyond any date`)
  const zone = zoneOf(zoneName)
  const offset = zone.offset(time)
  const local = new Date(toLocal(zone, time))
  return timeFormat(format)
    .pieces.map(piece => (typeof piece === 'string' ? piece : piece.write(local, time, offset, zone)))
    .join('')
}

/** A text in the form used by errors. */
export const quote = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text)
