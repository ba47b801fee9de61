/** `runner types`: the records on each edge. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { types } from '../../src/cli/types.ts'
import { tempDir } from '../support/runner.ts'

const file = join(tempDir(), 'p.yaml')
const write = (transforms: string): void =>
  writeFileSync(
    file,
    `name: p\nsources:\n  - generate: { fields: { symbol: { value: A }, price: { sequence: 1 } } }\n${transforms}sinks:\n  - kafka: { topic: priced, brokers: embedded }\n`,
  )

afterEach(() => vi.restoreAllMocks())

async function run(flags: Parameters<typeof types>[1]): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' }
  vi.spyOn(process.stdout, 'write').mockImplementation(text => ((written.out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation(text => ((written.err += String(text)), true))
  return { code: await types(file, flags), ...written }
}

test('each edge, as text, TypeScript and JSON Schema', async () => {
  write('transforms:\n  - map: { keep: true, fields: { "a.b": symbol } }\n')
  expect(await run({})).toEqual({
    code: 0,
    err: '',
    out: 'generate -> map: {\n  symbol: string\n  price: number\n}\nmap -> kafka: {\n  symbol: string\n  price: number\n  a: {\n    b: string\n  }\n}\n',
  })
  vi.restoreAllMocks()
  expect((await run({ ts: true, at: 'map' })).out).toBe('export type Map = {\n  symbol: string\n  price: number\n}\n')
  vi.restoreAllMocks()
  expect(JSON.parse((await run({ jsonSchema: true, at: 'priced' })).out)).toMatchObject({
    required: ['symbol', 'price', 'a'],
    additionalProperties: false,
    properties: { a: { properties: { b: { type: 'string' } } } },
  })
  vi.restoreAllMocks()
  expect(JSON.parse((await run({ json: true })).out).edges.map((e: any) => [e.from, e.to])).toEqual([
    ['generate', 'map'],
    ['map', 'kafka'],
  ])
})

test('a file with a problem is reported, and its types are printed', async () => {
  write('transforms:\n  - filter: prce > 1.0\n')
  const { code, out, err } = await run({})
  expect(code).toBe(2)
  expect(err).toContain('did you mean: price')
  expect(out).toContain('generate -> filter: {\n  symbol: string\n')
})

test('a step that does not exist', async () => {
  write('')
  expect(await run({ at: 'kafak' })).toEqual({ code: 2, out: '', err: `error: ${file} has no step or topic kafak; did you mean kafka?\n` })
})
