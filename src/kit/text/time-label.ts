/** Times as people read them. */
import { MAX_TIME } from '../values/time.ts'

export interface TimeLabelOptions {
  /** Default: the time zone of this process. */
  readonly utc?: boolean
  readonly precision?: 's' | 'ms'
}

/** ISO 8601 with the offset of the zone: `2026-01-31T13:00:00+01:00`, or `Z` for UTC. Numbers that are not dates are printed as numbers. */
export function timeLabel(ms: number, { utc = false, precision = 's' }: TimeLabelOptions = {}): string {
  if (!(Math.abs(ms) <= MAX_TIME)) return String(ms)
  const offset = utc ? 0 : Math.round(-new Date(ms).getTimezoneOffset())
  const text = new Date(Math.max(-MAX_TIME, Math.min(MAX_TIME, ms + offset * 60_000))).toISOString()
  return `${precision === 's' ? text.replace(/\.\d+Z$/, '') : text.slice(0, -1)}${zone(offset)}`
}

function zone(minutes: number): string {
  if (minutes === 0) return 'Z'
  const two = (n: number): string => String(n).padStart(2, '0')
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`
}
