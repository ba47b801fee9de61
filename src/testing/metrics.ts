/** Checks expected metrics: the counts of a step, or the value of a counter or gauge. */
import { suggest } from '../kit/text/suggest.ts'
import type { Metric } from './model.ts'
import type { Failure } from './run.ts'
import type { StepCounts, Totals } from './totals.ts'

export function checkMetric(metric: Metric, totals: Totals): Failure[] {
  const { at, path, name, expected } = metric
  if (typeof expected === 'number') {
    const parsed = parseMetric(name)
    const actual = parsed && totals.value(parsed.name, parsed.labels)
    if (actual === expected) return []
    const near = parsed && actual === undefined ? suggest(parsed.name, totals.names()) : undefined
    const hint = actual === undefined ? `there is no metric ${name}${near ? `; did you mean ${near}?` : ''}` : undefined
    return [{ kind: 'metric', at, path, what: `metrics.${name}`, expected, actual, hint }]
  }
  const counts = totals.steps().get(name)
  const failures: Failure[] = []
  for (const [field, want] of Object.entries(expected)) {
    const actual = counts?.[field as keyof StepCounts]
    if (actual === want) continue
    failures.push({ kind: 'metric', at, path: [...path, field], what: `metrics.${name}.${field}`, expected: want, actual })
  }
  return failures
}

/** Parses `name` or `name{label="value",…}`; undefined if it is neither. */
export function parseMetric(text: string): { name: string; labels: Record<string, string> | undefined } | undefined {
  const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$/s.exec(text)
  if (!match) return undefined
  if (match[2] === undefined) return { name: match[1], labels: undefined }
  const labels: Record<string, string> = {}
  let rest = match[2]
  while (rest !== '') {
    const label = /^\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/s.exec(rest)
    if (!label) return undefined
    labels[label[1]] = label[2].replaceAll(/\\(.)/g, '$1')
    rest = rest.slice(label[0].length)
  }
  return { name: match[1], labels }
}
