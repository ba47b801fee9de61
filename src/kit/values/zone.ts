/**
 * Time zones: the local time at an instant, and the reverse. Offsets come from the time-zone data in Node; they are looked up for three
 * days at a time, so that a lookup for every record is cheap.
 */
import { DAY } from './time.ts'

export interface Zone {
  readonly name: string
  /** How far local clocks are ahead of UTC at an instant, ms. */
  offset(time: number): number
}

/** Zones already created; few names occur. */
const zones = new Map<string, Zone>()

/** @throws {RangeError} for a name that is neither an IANA zone nor an offset such as `+05:30` */
export function zoneOf(name: string): Zone {
  let zone = zones.get(name)
  if (zone === undefined) {
    const fixed = fixedOffset(name)
    zone = fixed === undefined ? new NamedZone(name) : { name, offset: () => fixed }
    if (zones.size < 1000) zones.set(name, zone)
  }
  return zone
}

export const isZone = (name: string): boolean => {
  try {
    zoneOf(name)
    return true
  } catch {
    return false
  }
}

/** `Z`, `UTC`, `GMT`, `+01:00`, `+0100`, `+01`; undefined: any other text. */
export function fixedOffset(text: string): number | undefined {
  if (text === 'Z' || text === 'z' || text === 'UTC' || text === 'GMT' || text === 'UT') return 0
  const match = /^([+-]?)(\d\d):?(\d\d)?$/.exec(text)
  if (!match || (match[1] === '' && match[3] === undefined)) return undefined
  const [hours, minutes] = [Number(match[2]), Number(match[3] ?? 0)]
  if (hours > 23 || minutes > 59) return undefined
  return (match[1] === '-' ? -1 : 1) * (hours * 60 + minutes) * 60_000 + 0
}

/** 3.1 days: no zone has changed its offset twice in so short a time. */
const BLOCK = 2 ** 28
/** The data of zones is used within these years only; beyond them the offset is that of the nearest year. */
const FIRST = -62_135_596_800_000
const LAST = 253_402_300_799_999

/** The offset of a block, or the position at which the offset changes in it. */
type Block = number | { readonly at: number; readonly before: number; readonly after: number }

class NamedZone implements Zone {
  readonly name: string
  private readonly format: Intl.DateTimeFormat
  private readonly blocks = new Map<number, Block>()
  private lastIndex = Number.NaN
  private last: Block = 0

  constructor(name: string) {
    if (!/^[A-Za-z][A-Za-z0-9]*(?:[/_+-][A-Za-z0-9]+)*$/.test(name)) throw unknown(name)
    try {
      this.format = new Intl.DateTimeFormat('en-US', { timeZone: name, ...FIELDS })
    } catch {
      throw unknown(name)
    }
    this.name = name
  }

  offset(time: number): number {
    const index = Math.floor(time / BLOCK)
    if (index !== this.lastIndex) {
      this.last = this.block(index)
      this.lastIndex = index
    }
    const block = this.last
    return typeof block === 'number' ? block : time < block.at ? block.before : block.after
  }

  private block(index: number): Block {
    let block = this.blocks.get(index)
    if (block === undefined) {
      if (this.blocks.size >= 10_000) this.blocks.clear()
      this.blocks.set(index, (block = this.findBlock(index * BLOCK)))
    }
    return block
  }

  private findBlock(start: number): Block {
    const [before, after] = [this.ask(start), this.ask(start + BLOCK)]
    if (before === after) return before
    let [low, high] = [Math.floor(start / 1000), Math.ceil((start + BLOCK) / 1000)]
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (this.ask(middle * 1000) === before) low = middle
      else high = middle
    }
    return { at: high * 1000, before, after }
  }

  private ask(time: number): number {
    const at = Math.floor(Math.min(Math.max(time, FIRST + DAY), LAST - DAY) / 1000) * 1000
    const parts: Record<string, number> = {}
    for (const { type, value } of this.format.formatToParts(at)) if (type !== 'literal') parts[type] = Number(value)
    return utc(parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second) - at
  }
}

const FIELDS = {
  calendar: 'iso8601',
  numberingSystem: 'latn',
  hourCycle: 'h23',
  year: 'numeric',
  month: 'numeric',
  day: 'numeric',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
} as const

const unknown = (name: string): RangeError =>
  new RangeError(`unknown time zone ${JSON.stringify(name)}: write an IANA name such as Europe/Paris, UTC, or an offset such as +05:30`)

/** Date.UTC without its treatment of 0 to 99 as 1900 to 1999. Overflowing fields carry, as there. */
export function utc(year: number, month: number, day: number, hour = 0, minute = 0, second = 0, ms = 0): number {
  const whole = Date.UTC(2000 + (((year % 400) + 400) % 400), month - 1, day, hour, minute, second, ms)
  return whole + (Math.floor(year / 400) - 5) * 146_097 * DAY
}

/** The local time in the zone, as if it were UTC. */
export const toLocal = (zone: Zone, time: number): number => time + zone.offset(time)

/**
 * The instant of a local time in the zone. Where clocks are put back the local time occurs twice, and the first one is used; where they are
 * put forward it does not occur: the result is then as long after the change as the time is after the start of its gap.
 */
export function fromLocal(zone: Zone, local: number): number {
  const before = zone.offset(local - DAY)
  const after = zone.offset(local + DAY)
  const first = local - before
  if (before === after || zone.offset(first) === before) return first
  const second = local - after
  return zone.offset(second) === after ? second : first
}

/** @returns whether any instant has that local time in the zone. */
export const occurs = (zone: Zone, local: number): boolean => toLocal(zone, fromLocal(zone, local)) === local
