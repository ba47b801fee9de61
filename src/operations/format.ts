const UNITS: [string, number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]

/** ms with a unit: `7d`, `24h`, `90s`; below 0: `forever`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return 'forever'
  if (ms === 0) return '0s'
  // A day is 24h in catalogs.
  const fit = UNITS.find(([unit, size]) => ms % size === 0 && (unit !== 'd' || ms >= 2 * size))!
  return `${ms / fit[1]}${fit[0]}`
}
