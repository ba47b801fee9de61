/** Every code of the table, with the exact position, and no other problem. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CODES } from '../../src/config/codes.ts'
import { loadPipeline, loadText } from '../../src/config/load.ts'
import { cases } from './golden-cases.ts'
import { marked } from './marked.ts'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'golden-'))
  writeFileSync(join(folder, 'throws.js'), 'throw new Error("no luck")')
  writeFileSync(join(folder, 'nothing.js'), 'export const x = 1')
  writeFileSync(join(folder, 'shape.js'), 'export default { kind: "transform", type: "x" }')
  writeFileSync(join(folder, 'clash.js'), 'export default { kind: "transform", type: "bars", schema: {}, create() {} }')
  writeFileSync(join(folder, 'schema.js'), 'export default { kind: "transform", type: "x", schema: { type: "objekt" }, create() {} }')
  writeFileSync(
    join(folder, 'splits.ts'),
    `export default { kind: 'transform' as const, type: 'splits', schema: { type: 'object', additionalProperties: false, properties: {} }, ports: () => ['left', 'right'], create() {} }`,
  )
  writeFileSync(
    join(folder, 'forgets.ts'),
    `export default { kind: 'source', type: 'forgets', replayable: false, reason: 'a socket', schema: { type: 'object', additionalProperties: false, properties: {} }, create() {} }`,
  )
  writeFileSync(
    join(folder, 'checks.ts'),
    `export default { kind: 'transform', type: 'checks', schema: { type: 'object', properties: { low: { type: 'integer' }, high: { type: 'integer' } } }, validateConfig: (c: any) => c.low > c.high ? [{ path: ['high'], message: 'must be above low' }] : c.low === undefined ? [{ path: [], message: 'needs low' }] : [], create() {} }`,
  )
  writeFileSync(
    join(folder, 'table.ts'),
    `export default { kind: 'transform', type: 'table', schema: { type: 'object', properties: { name: { type: 'string', format: 'identifier' }, since: { type: 'string', format: 'timestamp' } } }, create() {} }`,
  )
  writeFileSync(join(folder, 'binary'), Buffer.from([0xff, 0xfe]))
})
afterAll(() => rmSync(folder, { recursive: true }))

const NAMED = /^[A-Z_]+$/

describe('problems', () => {
  test.each(cases.map(c => [c.title, c] as const))('%s', async (_, c) => {
    const { text, places } = marked(c.yaml)
    const { pipeline, problems } = await loadText(join(folder, 'p.yaml'), text, { env: c.env ?? {}, set: c.set ?? [] })
    const expected = c.codes.map((code, i) => `${places[i] ?? c.at?.[i]} ${code}`)
    expect(problems.map(p => `${p.line}:${p.column}-${p.endColumn} ${p.code}`)).toEqual(expected)
    expect(pipeline === undefined).toBe(problems.some(p => p.severity === 'error'))
    if (c.suggestions) expect(problems.map(p => p.suggestion)).toEqual(c.suggestions)
    if (c.paths) expect(problems.map(p => p.path)).toEqual(c.paths)
    for (const m of c.says ?? []) expect(problems.map(p => p.message).join('\n')).toContain(m)
    for (const p of problems) expect(p.file).toBe(c.file ?? join(folder, 'p.yaml'))
  })
})

test('every code of the table has a case, and vice versa', () => {
  const used = new Set<string>([...cases.flatMap(c => c.codes), 'CONFIG_READ', 'CONFIG_ENCODING', 'CONFIG_NAME_TWICE'])
  expect([...used].filter(c => NAMED.test(c)).sort()).toEqual(Object.keys(CODES).sort())
})

test('a file that cannot be read is reported', async () => {
  for (const path of [join(folder, 'none.yaml'), folder]) {
    const { problems } = await loadPipeline(path)
    expect(problems.map(p => p.code)).toEqual(['CONFIG_READ'])
  }
})

test('a file that is not UTF-8: the first invalid byte is reported', async () => {
  const file = join(folder, 'latin.yaml')
  writeFileSync(file, Buffer.concat([Buffer.from('name: x\ndescription: "Gr\u00fc\u00dfe '), Buffer.from([0xe4]), Buffer.from('h"\n')]))
  const { problems } = await loadPipeline(file)
  // Columns count the bytes before it as latin1, which is sufficient to find it.
  expect(problems.map(p => `${p.line} ${p.code}`)).toEqual(['2 CONFIG_ENCODING'])
  writeFileSync(file, Buffer.from([0x6e, 0xff]))
  expect((await loadPipeline(file)).problems.map(p => `${p.line}:${p.column} ${p.code}`)).toEqual(['1:2 CONFIG_ENCODING'])
})
