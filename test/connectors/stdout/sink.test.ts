import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { PassThrough, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { StdoutSinkConfig } from '../../../src/generated/config-types.ts'
import stdout, { stdoutSink } from '../../../src/connectors/stdout/sink.ts'
import { Message } from '../../../src/contract/plugin.ts'
import { writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { scratch } from '../file/scratch.ts'

const config = (o: Partial<StdoutSinkConfig> = {}): StdoutSinkConfig => ({ format: 'jsonl', envelope: false, ...o })
const { signal } = new AbortController()

let output = new PassThrough()
sinkConformance('stdout', {
  plugin: stdout,
  create: c => stdoutSink(c, () => output),
  persists: false,
  async prepare() {
    output = new PassThrough({ highWaterMark: 1 << 24 })
    let text = ''
    const stream = output
    stream.on('data', chunk => (text += chunk))
    return {
      config: config(),
      async read() {
        return text.split('\n').slice(0, -1)
      },
    }
  },
})

describe('stdout', () => {
  test('a slow reader delays the write', async () => {
    const release: (() => void)[] = []
    const slow = new Writable({ write: (_chunk, _encoding, done) => void release.push(done) })
    const sink = stdoutSink(config(), () => slow)
    await sink.open!(signal)
    let done = false
    const write = sink.write([new Message(1)], writeContext()).then(() => {
      done = true
    })
    await new Promise(resolve => setImmediate(resolve))
    expect(done).toBe(false)
    release[0]()
    await write
    expect(done).toBe(true)
  })

  test('a closed reader ends the pipeline, not the process', async () => {
    const gone = new Writable({ write: (_chunk, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })) })
    const sink = stdoutSink(config(), () => gone)
    await sink.open!(signal)
    const refused = { code: 'PIPE_ENVIRONMENT', message: 'standard output was closed by its reader' }
    await expect(sink.write([new Message(1)], writeContext())).rejects.toMatchObject(refused)
    await expect(sink.write([new Message(2)], writeContext())).rejects.toMatchObject(refused)
    expect(sink.healthy!()).toBe(false)
    await sink.close!()
  })

  test('text and envelope', async () => {
    const lines = async (c: StdoutSinkConfig, ...messages: Message[]) => {
      const stream = new PassThrough()
      const sink = stdoutSink(c, () => stream)
      await sink.open!(signal)
      await sink.write(messages, writeContext())
      return String(stream.read())
    }
    expect(await lines(config({ format: 'text' }), new Message('a\nb'))).toBe('a b\n')
    expect(await lines(config({ envelope: true }), new Message(1, 'k', 1000, [['h', 'x']]))).toBe(
      '{"time":"1970-01-01T00:00:01.000Z","key":"k","headers":{"h":"x"},"value":1}\n',
    )
  })

  const at = scratch()
  test('`runner run … | head -1` ends by itself with exit code 3 and the reason', async () => {
    const pipeline = at('endless.yaml')
    writeFileSync(pipeline, 'name: endless\nsources:\n  - generate: { fields: { n: { sequence: 1 } } }\nsinks:\n  - stdout: {}\n')
    const runner = fileURLToPath(new URL('../../../bin/runner.js', import.meta.url))
    const child = spawn(process.execPath, [runner, 'run', pipeline], { cwd: at(''), stdio: ['ignore', 'pipe', 'pipe'] })
    let errors = ''
    child.stderr.on('data', chunk => (errors += chunk))
    const [first] = await once(child.stdout, 'data')
    expect(String(first).split('\n')[0]).toBe('{"n":1}')
    child.stdout.destroy()
    const [code] = await once(child, 'close')
    expect(errors).toContain('standard output was closed by its reader')
    expect(code).toBe(3)
  })
})
