/** Variables from `.env` and `--env-file`, before a command reads its environment. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startRunner, tempDir } from '../support/runner.ts'

const PIPELINE =
  'name: p\nsources: [{ generate: { fields: { n: { sequence: 0 } }, count: 1 } }]\nsinks: [{ file: { path: "${OUT_PATH}" } }]\n'
const unset = { OUT_PATH: undefined, FIRST: undefined, SECOND: undefined }

async function result(
  args: string[],
  code: number,
  files: Record<string, string>,
  options: { env?: Record<string, string>; stdin?: string } = {},
) {
  const runner = startRunner(args, { cwd: tempDir(files), stdin: options.stdin, env: { ...unset, ...options.env } })
  await runner.exit(code)
  return runner
}

test('.env in the working directory sets missing variables, and their names are logged', async () => {
  const files = { '.env': '# comment\nexport OUT_PATH="out.jsonl"\nFIRST=1 # one\n', 'p.yaml': PIPELINE }
  const { stderr } = await result(['validate', 'p.yaml'], 0, files)
  expect(stderr).toContain('environment from .env: FIRST, OUT_PATH\n')
  expect((await result(['eval', 'env.FIRST'], 0, files, { env: { FIRST: '2' } })).stdout).toBe('"2"\n')
  expect((await result(['eval', 'env.FIRST', '-q'], 0, files)).stderr).toBe('')
  expect((await result(['validate', '--no-plugins', 'p.yaml'], 2, files)).stderr).not.toContain('.env')
})

test.each([
  ['a folder, as Python makes it', mkdirSync],
  ['a pipe', (path: string) => execFileSync('mkfifo', [path])],
])('.env is not read if it is %s', async (_, make) => {
  const cwd = tempDir()
  make(join(cwd, '.env'))
  const runner = startRunner(['eval', '1 + 1'], { cwd })
  await runner.exit(0, 20_000)
  expect(runner.stderr).toBe('')
})

test('--env-file replaces .env, and can be repeated', async () => {
  const files = { '.env': 'FIRST=0\n', 'a.env': 'FIRST=1\n', 'b.env': "FIRST=2\nSECOND='b\nc'\n" }
  const { stdout } = await result(['eval', '--env-file', 'a.env', '--env-file=b.env', 'env.FIRST + env.SECOND'], 0, files)
  expect(stdout).toMatch(/^"[12]b\\nc"\n$/)
})

test('an invalid line ends with exit code 2, and its text is not shown', async () => {
  const { stderr } = await result(['validate', 'p.yaml'], 2, { '.env': 'A="x\ny"\npassword: secret\n', 'p.yaml': PIPELINE })
  expect(stderr).toBe('error: .env:3: not a variable; write NAME=value, and # before a comment\n')
})

test('a pipeline from standard input runs, with paths relative to the working directory', async () => {
  const runner = await result(['run', '-'], 0, {}, { stdin: PIPELINE.replace('"${OUT_PATH}"', 'out.jsonl') })
  expect(runner.stderr).toContain('"out":1')
  const problem = await result(['validate', '-'], 2, {}, { stdin: 'name: p\nsinkz: []\n' })
  expect(problem.stdout + problem.stderr).toContain('-:2:1')
  const both = await result(['run', '-'], 2, {}, { stdin: 'name: p\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\n' })
  expect(both.stderr).toContain('standard input is the pipeline file')
})

test('standard input without an end is read up to the limit', async () => {
  const { stdout, stderr } = await result(['validate', '-'], 2, {}, { stdin: 'x: y\n'.repeat(1_000_000) })
  expect(stdout + stderr).toContain('CONFIG_LIMIT')
})
