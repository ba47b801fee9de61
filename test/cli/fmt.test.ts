/** `runner fmt`: one form, with the values and comments of the original. */
import { globSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { parse, parseDocument } from 'yaml'
import { fmt } from '../../src/cli/fmt.ts'
import { formatYaml } from '../../src/cli/fmt/format.ts'
import { parseText } from '../../src/config/parse.ts'
import { Problems } from '../../src/config/problems.ts'
import { SourceText } from '../../src/config/tree.ts'
import { tempDir } from '../support/runner.ts'

const ROOT = join(import.meta.dirname, '../..')
const files = globSync(['pipelines/**/*.yaml', 'topics/*.yaml', 'examples/**/*.yaml', 'test/**/*.yaml'], {
  cwd: ROOT,
  exclude: ['**/node_modules'],
}).map(file => [file, readFileSync(join(ROOT, file), 'utf8')] as const)
/** Blocks of the documentation that are YAML by themselves. */
const blocks = globSync(['docs/**/*.md', 'README.md'], { cwd: ROOT }).flatMap(file =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text], i) => [`${file} ${i}`, text] as const),
)
const valid = [...files, ...blocks].filter(([name, text]) => {
  const problems = new Problems()
  parseText(new SourceText(name, text), problems)
  return problems.list().length === 0
})
const values = (text: string): unknown => parse(text, { intAsBigInt: true, logLevel: 'silent' })

test('all files and all recipes: formatting twice is formatting once, and no value changes', () => {
  expect(valid.length).toBeGreaterThan(150)
  for (const [name, text] of valid) {
    const once = formatYaml(text)
    expect(formatYaml(once), name).toBe(once)
    expect(values(once), name).toEqual(values(text))
  }
})

test('the layout of the original does not matter', () => {
  for (const [name, text] of valid.filter(([, text]) => !text.includes('#') && !/[|>][+-]?\n/.test(text))) {
    const once = formatYaml(text)
    const wide = parseDocument(once, { schema: 'failsafe' }).toString({ indent: 6, lineWidth: 0, flowCollectionPadding: false })
    expect(formatYaml(wide.replaceAll('\n', '  \r\n')), name).toBe(once)
  }
})

describe('text', () => {
  test.each<[string, string, string]>([
    [
      'top-level keys have the order of the reference',
      'sinks: [{ stdout: {} }]\nsources: [{ stdin: {} }]\nname: a\n',
      'name: a\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\n',
    ],
    [
      'a comment goes with its key',
      '# the file\n\nsinks: [a] # out\n# in\nsources: [b]\n',
      '# the file\n\n# in\nsources: [b]\nsinks: [a] # out\n',
    ],
    [
      'numbers and quotes keep their text',
      'a: [1.10, 0x1F, \'1\', "b", 1e3, ~, 123456789012345678901234567890]\n',
      'a: [1.10, 0x1F, \'1\', "b", 1e3, ~, 123456789012345678901234567890]\n',
    ],
    ['a flow map on several lines is a block', 'a: {\n  b: 1, # one\n  c: { d: 2 }\n}\n', 'a:\n  b: 1 # one\n  c: { d: 2 }\n'],
    [
      'literal text keeps its lines',
      'a:\n    b: |-\n        one\n          two\n\n        three\n    c: 1\n',
      'a:\n  b: |-\n    one\n      two\n\n    three\n  c: 1\n',
    ],
    ['kept line ends of literal text', 'a: |+\n   x\n\n\nb: 1\n', 'a: |+\n  x\n\n\nb: 1\n'],
    ['an empty value stays empty', 'a:\nb: \n  c:\n', 'a:\nb:\n  c:\n'],
    ['anchors keep the order', 'sinks: [&a b]\nsources: [*a]\n', 'sinks: [&a b]\nsources: [*a]\n'],
    ['several blank lines are one', 'a: 1\n\n\n\nb: 2', 'a: 1\n\nb: 2\n'],
  ])('%s', (_, text, expected) => {
    expect(formatYaml(text)).toBe(expected)
    expect(formatYaml(expected)).toBe(expected)
  })
})

describe('command', () => {
  afterEach(() => void vi.restoreAllMocks())

  async function run(args: string[], flags: Parameters<typeof fmt>[1] = {}) {
    const out: string[] = []
    vi.spyOn(process.stdout, 'write').mockImplementation(text => out.push(String(text)) > 0)
    vi.spyOn(process.stderr, 'write').mockImplementation(text => out.push(String(text)) > 0)
    return { code: await fmt(args, flags), out: out.join('') }
  }

  test('writes, --check and --json', async () => {
    const dir = tempDir({ 'a.yaml': 'a:   1\n', 'b.yaml': 'a: 1\n', 'c.yaml': 'a: [\n' })
    const [a, b, c] = ['a', 'b', 'c'].map(name => join(dir, `${name}.yaml`))
    expect(await run([a, b], { check: true })).toEqual({ code: 4, out: `✗ FAILED  ${a} is not formatted; run: runner fmt ${a}\n` })
    expect(readFileSync(a, 'utf8')).toBe('a:   1\n')
    expect(await run([a, b])).toEqual({ code: 0, out: `✓ ok      ${a}: formatted\n` })
    expect(readFileSync(a, 'utf8')).toBe('a: 1\n')
    expect(await run([a, b], { check: true })).toEqual({ code: 0, out: '' })
    writeFileSync(a, 'a:  1\n')
    const { code, out } = await run([a, b], { json: true })
    expect([code, JSON.parse(out)]).toEqual([
      0,
      {
        ok: true,
        files: [
          { file: a, status: 'formatted' },
          { file: b, status: 'unchanged' },
        ],
      },
    ])
    expect(await run([c], { json: true })).toEqual({ code: 2, out: expect.stringContaining('"ok": false') })
    // Each file has its outcome, an invalid one too.
    expect((await run([a, c], { json: true })).out).toMatch(
      /"status": "unchanged"[^]*"status": "invalid",\s+"problems": \[\s+\{[^]*"line": \d/,
    )
    const wrong = await run([c, join(dir, 'none.yaml')])
    expect(wrong).toEqual({ code: 3, out: expect.stringContaining(`${c}:`) })
  })
})

test('no module imports another entry of the bundled library', () => {
  // It would be a second copy in the package, whose classes are not those of the first.
  const src = join(import.meta.dirname, '../../src')
  const found = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(
    file =>
      file.endsWith('.ts') &&
      /^import (?!type\b)[^;]*? from '(?:yaml|commander)\//ms.test(
        readFileSync(join(src, file), 'utf8').replaceAll(/^import type .*$/gm, ''),
      ),
  )
  expect(found).toEqual([])
})
