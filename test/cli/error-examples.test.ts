/** The examples of docs/errors.md: each wrong one fails with its code, and each right one does not. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EXAMPLES, type Example } from '../../src/cli/gen/error-examples.ts'
import { CODES } from '../../src/config/codes.ts'
import { loadPipeline, loadText } from '../../src/config/load.ts'
import { run } from '../../src/engine/index.ts'
import { runRunner, tempDir } from '../support/runner.ts'

const cases = Object.entries(EXAMPLES)
const of = (kind: string): [string, Example][] => cases.filter(([code]) => code.startsWith(kind))

/** The lines of an example with the keys that it leaves out. */
function whole(lines: string): string {
  const rest = { name: 'bars', sources: '[{ file: in.jsonl }]', sinks: '[{ file: out.jsonl }]' }
  const missing = Object.entries(rest).filter(([key]) => !new RegExp(`^${key}:`, 'm').test(lines))
  return `${missing.map(([key, value]) => `${key}: ${value}\n`).join('')}${lines.replace('…', 'x'.repeat(70_000))}\n`
}

function folderOf(): string {
  const folder = tempDir()
  writeFileSync(join(folder, 'about.txt'), 'About bars')
  writeFileSync(
    join(folder, 'discount.ts'),
    "export default { kind: 'transform', type: 'discount', schema: { type: 'object' }, create: () => ({ process() {} }) }",
  )
  return folder
}

test('every problem of a file has an example', () => {
  expect(
    of('CONFIG_')
      .map(([code]) => code)
      .sort(),
  ).toEqual(Object.keys(CODES).sort())
})

const COMMANDS = new Set(['CONFIG_READ', 'CONFIG_SET', 'CONFIG_NAME_TWICE', 'CONFIG_ENCODING'])
test.each(of('CONFIG_').filter(([code]) => !COMMANDS.has(code)))('%s', async (code, { wrong, right }) => {
  const file = join(folderOf(), 'p.yaml')
  const codes = async (lines: string): Promise<string[]> => {
    const text = code === 'CONFIG_EMPTY' && lines === wrong ? lines : whole(lines)
    return (await loadText(file, text, { env: {} })).problems.map(p => p.code)
  }
  expect(await codes(wrong)).toContain(code)
  expect(await codes(right)).toEqual([])
})

test('CONFIG_ENCODING', async () => {
  const { wrong, right } = EXAMPLES.CONFIG_ENCODING
  const file = join(folderOf(), 'p.yaml')
  const codes = async (): Promise<string[]> => (await loadPipeline(file)).problems.map(p => p.code)
  writeFileSync(file, Buffer.from(whole(wrong), 'latin1'))
  expect(await codes()).toEqual(['CONFIG_ENCODING'])
  writeFileSync(file, whole(right))
  expect(await codes()).toEqual([])
})

test('CONFIG_NAME_TWICE', async () => {
  const { wrong, right } = EXAMPLES.CONFIG_NAME_TWICE
  const cwd = folderOf()
  writeFileSync(join(cwd, 'bars.yaml'), whole('name: bars'))
  const says = async (lines: string): Promise<string> => {
    writeFileSync(join(cwd, 'bars-shadow.yaml'), whole(lines))
    const { stdout, stderr } = await runRunner(['validate', 'bars.yaml', 'bars-shadow.yaml'], { cwd })
    return stdout + stderr
  }
  expect(await says(wrong)).toContain('CONFIG_NAME_TWICE')
  expect(await says(right)).not.toContain('CONFIG_')
})

test.each(['CONFIG_READ', 'CONFIG_SET'])('%s', code => {
  const cwd = folderOf()
  mkdirSync(join(cwd, 'pipelines'))
  writeFileSync(join(cwd, 'pipelines/bars.yaml'), whole('transforms:\n  - bars: { interval: 1m }'))
  const says = (command: string): string => {
    const bin = join(import.meta.dirname, '../../bin/runner.js')
    const { stdout, stderr } = spawnSync(process.execPath, [bin, ...command.split(' ').slice(1)], { cwd, encoding: 'utf8' })
    return stdout + stderr
  }
  expect(says(EXAMPLES[code].wrong)).toContain(code)
  expect(says(EXAMPLES[code].right)).not.toContain('CONFIG_')
})

test.each(of('PIPE_'))('%s', async (code, { language, input = '{"price": 1}', pipeline = '', wrong, right }) => {
  const runs = async (example: string): Promise<unknown> => {
    const base = folderOf()
    process.env.RUNNER_STATE_DIR = join(base, 'state')
    writeFileSync(join(base, 'in.jsonl'), `${language === 'jsonl' ? example : input}\n`)
    writeFileSync(join(base, 'other.jsonl'), '{"id": 1, "n": 2}\n')
    const text = whole(language === 'jsonl' ? pipeline : example).replace(/\b\w+\.jsonl/g, name => join(base, name))
    const codeOf = (e: { code?: string; cause?: { code?: string } }): unknown => e.code ?? e.cause?.code
    return run(text, { base, env: {} }).then(handle => handle.completed.then(() => undefined, codeOf), codeOf)
  }
  expect(await runs(wrong)).toBe(code)
  expect(await runs(right)).toBeUndefined()
})
