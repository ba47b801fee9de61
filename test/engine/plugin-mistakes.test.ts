/** Mistakes of plugin authors that used to lose records silently, or gave an error without a location: each ends the run with the step and a fix. */
import { beforeAll, describe, expect, test } from 'vitest'
import { defineSink, defineSource, defineTransform, MemoryChannel, Message, type Plugin, run, validate } from 'pipeline-runner'
import { tempDir } from '../support/runner.ts'

beforeAll(() => {
  process.env.RUNNER_STATE_DIR = tempDir()
})

let count = 0
/** The error of a pipeline with this plugin, which is named `own`. */
async function endOf(plugin: Plugin, env: { records?: number } = {}): Promise<{ error: string | undefined; out: unknown[] }> {
  const section = { source: 'sources', transform: 'transforms', sink: 'sinks' }[plugin.kind]
  const pipeline = { name: `mistake-${++count}`, sources: [{ memory: 'in' }], sinks: [{ memory: 'out' }], [section]: [{ own: {} }] }
  const channels = { in: new MemoryChannel(), out: new MemoryChannel() }
  const { in: input, out } = channels
  const memory = Object.fromEntries(Object.entries(channels).filter(([name]) => JSON.stringify(pipeline).includes(`"memory":"${name}"`)))
  for (let n = 0; n < (env.records ?? 3); n++) await input.send({ value: { n } })
  input.end()
  const error = await run(pipeline, { plugins: [plugin], memory }).then(
    handle =>
      handle.completed.then(
        () => undefined,
        (e: Error) => e.message,
      ),
    (e: Error) => e.message,
  )
  return { error, out: out.take().map(r => r.value) }
}

const transform = (process: (m: Message, out: any, state: any) => void, more: { stateful?: boolean; ports?: any } = {}): Plugin =>
  defineTransform({
    type: 'own',
    schema: {},
    ...more,
    create: (_, ctx) => {
      const state = 'stateful' in more ? ctx.state('s') : undefined
      return { process: (all, out) => all.forEach(m => process(m, out, state)) }
    },
  })

describe('a transform', () => {
  test.each<[string, Plugin, RegExp]>([
    ['emits nothing', transform((_, out) => out.emit(undefined)), /process threw TypeError at .*emit needs a Message/],
    ['emits a plain object', transform((_, out) => out.emit({ value: 1 })), /emit needs a Message: message\.derive/],
    [
      'emits to a port it does not declare',
      transform((m, out) => out.emitTo('x', m)),
      /emitTo: 'x' is not a port of the plugin: it does not declare any/,
    ],
    [
      'emits to a port other than those it declares',
      transform((m, out) => out.emitTo('x', m), { ports: () => ['a', 'b'] }),
      /it declares a, b; add it to the result of `ports`/,
    ],
    ['has state without stateful', transform(() => {}, { stateful: false }), /create threw Error at .*must set `stateful: true`/],
    [
      'has a state key that is a number',
      transform((_, _out, s) => s.set(5, 5), { stateful: true }),
      /a key of state must be a string, got a number/,
    ],
    [
      'has state that is not JSON',
      transform((_, _out, s) => s.set('k', 5n), { stateful: true }),
      /keeps a value that is not JSON in its state: .*BigInt/,
    ],
  ])('that %s', async (_, plugin, message) => {
    const { error, out } = await endOf(plugin)
    expect(error).toMatch(message)
    expect(out).toEqual([])
  })

  test('gets an error at the call if it emits after process has returned', async () => {
    const late: unknown[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    const plugin = transform((m, out) => {
      setImmediate(() => {
        try {
          out.emit(m)
        } catch (error) {
          late.push(error)
        }
        resolve()
      })
    })
    await endOf(plugin, { records: 1 })
    await promise
    expect(late).toEqual([expect.objectContaining({ message: expect.stringMatching(/^step 'own' .*: emit was called after the call/) })])
  })

  test.each(['emit', 'emitTo', 'fail'])('that calls %s late and catches the error still ends the run', async method => {
    const args: Record<string, (m: Message) => unknown[]> = { emit: m => [m], emitTo: m => ['a', m], fail: m => [m, new Error('no')] }
    let calls = 0
    const plugin = transform(
      (m, out) => {
        // Later calls of the plugin are under way by then: the output of an earlier call must not be in them either.
        if (calls++ === 0)
          Promise.resolve()
            .then(() => out[method](...args[method](m)))
            .catch(() => {})
      },
      { ports: () => ['a'] },
    )
    expect((await endOf(plugin)).error).toMatch(
      new RegExp(`^step 'own' .*: ${method} was called after the call of the plugin had ended\n.*return a promise`),
    )
  })

  test('cannot emit in a later call through an output it kept', async () => {
    let kept: any
    const plugin = defineTransform({
      type: 'own',
      schema: {},
      create: () => ({
        process(all, out) {
          kept ??= out
          for (const m of all) kept.emit(m)
        },
      }),
    })
    const channel = new MemoryChannel()
    const handle = await run(
      { name: `mistake-${++count}`, sources: [{ memory: 'in' }], transforms: [{ own: {} }], sinks: [{ memory: 'out' }] },
      { plugins: [plugin], memory: { in: channel, out: new MemoryChannel() } },
    )
    await channel.send({ value: 1 })
    await expect.poll(() => handle.status().out).toBe(1)
    await channel.send({ value: 2 })
    channel.end()
    await expect(handle.completed).rejects.toThrow(/emit was called after the call of the plugin had ended/)
  })

  test('may emit until its promise resolves', async () => {
    const plugin = defineTransform({
      type: 'own',
      schema: {},
      create: () => ({
        async process(all, out) {
          for (const m of all) {
            await new Promise(setImmediate)
            out.emit(m)
          }
        },
      }),
    })
    expect(await endOf(plugin)).toEqual({ error: undefined, out: [{ n: 0 }, { n: 1 }, { n: 2 }] })
  })
})

const origin = { lane: 'l', source: 'own', format: 'json' } as const
const record = (n: number, time = 1): Message => Message.fromRecord(Buffer.from(`{"n":${n}}`), null, time, undefined, n, origin)

/** Reads one batch, which `change` makes wrong. */
const source = (change: object, instance: object = {}): Plugin =>
  defineSource({
    type: 'own',
    schema: {},
    replayable: true,
    reason: 'test',
    create: (_, ctx) => {
      let read = false
      return {
        open: async () => void (await ctx.assign([{ id: 'l', source: ctx.step }])),
        async read() {
          if (read) return null
          read = true
          return { lane: 'l', messages: [record(0)], position: 1, ...change }
        },
        async seek() {
          read = false
        },
        ...instance,
      }
    },
  })

describe('a source', () => {
  test.each<[string, Plugin, RegExp]>([
    [
      'reads a lane it has not claimed',
      source({ lane: 'x' }),
      /^step 'own' .*: read threw TypeError.*: the batch is of lane 'x', .* it has claimed l\n/,
    ],
    [
      'returns a batch without a position',
      source({ position: undefined }),
      /the position of the batch cannot be saved as JSON: it is undefined/,
    ],
    [
      'returns a position that is not JSON',
      source({ position: 5n }),
      /the position of the batch cannot be saved as JSON: it contains a BigInt/,
    ],
    ['returns plain objects as messages', source({ messages: [{ value: 1 }] }), /a message that is not a Message/],
    ['returns a message without a time', source({ messages: [record(0, Number.NaN)] }), /a message with the time NaN/],
    [
      'returns strings instead of bytes',
      source({ messages: [Message.fromRecord('1' as never, null, 1, undefined, 0, origin)] }),
      /must be a Buffer, or null/,
    ],
    [
      'returns a message without an origin',
      source({ messages: [Message.fromRecord(Buffer.from('1'), null, 1, undefined, 0, undefined as never)] }),
      /without an origin/,
    ],
    ['is replayable and cannot seek', source({}, { seek: undefined }), /create threw Error: create returned a value without seek\(\)/],
  ])('that %s', async (_, plugin, message) => {
    const { error, out } = await endOf(plugin)
    expect(error).toMatch(message)
    expect(out).toEqual([])
  })

  test('without mistakes runs', async () => {
    expect(await endOf(source({}))).toEqual({ error: undefined, out: [{ n: 0 }] })
  })
})

describe('results of validateConfig in a plugin are checked with the file', () => {
  const boom = (): never => {
    throw new TypeError('boom')
  }
  const sink = (more: object): Plugin =>
    defineSink({ type: 'own', schema: {}, onRedelivery: 'appends', reason: '', create: () => ({ write: async () => {} }), ...more })
  const withSource = (more: object): Plugin => ({ ...source({}), ...more }) as Plugin
  const withTransform = (more: object): Plugin => ({ ...transform(() => {}), ...more }) as Plugin

  test.each<[Plugin, string]>([
    [sink({ onRedelivery: 'append' }), 'onRedelivery is "append": it must be idempotent, appends, ephemeral'],
    [sink({ onRedelivery: undefined }), 'onRedelivery is missing: it must be idempotent, appends, ephemeral'],
    [sink({ onRedelivery: () => undefined }), 'onRedelivery returned missing: it must be idempotent, appends, ephemeral'],
    [sink({ onRedelivery: boom }), 'onRedelivery threw TypeError at test/engine/plugin-mistakes.test.ts:_: boom'],
    [sink({ scope: boom }), 'scope threw TypeError at test/engine/plugin-mistakes.test.ts:_: boom'],
    [sink({ preview: boom }), 'preview threw TypeError at test/engine/plugin-mistakes.test.ts:_: boom'],
    [sink({ preview: () => 5 }), 'preview returned 5: it must be a function of a message'],
    [sink({ validateConfig: boom }), 'validateConfig threw TypeError at test/engine/plugin-mistakes.test.ts:_: boom'],
    [withSource({ replayable: 'yes' }), 'replayable is "yes": it must be true or false'],
    [withSource({ reason: undefined }), 'reason is missing: it must be a string'],
    [withTransform({ ports: ['a'] }), 'ports is ["a"]: it must be a function of the config'],
    [withTransform({ ports: () => 'a' }), 'ports returned "a": it must be a list of names'],
    [withTransform({ windowSpan: () => '1h' }), 'windowSpan returned "1h": it must be a number of milliseconds'],
  ])('%#: %s', async (plugin, message) => {
    const section = { source: 'sources', transform: 'transforms', sink: 'sinks' }[plugin.kind]
    const { problems } = await validate(
      { name: 'p', sources: [{ stdin: {} }], sinks: [{ stdout: {} }], [section]: [{ own: {} }] },
      { plugins: [plugin] },
    )
    const said = problems.map(p => [p.code, p.path, p.message.replace(/:\d+:\d+/, ':_')])
    expect(said).toEqual([['CONFIG_CHECK', `${section}[0].own`, `the plugin own has to be corrected: ${message}`]])
  })
})

describe('an error of a hook is reported with the step, the call, its location and a fix', () => {
  const throwing = (hook: string) => ({
    [hook]: () => {
      throw new TypeError('boom')
    },
  })
  const base = { schema: {}, type: 'own' }
  const create = (kind: string, hook: string): Plugin => {
    const throws = throwing(hook)
    if (kind === 'source') return source({}, throws)
    if (kind === 'transform')
      return defineTransform({ ...base, create: () => ({ process: (all, out) => all.forEach(m => out.emit(m)), ...throws }) })
    return defineSink({ ...base, onRedelivery: 'appends', reason: '', create: () => ({ write: async () => {}, ...throws }) })
  }
  test.each([
    ['source', 'open', /Throw a ConnectionError/],
    ['source', 'read', /Throw a ConnectionError/],
    ['transform', 'process', / on memory\/in offset \d: boom\n.*The pipeline has no dlq .*call out\.fail/],
    ['transform', 'onEnd', /Correct the plugin/],
    ['sink', 'open', /Throw a ConnectionError/],
    ['sink', 'write', /Records in the call: memory\/in offsets? 0.*\n.*Throw a BatchError/],
    ['source', 'commit', /Throw a ConnectionError/],
    ['source', 'holds', /Correct the plugin/],
    ['source', 'close', /Data that was written and committed is not affected/],
    ['transform', 'close', /Data that was written and committed is not affected/],
    ['sink', 'close', /Data that was written and committed is not affected/],
  ])('%s %s', async (kind, hook, advice) => {
    const { error } = await endOf(create(kind, hook))
    expect(error).toMatch(
      new RegExp(`^step 'own' \\(\\(object\\):\\d+\\): ${hook} threw TypeError at test/engine/plugin-mistakes\\.test\\.ts:\\d+:\\d+`),
    )
    expect(error).toMatch(advice)
  })
  test.each(['source', 'transform', 'sink'])('%s create', async kind => {
    const plugin = { ...create(kind, 'nothing'), ...throwing('create') } as Plugin
    expect((await endOf(plugin)).error).toMatch(
      /^step 'own' .*: create threw TypeError at test\/engine\/plugin-mistakes\.test\.ts:\d+:\d+: boom\n/,
    )
  })
})
