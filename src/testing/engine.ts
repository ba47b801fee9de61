/** Runs test files: loads their pipelines, runs and repeats their tests. */
import type { Pipeline, Problem } from '../config/model.ts'
import type { PipelineInput } from '../config/load.ts'
import type { Code } from '../config/codes.ts'
import { excerptOf, Problems } from '../config/problems.ts'
import { checkTest } from './check.ts'
import { align } from './align.ts'
import type { BatchSplit } from './feed.ts'
import { type LoadTestsOptions, loadTests } from './load.ts'
import type { TestCase, TestFile } from './model.ts'
import type { TestSource } from './source.ts'
import { withRejectionSink } from './fakes.ts'
import { type Failure, runTest, type TestResult, whatOf, wholeBatches } from './run.ts'

export interface FileResult {
  readonly file: string
  readonly problems: readonly Problem[]
  readonly results: readonly TestResult[]
}

export interface TestOptions {
  /** Number of runs of each test; from the second run on, batches have other boundaries. */
  readonly repeat: number
  /** Real time limit of one step of a test, ms; default: 10 s. */
  readonly restTimeout?: number
  /** Only run tests whose name contains this. */
  readonly filter?: string
  load(file: string, test: TestCase): Promise<{ pipeline?: Pipeline; problems: readonly Problem[] }>
  /** Called after each test. */
  onResult?(file: string, result: TestResult): void
}

/**
 * The problems of a test file, including those of its pipeline with the variables and overrides of the tests. Runs nothing. Problems
 * of the pipeline file itself are left to the check of that file.
 */
export async function checkTestFile(
  file: string,
  load: TestOptions['load'],
  loadPlain: TestOptions['load'],
  options: LoadTestsOptions = {},
): Promise<readonly Problem[]> {
  const { tests, problems, source } = await loadTests(file, options)
  if (!tests) return problems
  const found = await prepare(tests, source, load)
  if (found.problems.length === 0) return []
  const known = new Set((await loadPlain(tests.pipeline, tests.tests[0])).problems.map(p => JSON.stringify(p)))
  return found.problems.filter(p => !known.has(JSON.stringify(p)))
}

export const runTestFile = (file: string, options: TestOptions): Promise<FileResult> => runTests(file, options)

/** Runs the tests of a file, a text or an object. */
export async function runTests(input: PipelineInput, options: TestOptions & LoadTestsOptions): Promise<FileResult> {
  const { tests, problems, source } = await loadTests(input, options)
  const { file } = source
  if (!tests) return { file, problems, results: [] }
  const prepared = await prepare(tests, source, options.load)
  if (prepared.problems.length > 0) return { file, problems: prepared.problems, results: [] }
  const results: TestResult[] = []
  for (const { test, pipeline } of prepared.cases) {
    if (options.filter !== undefined && !test.name.includes(options.filter)) continue
    const result = await repeated(pipeline, test, options)
    results.push(result)
    options.onResult?.(file, result)
  }
  return { file, problems: [], results }
}

interface Prepared {
  readonly cases: { readonly test: TestCase; readonly pipeline: Pipeline }[]
  readonly problems: readonly Problem[]
}

/** Loads the pipeline once per set of overrides and variables, and checks each test against it. */
async function prepare(tests: TestFile, source: TestSource, load: TestOptions['load']): Promise<Prepared> {
  const loaded = new Map<string, ReturnType<TestOptions['load']>>()
  const found = new Set<Problem>()
  const own = new Problems()
  const cases: Prepared['cases'] = []
  for (const test of tests.tests) {
    const id = JSON.stringify([test.env, test.set.map(s => s.argument)])
    let loading = loaded.get(id)
    if (!loading) loaded.set(id, (loading = load(tests.pipeline, test)))
    const { pipeline: whole, problems } = await loading
    const pipeline = whole && withRejectionSink(whole)
    for (const p of problems) {
      // A problem of an override is reported at its position in the test file.
      const override = p.file === '--set' ? test.set.find(s => s.argument === excerptOf(p)) : undefined
      if (p.severity === 'warning') continue
      if (override) own.add(p.code as Code, source.span(override.path), override.path, p.message, p.suggestion)
      else if (p.code === 'CONFIG_READ') own.add('CONFIG_VALUE', source.span(['pipeline']), ['pipeline'], `the pipeline file ${p.message}`)
      else found.add(p)
    }
    if (!pipeline) continue
    cases.push({ test, pipeline })
    checkTest(source, ['tests', test.index], test, pipeline, own)
  }
  const unique = new Map([...found].map(p => [JSON.stringify(p), p]))
  return { cases, problems: [...unique.values(), ...own.list()] }
}

/** The first run is the result; the others must have the same output with other batch boundaries. */
async function repeated(pipeline: Pipeline, test: TestCase, { repeat, restTimeout = 10_000 }: TestOptions): Promise<TestResult> {
  const first = await runTest(pipeline, test, restTimeout)
  for (let i = 2; i <= repeat && first.failures.length === 0; i++) {
    const again = await runTest(pipeline, test, restTimeout, cutsOf(i))
    if (again.hash === first.hash && again.failures.length === 0) continue
    return { ...first, failures: [...deviations(pipeline, first, again, i), ...again.failures] }
  }
  return first
}

function deviations(pipeline: Pipeline, first: TestResult, again: TestResult, run: number): Failure[] {
  const text = `run ${run} has a different output than run 1, with other batch boundaries. The output of a step depends on batching, randomness or real time.`
  const { at } = first.test
  const after = [...again.written.values()]
  return [...first.written].flatMap(([channel, before], i) => {
    const expected = before.map(r => ({
      at,
      path: [],
      raw: r.value,
      key: r.key,
      time: r.time,
      headers: Object.fromEntries(r.headers),
      lane: r.lane,
    }))
    const rows = align(expected, after[i], { match: 'exact', order: 'given' })
    return rows.every(r => r.kind === 'same') ? [] : [{ kind: 'repeat' as const, at, what: whatOf(channel, pipeline), text, channel, rows }]
  })
}

/** Batch sizes of the n-th run, from a generator with a fixed seed, so a run is reproducible. */
function cutsOf(run: number): BatchSplit {
  if (run === 1) return wholeBatches
  let x = Math.imul(run, 0x9e3779b1) >>> 0 || 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return 1 + ((x >>> 0) % 4)
  }
}
