/** The tables of error codes, their uses and their page match, in both directions. */
import { globSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CODES } from '../../src/config/codes.ts'
import { type ErrorDoc, ERRORS, typeOfCode } from '../../src/contract/error-codes.ts'
import * as contract from '../../src/contract/plugin.ts'
import { exitCodeOf } from '../../src/kit/exit-codes.ts'
import { errorType } from '../../src/kit/dead-letter/dead-letters.ts'

const root = resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(resolve(root, file), 'utf8')
const TABLES = ['src/config/codes.ts', 'src/contract/error-codes.ts']
const sources = globSync('src/**/*.ts', { cwd: root })
  .filter(f => !TABLES.includes(f) && !f.startsWith('src/generated'))
  .map(f => [f, read(f)] as const)
const page = read('docs/errors.md')
/** Code => the files that use it. */
function used(pattern: RegExp): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const [file, text] of sources) for (const [, code] of text.matchAll(pattern)) found.set(code, [...(found.get(code) ?? []), file])
  return found
}
const docs = Object.entries(ERRORS) as [string, ErrorDoc][]

test.each([
  ['CONFIG_', CODES, /'(CONFIG_[A-Z_]+)'/g],
  ['PIPE_', ERRORS, /'(PIPE_[A-Z_]+)'/g],
] as const)('%s: every code in use is in the table, and vice versa', (_, table, pattern) => {
  const found = used(pattern)
  expect([...found.keys()].sort()).toEqual(Object.keys(table).sort())
})

test('the page lists every code once, in the order of the tables', () => {
  expect([...page.matchAll(/^### ((?:CONFIG|PIPE)_\w+)$/gm)].map(m => m[1])).toEqual([...Object.keys(CODES), ...Object.keys(ERRORS)])
})

/** The arguments of each class, for an instance. */
const classes = Object.entries(contract as Record<string, unknown>).filter(
  (e): e is [string, new (...args: any[]) => contract.PipelineError] =>
    typeof e[1] === 'function' && e[1].prototype instanceof contract.PipelineError,
)
describe.each(classes)('%s', (name, Class) => {
  const error = name === 'BatchError' ? new Class(new Map([[0, new Error('x')]])) : new Class('x')
  const doc = (ERRORS as Record<string, ErrorDoc>)[error.code]
  test('matches the table', () => {
    expect({ class: name, retryable: error.retryable, exit: exitCodeOf(error) }).toEqual({
      class: doc.class,
      retryable: doc.retryable,
      exit: doc.exit,
    })
  })
})

test('every class of the table exists, and only its code uses it', () => {
  const own = docs.map(([, d]) => d.class).filter(c => c !== 'PipelineError')
  expect(new Set(own).size).toBe(own.length)
  const defined = sources.flatMap(([, text]) => [...text.matchAll(/class (\w+) extends (?:Pipeline|Environment)Error/g)].map(m => m[1]))
  for (const name of own) expect(defined, name).toContain(name)
})

test('error types: dead letters use exactly the types in the table of the page', () => {
  const listed = [...page.slice(page.indexOf('## Error types')).matchAll(/^\| `(\w+)` \|/gm)].map(m => m[1])
  const made = docs.filter(([code, d]) => d.ends === 'record' && code !== 'PIPE_BATCH').map(([code]) => typeOfCode(code))
  expect(listed).toEqual(made)
  expect(errorType(new contract.DecodeError('x'))).toBe('decode')
  expect(errorType(new TypeError('x'))).toBe('TypeError')
  // The types that pipelines and their documentation expect in dead letters.
  const files = ['pipelines', 'examples', 'docs/guide', 'docs/flows'].flatMap(f => globSync(`${f}/**/*.{yaml,md}`, { cwd: root }))
  const expected = files.flatMap(f => [...read(f).matchAll(/error_type: ([a-z_]+)/g)].map(m => [m[1], f] as const))
  expect(expected.length).toBeGreaterThan(5)
  for (const [type, file] of expected) expect(listed, file).toContain(type)
})
