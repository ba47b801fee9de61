/** A value that cannot be decoded or written as JSON fails its record, in every sink and every state, and never the pipeline. */
import { describe, expect, test } from 'vitest'
import { defineSink, defineTransform, Message, type Origin, type TransformPlugin } from '../../src/contract/plugin.ts'
import throttle from '../../src/transforms/throttle.ts'
import { MemoryLog, pipelineOf, start, step } from './harness.ts'

const header = (m: { headers?: readonly (readonly [string, unknown])[] }, name: string): unknown => m.headers?.find(h => h[0] === name)?.[1]
const nested = (depth: number): Buffer => Buffer.from(`{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`)
const cycle: { self?: unknown } = {}
cycle.self = cycle

const BAD: readonly (readonly [string, unknown])[] = [
  ['BigInt', 1n],
  ['contains itself', cycle],
  ['NaN', Number.NaN],
  ['Map', new Map([[1, 2]])],
  ['function', () => 1],
]
/** An external plugin: every second record gets a value that is not JSON. */
const careless = defineTransform({
  type: 'careless',
  schema: {},
  create: () => ({
    process(messages, out) {
      for (const m of messages) {
        const { v } = m.value as { v: number }
        out.emit(m.derive(v % 2 === 0 ? { v, odd: BAD[(v / 2) % BAD.length][1] } : { v }))
      }
    },
  }),
}) as TransformPlugin

const input = { a: Array.from({ length: 20 }, (_, v) => ({ v })) }

describe('a plugin that emits a value that is not JSON', () => {
  test('has those messages dead-lettered with the reason, before they reach a sink or a state', async () => {
    const log = new MemoryLog({ lanes: input, batch: () => 7 })
    const keep = { interval: 1000, max: 100, max_keys: 10, keep: 'last', max_future: 1000, idle_timeout: 0 }
    const pipeline = pipelineOf(log, [careless])
    await start({ ...pipeline, transforms: [{ ...step('t0', careless), foreign: true }, step('t1', throttle, keep)] }).run()
    expect(log.dead.map(m => header(m, 'source_offset'))).toEqual(['0', '2', '4', '6', '8', '10', '12', '14', '16', '18'])
    log.dead.forEach((m, i) => {
      expect(header(m, 'step')).toBe('t0')
      expect(header(m, 'error_message')).toContain('the step emitted a value that is not JSON')
      expect(header(m, 'error_message')).toContain(BAD[i % BAD.length][0])
    })
    expect(log.committed.map(r => r.value)).toEqual(input.a.filter(r => r.v % 2 === 1).map(r => JSON.stringify(r)))
  })

  test('has only those messages dead-lettered if the sink fails as a whole', async () => {
    const log = new MemoryLog({ lanes: input, batch: () => 7 })
    const written: string[] = []
    const sink = defineSink({
      type: 'whole',
      schema: {},
      onRedelivery: 'appends',
      reason: 'a list',
      create: () => ({
        async write(messages) {
          const lines = messages.map(m => String(m.encode()))
          written.push(...lines)
        },
      }),
    })
    const pipeline = pipelineOf(log, [careless], { sinks: [step('out', sink)], delivery: 'at_least_once' })
    await start(pipeline).run()
    // NaN, functions and a Map change in JSON: only the check of a plugin's output finds them.
    expect(log.dead.map(m => header(m, 'source_offset'))).toEqual(['0', '2', '10', '12'])
    expect(log.dead.map(m => header(m, 'step'))).toEqual(Array(4).fill('out'))
    expect(written.filter(line => /[13579]}$/.test(line)).length).toBe(10)
  })
})

describe('nesting', () => {
  const pass = defineTransform({
    type: 'pass',
    schema: {},
    create: () => ({ process: (messages, out) => messages.forEach(m => out.emit(m.derive(m.value))) }),
  }) as TransformPlugin

  test('deeper than 256 levels is dead-lettered with its bytes', async () => {
    const log = new MemoryLog({ lanes: { a: [nested(256), nested(257), nested(6000), { v: 1 }] }, batch: () => 7 })
    await start(pipelineOf(log, [pass])).run()
    expect(log.dead.map(m => [header(m, 'source_offset'), header(m, 'error_type')])).toEqual([
      ['1', 'decode'],
      ['2', 'decode'],
    ])
    expect(log.dead[1].encode()).toEqual(nested(6000))
    expect(log.committed.map(r => r.value)).toEqual([String(nested(256)), '{"v":1}'])
  })

  test('is limited by limits.depth', async () => {
    const log = new MemoryLog({ lanes: { a: [nested(3), nested(4), nested(900)] }, batch: () => 7 })
    await start(pipelineOf(log, [pass], { limits: { depth: 3 } })).run()
    expect(log.dead.map(m => header(m, 'error_message'))).toEqual(Array(2).fill(expect.stringContaining('more than 3 levels deep')))
    const more = new MemoryLog({ lanes: { a: [nested(900)] }, batch: () => 7 })
    await start(pipelineOf(more, [pass], { limits: { depth: 1000 } })).run()
    expect(more.committed.length).toBe(1)
  })

  // `revive` and the `snapshot` of a websocket source make such messages.
  test.each([
    ['shared', (o: Origin) => o],
    ['frozen', (o: Origin) => Object.freeze(o)],
  ])('is limited by limits.depth in a message that a step makes from the bytes of a record (%s origin)', async (_, originOf) => {
    const remade = defineTransform({
      type: 'remade',
      schema: {},
      create: () => ({
        process(messages, out) {
          for (const m of messages) out.emit(Message.fromRecord(m.payload, m.keyBytes, m.time, m.headers, m.offset, m.origin!))
        },
      }),
    }) as TransformPlugin
    const read = defineTransform({
      type: 'read',
      schema: {},
      create: () => ({ process: (messages, out) => messages.forEach(m => out.emit(m.derive({ size: JSON.stringify(m.value).length }))) }),
    }) as TransformPlugin
    for (const depth of [200, 1000]) {
      const log = new MemoryLog({ lanes: { a: [nested(depth), nested(depth + 1)] }, batch: () => 7, originOf })
      await start(pipelineOf(log, [remade, read], { limits: { depth } })).run()
      expect(log.committed.map(r => r.value)).toEqual([JSON.stringify({ size: nested(depth).length })])
      expect(log.dead.map(m => header(m, 'error_message'))).toEqual([expect.stringContaining(`more than ${depth} levels deep`)])
    }
  })
})

describe('a duplicate key in an object', () => {
  const twice = ['{"a":1,"a":2}', '{"b":{"x":[{"c":1,"\\u0063":2}]}}'].map(t => Buffer.from(t))
  const input = { a: [...twice, { a: { a: 1 } }, { t: '{"a":1,"a":2}' }] }

  test.each(['read', 'not read'])('is dead-lettered with limits.strict if values are %s', async read => {
    const log = new MemoryLog({ lanes: input, batch: () => 7 })
    const touch = defineTransform({ type: 'touch', schema: {}, create: () => ({ process: (ms, out) => ms.forEach(m => out.emit(m)) }) })
    const transform = { ...touch, readsValue: read === 'read' } as TransformPlugin
    await start(pipelineOf(log, [transform], { limits: { strict: true } })).run()
    expect(log.dead.map(m => [header(m, 'source_offset'), header(m, 'error_type'), header(m, 'error_message')])).toEqual([
      ['0', 'decode', 'an object has the key "a" twice (character 8); limits.strict rejects such records'],
      ['1', 'decode', 'an object has the key "c" twice (character 19); limits.strict rejects such records'],
    ])
    expect(log.dead.map(m => m.encode())).toEqual(twice)
    expect(log.committed.length).toBe(2)
  })

  test('is otherwise written with its bytes, and the last value counts', async () => {
    const log = new MemoryLog({ lanes: { a: twice }, batch: () => 7 })
    await start(pipelineOf(log, [])).run()
    expect(log.committed.map(r => r.value)).toEqual(twice.map(String))
  })
})
