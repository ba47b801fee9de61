/** `runner eval` as a user calls it. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { FUNCTIONS } from '../../../src/expressions/index.ts'
import { completions } from '../../../src/cli/eval/completions.ts'
import { startRunner, tempDir } from '../../support/runner.ts'

const cwd = tempDir({
  'samples.jsonl': '{"a":1}\n{"a":"x"}\n\n{"b":12345678901234567890}\n',
  'samples.json': '[{"a":1},\n {"a":2}]\n',
  'wrong.jsonl': '{"a":1}\nx\n',
})

async function evaluate(
  args: string[],
  code: number,
  options: { stdin?: string; env?: Record<string, string> } = {},
): Promise<{ stdout: string; stderr: string }> {
  const runner = startRunner(['eval', ...args], { cwd, ...options })
  await runner.exit(code)
  return runner
}

test('prints the exact result for a value, and without a value', async () => {
  expect((await evaluate(['price * volume', '--value', '{"price":100.49,"volume":0.22}'], 0)).stdout).toBe('22.1078\n')
  expect((await evaluate(['[1 + 1, "x"]'], 0)).stdout).toBe('[2,"x"]\n')
  expect((await evaluate(['meta.key + env.SIDE', '--key', 'k'], 0, { env: { SIDE: '" + "' } })).stdout).toBe('"k\\" + \\""\n')
})

test('prints a result or an error for each record, and exits with 1 after an error', async () => {
  const { stdout, stderr } = await evaluate(['a + 1', '--input', 'samples.jsonl'], 1)
  expect(stdout).toBe('2\n')
  expect(stderr).toContain("error: record 2: 'a + 1': '+' does not work on text and an integer")
  expect(stderr).toContain("error: record 3: field 'a' is missing (the record has b)")
  const lines = (await evaluate(['value', '--input', '-', '--json'], 0, { stdin: '{"b":12345678901234567890}\n[1.10]' })).stdout
  expect(lines).toBe('{"record":1,"type":"dyn","result":{"b":12345678901234567890}}\n{"record":2,"type":"dyn","result":[1.10]}\n')
  expect((await evaluate(['a', '--input', 'samples.json'], 0)).stdout).toBe('1\n2\n')
})

test.each([
  [['nosuch(1)'], 2, "expression:1:1 CONFIG_EXPRESSION unknown function 'nosuch'"],
  [['"${SIDE}"'], 2, 'did you mean: env.SIDE'],
  [['env.NOT_SET_ANYWHERE'], 2, 'CONFIG_ENV_MISSING'],
  [['a', '--input', 'wrong.jsonl'], 2, 'error: wrong.jsonl:2: malformed JSON at column '],
  [['a', '--input', 'none.jsonl'], 3, 'cannot read none.jsonl'],
  [['a', '--input', '-', '--value', '1'], 2, '--input and --value'],
  [[], 2, 'needs an expression'],
])('%j exits with %i', async (args, code, text) => {
  expect((await evaluate(args, code)).stderr).toContain(text)
})

test.skipIf(process.platform !== 'linux')('on a terminal, opens a prompt over one record at a time', async () => {
  const bin = fileURLToPath(new URL('../../../bin/runner.js', import.meta.url))
  const terminal = spawn('script', ['-qefc', `${process.execPath} ${bin} eval --input samples.jsonl`, '/dev/null'], {
    cwd,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  onTestFinished(() => void terminal.kill())
  let screen = ''
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => (screen += text))
  const type = async (line: string, seen: RegExp): Promise<void> => {
    terminal.stdin.write(`${line}\r`)
    await expect.poll(() => screen).toMatch(seen)
  }
  await expect.poll(() => screen).toContain(':help')
  await type('a + 41', /\n42 {2}/)
  await type('a +', /CONFIG_EXPRESSION/)
  await type(':next', /record 2 of 3/)
  await type('a + "!"', /\n"x!" {2}/)
  await type(':nothing', /is not a command/)
  const ended = new Promise(resolve => terminal.on('exit', resolve))
  await type(':quit', /:quit/)
  expect(await ended).toBe(0)
})

test('completes fields, functions, namespaces and metadata', () => {
  const record = { price: 1, trade: { id: 2, 'odd name': 3 } }
  const names = (line: string): string[] => completions(line, record, FUNCTIONS)[0]
  expect(names('round(pri')).toEqual(['price'])
  expect(names('value.trade.')).toContain('id')
  expect(names('trade.')).not.toContain('odd name')
  expect(names('mat')).toContain('math.')
  expect(names('math.sq')).toEqual(['sqrt('])
  expect(names('meta.o')).toEqual(['offset'])
  expect(names('price.up')).toContain('upper(')
  expect(completions('1 + pri', record, FUNCTIONS)[1]).toBe('pri')
})
