import { describe, expect, it } from 'vitest'
import { BatchError, DataError, DecodeError, defineTransform, Message, type TransformPlugin } from '../../src/contract/plugin.ts'
import { loadInput } from '../../src/config/load.ts'
import { checkTransform } from '../../src/runtime/chain.ts'
import { MemoryLog, pipelineOf, start, step } from './harness.ts'

const input = { a: Array.from({ length: 100 }, (_, v) => ({ v })) }
const throwing = (stateful: boolean): TransformPlugin =>
  defineTransform({
    type: 'throwing',
    schema: {},
    stateful,
    create: (_config, ctx) => {
      const state = stateful ? ctx.state<number>('sum') : undefined
      return {
        process(messages, out) {
          for (const m of messages) {
            const { v } = m.value as { v: number }
            state?.set('sum', (state.get('sum') ?? 0) + v)
            if (v === 41 || v === 77) throw new TypeError(`cannot take ${v}`)
            out.emit(m.derive({ v, sum: state?.get('sum') ?? null }))
          }
        },
      }
    },
  }) as TransformPlugin
const header = (m: { headers?: readonly (readonly [string, unknown])[] }, name: string): unknown => m.headers?.find(h => h[0] === name)?.[1]

describe('a transform that throws', () => {
  it.each([false, true])('dead-letters only the poison message (stateful: %s)', async stateful => {
    const log = new MemoryLog({ lanes: input, batch: () => 30 })
    const run = start(pipelineOf(log, [throwing(stateful)]))
    await run.run()
    expect(log.dead.map(m => header(m, 'source_offset'))).toEqual(['41', '77'])
    expect(run.built.meters.sum('transform', 'dead')).toBe(2)
    expect(log.dead.map(m => header(m, 'error_type'))).toEqual(['TypeError', 'TypeError'])
    expect(log.dead[0].encode()!.toString()).toBe('{"v":41}')
    expect(header(log.dead[0], 'step')).toBe('t0')
    const good = input.a.filter(r => r.v !== 41 && r.v !== 77)
    let sum = 0
    expect(log.committed.map(r => r.value)).toEqual(good.map(({ v }) => JSON.stringify({ v, sum: stateful ? (sum += v) : null })))
  })
})

describe('the other records of a failed batch', () => {
  /** Assigns to each message, as `map`, `rekey` and `envelope` do. */
  const changing = defineTransform({
    type: 'changing',
    schema: {},
    create: () => ({
      process(messages, out) {
        for (const m of messages) {
          m.value = { v: (m.value as { v: number }).v + 1 }
          m.key = `${m.key}+`
          m.time += 1
          m.headers = [...(m.headers ?? []), ['seen', '1']]
          out.emit(m)
        }
      },
    }),
  }) as TransformPlugin

  it.each(['as records', 'with a key, headers and a value of the source'])('pass each step once (%s)', async how => {
    const log = new MemoryLog({ lanes: input, batch: () => 30 })
    const pipeline = pipelineOf(log, [changing, throwing(false)])
    const { create } = pipeline.sources[0].plugin
    if (how !== 'as records')
      pipeline.sources[0].plugin.create = (config, ctx) => {
        const source = create(config, ctx)
        return {
          ...source,
          read: async signal => {
            const batch = await source.read(signal)
            for (const m of batch?.messages ?? []) {
              m.key = 'own'
              m.headers = [['from', 'source']]
              m.value = { v: m.offset }
              m.time = 5000
            }
            return batch
          },
        }
      }
    const written: unknown[] = []
    pipeline.sinks[0].plugin.create = () => ({
      async write(messages) {
        for (const m of messages) written.push([m.value, m.key, m.time, m.headers?.map(([name]) => name)])
      },
    })
    await start(pipeline).run()
    const own = how !== 'as records'
    const expected = input.a
      .map(({ v }) => [{ v: v + 1, sum: null }, own ? 'own+' : 'a+', (own ? 5000 : 1000 + v) + 1, own ? ['from', 'seen'] : ['seen']])
      .filter(([of]) => ![41, 77].includes((of as { v: number }).v))
    expect(written).toEqual(expected)
    expect(log.dead.map(m => header(m, 'source_offset'))).toEqual(['40', '76'])
  })
})

describe('a step after a window that throws', () => {
  const windows = Array.from({ length: 60 }, (_, i) => ({ ts: 1000 * i, i, k: `k${i % 2}` }))
  const throwsAt = (starts: readonly number[], stateful: boolean): TransformPlugin =>
    defineTransform({
      type: 'behind',
      schema: {},
      stateful,
      create: (_config, ctx) => {
        const state = stateful ? ctx.state<number>('count') : undefined
        return {
          process(messages, out) {
            for (const m of messages) {
              const { start, key, n } = m.value as { start: number; key: string; n: number }
              state?.set('n', (state.get('n') ?? 0) + 1)
              m.value = { start, key, n: n + 1, count: state?.get('n') ?? null }
              if (starts.includes(start) && key === 'k1') throw new TypeError(`cannot take ${start}`)
              out.emit(m)
            }
          },
        }
      },
    }) as TransformPlugin

  // 50000 is the last window: it closes at the end of the input.
  it.each([
    ['in the middle', [10_000, 20_000], false],
    ['in the middle', [10_000, 20_000], true],
    ['at the end', [50_000], false],
    ['at the end', [0, 50_000], true],
  ] as const)('%s: only that result is dead-lettered (%j, stateful: %s)', async (_, starts, stateful) => {
    const log = new MemoryLog({ lanes: { a: windows }, batch: () => 7 })
    const loaded = await loadInput({
      name: 'p',
      sources: [{ stdin: 'jsonl' }],
      transforms: [{ window: { size: '10s', time: 'ts', by: 'k', aggregates: { n: { count: '*' } } } }],
      sinks: [{ stdout: 'jsonl' }],
    })
    const pipeline = pipelineOf(log, [throwsAt(starts, stateful)])
    await start({ ...pipeline, transforms: [...loaded.pipeline!.transforms, ...pipeline.transforms] }).run()
    expect(log.dead.map(m => [header(m, 'step'), header(m, 'error_type')])).toEqual(starts.map(() => ['t0', 'TypeError']))
    const all = [0, 1, 2, 3, 4, 5].flatMap(w => ['k0', 'k1'].map(key => ({ start: w * 10_000, key })))
    const good = all.filter(({ start, key }) => !(key === 'k1' && (starts as readonly number[]).includes(start)))
    expect(log.committed.map(r => JSON.parse(r.value))).toEqual(
      good.map(({ start, key }, i) => ({ start, key, n: 6, count: stateful ? i + 1 : null })),
    )
  })

  it('stops the pipeline if it throws for every message and there is no dlq', async () => {
    const log = new MemoryLog({ lanes: { a: windows }, batch: () => 7 })
    const always = defineTransform({
      type: 'always',
      schema: {},
      stateful: true,
      create: (_config, ctx) => {
        ctx.state('s')
        return {
          process() {},
          onEnd() {
            throw new TypeError('cannot end')
          },
        }
      },
    }) as TransformPlugin
    await expect(start(pipelineOf(log, [always])).run()).rejects.toThrow(/cannot end/)
  })
})

describe('invalid records', () => {
  it('go to the dead-letter queue with their original bytes, key and headers', async () => {
    const bad = Buffer.from('{"v": 1,,}')
    const utf8 = Buffer.from([0x22, 0xff, 0x22])
    const log = new MemoryLog({ lanes: { a: [{ v: 1 }, bad, { v: 2 }, utf8, Buffer.alloc(0)] }, batch: () => 10 })
    await start(pipelineOf(log, [throwing(false)])).run()
    expect(log.committed.length).toBe(2)
    expect(log.dead.map(m => m.encode())).toEqual([bad, utf8, Buffer.alloc(0)])
    const [first] = log.dead
    expect(first.encodeKey()).toEqual(Buffer.from('a'))
    expect(Object.fromEntries(first.headers!)).toMatchObject({
      source_topic: 'a',
      source_partition: '0',
      source_offset: '1',
      source_timestamp: '1001',
      pipeline: 'test',
      step: 'in',
      error_type: 'decode',
    })
    expect(header(log.dead[1], 'error_message')).toMatch(/UTF-8/)
    expect(header(log.dead[2], 'error_message')).toMatch(/empty/)
  })

  it('are detected also if no step reads values; tombstones and other formats pass', async () => {
    const bad = Buffer.from('{"v": 1,,}')
    const deep = Buffer.from('['.repeat(300) + ']'.repeat(300))
    const log = new MemoryLog({ lanes: { a: [{ v: 1 }, bad, { v: 2 }, deep] }, batch: () => 10 })
    await start(pipelineOf(log, [], { sinks: [step('out', { ...log.sink(), readsValue: false })] })).run()
    expect(log.committed.length).toBe(2)
    expect(log.dead.map(m => m.encode())).toEqual([bad, deep])

    const origin = { lane: 'l', source: 's' }
    const record = (payload: Buffer | null, format: 'json' | 'text' | 'bytes') =>
      Message.fromRecord(payload, null, 0, undefined, 0, { ...origin, format })
    const passes = [record(null, 'json'), record(bad, 'bytes'), record(Buffer.from([0xff]), 'text')]
    const [emitted, failed]: Message[][] = [[], []]
    const out = { emit: (m: Message) => emitted.push(m), fail: (m: Message) => failed.push(m), emitTo() {} }
    void checkTransform(256).process([...passes, record(Buffer.alloc(0), 'json')], out)
    expect(emitted).toEqual(passes)
    expect(failed).toHaveLength(1)
  })

  it('stop a pipeline without a dlq, and no record after them is committed', async () => {
    const values: unknown[] = input.a.slice(0, 20)
    values[12] = Buffer.from('oops')
    const log = new MemoryLog({ lanes: { a: values }, batch: () => 5 })
    await expect(start(pipelineOf(log, [throwing(true)], { dlq: undefined, commit_interval: 0 })).run()).rejects.toThrow(
      /offset 12.*malformed JSON.*no dlq/s,
    )
    expect(log.checkpoints.get('a')?.position ?? 0).toBeLessThanOrEqual(12)
    expect(log.committed.length).toBeLessThanOrEqual(12)
  })

  it('stop the pipeline even if a plugin catches the rejection', async () => {
    const swallowing = defineTransform({
      type: 'swallowing',
      schema: {},
      create: () => ({
        process(messages, out) {
          for (const m of messages) {
            try {
              out.fail(m, new DataError('bad'))
            } catch {}
          }
        },
      }),
    }) as TransformPlugin
    const log = new MemoryLog({ lanes: { a: [{ v: 1 }] }, batch: () => 5 })
    await expect(start(pipelineOf(log, [swallowing], { dlq: undefined })).run()).rejects.toThrow(/no dlq/)
    expect(log.checkpoints.size).toBe(0)
  })
})

describe('a sink that rejects some messages', () => {
  it('has exactly those messages dead-lettered', async () => {
    const log = new MemoryLog({ lanes: input, batch: () => 30 })
    const pipeline = pipelineOf(log, [], { delivery: 'at_least_once' })
    const written: number[] = []
    pipeline.sinks[0].plugin.create = () => ({
      async write(messages) {
        const failed = new Map<number, Error>()
        messages.forEach((m, i) => {
          const { v } = m.value as { v: number }
          if (v % 10 === 3) failed.set(i, new DataError('ends in 3'))
          else written.push(v)
        })
        if (failed.size > 0) throw new BatchError(failed)
      },
    })
    await start(pipeline).run()
    expect(log.dead.map(m => header(m, 'source_offset'))).toEqual(['3', '13', '23', '33', '43', '53', '63', '73', '83', '93'])
    expect(header(log.dead[0], 'step')).toBe('out')
    expect(written).toEqual(input.a.map(r => r.v).filter(v => v % 10 !== 3))
  })
})

it.each([true, false])('records that a source could not unpack are dead-lettered (steps read values: %s)', async readsValue => {
  const log = new MemoryLog({ lanes: input, batch: () => 30 })
  const pipeline = pipelineOf(log, [])
  const { create } = pipeline.sources[0].plugin
  pipeline.sources[0].plugin.create = (config, ctx) => {
    const source = create(config, ctx)
    return {
      ...source,
      read: async signal => {
        const batch = await source.read(signal)
        for (const m of batch?.messages ?? []) if (m.offset === 55) m.failure = new DecodeError('unknown compression')
        return batch
      },
    }
  }
  const sink = pipeline.sinks[0]
  await start({ ...pipeline, sinks: [{ ...sink, plugin: { ...sink.plugin, readsValue } }] }).run()
  expect(log.dead.map(m => [m.offset, header(m, 'error_type'), header(m, 'error_message')])).toEqual([
    [55, 'decode', 'unknown compression'],
  ])
  expect(log.committed.length).toBe(99)
})

/** Errors in plugin code and how they are reported. */
describe('an error of a plugin outside the contract', () => {
  const transform = (process: (m: any, out: any) => unknown, more: object = {}): TransformPlugin =>
    defineTransform({
      type: 'own',
      schema: {},
      create: () => ({
        process: (messages: any[], out: any) => {
          const waits = messages.map(m => process(m, out)).filter((wait): wait is Promise<void> => wait !== undefined)
          return waits.length > 0 ? Promise.all(waits).then(() => {}) : undefined
        },
        ...more,
      }),
    }) as TransformPlugin
  const failed = async (plugins: TransformPlugin[], options: object = {}, log = new MemoryLog({ lanes: input, batch: () => 30 })) =>
    (await start(pipelineOf(log, plugins, { dlq: undefined, commit_interval: 0, ...options }))
      .run()
      .then(() => 'ended')
      .catch((e: Error) => e.message)) as string
  const oops = (m: any): void => {
    if (m.value.v === 41) void m.value.nothing.x
  }
  const asOops = async (m: any, out: any): Promise<void> => {
    await Promise.resolve()
    oops(m)
    out.emit(m)
  }

  it.each([
    ['sync', oops],
    ['async', asOops],
  ])('%s, without a dlq: the error has step, location in the plugin, record and a fix', async (_, process) => {
    const said = await failed([transform(process)])
    expect(said).toMatch(
      /^step 't0' \(test\.yaml:1\): process threw TypeError at test\/runtime\/poison\.test\.ts:\d+:\d+ on a offset 41: Cannot read properties/,
    )
    expect(said).toMatch(/The pipeline has no dlq .* nothing after this record is committed\. Correct the plugin, or add a 'dlq:' section/)
  })

  it('with state, without a dlq: is the same after a restore', async () => {
    const log = new MemoryLog({ lanes: input, batch: () => 30 })
    expect(await failed([throwing(true)], {}, log)).toMatch(
      /process threw TypeError at .*poison\.test\.ts:\d+:\d+ on a offset 41: cannot take 41/,
    )
    expect(log.committed.length).toBeLessThanOrEqual(41)
  })

  it('with a dlq: the dead letter has the error and its location', async () => {
    const log = new MemoryLog({ lanes: input, batch: () => 30 })
    await start(pipelineOf(log, [throwing(false)])).run()
    expect(header(log.dead[0], 'error_message')).toBe('cannot take 41')
    expect(header(log.dead[0], 'error_location')).toMatch(/^test\/runtime\/poison\.test\.ts:\d+:\d+$/)
  })

  it.each([['a text'], [undefined], [null], [{ code: 7 }]])('%j is not an Error and is reported like an Error', async thrown => {
    const throwIt = (m: any): void => {
      if (m.value.v === 41) throw thrown
    }
    expect(await failed([transform(throwIt)])).toMatch(/on a offset 41: .*, which is not an Error/)
    const log = new MemoryLog({ lanes: input, batch: () => 30 })
    await start(pipelineOf(log, [transform(throwIt)])).run()
    expect(log.dead.length).toBe(1)
    await start(pipelineOf(new MemoryLog({ lanes: input, batch: () => 30 }), [transform((m, out) => out.fail(m, thrown))])).run()
  })

  it('in create, and for a create that returns nothing', async () => {
    const make = (create: any) => defineTransform({ type: 'own', schema: {}, create }) as TransformPlugin
    expect(
      await failed([
        make(() => {
          throw new TypeError('no')
        }),
      ]),
    ).toMatch(/^step 't0' \(test\.yaml:1\): create threw TypeError at .*poison\.test\.ts:\d+:\d+: no\n/)
    expect(await failed([make(() => undefined)])).toMatch(/create returned a value without process\(\)/)
  })

  it('in onEnd', async () => {
    const onEnd = (): void => {
      throw new RangeError('no end')
    }
    expect(await failed([transform((m, out) => void out.emit(m), { onEnd })])).toMatch(/step 't0' .*: onEnd threw RangeError at .*: no end/)
  })
})

it('of several messages that were made from one result, only the one that makes a step throw is dead-lettered', async () => {
  const each = (type: string, stateful: boolean, work: (m: Message, emit: (m: Message) => void) => void): TransformPlugin =>
    defineTransform({
      type,
      schema: {},
      stateful,
      create: (_config, ctx) => {
        if (stateful) ctx.state('n')
        return {
          process(messages, out) {
            for (const m of messages) work(m, made => out.emit(made))
          },
        }
      },
    }) as TransformPlugin
  const results = each('results', true, (m, emit) => {
    const { v } = m.value as { v: number }
    const made = new Message({ v }, null, m.time)
    made.result = { step: 't0', key: null, start: v, end: v }
    emit(made)
  })
  const elements = each('elements', false, (m, emit) => {
    for (let i = 0; i < 3; i++) {
      const made = m.derive({ ...(m.value as object), i })
      made.part = `rows[${i}]`
      emit(made)
    }
  })
  const failing = each('failing', true, (m, emit) => {
    const { v, i } = m.value as { v: number; i: number }
    if (v === 4 && i === 1) throw new TypeError('cannot take it')
    emit(m)
  })
  const log = new MemoryLog({ lanes: { a: Array.from({ length: 10 }, (_, v) => ({ v })) }, batch: () => 3 })
  await start(pipelineOf(log, [results, elements, failing])).run()
  expect(log.dead.map(m => header(m, 'source_part'))).toEqual(['rows[1]'])
  expect(log.committed).toHaveLength(29)
})
