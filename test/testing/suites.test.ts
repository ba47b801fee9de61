/** The conformance suites find the errors they test for, under node:test as under vitest. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defineSink, defineSource, defineTransform, Message, type Sink } from 'pipeline-runner'
import { type ConformanceTest, sinkConformance, sourceConformance, transformConformance } from 'pipeline-runner/testing'

/** Names of the tests that fail. */
async function failing(tests: readonly ConformanceTest[]): Promise<string[]> {
  const names: string[] = []
  for (const { name, run } of tests) await run().catch(() => names.push(name))
  return names
}

describe('transforms', () => {
  const counting = (save: boolean) =>
    defineTransform<object>({
      type: 'counting',
      schema: {},
      stateful: true,
      create: (_, ctx) => {
        const state = ctx.state<number>('count')
        let n = state.get('n') ?? 0
        return {
          process(messages, out) {
            for (const m of messages) out.emit(m.derive({ n: ++n }))
            if (save) state.set('n', n)
          },
        }
      },
    })
  const perBatch = defineTransform<object>({
    type: 'per_batch',
    schema: {},
    create: () => ({ process: (messages, out) => messages.forEach((m, i) => out.emit(m.derive({ i }))) }),
  })
  const inputs = Array.from({ length: 10 }, (_, n) => ({ value: { n } }))

  test.each([
    ['a list', inputs],
    ['a function', (random: () => number) => Array.from({ length: 10 }, () => ({ value: random() }))],
    ['a fast-check arbitrary', fc.array(fc.record({ value: fc.nat() }), { minLength: 5, maxLength: 20 })],
  ])('%s of inputs: passes transforms that keep their state, finds those that do not, and those that expose batches', async (_, given) => {
    const suite = (plugin: ReturnType<typeof counting>) => failing(transformConformance({ plugin, config: {}, inputs: given }))
    expect(await suite(counting(true))).toEqual([])
    expect(await suite(counting(false))).toEqual(['a crash and a restore from the state at any cut gives identical output and state'])
    expect(await suite(perBatch)).toHaveLength(2)
  })
})

test('sinks: finds a sink that drops, one that reorders, and one that closes once', async () => {
  const make = (write: (list: string[], values: string[]) => void, more: Partial<Sink> = {}) => {
    let list: string[] = []
    return sinkConformance({
      plugin: defineSink<object>({
        type: 'list',
        schema: {},
        onRedelivery: 'appends',
        reason: '',
        create: () => ({
          ...more,
          write: async messages =>
            write(
              list,
              messages.map(m => String(m.encode())),
            ),
        }),
      }),
      prepare: async () => ((list = []), { config: {}, read: async () => list }),
    })
  }
  expect(await failing(make((list, values) => list.push(...values)))).toEqual([])
  expect((await failing(make((list, values) => list.push(...values.slice(1))))).length).toBeGreaterThan(0)
  expect((await failing(make((list, values) => list.unshift(...values)))).length).toBeGreaterThan(0)
  expect((await failing(make((list, values) => list.push(...values), { close: () => Promise.reject(new Error('again')) }))).length).toBe(5)
})

test('sources: finds a source that skips a record after its position', async () => {
  const suite = (skip: number) =>
    sourceConformance<{ records: readonly string[] }>({
      plugin: defineSource({
        type: 'list',
        schema: {},
        replayable: true,
        reason: '',
        create: ({ records }, ctx) => {
          let next = 0
          return {
            async open() {
              const position = (await ctx.assign([{ id: 'l', source: ctx.step }])).get('l') as number | undefined
              next = position === undefined ? 0 : position + skip
            },
            async read(signal) {
              signal.throwIfAborted()
              if (next >= records.length) return null
              const origin = { lane: 'l', source: ctx.step, format: 'text' } as const
              const messages = records
                .slice(next, next + 50)
                .map((r, i) => Message.fromRecord(Buffer.from(r), null, 1, undefined, next + i, origin))
              next += messages.length
              return { lane: 'l', messages, position: next }
            },
            async seek(_, position) {
              next = (position as number | undefined) ?? 0
            },
          }
        },
      }),
      prepare: async records => ({ config: { records } }),
    })
  expect(await failing(suite(0))).toEqual([])
  expect(await failing(suite(1))).toEqual(['a new source at the position of any batch delivers exactly what follows it'])
})

test('node:test runs a suite and a pipeline', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runner-node-test-'))
  const file = join(folder, 'a.test.mjs')
  writeFileSync(
    file,
    `import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defineTransform } from 'pipeline-runner'
import { testPipeline, transformConformance } from 'pipeline-runner/testing'
const plugin = defineTransform({ type: 'same', schema: {}, create: () => ({ process: (all, out) => all.forEach(m => out.emit(m)) }) })
for (const { name, run } of transformConformance({ plugin, config: {}, inputs: [{ value: 1 }, { value: 2 }] })) test(name, run)
test('pipeline', async () => {
  const pipeline = await testPipeline({ name: 'x', sources: ['stdin'].map(type => ({ [type]: {} })), transforms: [{ filter: 'n > 1' }], sinks: [{ stdout: {} }] })
  await pipeline.send([{ value: { n: 1 } }, { value: { n: 2 } }])
  assert.deepEqual((await pipeline.outputs()).map(r => r.value), [{ n: 2 }])
  await pipeline.close()
})
`,
  )
  const source = pathToFileURL('scripts/source.js').href
  const { status, stdout, stderr } = spawnSync('node_modules/.bin/node', ['--import', source, '--test', '--test-reporter=spec', file], {
    encoding: 'utf8',
  })
  rmSync(folder, { recursive: true })
  expect(stdout + stderr).toContain('pass 3')
  expect(status).toBe(0)
})
