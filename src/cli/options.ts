/** Parsers of command-line values shared by commands. */
import { InvalidArgumentError, Option } from 'commander'
import { parseDuration, parseTimestamp } from '../kit/text/units.ts'

export function parseDurationOption(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('write a number with its unit: 500ms, 5s, 1m, 2h.')
  return ms
}

/** The parser of a whole number in this range. */
export const wholeNumber =
  (min: number, max = 999_999_999_999_999) =>
  (text: string): number => {
    const n = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (n >= min && n <= max) return n
    throw new InvalidArgumentError(`write a whole number from ${min}${max < 999_999_999_999_999 ? ` to ${max}` : ''}.`)
  }

/** `--log-level`. @param fallback shown as the default */
export const logLevelOption = (fallback: string): Option =>
  new Option('--log-level <level>', `minimum level of log messages; default: ${fallback}`).choices(['debug', 'info', 'warn', 'error'])

/** Prints the default in the form in which it is typed. */
export const durationOption = (flags: string, text: string, fallback: string): Option =>
  new Option(flags, text).argParser(parseDurationOption).default(parseDurationOption(fallback), fallback)

/** `--set`, may be given several times. */
export const setOption = (text = 'override a value, as for run'): Option => new Option('--set <path=value>', text).argParser(collect)

/** For an option that may be given several times. */
export const collect = (value: string, all: string[] | undefined): string[] => [...(all ?? []), value]

/** As `collect`; the same value counts once. */
export const collectDistinct = (value: string, all: string[] | undefined): string[] => [...new Set([...(all ?? []), value])]

/** ISO 8601 or epoch milliseconds. Four digits are rejected: they could be a year. */
export function parseTimeOption(text: string): number {
  const ms = /^\d{4}$/.test(text) ? undefined : parseTimestamp(text)
  if (ms === undefined) throw new InvalidArgumentError('write a time as 2026-01-31T12:00:00Z, a date, or epoch milliseconds.')
  return ms
}
