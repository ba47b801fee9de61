/** The public JSON-Schema-Test-Suite: every test passes, or its schema is rejected by a rule of the guide. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseJson } from '../../../src/contract/plugin.ts'
import { compileSchema } from '../../../src/transforms/validate/json-schema.ts'
import { tempDir } from '../../support/runner.ts'

interface Group {
  readonly description: string
  readonly schema: any
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[]
}

const data = join(import.meta.dirname, '../../suites/json-schema')
const DRAFTS = ['draft-07', '2019-09', '2020-12'] as const
type Draft = (typeof DRAFTS)[number]

/** The rows of the table in the guide, by their message. */
const RULES: readonly (readonly [RegExp, string])[] = [
  [/has no effect without/, 'Keyword without effect'],
  [/has no effect beside \$ref/, 'Keyword beside `$ref`'],
  [/unknown keyword/, 'Unknown keyword'],
  [/is a keyword of|is not in/, 'Keyword of another draft'],
  [/unknown format/, 'Unknown format'],
  [/^\$schema names/, 'Dialect of its own'],
]

let remotes: string
beforeAll(() => {
  remotes = tempDir()
  for (const [path, schema] of Object.entries(JSON.parse(readFileSync(join(data, 'remotes.json'), 'utf8')))) {
    mkdirSync(dirname(join(remotes, path)), { recursive: true })
    writeFileSync(join(remotes, path), JSON.stringify(schema))
  }
})

interface Result {
  right: number
  readonly wrong: string[]
  readonly refused: Map<string, number>
}

function results(draft: Draft, which: (file: string) => boolean): Result {
  const suite = parseJson(readFileSync(join(data, `${draft}.json`), 'utf8')) as Record<string, Group[]>
  const result: Result = { right: 0, wrong: [], refused: new Map() }
  for (const [file, groups] of Object.entries(suite)) {
    if (!which(file)) continue
    for (const { description, schema, tests } of groups) {
      // format.json expects that a format is only an annotation by default.
      const formats = file === 'format' ? 'ignore' : 'check'
      const compiled = compileSchema({ schema, formats, folder: '.', references: { 'http://localhost:1234/': remotes } })
      for (const t of tests) {
        const name = `${file}: ${description}: ${t.description}`
        if ('problem' in compiled) {
          const { message } = compiled.problem
          const rule = RULES.find(([words]) => words.test(message))?.[1] ?? `${name}: ${message}`
          result.refused.set(rule, (result.refused.get(rule) ?? 0) + 1)
        } else if ((compiled.validate(t.data) === undefined) === t.valid) result.right++
        else result.wrong.push(name)
      }
    }
  }
  return result
}

/** `| rule | 1 | 2 | 3 | advice |` of the guide, required and optional tests together. */
function documented(draft: Draft): Record<string, number> {
  const guide = readFileSync(join(import.meta.dirname, '../../../docs/guide/record-schemas.md'), 'utf8')
  const rows: Record<string, number> = {}
  for (const line of guide.split('\n')) {
    const cells = line.split('|').map(c => c.trim())
    if (RULES.some(([, rule]) => rule === cells[1])) rows[cells[1]] = Number(cells[2 + DRAFTS.indexOf(draft)])
  }
  return Object.fromEntries(Object.entries(rows).filter(([, n]) => n > 0))
}

describe.each(DRAFTS)('%s', draft => {
  const required = (file: string): boolean => !file.startsWith('optional/')

  test('all required tests pass', () => {
    const { right, wrong } = results(draft, required)
    expect(wrong).toEqual([])
    expect(right).toBe({ 'draft-07': 908, '2019-09': 1230, '2020-12': 1280 }[draft])
  })

  test('the only failing optional tests are those that the guide lists: content keywords are annotations', () => {
    const { right, wrong } = results(draft, file => !required(file))
    expect(wrong.filter(name => !name.startsWith('optional/content: '))).toEqual([])
    expect(wrong).toHaveLength(draft === 'draft-07' ? 4 : 0)
    expect(right).toBe({ 'draft-07': 780, '2019-09': 860, '2020-12': 867 }[draft])
  })

  test('schemas are rejected only by a rule of the guide, as often as the guide states', () => {
    const { refused } = results(draft, () => true)
    expect(Object.fromEntries(refused)).toEqual(documented(draft))
  })
})
