/** The format of the output on a terminal, in a pipe, and for programs. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'
import { onTerminal } from '../support/terminal.ts'

const TOPIC = `orders.${'of-a-long-name.'.repeat(8)}v1`
const FILE = `name: orders
sources: [{ kafka: { topics: [${TOPIC}] } }]
transforms: [{ filter: { condition: price > 0.0 } }]
sinks: [{ kafka: { topic: out } }]
`
const TEST = `
  - name: a positive price passes
    steps: [{ input: [{ value: { price: 1 } }] }]
    expect: { outputs: [{ value: { price: 1 } }] }
`
const TESTS = `tests:${TEST}`
const WRONG = FILE.replace('filter:', 'filtre:')
const files = { 'p.yaml': FILE, 'p.test.yaml': TESTS, 'wrong.yaml': WRONG }
const piped = { KAFKA_BROKERS: 'embedded', NO_COLOR: undefined, FORCE_COLOR: undefined }
const COLOR = '\u001b[36m'

const linux = test.skipIf(process.platform !== 'linux')

linux('colors add nothing: a wide terminal without them shows what a pipe gets', async () => {
  const cwd = tempDir(files)
  const env = { KAFKA_BROKERS: 'embedded' }
  for (const args of [
    ['explain', 'p.yaml'],
    ['validate', '.'],
  ]) {
    const [pipe, screen] = [await runRunner(args, { cwd, env: piped }), await onTerminal(args, { cwd, env })]
    expect(pipe.stdout).not.toContain('\u001b')
    expect(screen.drawn).toContain('\u001b[')
    expect(screen.text).toBe(pipe.stdout + pipe.stderr)
  }
})

linux('NO_COLOR, --no-color and TERM=dumb turn colors off on a terminal', async () => {
  const cwd = tempDir(files)
  expect((await onTerminal(['validate', 'p.yaml'], { cwd })).drawn).toContain(COLOR)
  for (const [args, env] of [
    [[], { NO_COLOR: '1' }],
    [[], { TERM: 'dumb' }],
    [['--no-color'], { FORCE_COLOR: '1' }],
  ] as const)
    expect((await onTerminal(['validate', 'p.yaml', 'wrong.yaml', ...args], { cwd, env })).drawn).not.toContain('\u001b')
})

test('FORCE_COLOR turns colors on in a pipe, for results and for problems, and never in JSON', async () => {
  const cwd = tempDir(files)
  const env = { ...piped, FORCE_COLOR: '1' }
  expect((await runRunner(['test', 'p.yaml'], { cwd, env })).stdout).toContain(`${COLOR}✓ ok `)
  expect((await runRunner(['explain', 'wrong.yaml'], { cwd, env })).stderr).toContain('\u001b[31m')
  const json = ['check', 'p.yaml', '--json', '--verbose']
  const forced = await runRunner(json, { cwd, env: { ...env, TZ: 'America/New_York' } })
  expect(forced.stdout).toBe((await runRunner(['check', 'p.yaml', '--json'], { cwd, env: piped })).stdout)
})

linux('a narrow terminal: lines fit and the cut is marked; a pipe and --verbose get everything', async () => {
  const cwd = tempDir(files)
  const env = { KAFKA_BROKERS: 'embedded' }
  const graph = (text: string): string[] =>
    text
      .split(/^Delivery$/m)[0]
      .split('\n')
      .slice(2)
  const narrow = graph((await onTerminal(['explain', 'p.yaml'], { cwd, env, columns: 72 })).text)
  expect(Math.max(...narrow.map(line => line.length))).toBeLessThanOrEqual(72)
  expect(narrow.join('\n')).toContain('orders.of-a-long-name.of-a-…')
  expect((await onTerminal(['explain', 'p.yaml', '--verbose'], { cwd, env, columns: 72 })).text).toContain(TOPIC)
  expect((await runRunner(['explain', 'p.yaml'], { cwd, env: piped })).stdout).toContain(TOPIC)
  const { text } = await onTerminal(['list'], { columns: 60 })
  expect(Math.max(...text.split('\n').map(line => line.length))).toBeLessThanOrEqual(60)
  const words = (all: string): string => all.replaceAll(/\s+/g, ' ')
  expect(words(text)).toBe(words((await runRunner(['list'], { env: piped })).stdout))
})

test('--quiet hides passing tests and successful checks; failures are printed', async () => {
  const failing = TESTS + TEST.replace('a positive', 'another').replace('[{ value: { price: 1 } }] }\n', '[{ value: { price: 2 } }] }\n')
  const cwd = tempDir({ ...files, 'failing.test.yaml': `pipeline: p.yaml\n${failing}` })
  const { stdout } = await runRunner(['test', 'p.test.yaml', 'failing.test.yaml', '-q'], { cwd, env: piped })
  expect(stdout.split('\n').slice(0, 2)).toEqual(['failing.test.yaml', expect.stringContaining('✗ FAILED  another price passes')])
  expect(stdout).not.toContain('✓')
  expect(stdout).toMatch(/\n2 passed, 1 failed\n$/)
  expect((await runRunner(['check', 'p.yaml', '-q'], { cwd, env: piped })).stdout).toBe('orders (p.yaml)\n  all checks passed\n')
  const both = await runRunner(['check', 'p.yaml', '-q', '-v'], { cwd, env: piped })
  expect([both.code, both.stderr]).toEqual([2, expect.stringContaining('cannot be used with')])
})

test("times have the user's time zone with its offset; --utc and JSON use UTC", async () => {
  const cwd = tempDir({
    'in.jsonl': '{"n":1}\n',
    'fill.yaml':
      'name: fill\nsources: [{ file: { path: in.jsonl } }]\nsinks: [{ kafka: { topic: filled } }]\nmetrics: { enabled: false }\n',
  })
  const env = { ...piped, TZ: 'Asia/Kolkata' }
  const filled = await runRunner(['run', 'fill.yaml', '-q'], { cwd, env })
  expect([filled.code, filled.stderr]).toEqual([0, ''])
  const cat = async (...flags: string[]): Promise<string> => (await runRunner(['topics', 'cat', 'filled', ...flags], { cwd, env })).stdout
  const time = (text: string): string => /\d{4}-\d\d-\d\dT[\d:.]+\S+?(?=[\s"])/.exec(text)![0]
  const [local, utc, json] = [await cat(), await cat('--utc'), await cat('--json')].map(time)
  expect(local).toMatch(/\+05:30$/)
  expect(utc).toMatch(/Z$/)
  expect(new Date(local).toISOString()).toBe(utc)
  expect(json).toBe(utc)
})

test('the overview of commands fits a terminal of 24 lines and 80 columns', async () => {
  const { code, stdout } = await runRunner(['--help'], { env: piped })
  const lines = stdout.trimEnd().split('\n')
  expect([code, lines.length < 24, Math.max(...lines.map(line => line.length)) <= 80], stdout).toEqual([0, true, true])
  expect(stdout).toMatch(/^Author +new .*^Run +run .*^Operate +lag .*^Shell +completion /ms)
})

test('every error on standard error starts with its severity', async () => {
  const cwd = tempDir(files)
  for (const args of [['nothing'], ['lag'], ['lag', '--group', 'g', '--topic', 'nothing'], ['eval', '1 / 0'], ['dlq', 'ls', 'p.yaml']]) {
    const { code, stdout, stderr } = await runRunner(args, { cwd, env: { ...piped, FORCE_COLOR: '1' } })
    expect([args, code! > 0, stdout]).toEqual([args, true, ''])
    expect(stderr.indexOf('\u001b[31merror:\u001b[39m '), stderr).toBe(0)
  }
})

test('commands print errors with the functions of output.ts', () => {
  const folder = join(import.meta.dirname, '../../src/cli')
  const own = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts') && readFileSync(join(folder, file), 'utf8').includes('process.stderr.write('))
    .sort()
  // Problems of a file start with their position; the names of variables and the type of an expression are not errors.
  expect(own).toEqual(['env-file.ts', 'eval.ts', 'load.ts', 'output.ts'])
})

test('--verbose prints the stack and the causes of an error', async () => {
  const args = ['lag', '--group', 'g', '--topic', 'nothing', '--brokers', 'embedded']
  const [plain, verbose] = [await runRunner(args, { env: piped }), await runRunner([...args, '-v'], { env: piped })]
  expect(plain.stderr.trim().split('\n')).toHaveLength(1)
  expect(verbose.stderr).toContain(plain.stderr.trim())
  expect(verbose.stderr).toMatch(/^ +at /m)
})
