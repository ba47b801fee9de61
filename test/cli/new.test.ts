/** `runner new`: what it creates validates, and its test passes. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import '../../src/built-in.ts'
import { type Ask, create } from '../../src/cli/new.ts'
import { SINKS, SOURCES, TRANSFORMS } from '../../src/cli/new/steps.ts'
import { startRunner, tempDir } from '../support/runner.ts'

const printed: string[] = []
beforeAll(() => {
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, 'write').mockImplementation(text => printed.push(String(text)) > 0)
})
afterAll(() => void vi.restoreAllMocks())

async function made(words: string[], ask?: Ask) {
  printed.length = 0
  const code = await create(words, ask)
  return { code, out: printed.join('') }
}

/** The test is run by the command: with exit code 0, it has passed. */
test.each([
  ...Object.keys(SOURCES).map(source => `${source}/stdout`),
  ...Object.keys(TRANSFORMS).map(transform => `kafka/${transform}/kafka`),
  ...Object.keys(SINKS).map(sink => `stdin/${sink}`),
  'kafka/validate/filter/dedupe/bars/postgres',
])('%s', async flow => {
  const dir = tempDir()
  const file = join(dir, 'new.yaml')
  expect(await made([file, flow])).toEqual({ code: 0, out: expect.stringContaining(`created ${file}`) })
  const text = readFileSync(join(dir, 'new.test.yaml'), 'utf8')
  // A pipeline that drops or dead-letters its sample would pass, too.
  expect(text).toMatch(/outputs:\n +- /)
  expect(text).not.toContain('dead_letters')
})

describe('files', () => {
  test('.env.example has each variable once, and existing lines stay', async () => {
    const dir = tempDir({ '.env.example': 'KAFKA_BROKERS=broker:9092' })
    expect((await made([join(dir, 'a-b.yaml'), 'kafka/kafka'])).code).toBe(0)
    expect((await made([join(dir, 'c.yaml'), 'kafka/stdout'])).code).toBe(0)
    expect(readFileSync(join(dir, '.env.example'), 'utf8')).toBe(`KAFKA_BROKERS=broker:9092
# A_B_SOURCE_TOPIC=a-b.in
# A_B_SINK_TOPIC=a-b.out
# A_B_DLQ_TOPIC=a-b.dlq
# C_SOURCE_TOPIC=c.in
# C_DLQ_TOPIC=c.dlq
`)
  })

  test('sample records that do not get through are reported', async () => {
    const dir = tempDir()
    // A window of bars is still open at the end.
    expect(await made([join(dir, 'a.yaml'), 'kafka/bars/window/stdout'])).toEqual({
      code: 0,
      out: expect.stringContaining('not all sample records get through'),
    })
    expect((await made([join(dir, 'b.yaml'), 'kafka/filter/bars/stdout'])).out).not.toContain('sample records')
  })

  test('steps after bars, window and map use the fields that are there', async () => {
    const dir = tempDir()
    const flow = 'stdin/window/filter/map/dedupe/postgres'
    expect(await made([join(dir, 'a.yaml'), flow])).toMatchObject({ code: 0 })
    const text = readFileSync(join(dir, 'a.yaml'), 'utf8')
    for (const part of ['high > 0', 'notional: high * count', '"[key, start]"', 'columns: [key, high, notional, start]'])
      expect(text).toContain(part)
  })

  test('an existing file is not changed, and nothing else is created', async () => {
    const dir = tempDir({ 'a.test.yaml': 'mine' })
    const file = join(dir, 'a.yaml')
    expect(await made([file, 'kafka/stdout'])).toEqual({
      code: 2,
      out: `error: ${join(dir, 'a.test.yaml')} exists: name another file, or delete it\n`,
    })
    expect(readdirSync(dir)).toEqual(['a.test.yaml'])
  })

  test.each([
    [['a.yaml', 'kafka'], "'kafka' needs a source and a sink: write kafka/stdout"],
    [['a.yaml', 'kafak/stdout'], "'kafak' is not a source that runner new can write; did you mean kafka?"],
    [['a.yaml', 'kafka/bar/stdout'], 'did you mean bars?'],
    [['a.yaml', 'kafka/reconcile/stdout'], "'reconcile' is not a transform that runner new can write"],
    [['A.yaml', 'kafka/stdout'], "'A' is not a name of a pipeline"],
    [['a.json', 'kafka/stdout'], "'a.json' is not a pipeline file: end it in .yaml"],
    [['a.yaml'], 'name the file and the flow: runner new bars.yaml kafka/bars/kafka'],
    [['plugin', 'sink', 'x'], 'runner new plugin writes transforms'],
    [['plugin', 'transform', 'X'], 'name the plugin with lowercase letters'],
  ])('%j is exit code 2', async (words, message) => {
    expect(await made(words)).toEqual({ code: 2, out: expect.stringContaining(message) })
    expect(existsSync(words[0])).toBe(false)
  })

  test('without a flow, it asks', async () => {
    const file = join(tempDir(), 'asked.yaml')
    const answers = ['stdin', 'filter/map', 'stdout']
    const wrong: (string | undefined)[] = []
    const { code } = await made([file], async (_question, _fallback, problem) => {
      wrong.push(problem('nothing'))
      return answers.shift()!
    })
    expect(code).toBe(0)
    expect(wrong).toEqual([
      expect.stringContaining('write one of file, '),
      expect.stringContaining('bars'),
      expect.stringContaining('stdout'),
    ])
    expect(readFileSync(file, 'utf8')).toContain('description: stdin → filter → map → stdout')
  })

  test.skipIf(process.platform !== 'linux')('on a terminal, it asks again after a wrong answer', async () => {
    const cwd = tempDir()
    const bin = fileURLToPath(new URL('../../bin/runner.js', import.meta.url))
    const terminal = spawn('script', ['-qefc', `${process.execPath} ${bin} new`, '/dev/null'], { cwd, stdio: ['pipe', 'pipe', 'ignore'] })
    onTestFinished(() => void terminal.kill())
    let screen = ''
    terminal.stdout.on('data', chunk => (screen += String(chunk)))
    for (const [question, answer] of [
      ['file [pipeline.yaml]: ', ''],
      ['[kafka]: ', 'nosuch'],
      ['write one of', 'stdin'],
      ['transforms, separated by /', 'filter'],
      ['[stdout]: ', ''],
    ]) {
      await expect.poll(() => screen, { timeout: 20_000 }).toContain(question)
      terminal.stdin.write(`${answer}\r`)
    }
    const code = await new Promise(done => terminal.on('exit', done))
    expect({ code, files: readdirSync(cwd).sort() }).toEqual({ code: 0, files: ['pipeline.test.yaml', 'pipeline.yaml'] })
  })

  test('a plugin, in the working directory', async () => {
    const cwd = tempDir()
    const runner = startRunner(['new', 'plugin', 'transform', 'ema'], { cwd })
    await runner.exit(0)
    for (const file of ['ema.ts', 'ema.schema.json', 'ema.yaml', 'ema.test.yaml']) expect(runner.stdout).toContain(`created ${file}\n`)
  })
})
