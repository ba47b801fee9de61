/** Checks a test against its pipeline: its sources, sinks and steps must exist. */
import type { Pipeline } from '../config/model.ts'
import { Problems } from '../config/problems.ts'
import { suggest } from '../kit/text/suggest.ts'
import { isRecord } from '../kit/values/records.ts'
import type { Path } from '../config/tree.ts'
import { parseMetric } from './metrics.ts'
import { lineFormat, readsLines } from './lines.ts'
import type { Expectation, InputRecord, TestCase } from './model.ts'
import type { TestSource } from './source.ts'

export function checkTest(source: TestSource, path: Path, test: TestCase, pipeline: Pipeline, problems: Problems): void {
  const checker = new Checker(source, pipeline, problems)
  checker.stubs(test, [...path, 'name'])
  const steps = [...path, 'steps']
  const last = [...path, 'expect']
  test.steps.forEach((step, i) => {
    const at = source.node([...steps, i]) ? [...steps, i, step.kind] : last
    if (step.kind === 'input') checker.input(at, step.records)
    else if (step.kind === 'expect') checker.expectation(at, step.expectation)
  })
}

class Checker {
  private readonly source: TestSource
  private readonly pipeline: Pipeline
  private readonly problems: Problems

  constructor(source: TestSource, pipeline: Pipeline, problems: Problems) {
    this.source = source
    this.pipeline = pipeline
    this.problems = problems
  }

  /** Tests must be reproducible, so every step that queries another system needs stubs. */
  stubs(test: TestCase, name: Path): void {
    const asking = this.pipeline.transforms.filter(t => t.plugin.stubbed).map(t => t.name)
    for (const [step, { path }] of test.stubs) {
      if (!this.pipeline.transforms.some(t => t.name === step))
        this.unknown(
          path,
          'transform',
          step,
          this.pipeline.transforms.map(t => t.name),
        )
      else if (!asking.includes(step)) this.add(path, 'key', `the step '${step}' queries no external system: there is nothing to stub`)
    }
    for (const step of asking)
      if (!test.stubs.has(step))
        this.add(
          name,
          'value',
          `the step '${step}' queries a peer, which is not available in a test: write its answers under stubs: { ${step}: [...] }`,
        )
  }

  input(path: Path, records: readonly InputRecord[]): void {
    this.choice(
      path,
      'source',
      this.pipeline.sources.map(s => s.name),
    )
    for (const { source, payload, raw, place } of records) {
      const step = this.pipeline.sources.find(s => source === undefined || s.name === source)
      if (!step || raw || !place || !readsLines(step) || lineFormat(step, undefined) !== 'csv') continue
      const problem = rowProblem(JSON.parse(String(payload)))
      if (problem !== undefined) this.add(place, 'value', problem)
    }
  }

  expectation(path: Path, { outputs, deadLetters, metrics }: Expectation): void {
    if (outputs.size > 0)
      this.choice(
        [...path, 'outputs'],
        'sink',
        this.pipeline.sinks.map(s => s.name),
        outputs.has(undefined),
      )
    if (deadLetters && !this.pipeline.dlq)
      this.add([...path, 'dead_letters'], 'key', `the pipeline has no dlq, so it stops at a bad record: expect 'stops'`)
    const { sources, transforms, sinks, dlq } = this.pipeline
    const steps = [...sources, ...transforms, ...sinks, ...(dlq ? [dlq] : [])].map(s => s.name)
    for (const metric of metrics) {
      if (typeof metric.expected === 'number') {
        if (parseMetric(metric.name)) continue
        this.add(metric.path, 'key', `a metric is written as name or name{label="value"}`)
      } else if (!steps.includes(metric.name)) this.unknown(metric.path, 'step', metric.name, steps)
    }
  }

  /** A list is for the only one; a map has their names. */
  private choice(path: Path, what: string, names: readonly string[], one = false): void {
    const node = this.source.node(path)
    if (node?.kind === 'map' && !one) {
      for (const name of node.entries.keys()) if (!names.includes(name)) this.unknown([...path, name], what, name, names)
    } else if (names.length > 1) {
      this.add(
        path,
        'key',
        `the pipeline has ${names.length} ${what}s: select one with a map from its name (${names.join(', ')}) to the list`,
      )
    }
  }

  private unknown(path: Path, what: string, name: string, known: readonly string[]): void {
    this.add(path, 'key', `the pipeline has no ${what} '${name}'; it has: ${known.join(', ')}`, suggest(name, known))
  }

  private add(path: Path, on: 'key' | 'value', message: string, suggestion?: string): void {
    this.problems.add('CONFIG_VALUE', this.source.span(path, on), path, message, suggestion)
  }
}

/** All columns of a CSV are strings. */
function rowProblem(value: unknown): string | undefined {
  if (!isRecord(value)) return 'a record of a CSV source is a map of columns; write raw: for the text of a CSV with its header'
  const name = Object.keys(value).find(n => typeof value[n] !== 'string')
  return name === undefined
    ? undefined
    : `the column ${name} is read as text from a CSV; write ${JSON.stringify(String(JSON.stringify(value[name])))}`
}
