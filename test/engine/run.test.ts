import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Registry } from 'prom-client'
import { beforeAll, describe, expect, test as it } from 'vitest'
import { ConfigError, defineTransform, explain, MemoryChannel, run, test, validate, VerdictError } from 'pipeline-runner'
import { tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

beforeAll(() => {
  process.env.RUNNER_STATE_DIR = tempDir()
})

let count = 0
/** Doubles `n`; messages without a number `n` are dead-lettered. */
const doubling = (name = `double-${++count}`) => ({
  name,
  sources: [{ memory: { channel: 'in' } }],
  transforms: [{ map: { fields: { n: 'n * 2' } } }],
  sinks: [{ memory: { channel: 'out' } }],
  dlq: { memory: { channel: 'dead' } },
})
const channels = (capacity?: number) => {
  const [input, out, dead] = [1, 2, 3].map(() => new MemoryChannel({ capacity }))
  return { in: input, out, dead }
}
const valuesOf = (channel: MemoryChannel) => channel.take().map(r => r.value)

describe('run', () => {
  it('runs an object to the end of its input, and resolves with the counts', async () => {
    const memory = channels()
    const pipeline = await run(doubling('counted'), { memory })
    await memory.in.send([{ value: { n: 1 } }, { value: { n: 'x' } }, { value: { n: 2 } }])
    memory.in.end()
    expect(await pipeline.completed).toEqual({ pipeline: 'counted', in: 3, out: 2, dead: 1, reports: [] })
    expect(valuesOf(memory.out)).toEqual([{ n: 2 }, { n: 4 }])
    expect(valuesOf(memory.dead)).toEqual([{ n: 'x' }])
    expect(pipeline.status()).toMatchObject({ state: 'ended', status: 'not_ready', problems: ['the pipeline has ended'], in: 3 })
  })

  it('accepts plugins of the program, and names an unusable one', async () => {
    const tripling = defineTransform({
      type: 'tripling',
      schema: { type: 'object', additionalProperties: false },
      create: () => ({
        process(messages, out) {
          for (const m of messages) out.emit(m.derive({ n: (m.value as { n: number }).n * 3 }))
        },
      }),
    })
    const own = (name: string) => ({ ...doubling(name), transforms: [{ tripling: {} }] })
    const memory = channels()
    const pipeline = await run(own('tripled'), { memory, plugins: [tripling] })
    await memory.in.send({ value: { n: 2 } })
    memory.in.end()
    await pipeline.completed
    expect(valuesOf(memory.out)).toEqual([{ n: 6 }])
    expect((await validate(own('tripled'))).problems).toMatchObject([{ code: 'CONFIG_UNKNOWN_PLUGIN' }])
    expect((await validate(doubling('clash'), { plugins: [{ ...tripling, type: 'map' }] })).problems).toMatchObject([
      { code: 'CONFIG_PLUGIN_CLASH', message: 'the transform map already exists (built in): rename the type of this plugin' },
    ])
    expect((await validate(doubling('shape'), { plugins: [{ ...tripling, create: undefined } as never] })).problems).toMatchObject([
      { code: 'CONFIG_PLUGIN_FILE', message: 'tripling has no create function' },
    ])
    // In the object itself, where the names of files are, too.
    expect(await validate({ ...own('inside'), plugins: [tripling] })).toEqual({ ok: true, problems: [] })
    expect((await validate({ ...own('beside'), plugins: ['./none.ts', tripling] })).problems).toMatchObject([
      { code: 'CONFIG_PLUGIN_FILE', path: 'plugins[0]' },
    ])
    const module = (await import('../../examples/plugins/split/split.ts')) as object
    expect((await validate({ ...doubling('module'), plugins: [module] })).problems).toMatchObject([
      { code: 'CONFIG_PLUGIN_FILE', message: 'a module is not a plugin: pass its default export' },
    ])
  })

  it('accepts a path, a URL, YAML text and an object', async () => {
    const folder = tempDir()
    const yaml = JSON.stringify(doubling(), undefined, 1)
    const file = join(folder, 'double.yaml')
    writeFileSync(file, yaml)
    for (const input of [file, pathToFileURL(file), yaml, JSON.parse(yaml) as object]) {
      const memory = channels()
      const pipeline = await run(input, { memory })
      await memory.in.send({ value: { n: 5 } })
      await memory.in.flushed()
      expect(valuesOf(memory.out)).toEqual([{ n: 10 }])
      await pipeline.stop()
    }
  })

  it('runs several pipelines of different names at once, one feeding the other; a name in use is an error', async () => {
    const memory = channels()
    const between = new MemoryChannel()
    const first = await run(doubling('first'), { memory: { ...memory, out: between } })
    const second = await run(doubling('second'), { memory: { in: between, out: memory.out, dead: new MemoryChannel() } })
    await expect(run(doubling('first'), { memory: channels() })).rejects.toThrow("a pipeline named 'first' already runs in this process")
    await memory.in.send({ value: { n: 1 } })
    memory.in.end()
    // The end goes through, too.
    expect(await first.completed).toMatchObject({ out: 1 })
    expect(await second.completed).toMatchObject({ out: 1 })
    expect(valuesOf(memory.out)).toEqual([{ n: 4 }])
    // The name is free again.
    await (await run(doubling('first'), { memory: channels() })).stop()
  })

  it('stops on a signal, and does not start with an aborted one', async () => {
    const memory = channels()
    const controller = new AbortController()
    const pipeline = await run(doubling(), { memory, signal: controller.signal })
    await memory.in.send({ value: { n: 1 } })
    await memory.in.flushed()
    controller.abort()
    expect(await pipeline.completed).toMatchObject({ in: 1, out: 1 })
    await expect(run(doubling(), { memory: channels(), signal: AbortSignal.abort(new Error('too late')) })).rejects.toThrow('too late')
  })

  it('rejects with the error that stopped the pipeline, and so do its channels', async () => {
    const memory = channels()
    const withoutDlq = { ...doubling('stopped'), dlq: undefined }
    const pipeline = await run(withoutDlq, { memory: { in: memory.in, out: memory.out } })
    const failed = expect(pipeline.completed).rejects.toThrow()
    await memory.in.send([{ value: { n: 1 } }, { value: 'bad' }])
    await failed
    expect(pipeline.status()).toMatchObject({ state: 'failed', status: 'not_ready' })
    await expect(memory.in.send({ value: 1 })).rejects.toMatchObject({ code: 'PIPE_CHANNEL' })
    await expect(memory.in.flushed()).rejects.toMatchObject({ code: 'PIPE_CHANNEL' })
    const taken: unknown[] = []
    const iterate = async () => {
      for await (const record of memory.out) taken.push(record.value)
    }
    const error = await pipeline.completed.catch((e: Error) => e)
    await expect(iterate()).rejects.toBe(error)
    expect(error).toBeInstanceOf(Error)
  })

  it("an aborted pipeline's uncommitted records are read by the next run", async () => {
    const memory = channels()
    const pipeline = await run({ ...doubling('aborted'), commit_interval: '1h' }, { memory })
    await memory.in.send({ value: { n: 1 } })
    pipeline.abort(new Error('enough'))
    await expect(pipeline.completed).rejects.toThrow('enough')
    memory.out.take()
    const again = await run(doubling('aborted'), { memory })
    await memory.in.flushed()
    expect(valuesOf(memory.out)).toEqual([{ n: 2 }])
    await again.stop()
  })

  it('a failed verdict rejects, and the error has the reports', async () => {
    const memory = { left: new MemoryChannel(), right: new MemoryChannel(), out: new MemoryChannel() }
    const pipeline = await run(
      {
        name: 'verdict',
        sources: ['left', 'right'].map(name => ({ memory: { channel: name }, name })),
        transforms: [{ reconcile: { left: 'left', right: 'right', key: 'id' } }],
        sinks: [{ memory: 'out' }],
      },
      { memory },
    )
    await memory.left.send({ value: { id: 1, n: 1 } })
    await memory.right.send({ value: { id: 1, n: 2 } })
    memory.left.end()
    memory.right.end()
    await expect(pipeline.completed).rejects.toBeInstanceOf(VerdictError)
    expect(pipeline.reports).toMatchObject([{ pipeline: 'verdict', step: 'reconcile', ok: false }])
  })

  it('serves its metrics as a registry that merges with that of the program', async () => {
    const memory = channels()
    await using pipeline = await run(doubling('metered'), { memory })
    await memory.in.send({ value: { n: 1 } })
    await memory.in.flushed()
    const registry = await pipeline.registry()
    const line = 'runner_step_messages_out_total{pipeline="metered",step="memory_2",kind="sink"} 1'
    expect(await registry.metrics()).toContain('pipeline="metered"')
    expect(await registry.metrics()).not.toContain('process_cpu')
    const merged = await Registry.merge([new Registry(), registry]).metrics()
    expect(merged.match(/runner_step_messages_out_total\{.*kind="sink"\} 1/)?.[0].replace(/step="[^"]*"/, 'step="memory_2"')).toBe(line)
  })

  it('a channel that is missing, or that no step uses, is an error', async () => {
    const { dead, ...two } = channels()
    await expect(run(doubling(), { memory: two })).rejects.toThrow("uses the channel 'dead', which is not given")
    await expect(run(doubling())).rejects.toThrow("uses the channel 'in', which is not given")
    await expect(run(doubling(), { memory: { ...two, dead, inn: dead } })).rejects.toThrow("does not use the channel 'inn'")
  })

  it('variables come from env if it is set, and an invalid option is an error', async () => {
    const memory = channels()
    const config = { ...doubling(), name: '${NAME}' }
    const pipeline = await run(config, { memory, env: { NAME: 'from-env' } })
    expect(pipeline.name).toBe('from-env')
    await pipeline.stop()
    await expect(run(config, { memory, env: {} })).rejects.toThrow('the environment variable NAME is not set')
    await expect(run(doubling(), { memory, untilIdle: 'soon' })).rejects.toThrow('untilIdle is soon')
    await expect(run(doubling(), { memory, from: 5 })).rejects.toThrow('cannot read from a time')
    await expect(run(doubling(), { memory, from: 5, to: 5 })).rejects.toThrow('from must be earlier than to')
  })

  it('handles no signal of the process and sets no exit code', async () => {
    const events = ['SIGINT', 'SIGTERM', 'exit', 'uncaughtException', 'unhandledRejection']
    const before = events.map(e => process.listenerCount(e))
    const pipeline = await run(doubling(), { memory: channels() })
    expect(events.map(e => process.listenerCount(e))).toEqual(before)
    await pipeline.stop()
    expect([process.exitCode, events.map(e => process.listenerCount(e))]).toEqual([undefined, before])
  })
})

describe('memory channels', () => {
  it('are bounded: the pipeline waits for the receiver, the sender waits for the pipeline', async () => {
    const memory = channels(5)
    const pipeline = await run(doubling(), { memory })
    let sent = 0
    const sending = (async () => {
      for (; sent < 100; sent++) await memory.in.send({ value: { n: sent } })
      memory.in.end()
    })()
    const values: unknown[] = []
    for await (const { value } of memory.out) {
      expect(memory.out.records.length).toBeLessThanOrEqual(5)
      expect(memory.in.records.length).toBeLessThanOrEqual(5)
      values.push(value)
    }
    await sending
    expect(values).toEqual(Array.from({ length: 100 }, (_, n) => ({ n: n * 2 })))
    await pipeline.completed
  })

  it('keep the order of sends that are not awaited', async () => {
    const memory = channels(2)
    const sends = Array.from({ length: 20 }, (_, n) => memory.in.send({ value: { n } }))
    const out = new MemoryChannel()
    const pipeline = await run(doubling(), { memory: { in: memory.in, out, dead: memory.dead } })
    await Promise.all(sends)
    await memory.in.flushed()
    await pipeline.stop()
    expect(valuesOf(out)).toEqual(Array.from({ length: 20 }, (_, n) => ({ n: n * 2 })))
  })

  it('have one reader, and reject records after their end', async () => {
    const memory = channels()
    const first = await run(doubling(), { memory })
    await memory.in.send({ value: { n: 1 } })
    await memory.in.flushed()
    const second = await run(doubling(), { memory: { ...channels(), in: memory.in } })
    await expect(second.completed).rejects.toThrow('already reads this channel')
    memory.in.end()
    await expect(memory.in.send({ value: 1 })).rejects.toThrow('the channel has ended')
    await first.completed
    expect(() => new MemoryChannel({ capacity: 0 })).toThrow('capacity must be at least 1')
  })
})

describe('problems of an object', () => {
  it('have paths and suggestions', async () => {
    const config = { ...doubling('paths'), sinks: [{ memory: { chanel: 'out' } }, { stdout: new Date(0) }, { stdout: {}, when: 'n >' }] }
    const { ok, problems } = await validate(config)
    expect(ok).toBe(false)
    expect(problems.map(p => [p.file, p.path])).toEqual(
      expect.arrayContaining([
        ['(object)', 'sinks[0].memory.chanel'],
        ['(object)', 'sinks[1].stdout'],
        ['(object)', 'sinks[2].when'],
      ]),
    )
    const error = await run(config).catch((e: Error) => e)
    expect(error).toBeInstanceOf(ConfigError)
    expect((error as ConfigError).problems).toEqual(problems)
    expect((error as Error).message).toContain('sinks[0].memory.chanel CONFIG_UNKNOWN_KEY')
    expect((error as Error).message).toContain('did you mean: channel')
    expect((error as Error).message).not.toMatch(/:\d+:\d+/)
  })

  it('undefined omits its key; a value that is not plain data, and a circular one, are errors', async () => {
    expect(await validate({ ...doubling(), description: undefined })).toEqual({ ok: true, problems: [] })
    const loop: Record<string, unknown> = doubling()
    loop.transforms = [loop]
    expect((await validate(loop)).problems[0]).toMatchObject({ code: 'CONFIG_LIMIT' })
    for (const [value, name] of [
      [() => {}, 'a function'],
      [5n, 'a bigint'],
      [Number.NaN, 'NaN'],
      [new Map(), 'an instance of Map'],
    ] as const) {
      const { problems } = await validate({ ...doubling(), description: value })
      expect(problems.map(p => [p.path, p.message])).toEqual([['description', expect.stringContaining(`${name} is not allowed`)]])
    }
    expect((await validate(JSON.parse('{"__proto__": {}, "name": "x"}') as object)).problems[0].message).toContain(
      '__proto__ is not allowed',
    )
  })

  it('an object and the equivalent file are the same pipeline', async () => {
    const config = doubling('same')
    const [a, b] = await Promise.all([explain(config), explain(JSON.stringify(config))])
    expect(a.hash).toBe(b.hash)
    const steps = (e: typeof a) => e.steps.map(s => ({ ...s, at: undefined }))
    expect(steps(a)).toEqual(steps(b))
    await expect(explain({})).rejects.toBeInstanceOf(ConfigError)
    await expect(explain('no-such-file.yaml')).rejects.toThrow('no-such-file.yaml does not exist')
  })
})

describe('test', () => {
  const tests = {
    tests: [
      { name: 'doubles', steps: [{ input: [{ value: { n: 1 } }] }, { expect: { outputs: [{ value: { n: 2 } }] } }] },
      { name: 'wrong', steps: [{ input: [{ value: { n: 1 } }] }, { expect: { outputs: [{ value: { n: 3 } }] } }] },
    ],
  }

  it('runs tests given as an object or a string, of a pipeline given as an object', async () => {
    for (const input of [tests, JSON.stringify(tests)]) {
      const report = await test(input, { pipeline: doubling() })
      expect(report.ok).toBe(false)
      expect(report.tests.map(t => [t.name, t.ok])).toEqual([
        ['doubles', true],
        ['wrong', false],
      ])
      expect(report.tests[1].failures[0]).toMatchObject({ kind: 'channel', what: 'outputs' })
    }
    expect((await test('examples/sma-crossover/pipeline.test.yaml')).ok).toBe(true)
    expect((await test(tests, { pipeline: doubling(), filter: 'doubles' })).ok).toBe(true)
  })

  it('rejects tests that cannot run', async () => {
    await expect(test(tests)).rejects.toThrow('must name their pipeline file')
    await expect(test({ tests: [] }, { pipeline: doubling() })).rejects.toBeInstanceOf(ConfigError)
    await expect(test('no.test.yaml')).rejects.toThrow('no.test.yaml cannot be read')
    await expect(test(tests, { pipeline: { name: 'x' } })).rejects.toBeInstanceOf(ConfigError)
  })
})

it('the result of a one-shot run is a metric until it is scraped, for at most metrics.linger', async () => {
  const [port] = await freePorts(1)
  const reporting = defineTransform({
    type: 'reporting',
    schema: { type: 'object', additionalProperties: false },
    create: (_config, ctx) => ({
      process() {
        ctx.report({ title: 't', ok: true, verdict: 'fine', summary: {}, findings: [] })
      },
    }),
  })
  const ended = async (name: string, linger: string): Promise<{ completed: Promise<unknown> }> => {
    const memory = channels()
    const pipeline = await run(
      { ...doubling(name), transforms: [{ reporting: {} }], metrics: { enabled: true, port, linger } },
      { memory, plugins: [reporting] },
    )
    await memory.in.send({ value: { n: 1 } })
    memory.in.end()
    return pipeline
  }
  await (await ended('not-looked-at', '50ms')).completed
  let over = false
  const looked = await ended('looked-at', '10m')
  const end = looked.completed.then(() => (over = true))
  await new Promise(resolve => setTimeout(resolve, 300))
  expect(over).toBe(false)
  expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain('looked-at')
  await end
})
