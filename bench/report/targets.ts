/** What the project set out to reach, held against the figures. */
import { streamsBeside, type Results, type Row } from './results.ts'

export interface Target {
  text: string
  /** What was measured, in words; undefined: not measured this time. */
  measured?: string
  reached?: boolean
}

export function targets(results: Results): Target[] {
  const found = results.rows.filter(row => row.median !== undefined)
  const onKafka = (task: Row['task'], guarantee: RegExp) =>
    found.find(r => r.family === 'ours' && r.task === task && guarantee.test(r.name) && !/embedded/.test(r.name))
  const list: Target[] = []
  for (const [label, guarantee] of [
    ['at least once', /at least/],
    ['exactly once', /exactly/],
  ] as const) {
    const own = onKafka('bars', guarantee)
    const streams = own && streamsBeside(own, found)
    list.push(
      ratio(
        `bars, ${label}: at least 2.5 times the rate of Kafka Streams`,
        own?.median?.ratePerSecond,
        streams?.ratePerSecond,
        r => r >= 2.5,
      ),
      ratio(
        `bars, ${label}: at most a quarter of the CPU per tick of Kafka Streams`,
        own?.median?.cpuMicrosPerRecord,
        streams?.cpuMicrosPerRecord,
        r => r <= 0.25,
      ),
      value(`bars, ${label}: peak memory at most 250 MB`, own?.median?.peakMb, 'MB', n => n <= 250),
      value(`bars, ${label}: start to first output under 1.5 s`, own?.median?.firstOutputSeconds, 's', n => n < 1.5),
    )
  }
  const quix = found.find(row => row.family === 'quix')?.median
  list.push(
    ratio(
      'bars, at least once: at least 5 times the rate of Quix Streams',
      onKafka('bars', /at least/)?.median?.ratePerSecond,
      quix?.ratePerSecond,
      r => r >= 5,
    ),
  )
  const map = onKafka('map', /at least/)?.median
  const best = found
    .filter(row => row.task === 'map' && row.kind === 'peer')
    .toSorted((a, b) => b.median!.ratePerSecond - a.median!.ratePerSecond)[0]?.median
  list.push(
    ratio('map: at least the rate of the best peer', map?.ratePerSecond, best?.ratePerSecond, r => r >= 1),
    ratio('map: at most 60 % of the CPU per record of the best peer', map?.cpuMicrosPerRecord, best?.cpuMicrosPerRecord, r => r <= 0.6),
  )
  return list
}

export function ratio(text: string, own: number | undefined, other: number | undefined, good: (ratio: number) => boolean): Target {
  if (own === undefined || other === undefined) return { text }
  return { text, measured: `${(own / other).toFixed(2)} times`, reached: good(own / other) }
}

function value(text: string, own: number | undefined, unit: string, good: (value: number) => boolean): Target {
  if (own === undefined) return { text }
  return { text, measured: `${own.toFixed(unit === 's' ? 2 : 0)} ${unit}`, reached: good(own) }
}

/** A list for a page. */
export const targetLines = (list: readonly Target[]): string =>
  list
    .map(
      ({ text, measured, reached }) =>
        `- ${reached === undefined ? 'not measured' : reached ? 'reached' : '**missed**'}: ${text}${measured === undefined ? '' : ` (${measured})`}`,
    )
    .join('\n')
