/** The string formats: the check, the code and message of an invalid value, and a suggestion. */
import type { Code } from './codes.ts'
import { durationLimit, guessDuration, guessSize, parseDuration, parseSize, parseTimestamp, sizeLimit } from '../kit/text/units.ts'
import { isZone } from '../kit/values/zone.ts'

export interface Format {
  readonly code: Code
  readonly validate: (text: string) => boolean
  /** Completes "must be …". */
  readonly expected: string
  /** The message for a valid notation with a value out of range, such as a duration of 300 years. */
  readonly limit?: (written: string) => string | undefined
  readonly guess?: (written: string | number) => string | undefined
}

const FORBIDDEN_NAMES = new Set(['__proto__', 'constructor', 'prototype'])

const never = (guess: string, written: string | number, validate: (t: string) => boolean): string | undefined =>
  guess !== written && validate(guess) ? guess : undefined

const calendarGuess = (text: string): string | undefined => {
  const [, count = '1', unit] = /^(\d{1,2})?\s*(weeks?|wk|months?|mon|quarters?|q|years?|yr)$/i.exec(text.trim()) ?? []
  if (unit === undefined) return undefined
  const letter = unit[0].toLowerCase()
  return letter === 'q' ? '3mo' : `${count}${letter === 'w' ? 'w' : letter === 'm' ? 'mo' : 'y'}`
}

/** Suggests a zone for `New York`, `paris`, `America/new york`. */
const zoneGuess = (text: string): string | undefined => {
  const wanted = text
    .trim()
    .toLowerCase()
    .replaceAll(/[\s_]+/g, '_')
  return Intl.supportedValuesOf('timeZone').find(zone => zone.toLowerCase() === wanted || zone.toLowerCase().endsWith(`/${wanted}`))
}

const topic = (t: string): boolean => /^[a-zA-Z0-9._-]{1,249}$/.test(t) && t !== '.' && t !== '..'
const identifier = (t: string): boolean => /^([A-Za-z_][A-Za-z0-9_$]{0,62}\.)?[A-Za-z_][A-Za-z0-9_$]{0,62}$/.test(t)
const field = (t: string): boolean =>
  /^[^\s.[\]'"`]+(\.[^\s.[\]'"`]+)*$/.test(t) && !t.split('.').some(p => FORBIDDEN_NAMES.has(p)) && !t.startsWith('$.')

export const FORMATS: Readonly<Record<string, Format>> = {
  duration: {
    code: 'CONFIG_DURATION',
    validate: t => parseDuration(t) !== undefined,
    expected: 'a duration with its unit, such as 500ms, 10s, 1m or 1h30m',
    guess: guessDuration,
    limit: durationLimit,
  },
  // A duration, or a calendar duration without a fixed number of ms. The plugin receives ms or the text.
  window_size: {
    code: 'CONFIG_DURATION',
    validate: t => parseDuration(t) !== undefined || /^[1-9]\d?(w|mo|y)$/.test(t),
    expected: 'a duration with its unit, such as 10s, 1m or 1h30m, or 1w, 1mo, 3mo, 1y',
    guess: written => calendarGuess(String(written)) ?? guessDuration(written),
    limit: durationLimit,
  },
  time_zone: {
    code: 'CONFIG_VALUE',
    validate: isZone,
    expected: 'a time zone: an IANA name such as Europe/Paris, UTC, or an offset such as +05:30',
    guess: written => zoneGuess(String(written)),
  },
  size: {
    code: 'CONFIG_SIZE',
    validate: t => parseSize(t) !== undefined,
    expected: 'a size with its unit, such as 512B, 128KiB or 10MB',
    guess: guessSize,
    limit: sizeLimit,
  },
  topic: {
    code: 'CONFIG_TOPIC',
    validate: topic,
    expected: 'a topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -',
    // A pattern is not a misspelled name.
    guess: w =>
      never(
        /[*?]/.test(String(w))
          ? ''
          : String(w)
              .trim()
              .replaceAll(/[^a-zA-Z0-9._-]+/g, '-'),
        w,
        topic,
      ),
  },
  identifier: {
    code: 'CONFIG_IDENTIFIER',
    validate: identifier,
    expected: 'an SQL name: a letter or _, then letters, digits, _ or $, at most 63 characters; schema. can precede it',
    guess: w =>
      never(
        String(w)
          .trim()
          .replaceAll(/[^A-Za-z0-9_$.]+/g, '_')
          .replace(/^(\d)/, '_$1'),
        w,
        identifier,
      ),
  },
  field: {
    code: 'CONFIG_FIELD',
    validate: field,
    expected: 'a field path such as price or data.price',
    guess: w =>
      never(
        String(w)
          .replace(/^\$?\.+|\.+$/g, '')
          .replaceAll(/\.{2,}/g, '.')
          .trim(),
        w,
        field,
      ),
  },
  timestamp: {
    code: 'CONFIG_TIMESTAMP',
    validate: t => parseTimestamp(t) !== undefined,
    expected: 'a time such as 2026-01-31T12:00:00Z, or epoch milliseconds',
  },
  // wiring.ts checks that the source exists.
  source_step: {
    code: 'CONFIG_SOURCE',
    validate: t => /^[a-z][a-z0-9_-]*$/.test(t),
    expected: 'the name of a source step',
  },
  // The path of a file: in the pipeline file relative to that file, in the config of the plugin relative to the working directory.
  path: { code: 'CONFIG_VALUE', validate: t => t.trim() !== '' && !t.includes('\0'), expected: 'the path of a file' },
  // The expression language checks it; registered only for ajv.
  expression: { code: 'CONFIG_EXPRESSION', validate: () => true, expected: 'a CEL expression' },
}
