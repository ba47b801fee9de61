/** ms. */
export const DAY = 86_400_000

/** Epoch ms that a date can have, before or after 1970. */
export const MAX_TIME = 8.64e15

const UNITS = [
  ['d', DAY],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const

/** The shortest exact form with one unit: 60000 is `1m`, 90000 is `90s`, 1500 is `1500ms`. */
export function formatDuration(ms: number): string {
  for (const [unit, size] of UNITS) if (ms !== 0 && ms % size === 0) return `${ms / size}${unit}`
  return `${ms}ms`
}
