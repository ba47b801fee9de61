import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const MAIN = fileURLToPath(new URL('../../bin/runner.js', import.meta.url))
let dir: string

const PIPELINE = `name: demo
sources:
  - { kafka: { topics: [ticks], group: "\${GROUP:-g}", sasl_password: "\${PASSWORD:-}" }, keyed_by: symbol }
transforms:
  - bars: { interval: 1m }
sinks:
  - kafka: { topic: bars, key: symbol }
dlq: { kafka: { topic: dead } }
delivery: exactly_once
`
const TESTS = `clock: 0
tests:
  - name: closes
    steps:
      - input: [ { values: [ { symbol: A, price: 2, volume: 1, ts: 0 }, { symbol: A, price: 2, volume: 1, ts: 62000 } ] } ]
    expect: { outputs: [ { topic: bars, key: A } ] }
  - name: five minutes
    set: { "transforms[0].bars.interval": 5m }
    steps:
      - input: [ { value: { symbol: A, price: 2, volume: 1, ts: 0 } } ]
      - end: true
    expect: { outputs: [ { value: { symbol: A, interval: 5m, start: 0, end: 300000, open: 2, high: 2, low: 2, close: 2, volume: 1, vwap: 2, count: 1 } } ] }
`

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'runner-cli-test-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const write = (name: string, text: string): void => writeFileSync(join(dir, name), text)
function runner(args: string[], env: Record<string, string> = {}): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: dir,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, NO_COLOR: '1', ...env },
  })
  return { code: status, out: stdout, err: stderr }
}

describe('runner test', () => {
  it('runs the tests of a pipeline, whatever the environment of the shell', () => {
    write('demo.yaml', PIPELINE)
    write('demo.test.yaml', TESTS)
    const { code, out, err } = runner(['test', 'demo.yaml', '--repeat', '5'], { GROUP: '', KAFKA_BROKERS: 'nowhere:1' })
    expect([code, err]).toEqual([0, ''])
    expect(out.replaceAll(/\d+ ms/g, 'N ms')).toBe(
      'demo.test.yaml\n  ✓ ok      closes  N ms\n  ✓ ok      five minutes  N ms\n\n2 passed, 0 failed\n',
    )
  })

  it('exits with 4 if a test fails, writes JUnit and JSON, and accepts', () => {
    write('demo.yaml', PIPELINE)
    write('demo.test.yaml', TESTS.replace('key: A', 'key: B'))
    const failed = runner(['test', '--junit', 'report.xml', '--filter', 'clos'])
    expect(failed.code).toBe(4)
    expect(failed.out).toContain('    outputs  demo.test.yaml:6:15\n      ~ different  demo.test.yaml:6:26')
    expect(failed.out).toContain('            expected  "B"\n            actual    "A"\n')
    expect(readFileSync(join(dir, 'report.xml'), 'utf8')).toContain('<testsuites name="runner test" tests="1" failures="1" errors="0"')
    const json = runner(['test', '.', '--json'])
    expect(json.code).toBe(4)
    expect(JSON.parse(json.out)).toMatchObject({ ok: false, summary: { tests: 2, failed: 1 } })
    const accepted = runner(['test', 'demo.test.yaml', '--accept'])
    expect([accepted.code, accepted.out.split('\n')[0]]).toEqual([0, 'demo.test.yaml: 1 expectation written'])
    expect(readFileSync(join(dir, 'demo.test.yaml'), 'utf8')).toBe(TESTS)
  })

  it('exits with 2 if a file is invalid, and shows the position', () => {
    write('demo.yaml', PIPELINE)
    write('demo.test.yaml', TESTS.replace('  - name: five minutes\n', '  - nam: five minutes\n'))
    const { code, out } = runner(['test', '--junit', 'report.xml'])
    expect(code).toBe(2)
    expect(out).toMatch(/demo\.test\.yaml:7:5.*unknown key nam/)
    expect(out).toContain('  - nam: five minutes')
    expect(readFileSync(join(dir, 'report.xml'), 'utf8')).toContain('errors="1"')
    write('demo.test.yaml', TESTS.replace('5m }', '5x }'))
    expect(runner(['test']).out).toMatch(/demo\.test\.yaml:8:43.*must be a duration/)
    write('demo.test.yaml', TESTS.replaceAll(/.*set:.*\n/g, ''))
    write('demo.yaml', PIPELINE.replace('bars: {', 'bras: {'))
    const pipeline = runner(['test'])
    expect(pipeline.code).toBe(2)
    expect(pipeline.out.match(/demo\.yaml:5:5/g)).toHaveLength(1)
  })

  it('exits with an error if there are no tests to run', () => {
    write('demo.yaml', PIPELINE)
    write('demo.test.yaml', TESTS)
    expect(runner(['test', 'gone'])).toMatchObject({ code: 3, err: 'error: gone does not exist\n' })
    expect(runner(['test', '--filter', 'gone'])).toMatchObject({ code: 2, err: "error: no test has a name with 'gone' in it\n" })
    rmSync(join(dir, 'demo.test.yaml'))
    expect(runner(['test'])).toMatchObject({ code: 2, err: 'error: . has no tests: they are in files named *.test.yaml\n' })
    expect(runner(['test', '--repeat', '0']).code).toBe(2)
  })
})

describe('runner explain', () => {
  it('prints each format, without secrets', () => {
    write('demo.yaml', PIPELINE)
    const env = { PASSWORD: 'canary', KAFKA_SASL_PASSWORD: 'canary', KAFKA_BROKERS: 'broker:9092' }
    const [text, json, mermaid, svg] = ['text', 'json', 'mermaid', 'svg'].map(format =>
      runner(['explain', 'demo.yaml', '--format', format], env),
    )
    for (const { code, out, err } of [text, json, mermaid, svg]) {
      expect([code, err]).toEqual([0, ''])
      expect(out).not.toContain('canary')
    }
    expect(text.out).toContain('Weakest link: kafka → kafka_2, exactly once')
    expect(text.out).toMatch(/sasl_password: "\*\*\*"/)
    expect(JSON.parse(json.out)).toMatchObject({
      name: 'demo',
      weakest: { guarantee: 'exactly_once' },
      steps: [{ name: 'kafka', at: { line: 3 } }, { config: { interval: '1m' } }, {}, {}],
    })
    expect(mermaid.out).toMatch(/^flowchart LR\n/)
    expect(svg.out).toMatch(/^<svg /)
  })

  it('shows the guarantee after an override', () => {
    write('demo.yaml', PIPELINE)
    const { out } = runner(['explain', 'demo.yaml', '--set', 'delivery=at_least_once'])
    expect(out).toContain('Weakest link: kafka → kafka_2, at least once')
    expect(out).toContain('delivery: exactly_once is possible here')
  })

  it('exits with 2 if the file is invalid', () => {
    write('demo.yaml', PIPELINE.replace('1m', '61s'))
    const { code, out, err } = runner(['explain', 'demo.yaml'])
    expect([code, out]).toEqual([2, ''])
    expect(err).toMatch(/demo\.yaml:5:23/)
  })
})
