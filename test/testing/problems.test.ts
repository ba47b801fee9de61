import { describe, expect, it } from 'vitest'
import type { TestOptions } from '../../src/testing/engine.ts'
import { validateTestFile } from '../../src/cli/validate/test-file.ts'
import { pipelineOf, run, step, summing, testFile, topicSink } from './support.ts'

const sums = pipelineOf([step('sum', summing)])
/** `line:column CODE message => suggestion` of each problem. */
async function problemsOf(text: string, pipeline = sums): Promise<string[]> {
  const { problems, results } = await run(text, pipeline)
  expect(results).toEqual([])
  return problems.map(p => `${p.line}:${p.column} ${p.code} ${p.message}${p.suggestion === undefined ? '' : ` => ${p.suggestion}`}`)
}
const test = (body: string): string => `tests:\n  - name: t\n${body}`

describe('an invalid test file', () => {
  it.each([
    ['nothing', '', /^1:1 CONFIG_EMPTY .*at least tests/],
    ['only comments', '# a\n\n# b', /^1:1 CONFIG_EMPTY /],
    ['YAML that does not parse', 'tests: [', /^1:\d+ CONFIG_YAML /],
    ['a tab', 'tests:\n\t- name: t', /^2:1 CONFIG_TAB /],
    ['a misspelled key', 'tsts: []\ntests: [ { name: a } ]', /^1:1 CONFIG_UNKNOWN_KEY unknown key tsts.*=> tests$/],
    ['a misspelled step', test('    steps:\n      - advence: 1s'), /^4:9 CONFIG_UNKNOWN_KEY .*=> advance$/],
    ['two keys in a step', test('    steps:\n      - advance: 1s\n        crash: true'), /^4:9 CONFIG_VALUE .*at most 1/],
    ['an invalid duration', test('    steps:\n      - advance: 61'), /^4:18 CONFIG_DURATION .*=> 61s$/],
    ['an invalid clock', test('    clock: tomorrow'), /^3:12 CONFIG_(TIMESTAMP|VALUE) /],
    ['crash: false', test('    steps:\n      - crash: false'), /^4:16 CONFIG_TYPE must be true/],
    ['an unknown match', test('    expect: { outputs: { out: { match: sub } } }'), /^3:40 CONFIG_VALUE must be one of exact, subset/],
    ['a record without payload', test('    steps:\n      - input:\n          - key: a'), /^5:13 CONFIG_VALUE a record needs one of/],
    [
      'two payloads',
      test('    steps:\n      - input:\n          - value: 1\n            raw: "2"'),
      /^6:13 CONFIG_VALUE value and raw cannot be combined/,
    ],
    [
      'two expected payloads',
      test('    expect: { outputs: [ { value: 1, raw: "2" } ] }'),
      /^3:38 CONFIG_VALUE value and raw cannot be combined/,
    ],
    ['an invalid number', test('    steps:\n      - input: [ { value: .nan } ]'), /^4:27 CONFIG_TYPE numbers are finite/],
    ['a missing file', test('    steps:\n      - input: [ { file: gone.jsonl } ]'), /^4:26 CONFIG_VALUE .*gone\.jsonl cannot be read/],
    ['invalid base64', test('    steps:\n      - input: [ { raw: { base64: "***" } } ]'), /^4:\d+ CONFIG_VALUE /],
    ['input after the end', test('    steps:\n      - end: true\n      - input: []'), /^5:9 CONFIG_VALUE the input has ended/],
    ['two tests with one name', 'tests: [ { name: a }, { name: a } ]', /^1:31 CONFIG_DUPLICATE_NAME two tests are named 'a'/],
    [
      'an unknown source',
      test('    steps:\n      - input: { inn: [ { value: 1 } ] }'),
      /^4:18 CONFIG_VALUE the pipeline has no source 'inn'; it has: in => in$/,
    ],
    ['an unknown sink', test('    expect: { outputs: { put: [] } }'), /^3:26 CONFIG_VALUE the pipeline has no sink 'put'; it has: out/],
    [
      'an unknown step',
      test('    expect: { metrics: { summ: { in: 1 } } }'),
      /^3:26 CONFIG_VALUE the pipeline has no step 'summ'.*=> sum$/,
    ],
    ['an invalid metric name', test('    expect: { metrics: { "a{b=c}": 1 } }'), /^3:26 CONFIG_VALUE a metric is written as/],
  ])('with %s is reported with its position', async (_what, text, expected) => {
    const problems = await problemsOf(text)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(expected)
  })

  it('has all its problems reported at once', async () => {
    expect(await problemsOf('pipelin: x\ntests:\n  - nam: a\n    steps:\n      - advance: 5\n      - crash: 1\n')).toHaveLength(4)
  })

  it('must name the sink if there are several, and needs a dlq for dead letters', async () => {
    const two = pipelineOf([], { sinks: [step('x', topicSink), step('y', topicSink)], dlq: undefined })
    const problems = await problemsOf(test('    expect: { outputs: [], dead_letters: [] }'), two)
    expect(problems[0]).toMatch(/^3:15 CONFIG_VALUE the pipeline has 2 sinks: select one.*\(x, y\)/)
    expect(problems[1]).toMatch(/^3:28 CONFIG_VALUE the pipeline has no dlq/)
  })
})

describe('a pipeline file with problems', () => {
  it('has them reported once, for any number of tests', async () => {
    const problem = {
      code: 'CONFIG_TYPE',
      severity: 'error' as const,
      file: 'p.yaml',
      line: 3,
      column: 4,
      endLine: 3,
      endColumn: 5,
      path: 'name',
      message: 'm',
    }
    const { problems } = await run('tests: [ { name: a }, { name: b, env: { X: 1 } } ]', sums, {
      load: async () => ({ problems: [problem] }),
    })
    expect(problems).toEqual([problem])
  })

  it('is the one next to the test file unless another is named, and uses only the env of the test', async () => {
    const asked: unknown[] = []
    const load: TestOptions['load'] = async (file, { env, set }) => {
      asked.push([file.split('/').at(-1), env, set.map(s => s.argument)])
      return { pipeline: sums, problems: [] }
    }
    await run('env: { A: 1, B: x }\nset: { "a.b": 1m }\ntests: [ { name: a, env: { B: true }, set: { c: [1] } } ]', sums, { load })
    await run('pipeline: other.yaml\ntests: [ { name: a } ]', sums, { load })
    expect(asked).toEqual([
      ['p.yaml', { A: '1', B: 'true' }, ['a.b="1m"', 'c=[1]']],
      ['other.yaml', {}, []],
    ])
  })
})

describe('validateTestFile', () => {
  const PIPELINE = 'name: p\nsources: [ { kafka: { topics: [t] } } ]\nsinks: [ { kafka: { topic: "${TOPIC:-x}" } } ]\n'
  const check = async (tests: string, pipeline?: string): Promise<string[]> => {
    const { problems } = await validateTestFile(testFile(tests, pipeline === undefined ? {} : { 'p.yaml': pipeline }))
    return problems.map(p => `${p.file.split('/').at(-1)}:${p.line}:${p.column} ${p.code} ${p.message}`)
  }

  it('validates the tests against their pipeline', async () => {
    expect(await check('tests: [ { name: a, expect: { outputs: [] } } ]', PIPELINE)).toEqual([])
    expect(await check('tests: [ { name: a, expect: { outputs: { gone: [] } } } ]', PIPELINE)).toEqual([
      expect.stringMatching(/^p\.test\.yaml:1:42 CONFIG_VALUE .*no sink 'gone'/),
    ])
    expect(await check('tests: [ { name: a, env: { TOPIC: "a b" } } ]', PIPELINE)).toEqual([
      expect.stringMatching(/^p\.yaml:3:28 CONFIG_TOPIC/),
    ])
    expect(await check('tests: [ { name: a } ]')).toEqual([
      expect.stringMatching(/^p\.test\.yaml:1:1 CONFIG_VALUE the pipeline file .*p\.yaml does not exist/),
    ])
    expect(await check('pipeline: q.yaml\ntests: [ { name: a } ]')).toEqual([
      expect.stringMatching(/^p\.test\.yaml:1:11 .*q\.yaml does not exist/),
    ])
  })

  it('reports no problems of the pipeline file', async () => {
    expect(await check('tests: [ { name: a } ]', PIPELINE.replace('topics:', 'topcs:'))).toEqual([])
  })
})
