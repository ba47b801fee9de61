/** The examples of docs/errors.md: each invalid one fails with its code, and each valid one passes. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { EXAMPLES, type Example, WITHOUT } from '../../src/cli/gen/error-examples.ts'
import { CODES } from '../../src/config/codes.ts'
import { loadPipeline, loadText } from '../../src/config/load.ts'
import { MemoryChannel } from '../../src/connectors/memory/channel.ts'
import { ERRORS, typeOfCode } from '../../src/contract/error-codes.ts'
import { run, type RunOptions } from '../../src/engine/index.ts'
import type { PipelineHandle } from '../../src/engine/launch.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'

const cases = Object.entries(EXAMPLES)
const of = (kind: string): [string, Example][] => cases.filter(([code]) => code.startsWith(kind))

/** The lines of an example with the keys that it leaves out. */
function whole(lines: string): string {
  const rest = { name: 'bars', sources: '[{ file: in.jsonl }]', sinks: '[{ file: out.jsonl }]' }
  const missing = Object.entries(rest).filter(([key]) => !new RegExp(`^${key}:`, 'm').test(lines))
  return `${missing.map(([key, value]) => `${key}: ${value}\n`).join('')}${lines.replace('…', 'x'.repeat(70_000))}\n`
}

/** A pipeline whose files are in this folder: relative paths start from the working directory. */
const inFolder = (base: string, text: string): string => text.replace(/\b\w+\.jsonl/g, name => join(base, name))

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

/** Of the error, or of what it was thrown for. */
const codeOf = (e: Error & { code?: string; cause?: { code?: string } }): string => e.code ?? e.cause?.code ?? e.message

/** Run in a process, with a log or in several runs. */
const SPECIAL = new Set(
  'SETTINGS CONNECTION LIVE TOPIC_MISSING STATE NAME CHANNEL GAP BATCH FENCED STOPPED SMOKE'.split(' ').map(name => `PIPE_${name}`),
)
test.each(of('PIPE_').filter(([code]) => !SPECIAL.has(code)))(
  '%s',
  async (code, { language, input = '{"price": 1}', pipeline = '', wrong, right }) => {
    const runs = async (example: string): Promise<unknown> => {
      const base = folderOf()
      process.env.RUNNER_STATE_DIR = join(base, 'state')
      writeFileSync(join(base, 'in.jsonl'), `${language === 'jsonl' ? example : input}\n`)
      writeFileSync(join(base, 'other.jsonl'), '{"id": 1, "n": 2}\n')
      const text = inFolder(base, whole(language === 'jsonl' ? pipeline : example))
      return run(text, { base, env: {} }).then(handle => handle.completed.then(() => undefined, codeOf), codeOf)
    }
    expect(await runs(wrong)).toBe(code)
    expect(await runs(right)).toBeUndefined()
  },
)

/** `VAR=value runner ARGS   # comment`, in a folder with bars.yaml. */
function command(line: string): { args: string[]; env: Record<string, string> } {
  const words = line.replace(/ {2,}#.*$/, '').split(' ')
  const at = words.indexOf('runner')
  return { args: words.slice(at + 1), env: Object.fromEntries(words.slice(0, at).map(word => word.split('=') as [string, string])) }
}

test.each(['PIPE_SETTINGS', 'PIPE_CONNECTION'])('%s', async code => {
  const runs = async (line: string): Promise<[number | null, boolean]> => {
    const { args, env } = command(line)
    const { code: exit, stderr } = await runRunner([...args, '--verbose'], { env: { KAFKA_BROKERS: undefined, ...env } })
    return [exit, stderr.includes(`'${code}'`)]
  }
  expect(await runs(EXAMPLES[code].wrong)).toEqual([code === 'PIPE_SETTINGS' ? 2 : 3, true])
  expect(await runs(EXAMPLES[code].right)).toEqual([0, false])
})

test('PIPE_LIVE', async () => {
  const cwd = folderOf()
  const sources = 'sources:\n  - generate: { fields: { n: { sequence: 0 } }, rate: 10 }'
  const sinks = 'sinks: [{ file: { path: out.jsonl } }, { stdout: {} }]'
  writeFileSync(join(cwd, 'bars.yaml'), whole(`${sources}\n${sinks}\nmetrics: { enabled: false }`))
  const { wrong, right } = EXAMPLES.PIPE_LIVE
  const first = startRunner(['run', 'bars.yaml'], { cwd })
  await first.line(/"n":0/)
  const rejected = await runRunner(command(wrong).args, { cwd })
  expect([rejected.code, rejected.stderr]).toEqual([3, expect.stringContaining('another process is running')])
  const second = startRunner(command(right).args, { cwd })
  await second.line(/"n":0/)
  for (const running of [first, second]) {
    running.kill()
    await running.exit(0)
  }
})

/** Runs pipelines on one embedded log, whose topic `ticks` has the records. */
async function onTicks(input: string): Promise<(text: string, logged?: unknown[]) => Promise<unknown>> {
  const base = folderOf()
  process.env.RUNNER_STATE_DIR = join(base, 'state')
  const env = { KAFKA_BROKERS: 'embedded', KAFKA_METRICS_ENABLED: 'false' }
  const runs = (text: string, logged: unknown[] = []): Promise<unknown> => {
    const note = (fields: object): void => void logged.push((fields as { error?: string }).error)
    const logger = { debug: () => {}, info: note, warn: note, error: note }
    return run(inFolder(base, text), { base, env, logger, untilIdle: 300 }).then(
      handle => handle.completed.then(() => undefined, codeOf),
      codeOf,
    )
  }
  writeFileSync(join(base, 'in.jsonl'), `${input}\n`)
  expect(await runs('name: fill\nsources: [{ file: in.jsonl }]\nsinks: [{ kafka: { topic: ticks } }]')).toBeUndefined()
  return runs
}

test('PIPE_TOPIC_MISSING', async () => {
  const { wrong, right } = EXAMPLES.PIPE_TOPIC_MISSING
  const runs = await onTicks('{"price": 1}')
  const warnings = async (lines: string): Promise<unknown[]> => {
    const logged: unknown[] = []
    expect(await runs(whole(lines), logged)).toBeUndefined()
    return logged
  }
  const missing = expect.stringMatching(/^topic tick .*in the embedded log/)
  expect(await warnings(wrong)).toContainEqual(missing)
  expect(await warnings(right)).not.toContainEqual(missing)
})

test('PIPE_STATE', async () => {
  const { input, pipeline, wrong, right } = EXAMPLES.PIPE_STATE
  const runs = await onTicks(input!)
  const changed = (lines: string): string => whole(`${pipeline!.replace(/transforms:[^]*/, '')}${lines}`)
  expect(await runs(whole(pipeline!))).toBeUndefined()
  expect(await runs(changed(wrong))).toBe('PIPE_STATE')
  expect(await runs(changed(right))).toBeUndefined()
})

test.each(['PIPE_NAME', 'PIPE_CHANNEL'])('%s', async code => {
  const { pipeline = 'sources:\n  - schedule: { every: 1h }', wrong, right } = EXAMPLES[code]
  const base = folderOf()
  process.env.RUNNER_STATE_DIR = join(base, 'state')
  writeFileSync(join(base, 'bars.yaml'), inFolder(base, whole(`${pipeline}\nmetrics: { enabled: false }`)))
  const runs = async (program: string): Promise<unknown> => {
    const handles: PipelineHandle[] = []
    const started = async (file: string, options: RunOptions): Promise<void> => void handles.push(await run(join(base, file), options))
    const AsyncFunction = (async () => {}).constructor as FunctionConstructor
    const result = await (AsyncFunction('run', 'MemoryChannel', program)(started, MemoryChannel) as Promise<void>).then(
      () => undefined,
      (error: { code?: string }) => error.code,
    )
    await Promise.all(handles.map(handle => handle.stop()))
    return result
  }
  expect(await runs(wrong)).toBe(code)
  expect(await runs(right)).toBeUndefined()
})

test('PIPE_GAP', async () => {
  const { input, wrong, right } = EXAMPLES.PIPE_GAP
  const [first, deleted, last] = input!.split('\n').map(line => line.replace(/ +#.*/, ''))
  const end = async (lines: string): Promise<[unknown, string]> => {
    const runs = await onTicks(first)
    expect(await runs(whole(lines))).toBeUndefined()
    const out = join(process.env.RUNNER_STATE_DIR!, '../out.jsonl')
    const fill = async (record: string): Promise<void> => {
      writeFileSync(join(process.env.RUNNER_STATE_DIR!, '../in.jsonl'), `${record}\n`)
      expect(
        await runs(`name: fill\nversion: ${++version}\nsources: [{ file: in.jsonl }]\nsinks: [{ kafka: { topic: ticks } }]`),
      ).toBeUndefined()
    }
    await fill(deleted)
    // As retention does it, which waits for half a minute.
    const db = new DatabaseSync(join(process.env.RUNNER_STATE_DIR!, 'log.db'))
    db.exec('DELETE FROM chunk WHERE next <= 2; UPDATE part SET first = 2, bytes = 0')
    db.close()
    await fill(last)
    return [await runs(whole(lines)), readFileSync(out, 'utf8')]
  }
  let version = 1
  expect(await end(wrong)).toEqual(['PIPE_GAP', ''])
  expect(await end(right)).toEqual([undefined, expect.stringMatching(/^\{[^\n]*"n":1[^\n]*"incomplete":true\}\n$/)])
})

/** Runs a pipeline with the plugin of an example in a process. */
async function withPlugin(code: string, plugin: string): Promise<{ cwd: string; exit: number | null; stderr: string }> {
  const { input, pipeline } = EXAMPLES[code]
  const name = /plugins: \[(\w+\.ts)\]/.exec(pipeline!)![1]
  const cwd = tempDir({ 'p.yaml': whole(`${pipeline}\nmetrics: { enabled: false }`), 'in.jsonl': `${input}\n`, [name]: plugin })
  const { code: exit, stderr } = await runRunner(['run', 'p.yaml'], { cwd, stdin: `${input}\n`, env: { RUNNER_STATE_DIR: undefined } })
  return { cwd, exit, stderr }
}

test('PIPE_BATCH', async () => {
  const { wrong, right } = EXAMPLES.PIPE_BATCH
  const types = async (plugin: string): Promise<unknown[]> => {
    const { cwd, exit, stderr } = await withPlugin('PIPE_BATCH', plugin)
    expect([exit, stderr]).toEqual([0, expect.any(String)])
    const lines = readFileSync(join(cwd, 'dead.jsonl'), 'utf8').trim().split('\n')
    return lines.map(line => (JSON.parse(line) as { headers: Record<string, string> }).headers.error_type)
  }
  expect(await types(wrong)).toEqual([typeOfCode('PIPE_BATCH')])
  expect(await types(right)).toEqual([typeOfCode('PIPE_DATA')])
})

test('PIPE_FENCED', async () => {
  const { wrong, right } = EXAMPLES.PIPE_FENCED
  const end = async (plugin: string): Promise<[number | null, string | undefined, number]> => {
    let requests = 0
    const server = createServer((_, response) => response.writeHead(requests++ === 0 ? 409 : 204).end())
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { exit, stderr } = await withPlugin('PIPE_FENCED', plugin.replace('8080', String(port)))
    server.closeAllConnections()
    server.close()
    return [exit, /"error":"(\w+)","msg":"prices_api: the list is locked/.exec(stderr)?.[1], requests]
  }
  expect(await end(wrong)).toEqual([1, ERRORS.PIPE_FENCED.class, 1])
  expect(await end(right)).toEqual([0, undefined, 2])
})

test('PIPE_STOPPED', async () => {
  const { pipeline, wrong, right } = EXAMPLES.PIPE_STOPPED
  await onTicks('{"price": 1}')
  const base = folderOf()
  writeFileSync(join(base, 'bars.yaml'), inFolder(base, whole(pipeline!)))
  const env = { KAFKA_BROKERS: 'embedded', KAFKA_METRICS_ENABLED: 'false' }
  const runs = async (program: string): Promise<unknown> => {
    const AsyncFunction = (async () => {}).constructor as FunctionConstructor
    const started = (file: string): Promise<PipelineHandle> => run(join(base, file), { env })
    return (AsyncFunction('run', program)(started) as Promise<void>).catch((error: { code?: string }) => error.code)
  }
  expect(await runs(wrong)).toBe('PIPE_STOPPED')
  expect(await runs(right)).toBeUndefined()
})

test('PIPE_SMOKE', async () => {
  const end = async (line: string): Promise<unknown[]> => {
    const { code, stdout } = await runRunner(command(line).args, { env: { KAFKA_BROKERS: undefined } })
    return [code, /^✗ FAILED .*/m.exec(stdout)?.[0]]
  }
  expect(await end(EXAMPLES.PIPE_SMOKE.wrong)).toEqual([ERRORS.PIPE_SMOKE.exit, '✗ FAILED  pipeline ran: not done within 1 ms'])
  expect(await end(EXAMPLES.PIPE_SMOKE.right)).toEqual([0, undefined])
})

test('the codes without an example are those that no file, record, command or plugin causes', () => {
  const without = Object.keys(ERRORS).filter(code => !(code in EXAMPLES))
  expect(without).toEqual(['PIPE_UNKNOWN_OUTCOME', 'PIPE_INTERNAL'])
  expect(Object.keys(WITHOUT)).toEqual(without)
})
