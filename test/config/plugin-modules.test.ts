/** Plugins from folders without node_modules, with another module system, and from npm packages; each loaded through the command, as users start it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ENTRIES } from '../../src/config/plugin-modules.ts'
import { runRunner, tempDir } from '../support/runner.ts'

const PLUGIN = `
import { DataError, defineTransform } from 'pipeline-runner'
import { off } from './off.ts'
export default defineTransform<{ percent: number }>({
  type: 'discount',
  schema: { type: 'object', additionalProperties: false, properties: { percent: { type: 'number', default: 10 } } },
  create: ({ percent }: { percent: number }) => ({
    process(messages, out): void {
      for (const m of messages) {
        const { price } = m.value as { price?: number }
        if (typeof price !== 'number') out.fail(m, new DataError('price is missing'))
        else out.emit(m.derive({ price: off(price, percent) }))
      }
    },
  }),
})
`
const OFF = 'export const off = (price: number, percent: number): number => (price * (100 - percent)) / 100\n'
/** The same without types, in one file. */
const JAVASCRIPT = stripTypeScriptTypes(PLUGIN.replace(/import { off.*/, OFF))
const COMMONJS = JAVASCRIPT.replace(/import (.*) from (.*)/, 'const $1 = require($2)')
  .replace(/export (const)/, '$1')
  .replace('export default', 'module.exports =')

const pipeline = (plugin: string, more = '') => `name: p
plugins: [${plugin}]
sources: [{ file: { path: in.jsonl } }]
transforms: [{ discount: {} }]
sinks: [{ stdout: {} }${more}]
dlq: { file: { path: dlq.jsonl, envelope: true } }
`

function folder(files: Record<string, string>): string {
  const dir = tempDir({ 'in.jsonl': '{"price":10}\n{}\n' })
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), text)
  }
  return dir
}

/** The plugin works, and its DataError is the class of the runner. */
async function works(files: Record<string, string>): Promise<void> {
  const cwd = folder(files)
  const { code, stdout, stderr } = await runRunner(['run', 'p.yaml', '--log-level', 'warn'], { cwd })
  expect([code, stdout, stderr]).toEqual([0, '{"price":9}\n', ''])
  expect(JSON.parse(readFileSync(join(cwd, 'dlq.jsonl'), 'utf8')).headers).toMatchObject({
    error_type: 'data',
    error_message: 'price is missing',
  })
}

/** The output of `validate` for a plugin that cannot be loaded: one problem, at the item of `plugins:`. */
async function problem(files: Record<string, string>, plugin: string, more?: string): Promise<string> {
  const cwd = folder({ ...files, 'p.yaml': pipeline(plugin, more) })
  const { code, stdout } = await runRunner(['validate', 'p.yaml', '--format', 'json'], { cwd })
  const { problems } = JSON.parse(stdout).files[0]
  expect(problems.map((p: any) => [p.line, p.column, p.code])).toEqual([[2, 11, 'CONFIG_PLUGIN_FILE']])
  expect(code).toBe(2)
  return problems[0].message.replaceAll(cwd, '<cwd>')
}

const p = { 'p.yaml': pipeline('./discount.ts') }
const acme = (files: Record<string, string>, manifest: object): Record<string, string> => ({
  'p.yaml': pipeline('"@acme/discount"'),
  ...Object.fromEntries(Object.entries(files).map(([name, text]) => [`node_modules/@acme/discount/${name}`, text])),
  'node_modules/@acme/discount/package.json': JSON.stringify({ name: '@acme/discount', ...manifest }),
})

describe('a plugin loads', () => {
  test('from TypeScript, without package.json and node_modules', () => works({ ...p, 'discount.ts': PLUGIN, 'off.ts': OFF }))
  test('from TypeScript in a commonjs package', () =>
    works({ ...p, 'package.json': '{"type":"commonjs"}', 'discount.ts': PLUGIN, 'off.ts': OFF }))
  test('from ESM syntax in a .js file of a commonjs package', () =>
    works({ 'p.yaml': pipeline('discount.js'), 'package.json': '{"type":"commonjs"}', 'discount.js': JAVASCRIPT }))
  test('from CommonJS that requires the runner', () =>
    works({ 'p.yaml': pipeline('./discount.js'), 'package.json': '{"type":"commonjs"}', 'discount.js': COMMONJS }))
  test('from a package with an import condition only', () =>
    works(acme({ 'i.js': JAVASCRIPT }, { type: 'module', exports: { import: './i.js' } })))
  test('from a package next to the runner, if there is none next to the pipeline', async () => {
    // It is found but is not a plugin: a dependency of the runner.
    expect(await problem({}, 'yaml')).not.toMatch(/is not installed/)
    expect(await problem({}, 'yamlo')).toMatch(/is not installed/)
  })
  test('from a package compiled to CommonJS, as a list', () =>
    works(
      acme(
        {
          'i.js': `Object.defineProperty(exports, '__esModule', { value: true })\n${COMMONJS.replace('module.exports = ', 'exports.default = [')}]`,
        },
        { main: 'i.js' },
      ),
    ))
})

describe('a plugin that cannot be loaded gives one problem, at the item of plugins:, with the reason', () => {
  test.each([
    ['./discount.js', { 'discount.ts': PLUGIN }, './discount.js does not exist; did you mean discount.ts?'],
    ['discount.ts', {}, 'discount.ts does not exist'],
    [
      'discount',
      { 'discount.ts': PLUGIN },
      'discount is not installed: run `npm install discount` in <cwd>; for the file in the folder of the pipeline, write ./discount.ts',
    ],
    ['"@acme/discount/sub"', {}, '@acme/discount/sub is not installed: run `npm install @acme/discount` in <cwd>'],
    ['./lib', { 'lib/index.ts': PLUGIN }, './lib is a folder: write the path of the .ts or .js file that exports the plugin'],
    [
      './a.ts',
      { 'a.ts': 'import "./off"', 'off.ts': OFF },
      './a.ts does not load: it imports ./off, which does not exist; imports need the full file name: write ./off.ts (a.ts)',
    ],
    [
      './a.ts',
      { 'a.ts': 'import "lodash/x.js"' },
      './a.ts does not load: it imports lodash, which is not installed: run `npm install lodash` in <cwd>',
    ],
    [
      './a.ts',
      { 'a.ts': 'import "pipeline-runner/x"' },
      /^\.\/a\.ts does not load: it imports an entry of pipeline-runner that does not exist; the entries are pipeline-runner/,
    ],
    ['./a.ts', { 'a.ts': 'await new Promise(() => {})\n' }, './a.ts does not load: Error: a top-level await never settles (a.ts)'],
    [
      './a.ts',
      { 'a.ts': 'const a: number = 1\nconst b = = 2\n' },
      './a.ts does not load: the code is not valid from this position on: correct it (a.ts:2:11: "= 2")',
    ],
    [
      './a.js',
      { 'a.js': "import './b.js'\nexport default 1", 'b.js': 'export {}\n\nconst b = = 2\n' },
      /the code is not valid from this position on: correct it \(b\.js:3:11: "= 2"\)$/,
    ],
    [
      './a.ts',
      { 'package.json': '{"type":"commonjs"}', 'a.ts': 'export default 1\nenum A { X }\n' },
      /types are only removed: replace enum.* \(a\.ts:2:1: "enum A \{ X \}"\)$/,
    ],
    [
      './a.ts',
      { 'a.ts': "import { DataErrorr } from 'pipeline-runner'\n" },
      /it imports DataErrorr from 'pipeline-runner', which has no export of that name: correct the name \(a\.ts:1:10\)$/,
    ],
    [
      './a.ts',
      { 'a.ts': '\nconst o: any = undefined\no.x\n' },
      "./a.ts does not load: TypeError: Cannot read properties of undefined (reading 'x') (a.ts:3:3)",
    ],
    ['./a.ts', { 'a.ts': 'throw undefined' }, './a.ts does not load: it threw undefined'],
    ['./a.ts', { 'a.ts': 'export const x = 1' }, /^\.\/a\.ts has no default export: write `export default/],
    ['./a.ts', { 'a.ts': 'export default []' }, './a.ts has an empty list as its default export: put at least one plugin into it'],
    ['fs', {}, 'fs is a module of Node.js, not a plugin'],
    ['fs', { 'fs.ts': PLUGIN }, 'fs is a module of Node.js, not a plugin; for the file in the folder of the pipeline, write ./fs.ts'],
  ])('%s %#', async (plugin, files, message) => {
    const said = await problem(files as Record<string, string>, plugin)
    if (typeof message === 'string') expect(said).toBe(message)
    else expect(said).toMatch(message)
  })

  test.each([
    [`{ type: 'objekt' }`, '/type is "objekt": write object'],
    [`{ type: 'dictionary' }`, '/type is "dictionary": it must be object, array, string, number, integer, boolean, null'],
    [`{ properties: { a: { typ: 'string' } } }`, 'unknown keyword /properties/a/typ: write type'],
    [`{ properties: [] }`, '/properties is []: it must be a map of schemas'],
    [`{ items: { type: ['string', 'nul'] } }`, '/items/type is "nul": write null'],
    [`{ properties: { a: { format: 'durration' } } }`, '/properties/a/format is "durration", which is not a known format: write duration'],
    [`{ properties: { a: { pattern: '(' } } }`, /^\/properties\/a\/pattern is "\(": it must be a regular expression$/],
    [`{ properties: { a: { $ref: '#/$defs/b' } } }`, '/properties/a/$ref is "#/$defs/b", which is not in the schema'],
    [`{ required: 'a' }`, '/required is "a": it must be a list of names'],
  ])('a schema that does not compile: %s', async (schema, message) => {
    const plugin = `export default { kind: 'transform', type: 'discount', schema: ${schema}, create: () => ({ process() {} }) }`
    const said = (await problem({ 'a.ts': plugin }, './a.ts')).replace('the schema of transform discount does not compile: ', '')
    if (typeof message === 'string') expect(said).toBe(message)
    else expect(said).toMatch(message)
  })

  test('an empty name', async () => {
    const cwd = folder({ 'p.yaml': pipeline('""') })
    const { code, stdout } = await runRunner(['validate', 'p.yaml', '--format', 'json'], { cwd })
    const { problems } = JSON.parse(stdout).files[0]
    expect([code, problems.map((p: any) => [p.line, p.column, p.code])]).toEqual([2, [[2, 11, expect.not.stringContaining('PLUGIN_FILE')]]])
  })

  test('TypeScript below node_modules', async () => {
    const files = acme({ 'i.ts': PLUGIN, 'off.ts': OFF }, { exports: './i.ts' })
    expect(await problem(files, '"@acme/discount"')).toMatch(/^@acme\/discount is TypeScript in node_modules .*must publish JavaScript$/)
    expect(await problem(files, './node_modules/@acme/discount/i.ts')).toMatch(/is TypeScript in node_modules/)
  })

  test('no problem for steps that may belong to the plugin that was not loaded', async () => {
    expect(
      await problem({ 'discount.ts': 'export default {}' }, './discount.ts', ', { name: b, from: discount.rest, stdout: {} }'),
    ).toMatch(/^kind must be/)
  })
})

test('a plugin can import exactly the exports of the package', () => {
  const { exports } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  for (const entry of Object.keys(ENTRIES)) expect(Object.keys(exports)).toContain(entry.replace('pipeline-runner', '.'))
})

test('a plugin that exits the process while it loads is invalid', async () => {
  const cwd = tempDir({ 'p.yaml': pipeline('./a.ts'), 'a.ts': 'process.exit(0)\n' })
  const { code, stderr } = await runRunner(['validate', 'p.yaml'], { cwd })
  expect([code, stderr]).toEqual([2, 'error: ./a.ts calls process.exit while it loads: throw an error instead\n'])
})
