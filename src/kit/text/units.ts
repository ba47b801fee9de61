/**
 * Durations and sizes are written with their unit; both become plain numbers (ms, bytes) before a plugin sees them. Times are read here,
 * too.
 */

const MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const BYTES: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
}

/** For editors; `parseDuration` decides. */
export const DURATION_PATTERN = '^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$'
/** A duration, or `1w`, `3mo`, `1y`. */
export const WINDOW_SIZE_PATTERN = `${DURATION_PATTERN}|^[1-9][0-9]?(w|mo|y)$`
/** `512B`, `128KiB`, `10MB`: the values of `format: size`. */
export const SIZE_PATTERN = '^[0-9]+(\\.[0-9]+)?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$'

/** A hundred years: anything longer is a typo, and far from where numbers lose precision. */
const MAX_MS = 36_525 * MS.d

/** `500ms`, `1m`, `1h30m` as whole milliseconds; undefined if it is not a valid duration. */
export function parseDuration(text: string): number | undefined {
  const total = durationOf(text)
  if (total === undefined) return undefined
  const whole = Math.round(total)
  return Math.abs(total - whole) < 1e-6 && whole <= MAX_MS ? whole : undefined
}

/** The rule that an invalid duration breaks: completes "must be …". */
export function durationLimit(text: string): string | undefined {
  const total = durationOf(text)
  if (total === undefined) return undefined
  if (Math.round(total) > MAX_MS) return `at most ${MAX_MS / MS.d}d, which is 100 years`
  return parseDuration(text) === undefined ? 'a whole number of milliseconds' : undefined
}

/** In ms; 1.1s is 1100.0000000000002 in binary. */
function durationOf(text: string): number | undefined {
  // No duration is longer, and a search in a long text of digits takes quadratic time.
  if (text.length > 40) return undefined
  const parts = [...text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)/g)]
  if (parts.length === 0 || parts.map(p => p[0]).join('') !== text) return undefined
  let total = 0
  for (const [, n, unit] of parts) total += Number(n) * MS[unit]
  return total
}

/** The rule that an invalid size breaks: completes "must be …". */
export function sizeLimit(text: string): string | undefined {
  const bytes = sizeOf(text)
  if (bytes === undefined || parseSize(text) !== undefined) return undefined
  return Number.isSafeInteger(Math.round(bytes)) ? 'a whole number of bytes' : 'at most 8191TiB'
}

function sizeOf(text: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)$/.exec(text)
  return match && Object.hasOwn(BYTES, match[2]) ? Number(match[1]) * BYTES[match[2]] : undefined
}

/** `128KiB` as bytes; undefined if it is not a valid size. */
export function parseSize(text: string): number | undefined {
  const bytes = sizeOf(text)
  if (bytes === undefined) return undefined
  const whole = Math.round(bytes)
  return Math.abs(bytes - whole) < 1e-6 && Number.isSafeInteger(whole) ? whole : undefined
}

/**
 * ISO 8601 with its zone, or a date (UTC), or epoch ms; as epoch ms. Undefined if it is not one of these: `Date.parse` accepts nearly
 * anything.
 */
export function parseTimestamp(text: string): number | undefined {
  if (/^\d{1,16}$/.test(text)) return Number(text)
  const match = /^(\d{4}-\d\d-\d\d)([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d))?$/.exec(text)
  const [ms, day] = match ? [Date.parse(text), Date.parse(match[1])] : [Number.NaN, Number.NaN]
  // `Date.parse` reads the 31st of February as the 3rd of March.
  return Number.isNaN(ms) || !new Date(day).toISOString().startsWith(match![1]) ? undefined : ms
}

const DURATION_WORDS: [RegExp, string][] = [
  [/^(ms|millis|msecs?|milliseconds?)$/i, 'ms'],
  [/^(s|secs?|seconds?)$/i, 's'],
  [/^(m|mins?|minutes?)$/i, 'm'],
  [/^(h|hrs?|hours?)$/i, 'h'],
  [/^(d|days?)$/i, 'd'],
]

/** The most likely meaning of `5 seconds`, `5S` or `5`. */
export function guessDuration(written: string | number): string | undefined {
  const match = /^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*$/.exec(String(written))
  if (!match) return undefined
  const [, n, word] = match
  // Other tools count in milliseconds.
  if (word === '' && /^[1-9]\d*000$/.test(n)) return `${n.slice(0, -3)}s`
  const unit = word === '' ? 's' : (DURATION_WORDS.find(([re]) => re.test(word))?.[1] ?? nearUnit(word, Object.keys(MS)))
  const guess = unit && n + unit
  return guess && parseDuration(guess) !== undefined && guess !== written ? guess : undefined
}

/** The most likely meaning of a size without a unit, or with another one; for suggestions. */
export function guessSize(written: string | number): string | undefined {
  const match = /^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*$/.exec(String(written))
  if (!match) return undefined
  const [, n, word] = match
  const aliases: Record<string, string> = { '': 'B', k: 'KiB', m: 'MiB', g: 'GiB', t: 'TiB', bytes: 'B', byte: 'B' }
  const unit =
    aliases[word.toLowerCase()] ??
    Object.keys(BYTES).find(u => u.toLowerCase() === word.toLowerCase()) ??
    nearUnit(word, Object.keys(BYTES))
  const guess = unit && n + unit
  return guess && parseSize(guess) !== undefined && guess !== written ? guess : undefined
}

/** A unit with a typo: `sm`, `ss`, `KiBB`. */
function nearUnit(word: string, units: string[]): string | undefined {
  const w = word.toLowerCase()
  return units.find(
    u =>
      w.length <= u.length + 1 &&
      u
        .toLowerCase()
        .split('')
        .every(c => w.includes(c)),
  )
}
