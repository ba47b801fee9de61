import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { FileResult } from '../../src/testing/engine.ts'
import { findTests } from '../../src/testing/find.ts'
import { toJson } from '../../src/testing/json.ts'
import { junit } from '../../src/testing/junit.ts'
import { failureText, type Paint, plain, testLine } from '../../src/testing/report.ts'
import { pipelineOf, run, step, summing, tempFolder } from './support.ts'

const sums = pipelineOf([step('sum', summing)])
const FAILING = `clock: 0
tests:
  - name: good
    steps: [ { input: [ { value: { n: 1 } } ] } ]
    expect: { outputs: [ { value: { n: 1, sum: 1 } } ] }
  - name: 'bad <&> "quoted"'
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 }, { n: 3 } ], key: k }, { raw: { hex: "00ff" } } ]
    expect:
      outputs:
        - { value: { n: 1, sum: 1 } }
        - { value: { n: 2, sum: 4 }, key: q }
        - { value: { n: 4, sum: 10 } }
        - { raw: x }
      metrics: { sum: { in: 4 } }
`
/** The file's own folder is a new one every time. */
const short = (file: FileResult): FileResult =>
  JSON.parse(JSON.stringify({ ...file, results: [] }).replaceAll(/\/[^"]*p\.test/g, 'p.test')) as FileResult

describe('the report', () => {
  it('shows code points where the expected and the actual text look alike', async () => {
    const nfc = `tests:
  - name: é
    steps: [ { input: [ { value: { "n": 1, "m": 1, "o": 1, "e\\u0301": "e\\u0301" } }, { value: { "n": 1, "x": "e\\u0301", "y": "é" } } ] } ]
    expect:
      outputs:
        - { value: { "n": 1, "m": 1, "o": 1, "\\u00e9": "e\\u0301" } }
        - { value: { "n": 1, "x": "\\u00e9", "y": "è" } }
`
    const { results } = await run(nfc, pipelineOf([]))
    const text = results[0].failures.map(f => failureText(f, plain)).join('\n')
    const rows = text.split('\n').filter(line => /value\.|expected |actual /.test(line))
    expect(rows.map(r => r.trim())).toEqual([
      'value.\\u00e9',
      'expected  "e\u0301"',
      'actual    nothing',
      'value.e\\u0301',
      'expected  nothing',
      'actual    "e\u0301"',
      'value.x',
      'expected  "\\u00e9"',
      'actual    "e\\u0301"',
      'value.y',
      'expected  "è"',
      'actual    "é"',
    ])
  })

  it('shows expected and actual values by message and field', async () => {
    const { results } = await run(FAILING, sums)
    expect(results.map(r => testLine(r, plain).replace(/\d+ ms/, 'N ms'))).toEqual([
      '  ✓ ok      good  N ms',
      '  ✗ FAILED  bad <&> "quoted"  N ms',
    ])
    const text = results[1].failures
      .map(f => failureText(f, plain))
      .join('\n')
      .replaceAll(/\S*p\.test\.yaml/g, 'p.test.yaml')
    expect(text).toBe(`    outputs  p.test.yaml:10:7
        1 message as expected
      ~ different  p.test.yaml:12:11  (from ticks/0)
          value.sum
            expected  4
            actual    3
          key
            expected  "q"
            actual    "k"
      - missing  p.test.yaml:13:11
          {"n":4,"sum":10}
      ~ different  p.test.yaml:14:11  (from ticks/0)
          raw
            expected  "x"
            actual    "{\\"n\\":3,\\"sum\\":6}"
    metrics.sum.in  p.test.yaml:15:18
      expected  4
      actual    3
    dead_letters  p.test.yaml:6:11
      not checked by any expect
      + unexpected
          hex 00ff  in: decode: the payload is not valid UTF-8  (from ticks/0 offset 3)`)
  })

  it('colors the expected and the actual value', async () => {
    const { results } = await run(FAILING, sums)
    const tagged: Paint = (style, text) => `<${style}>${text}</${style}>`
    const text = failureText(results[1].failures[0], tagged)
    expect(text).toContain('expected  <good>4</good>')
    expect(text).toContain('actual    <bad>3</bad>')
  })

  it('abbreviates long lists and long values', async () => {
    const { results } = await run(
      `tests:\n  - name: t\n    steps: [ { input: [ { file: many.txt } ] } ]\n    expect: { outputs: { out: {} }, dead_letters: [] }`,
      sums,
      {},
      { 'many.txt': `${'x'.repeat(1_000_000)}\n`.repeat(50) },
    )
    const text = failureText(results[0].failures[0], plain)
    expect(text).toContain('… and 30 more')
    expect(text.length).toBeLessThan(20_000)
  })
})

describe('reports in machine formats', () => {
  it('are JSON with positions, differences and hashes', async () => {
    const { results, ...file } = await run(FAILING, sums)
    const json = toJson([{ ...file, results }]) as any
    expect(json).toMatchObject({ ok: false, summary: { files: 1, tests: 2, passed: 1, failed: 1, problems: 0 } })
    expect(json.files[0].tests[0]).toMatchObject({
      name: 'good',
      ok: true,
      line: 3,
      failures: [],
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    const [channel, metric] = json.files[0].tests[1].failures
    expect(metric).toMatchObject({ kind: 'metric', what: 'metrics.sum.in', line: 15, column: 18, expected: 4, actual: 3 })
    expect(channel.messages.map((m: any) => [m.kind, m.line, m.differences?.length, m.actual?.value])).toEqual([
      ['changed', 12, 2, { n: 2, sum: 3 }],
      ['missing', 13, undefined, undefined],
      ['changed', 14, 1, { n: 3, sum: 6 }],
    ])
  })

  it('are JUnit XML that parses, whatever the names and values are', async () => {
    const nasty = FAILING.replace('\'bad <&> "quoted"\'', String.raw`"bad <&> \"q\" ]]> \u0001 \ud83d\ude00 \udc00"`)
    const good = await run(nasty, sums)
    const broken = await run('tests: [ { nam: a } ]', sums)
    const xml = junit([good, broken])
    const parsed = parseXml(xml)
    expect(parsed[0]).toEqual([
      'testsuites',
      { name: 'runner test', tests: '3', failures: '1', errors: '1', time: expect.stringMatching(/^\d+\.\d{3}$/) },
    ])
    const cases = parsed.filter(([tag]) => tag === 'testcase').map(([, a]) => [a.name, a.line])
    expect(cases).toEqual([
      ['good', '3'],
      ['bad <&> "q" ]]> \ufffd \u{1f600} \ufffd', '6'],
      [broken.file, undefined],
    ])
    expect(parsed.filter(([tag]) => tag === 'failure' || tag === 'error').map(([tag, a]) => [tag, a.type])).toEqual([
      ['failure', 'channel'],
      ['error', 'CONFIG_UNKNOWN_KEY'],
    ])
    expect(short(broken).problems[0].file).toBe('p.test.yaml')
  })
})

describe('findTests', () => {
  it('accepts files, folders, and pipeline files with tests next to them', () => {
    const folder = tempFolder()
    for (const sub of ['a', '.hidden', 'node_modules']) mkdirSync(join(folder, sub))
    for (const name of ['b.test.yaml', 'b.yaml', 'c.yaml', 'a/z.test.yml', '.hidden/x.test.yaml', 'node_modules/x.test.yaml'])
      writeFileSync(join(folder, name), '')
    expect(findTests(folder)).toEqual([join(folder, 'a/z.test.yml'), join(folder, 'b.test.yaml')])
    expect(findTests(join(folder, 'b.yaml'))).toEqual([join(folder, 'b.test.yaml')])
    expect(findTests(join(folder, 'c.yaml'))).toEqual([])
    expect(findTests(join(folder, 'd.yaml'))).toBeUndefined()
  })
})

/** Start tags with their attributes. Strict: throws at whatever is not well-formed XML 1.0. */
function parseXml(xml: string): [string, Record<string, string>][] {
  const bad = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.exec(xml)
  if (bad) throw new Error(`character ${bad[0].codePointAt(0)} at ${bad.index}`)
  const names: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  const decode = (text: string): string =>
    text.replaceAll(/&(?:#(\d+)|(\w+));|&/g, (all, code: string, name: string) => {
      const char = code ? String.fromCodePoint(Number(code)) : names[name]
      if (char === undefined) throw new Error(`entity ${all}`)
      return char
    })
  const tags: [string, Record<string, string>][] = []
  const open: string[] = []
  const token = /<\?xml [^?]*\?>|<\/([\w-]+)>|<([\w-]+)((?: [\w-]+="[^"<]*")*)(\/?)>|([^<]+)/gy
  while (token.lastIndex < xml.length) {
    const at = token.lastIndex
    const match = token.exec(xml)
    if (!match) throw new Error(`not well-formed at ${at}: ${xml.slice(at, at + 80)}`)
    const [, close, tag, attributes, empty, text] = match
    if (close !== undefined && open.pop() !== close) throw new Error(`</${close}> closes nothing`)
    if (text !== undefined) decode(text)
    if (tag === undefined) continue
    if (!empty) open.push(tag)
    tags.push([tag, Object.fromEntries([...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, k, v]) => [k, decode(v)]))])
  }
  if (open.length > 0) throw new Error(`never closed: ${open.join(', ')}`)
  return tags
}
