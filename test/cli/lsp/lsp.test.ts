/** `runner lsp` as an editor uses it: over standard input and output, with edits that are not saved. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadText } from '../../../src/config/load.ts'
import { eventually as waitFor } from '../../support/eventually.ts'
import { tempDir } from '../../support/runner.ts'
import { applied, Editor, positionIn } from './client.ts'
import type * as Lsp from 'vscode-languageserver-protocol'

const SOURCE = `  - generate: { fields: { symbol: { choice: [a, b] }, price: { walk: { start: 1.0, step: 0.1 } } } }`
const file = (transforms: string, sinks = '  - stdout: {}', more = ''): string =>
  `name: p\nsources:\n${SOURCE}\ntransforms:\n${transforms}\nsinks:\n${sinks}\n${more}`

const SHARED = `clean:
  parameters:
    above: number
  steps:
    - filter: price > param.above
`
const PLUGIN = `import { writeFileSync } from 'node:fs'
console.log('a plugin prints on standard output')
writeFileSync(new URL('./loaded', import.meta.url), '')
export default { kind: 'transform', type: 'own', schema: { type: 'object', additionalProperties: false, properties: { depth: { type: 'integer', description: 'How deep.' } } }, create: () => ({ process: () => {} }) }
`

const eventually = (check: () => void): Promise<void> => waitFor(check, { timeout: 20_000, interval: 10 })

let editor: Editor
let folder: string
let count = 0
/** A name that no other test uses. */
const fresh = (): string => `f${++count}.yaml`

beforeAll(async () => {
  folder = tempDir({ 'shared.yaml': SHARED, 'own.ts': PLUGIN, '.env': 'ONLY_IN_ENV_FILE=x\n', 'hook.txt': 'secret' })
  editor = await Editor.start(folder, { env: { LSP_TEST_TOKEN: 'hunter2-canary', ONLY_IN_ENV_FILE: undefined } })
})
afterAll(async () => {
  expect(await editor.shutdown()).toBe(0)
  expect(editor.stderr).toBe('')
})

describe('problems', () => {
  test('are those of validate, with range, code and suggestion, for the text that is not saved', async () => {
    const name = fresh()
    const wrong = file('  - filtr: price > 0')
    const found = await editor.check(name, wrong)
    const { problems } = await loadText(join(folder, name), wrong, { env: {} })
    expect(found).toHaveLength(problems.length)
    expect(found[0]).toMatch(/^4:4-4:9 CONFIG_UNKNOWN_PLUGIN there is no transform filtr; .*\(did you mean: filter\)$/)
    expect(existsSync(join(folder, name))).toBe(false)
    expect(await editor.check(name, file('  - filter: price > 0'))).toEqual([])
    expect(await editor.check(name, 'name: [')).toEqual([expect.stringContaining('CONFIG_YAML')])
  })

  test.each([
    ['a surrogate pair before the position', file('  - map: { fields: { "😀": price, b: prce } }'), 'prce'],
    ['CRLF', file('  - filter: prce > 0').replaceAll('\n', '\r\n'), 'prce'],
    ['a block of several lines', file('  - filter: >-\n      price > 0\n      && prce > 1'), 'prce'],
  ])('have UTF-16 columns: %s', async (_, text, word) => {
    const [problem] = await editor.check(fresh(), text)
    const start = positionIn(text, text.indexOf(word))
    const end = positionIn(text, text.indexOf(word) + word.length)
    expect(problem).toContain(`${start.line}:${start.character}-${end.line}:${end.character} CONFIG_NO_FIELD`)
  })

  test('of a shared file are shown in the shared file, and follow its unsaved text', async () => {
    const name = fresh()
    await editor.open('shared.yaml', SHARED)
    const use = file('  - use: ./shared.yaml#clean\n    with: { above: 1 }')
    expect(await editor.check(name, use)).toEqual([])
    await editor.edit('shared.yaml', SHARED.replace('price >', 'prce >'))
    await eventually(() => expect(editor.problems('shared.yaml')).toEqual([expect.stringContaining('4:14-4:18 CONFIG_NO_FIELD')]))
    expect(editor.problems(name)).toEqual([])
    await editor.edit('shared.yaml', SHARED.replace('above', 'below'))
    const unknown = expect.stringMatching(/^5:12-5:17 CONFIG_USE unknown parameter above/)
    await eventually(() => expect(editor.problems(name)).toEqual(expect.arrayContaining([unknown])))
    await editor.edit('shared.yaml', SHARED)
    await eventually(() => expect([editor.problems(name), editor.problems('shared.yaml')]).toEqual([[], []]))
    await editor.close(name)
  })

  test('of a test file are shown, also if its pipeline is not saved', async () => {
    await editor.check('flow.yaml', file('  - filter: { condition: price > 0 }\n    name: positive', '  - stdout: {}\n    name: out'))
    const text = 'tests:\n  - name: t\n    expect:\n      outputs: { ot: [] }\n'
    expect(await editor.check('flow.test.yaml', text)).toEqual([expect.stringMatching(/^3:17-3:19 CONFIG_VALUE .*did you mean: out/)])
    await editor.close('flow.yaml')
    await editor.close('flow.test.yaml')
  })

  test.each([
    ['compose.yml', 'services:\n  web:\n    image: x\n'],
    ['schema.yml', 'version: 2\nsources:\n  - name: raw\n'],
    ['workflow.yaml', 'on: push\njobs: {}\n'],
  ])('are not reported for other files: %s', async (name, text) => {
    expect(await editor.check(name, text)).toEqual([])
    await editor.close(name)
  })

  test('of an edit during the first check are shown', async () => {
    const names = Array.from({ length: 8 }, fresh)
    // The edit arrives at another moment of the check each time.
    for (const [requests, name] of names.entries()) {
      await editor.open(name, file('  - filter: price > 0\n'.repeat(400)))
      for (let i = 0; i < requests; i++) await editor.request('textDocument/documentSymbol', { textDocument: { uri: editor.uri(name) } })
      await editor.edit(name, file('  - filter: prce > 0'))
    }
    for (const name of names) await eventually(() => expect(editor.problems(name)).toEqual([expect.stringContaining('CONFIG_NO_FIELD')]))
    for (const name of names) await editor.close(name)
  })

  test('go with the document', async () => {
    const name = fresh()
    expect(await editor.check(name, 'name: x\nsources: []\n')).not.toEqual([])
    await editor.close(name)
    await eventually(() => expect(editor.problems(name)).toEqual([]))
  })

  test.each([
    ['long', () => `name: x\nsources:\n${'  - stdin: {}\n'.repeat(72_000)}`],
    ['long line', () => `name: x\nsources: [${'a, '.repeat(330_000)}]`],
    ['deep', () => `name: x\nsources: ${'['.repeat(500_000)}`],
    ['wide scalar', () => `name: x\nsources: "${'x'.repeat(990_000)}"`],
    ['many references', () => `name: x\nsources:\n  - kafka: { topics: ["${'${A}'.repeat(10_000)}"] }`],
  ])('a hostile text of a megabyte is answered: %s', async (_, make) => {
    const name = fresh()
    const text = make()
    expect(await editor.check(name, text)).not.toEqual([])
    const at = { textDocument: { uri: editor.uri(name) }, position: { line: 1, character: 12 } }
    await editor.request('textDocument/completion', at)
    await editor.request('textDocument/hover', at)
    await editor.request('textDocument/documentSymbol', at)
    await editor.close(name)
  })
})

describe('completion', () => {
  const name = 'complete.yaml'
  test.each<[string, string, readonly string[], string?]>([
    ['top-level keys', file('') + 'deli|', ['delivery', 'dlq', 'retry'], 'delivery: '],
    ['plugins of the section', file('  - |'), ['filter', 'bars', 'when', 'use']],
    ['the plugin of a step with settings', file('  - fil|: price > 0'), ['filter']],
    ['keys of a plugin', file('  - dedupe:\n      key: symbol\n      |'), ['ttl']],
    ['keys in a flow map', file('  - dedupe: { key: symbol, t| }'), ['ttl'], 'ttl: '],
    ['keys above others', file('  - dedupe:\n      |\n      key: symbol'), ['ttl']],
    ['enum values', file('') + 'delivery: |', ['at_least_once', 'exactly_once'], 'exactly_once'],
    ['booleans', file('') + 'metrics: { enabled: | }', ['true', 'false']],
    ['fields', file('  - filter: |'), ['symbol', 'price', 'round('], 'price'],
    ['fields in a call that is not closed', file('  - filter: round(pr|'), ['symbol', 'price']],
    ['fields in a longer expression', file('  - filter: price > 1.0 && sy|'), ['symbol'], 'price > 1.0 && symbol'],
    ['fields of a nested value', file('  - map: { fields: { q: value } }\n  - filter: q.|'), ['symbol', 'price'], 'q.price'],
    ['fields of an element', file('  - map: { fields: { q: "[value]" } }\n  - filter: q.exists(x, x.|)'), ['symbol', 'price']],
    ['methods', file('  - filter: symbol.|'), ['upper(', 'startsWith(']],
    ['settings that are fields', file('  - dedupe: { key: symbol }\n  - unnest: { field: | }'), ['symbol', 'price']],
    ['parts of meta', file('  - filter: meta.|'), ['key', 'time', 'topic']],
    ['variables in an expression', file('  - filter: env.|'), ['LSP_TEST_TOKEN']],
    ['variables', file('', '  - kafka: { topic: "${LSP_|}" }'), ['LSP_TEST_TOKEN'], '${LSP_TEST_TOKEN}'],
    [
      'ports',
      file('  - validate: { schema: { type: object }, on_invalid: port }\n    name: check', '  - stdout: {}\n    from: |'),
      ['check.invalid'],
      'from: check.invalid',
    ],
    ['plugins in a branch', file('  - route:\n      - name: a\n        steps:\n          - fil|'), ['filter', 'bars']],
    [
      'fields in a branch',
      file('  - route: [{ name: a, steps: [{ map: { fields: { q: value } } }, { filter: q.| }] }]'),
      ['price'],
      'q.price',
    ],
    ['sinks of a branch', file('  - route: [{ name: a, to: | }]', '  - stdout: {}\n    name: out'), ['out']],
    [
      'sources',
      file('  - join_latest: { source: |, key: symbol, as: other }').replace('  - generate', '  - name: prices\n    generate'),
      ['prices'],
    ],
    ['parts of shared files', file('  - use: |'), ['./shared.yaml#clean']],
    ['parts of one shared file', file('  - use: ./shared.yaml#c|'), ['./shared.yaml#clean'], 'use: ./shared.yaml#clean'],
    ['parts of this file', file('  - use: |') + 'x-mine: { filter: price > 0 }\n', ['#x-mine'], 'use: "#x-mine"'],
    ['parameters', file('  - use: ./shared.yaml#clean\n    with: { | }'), ['above'], 'above: '],
    ['the common keys of a sink', file('', '  - stdout: {}\n    |'), ['from', 'when', 'name']],
    ['keys behind an error', `broken: "a\n${file('')}del|`, []],
    ['keys before an error', `${file('', '  - stdout: {}\n    w|')}x: [`, ['when']],
    ['after an emoji', file('  - map: { fields: { "😀": 1, b: pr| } }'), ['price'], 'b: price'],
    ['in a file with CRLF', file('  - filter: pr|').replaceAll('\n', '\r\n'), ['price']],
    ['in an empty file', '|', ['name', 'sources', 'sinks'], 'name: '],
  ])('%s', async (_, marked, expected, becomes) => {
    const found = await editor.complete(name, marked)
    expect([...found.keys()]).toEqual(expect.arrayContaining([...expected]))
    if (becomes !== undefined) expect([...found.values()].some(text => text.includes(becomes))).toBe(true)
    expect(JSON.stringify([...found])).not.toContain('hunter2')
  })

  test('offers no key twice, and no plugin in a step that has one', async () => {
    const found = [...(await editor.complete(name, file('  - filter: price > 0\n    |'))).keys()]
    expect(found).toEqual(expect.arrayContaining(['name', 'when', 'enabled']))
    expect(found).not.toEqual(expect.arrayContaining(['bars']))
    expect([...(await editor.complete(name, file('  - dedupe: { key: symbol, | }'))).keys()]).not.toContain('key')
  })

  test('in a test file: keys, and the names of steps', async () => {
    await editor.check('t.yaml', file('  - filter: { condition: price > 0 }\n    name: positive', '  - stdout: {}\n    name: out'))
    const keys = async (marked: string): Promise<string[]> => [...(await editor.complete('t.test.yaml', marked)).keys()]
    expect(await keys('tests:\n  - name: a\n    |')).toEqual(expect.arrayContaining(['steps', 'expect', 'stubs']))
    expect(await keys('tests:\n  - name: a\n    expect:\n      outputs:\n        |')).toEqual(expect.arrayContaining(['out', 'count']))
    expect(await keys('tests:\n  - name: a\n    steps:\n      - input: { | }')).toContain('generate')
    expect(await keys('tests:\n  - name: a\n    expect: { metrics: { | } }')).toEqual(expect.arrayContaining(['positive', 'out']))
  })
})

describe('hover', () => {
  test.each<[string, string, string]>([
    ['a key of the file', `${file('')}deliv|ery: exactly_once`, '**delivery**: `at_least_once`, `exactly_once`, default `at_least_once`'],
    ['a plugin', file('  - fil|ter: price > 0'), '**filter** (transform)'],
    ['a setting', file('  - dedupe: { ke|y: symbol }'), '**key**'],
    ['a field in an expression', file('  - filter: round(pri|ce) > 0'), 'price: number'],
    ['a field behind an emoji', file('  - filter: symbol != "😀" && pri|ce > 0'), 'price: number'],
    ['a nested field', file('  - map: { fields: { q: value } }\n  - filter: q.pri|ce > 0'), 'q.price: number'],
    ['a function', file('  - filter: rou|nd(price) > 0'), 'round(x)'],
    ['an operator', file('  - filter: price |> 0'), 'expression: boolean'],
    ['a variable', file('') + 'description: ${LSP_TEST|_TOKEN}', '**LSP_TEST_TOKEN**: set'],
  ])('%s', async (_, marked, text) => {
    const found = await editor.hover('hover.yaml', marked)
    expect(found).toContain(text)
    expect(found).not.toContain('hunter2')
  })
})

describe('go to definition', () => {
  test.each<[string, string, string]>([
    ['use', file('  - use: ./shared.yaml#cl|ean\n    with: { above: 1 }'), 'shared.yaml:0:0'],
    ['use of this file', file('  - use: "#x-mi|ne"') + 'x-mine: { filter: price > 0 }', 'def.yaml:7:0'],
    ['a parameter', file('  - use: ./shared.yaml#clean\n    with: { abo|ve: 1 }'), 'shared.yaml:2:4'],
    [
      'a port',
      file('  - validate: { schema: { type: object }, on_invalid: port }\n    name: check', '  - stdout: {}\n    from: che|ck.invalid'),
      'def.yaml:5:10',
    ],
    [
      'a step without a name',
      file('  - validate: { schema: { type: object }, on_invalid: port }', '  - stdout: {}\n    from: vali|date.invalid'),
      'def.yaml:4:4',
    ],
  ])('%s', async (_, marked, place) => {
    expect(await editor.definition('def.yaml', marked)).toBe(place)
  })

  test('a parameter in the shared file, and a step in a test file', async () => {
    expect(await editor.definition('shared.yaml', SHARED.replace('param.above', 'param.abo|ve'))).toBe('shared.yaml:2:4')
    await editor.check('d.yaml', file('  - filter: price > 0', '  - stdout: {}\n    name: out'))
    expect(await editor.definition('d.test.yaml', 'tests:\n  - name: t\n    expect: { outputs: { ou|t: [] } }\n')).toBe('d.yaml:7:10')
  })
})

describe('rename of a step', () => {
  const pipeline = file(
    '  - validate: { schema: { type: object }, on_invalid: port }\n    name: ch|eck\n  - filter: meta.source == "check"',
    '  - stdout: {}\n    name: out\n  - stdout: {}\n    from: check.invalid',
    'endpoints: [{ path: /s, port: 8090, body: { n: steps.check.out } }]\n',
  )
  test('changes all references, also in the tests beside it', async () => {
    await editor.open('r.test.yaml', 'tests:\n  - name: check\n    expect:\n      metrics: { check: { in: 1 }, "x{step=\\"a\\"}": 1 }\n')
    const files = await editor.rename('r.yaml', pipeline, 'schema')
    expect(files['r.yaml']).toBe(
      pipeline
        .replace('|', '')
        .replace('name: check', 'name: schema')
        .replace('check.invalid', 'schema.invalid')
        .replace('"check"', '"schema"')
        .replace('steps.check', 'steps.schema'),
    )
    expect(files['r.test.yaml']).toContain('metrics: { schema: { in: 1 }')
    expect(files['r.test.yaml']).toContain('name: check')
  })

  test('changes the names of steps in branches, and a branch its sink', async () => {
    const steps =
      '  - route: [{ name: large, steps: [{ validate: { schema: { type: object }, on_invalid: port }, name: inner }], to: out }]\n    name: sizes'
    const sinks = '  - stdout: {}\n    name: out\n  - stdout: {}\n    from: sizes/large/inner.invalid'
    const text = file(steps, sinks)
    const at = async (word: string, name: string): Promise<string> =>
      (await editor.rename('route.yaml', text.replace(word, `|${word}`), name))['route.yaml']
    expect(await at('inner }]', 'check')).toBe(text.replaceAll('inner', 'check'))
    expect(await at('inner.invalid', 'check')).toBe(text.replaceAll('inner', 'check'))
    expect(await at('sizes/large', 'parts')).toBe(text.replaceAll('sizes', 'parts'))
    expect(await at('out }]', 'end')).toBe(text.replaceAll('out\n', 'end\n').replace('to: out', 'to: end'))
  })

  test.each([
    ['a name that is taken', 'out', 'has a step out already'],
    ['a name that is not one', 'A b', 'not a name of a step'],
  ])('is refused for %s', async (_, name, why) => {
    await expect(editor.rename('r.yaml', pipeline, name)).rejects.toThrow(why)
  })

  test.each([
    ['the name of a plugin', file('  - filter: price > 0\n  - filter: price > 1', '  - st|dout: {}'), 'only names of steps'],
    [
      'a step without a name',
      file('  - validate: { schema: { type: object }, on_invalid: port }', '  - stdout: {}\n    from: vali|date.invalid'),
      'from its plugin',
    ],
    [
      'a name that another step would get',
      file('  - filter: price > 0\n    name: fil|ter\n  - filter: price > 1'),
      'would be called filter',
    ],
  ])('is refused for %s', async (_, marked, why) => {
    await expect(editor.rename('refused.yaml', marked, 'other')).rejects.toThrow(why)
  })
})

test('symbols: the steps with their names', async () => {
  const text = file('  - filter: price > 0\n    name: positive', '  - stdout: {}', 'dlq: { stdout: {} }\n')
  await editor.open('symbols.yaml', text)
  const found = await editor.request<Lsp.DocumentSymbol[]>('textDocument/documentSymbol', {
    textDocument: { uri: editor.uri('symbols.yaml') },
  })
  const flat = (list: readonly Lsp.DocumentSymbol[]): string[] =>
    list.flatMap(s => [`${s.name} ${s.detail ?? ''}`.trim(), ...flat(s.children ?? [])])
  expect(flat(found)).toEqual(['sources', 'generate', 'transforms', 'positive filter', 'sinks', 'stdout', 'dlq'])
})

test('formatting is that of runner fmt, and a file that is not valid is refused', async () => {
  const format = async (name: string, text: string): Promise<string> => {
    await editor.open(name, text)
    const params = { textDocument: { uri: editor.uri(name) }, options: { tabSize: 4, insertSpaces: true } }
    return applied(text, await editor.request<Lsp.TextEdit[]>('textDocument/formatting', params))
  }
  const untidy = `sinks:\n    -   stdout: {}\nname:   p # kept 😀\nsources: [ {stdin: {}} ]\n`
  const { formatYaml } = await import('../../../src/cli/fmt/format.ts')
  expect(await format('untidy.yaml', untidy)).toBe(formatYaml(untidy))
  expect(await format('crlf.yaml', untidy.replaceAll('\n', '\r\n'))).toBe(formatYaml(untidy))
  await expect(format('bad.yaml', 'name: p\nsources: [\nsinks: []\n')).rejects.toThrow('not valid YAML')
  await expect(format('docker.yaml', 'services: {}\n')).rejects.toThrow('not a file of pipeline-runner')
})

test.each([
  ['a plugin', file('  - filtr: price > 0'), 'filtr', 'filter'],
  ['a field behind an emoji', file('  - filter: symbol != "😀" && prce > 0'), 'prce', 'price'],
  ['a value with CRLF', `${file('')}delivery: exactly-once\n`.replaceAll('\n', '\r\n'), 'exactly-once', 'exactly_once'],
])('a quick fix writes the suggestion: %s', async (_, text, wrong, right) => {
  const name = fresh()
  await editor.check(name, text)
  const diagnostic = editor.diagnostics(name).find(d => String(d.message).includes(right))!
  const params = { textDocument: { uri: editor.uri(name) }, range: diagnostic.range, context: { diagnostics: [diagnostic] } }
  const actions = await editor.request<Lsp.CodeAction[]>('textDocument/codeAction', params)
  expect(actions.map(a => a.title)).toEqual([`write ${right}`])
  expect(applied(text, actions[0].edit!.changes![editor.uri(name)])).toBe(text.replace(wrong, right))
})

describe('trust', () => {
  const name = 'own.yaml'
  const text = `name: p\nplugins: [./own.ts]\nsources:\n${SOURCE}\ntransforms:\n  - own: { dept: 1 }\nsinks:\n  - file: { path: "\${file:hook.txt}" }\n`

  test('without it, no code is loaded and no file is read', async () => {
    const problems = await editor.check(name, text)
    expect(problems).toEqual([
      expect.stringContaining('not loaded with --no-plugins'),
      expect.stringContaining('not read with --no-plugins'),
    ])
    expect(existsSync(join(folder, 'loaded'))).toBe(false)
    expect([...(await editor.complete(name, `${text}description: \${ONLY|}`)).keys()]).not.toContain('ONLY_IN_ENV_FILE')
    expect(await editor.definition('out.yaml', file('  - use: ../../../../etc/x.ya|ml#a'))).toBeUndefined()
  })

  test('with plugins: true, plugins are checked and completed; what they print does not reach the protocol', async () => {
    const trusted = await Editor.start(folder, { plugins: true, env: { ONLY_IN_ENV_FILE: undefined } })
    expect(await trusted.check(name, text)).toEqual([
      expect.stringMatching(/^5:11-5:15 CONFIG_UNKNOWN_KEY unknown key dept.*did you mean: depth/),
    ])
    expect(existsSync(join(folder, 'loaded'))).toBe(true)
    expect([...(await trusted.complete(name, text.replace('{ dept: 1 }', '{ | }'))).keys()]).toContain('depth')
    expect([...(await trusted.complete(name, `${text}description: \${ONLY|}`)).keys()]).toContain('ONLY_IN_ENV_FILE')
    expect(trusted.stderr).toContain('a plugin prints on standard output')
    await trusted.notify('exit')
    expect(await trusted.exited).toBe(1)
  })
})

test('a request for a document that is not open, or not a file, has no result', async () => {
  for (const uri of ['untitled:Untitled-1', editor.uri('none.yaml'), 'file:///%00'])
    expect(await editor.request('textDocument/hover', { textDocument: { uri }, position: { line: 0, character: 0 } })).toBeNull()
  writeFileSync(join(folder, 'later.yaml'), '')
})

test('ends with 1 if the connection closes without shutdown', async () => {
  const other = await Editor.start(folder)
  other.process.stdin.end()
  expect(await other.exited).toBe(1)
})
