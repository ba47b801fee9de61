/** Any text: no crash, less than a second, and every problem has a line and a column inside the text. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loadText } from '../../src/config/load.ts'
import type { Problem } from '../../src/config/model.ts'

const N = 999_000
const letters = 'bcdefghij'.split('')

const hostile: Record<string, string> = {
  'flow lists': '['.repeat(N),
  'flow maps': '{a: '.repeat(N / 4),
  'block lists': '- '.repeat(N / 2),
  'explicit keys': '? '.repeat(N / 2),
  'one line of keys': 'a: '.repeat(N / 3),
  'a staircase': Array.from({ length: 1400 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
  'a staircase just allowed': `${Array.from({ length: 60 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')} b`,
  'many keys': Array.from({ length: 90_000 }, (_, i) => `k${i}: 1`).join('\n'),
  'as many keys as allowed': Array.from({ length: 5_900 }, (_, i) => `k${i}: 1`).join('\n'),
  'as many steps as allowed': `name: x\nsources:\n${'  - kafka: {a: b}\n'.repeat(2_000)}`,
  'many entries': '- 1\n'.repeat(N / 4),
  'one key again and again': 'a: 1\n'.repeat(5_900),
  anchors: '&a '.repeat(N / 3),
  'anchors on lines': 'a: &a b\n'.repeat(3_500),
  aliases: 'a: *a\n'.repeat(5_000),
  'laughs, a billion': `a: &a [x,x,x,x,x,x,x,x,x,x]\n${letters.map((c, i) => `${c}: &${c} [${Array(10).fill(`*${'abcdefghij'[i]}`).join(',')}]`).join('\n')}`,
  'laughs in a step': `a: &a {x: 1}\n${letters.map((c, i) => `${c}: &${c} {p: *${'abcdefghij'[i]}, q: *${'abcdefghij'[i]}}`).join('\n')}\nsources: [{kafka: *j}]`,
  tags: '! '.repeat(N / 2),
  'escapes without end': `"${'\\x'.repeat(N / 2)}`,
  'bad escapes': `"${'\\x'.repeat(30_000)}"`,
  'tabs alone': '\t'.repeat(N),
  'tabs before keys': '\ta: 1\n'.repeat(4_500),
  comments: '#\n'.repeat(N / 2),
  documents: '---\n'.repeat(9_000),
  directives: '%a\n'.repeat(N / 3),
  'commas allowed': `[${','.repeat(29_000)}`,
  commas: `[${','.repeat(N)}`,
  'a long plain value': `a: ${'b '.repeat(N / 2)}`,
  'a long block': `a: |\n${'  c\n'.repeat(N / 4)}`,
  'a long key': `${'k'.repeat(60_000)}: 1`,
  'a long unknown key in a step': `sources: [{${'k'.repeat(60_000)}: 1}]`,
  colons: ':\n'.repeat(N / 2),
  zeros: '\0'.repeat(N),
  'zeros in a value': 'name: "a\0b"\n',
  surrogates: 'name: "\ud800\udfff\ud800"\n',
  '10 MB': 'a'.repeat(10_000_000),
  'two byte order marks': '\uFEFF\uFEFFname: x',
  'carriage returns': 'name: x\rsources: y\r',
  'prototype keys': '__proto__: {toString: 1}\nconstructor: 2\nprototype: 3\nhasOwnProperty: 4\nsources: [{__proto__: 1, toString: 2}]',
  'keys of every object':
    'name: x\nsources: [{toString: {}}, {valueOf: {}}, {hasOwnProperty: {}}]\nsinks: [{constructor: {}}]\ndlq: {isPrototypeOf: {}}',
  'references in references': `name: ${'${A'.repeat(10_000)}`,
  'references without end': `name: "${'${A:-'.repeat(10_000)}"`,
  'an expression deep as the sea': `name: x\ntransforms: [{filter: "${'('.repeat(30_000)}"}]`,
  'an expression as long as allowed': `name: x\ntransforms: [{filter: "${'a + '.repeat(15_000)}a"}]`,
  'a duration without end': `name: x\ncommit_interval: "${'1'.repeat(60_000)}"\nshutdown_timeout: "${'1s'.repeat(20_000)}"`,
  'a folded value of many lines': `name: x\ntransforms:\n  - filter: >\n${'      a\n'.repeat(7_000)}`,
}

describe('hostile texts', () => {
  test.each(Object.entries(hostile))('%s', async (_, text) => {
    // CPU time: the wall clock also depends on the load of the machine. Most take a hundredth, the worst half a second.
    const before = process.cpuUsage()
    const { pipeline, problems } = await loadText('p.yaml', text, { env: {} })
    const { user, system } = process.cpuUsage(before)
    expect(pipeline).toBeUndefined()
    expect(problems.length).toBeGreaterThan(0)
    allInside(problems, text)
    expect((user + system) / 1e6).toBeLessThan(3)
  })
})

test('any text gives a pipeline or an error, with positions inside the text', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 400 }), async text => {
      const { pipeline, problems } = await loadText('p.yaml', text, { env: {} })
      expect(pipeline === undefined).toBe(problems.some(p => p.severity === 'error'))
      allInside(problems, text.replace(/^\uFEFF/, ''))
    }),
    { numRuns: 3000 },
  )
})

const BASE = `name: bars
sources:
  - kafka: { topics: ["\${T:-a}"], group: "g" }
transforms:
  - bars: { interval: 1m, on_late: dlq }
  - filter: >-
      close > 0.0
      && symbol == 'a'
sinks:
  - kafka: { topic: b, key: symbol }
dlq: { kafka: { topic: c } }
delivery: exactly_once
`

test.each(['__proto__: ', ' __proto__ ', ' constructor '])('%s at each position', async name => {
  for (let at = 0; at < BASE.length; at += 1) {
    const { problems } = await loadText('p.yaml', BASE.slice(0, at) + name + BASE.slice(at), { env: {} })
    expect(problems.filter(p => p.suggestion !== undefined && typeof p.suggestion !== 'string')).toEqual([])
  }
})

test('a pipeline with inserted, deleted and swapped characters', async () => {
  const edit = fc.record({
    at: fc.nat(BASE.length - 1),
    cut: fc.nat(6),
    put: fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 6 }),
      fc.constantFrom(
        '\t',
        '\n',
        '"',
        "'",
        '[',
        '}',
        ': ',
        '- ',
        '*a',
        '&a ',
        '${',
        '}',
        '!x ',
        '|',
        '>',
        '#',
        '@',
        '%',
        '<<: ',
        '__proto__: ',
        '\0',
      ),
    ),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async edits => {
      let text = BASE
      for (const { at, cut, put } of edits) text = text.slice(0, at) + put + text.slice(at + cut)
      const { pipeline, problems } = await loadText('p.yaml', text, { env: {} })
      expect(pipeline === undefined).toBe(problems.some(p => p.severity === 'error'))
      allInside(problems, text)
    }),
    { numRuns: 3000 },
  )
})

test('any value under any key of a pipeline', async () => {
  const value = fc.letrec(tie => ({
    json: fc.oneof(
      { depthSize: 'small' },
      fc.constant(null),
      fc.boolean(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.string({ maxLength: 12 }),
      fc.array(tie('json'), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom('kafka', 'bars', 'filter', 'map', 'name', 'when', 'from', 'enabled', 'topic', 'interval', 'x'),
        tie('json'),
        { maxKeys: 3 },
      ),
    ),
  })).json
  const key = fc.constantFrom(
    'name',
    'version',
    'description',
    'plugins',
    'sources',
    'transforms',
    'sinks',
    'dlq',
    'delivery',
    'commit_interval',
    'retry',
    'metrics',
    'x',
  )
  await fc.assert(
    fc.asyncProperty(fc.dictionary(key, value, { minKeys: 1 }), async content => {
      const text = JSON.stringify(content, null, 1)
      const { pipeline, problems } = await loadText('p.yaml', text, { env: {} })
      expect(pipeline === undefined).toBe(problems.some(p => p.severity === 'error'))
      allInside(problems, text)
    }),
    { numRuns: 3000 },
  )
})

function allInside(problems: readonly Problem[], text: string): void {
  const lines = text.split('\n')
  for (const p of problems) {
    expect(p.line).toBeGreaterThanOrEqual(1)
    expect(p.line).toBeLessThanOrEqual(lines.length)
    expect(p.column).toBeGreaterThanOrEqual(1)
    expect(p.column).toBeLessThanOrEqual(lines[p.line - 1].length + 1)
    expect(p.endLine > p.line || (p.endLine === p.line && p.endColumn > p.column)).toBe(true)
    expect(p.message).not.toContain('undefined')
  }
}

test('a config that the schema rejects, or that lacks a required key, never reaches validateConfig of a plugin', async () => {
  const step = (text: string): string => `name: n\nsources: [{ kafka: false }]\ntransforms:\n  - bars: ${text}\nsinks: [{ stdout: {} }]\n`
  for (const text of ['{ .interval: 1m, "(": 1 }', '.{ interval: 1m, on_late: dlq }', '{ intervall: 1m }']) {
    const messages = (await loadText('p.yaml', step(text), { env: {} })).problems.map(p => p.message)
    expect(messages.length).toBeGreaterThan(0)
    expect(messages.join('\n')).not.toMatch(/has to be corrected|undefined/)
  }
})
