import { expect, it } from 'vitest'
import '../../src/built-in.ts'
import { loadLanguageFor } from '../../src/config/lane-keys.ts'
import { loadInput } from '../../src/config/load.ts'
import { DataError, defineTransform, Message, type TransformPlugin } from '../../src/contract/plugin.ts'
import { MemoryLog, pipelineOf, start } from './harness.ts'

/** Counts messages per 10 units of time and emits a window when a message passes its end; rejects every seventh. */
const counting = defineTransform({
  type: 'counting',
  schema: {},
  stateful: true,
  windowSpan: () => 10,
  create: (_config, ctx) => {
    const windows = ctx.state<number>('windows')
    return {
      process(messages, out) {
        for (const m of messages) {
          if (m.time % 7 === 0) out.fail(m, new DataError('seventh'))
          const end = m.time - (m.time % 10) + 10
          for (const [key, n] of windows.entries())
            if (Number(key) < end) {
              windows.delete(key)
              out.emit(new Message({ end: Number(key), n }, null, Number(key)))
            }
          windows.set(String(end), (windows.get(String(end)) ?? 0) + 1)
        }
      },
      onEnd(out, until) {
        for (const [key, n] of windows.entries())
          if (Number(key) <= until) out.emit(new Message({ end: Number(key), n }, null, Number(key)))
      },
    }
  },
}) as TransformPlugin

it('a backfill reads beyond its bounds, emits the complete windows within them, and dead-letters only records within them', async () => {
  // Message i has time 1000 + i.
  const log = new MemoryLog({ lanes: { a: Array.from({ length: 300 }, (_, i) => i) }, batch: () => 17 })
  const range = { from: 1100, to: 1200 }
  const pipeline = pipelineOf(log, [counting], { delivery: 'at_least_once' })
  let given: unknown
  const { create } = pipeline.sources[0].plugin
  pipeline.sources[0].plugin.create = (config, ctx) => {
    given = ctx.range
    return create(config, ctx)
  }
  await start(pipeline, { range, endAt: range.to }).run()
  expect(given).toEqual({ from: Math.max(0, 1100 - 10 - 60_000), to: 1200 + 10 + 60_000 })
  expect(log.committed.map(r => JSON.parse(r.value))).toEqual(Array.from({ length: 10 }, (_, i) => ({ end: 1110 + i * 10, n: 10 })))
  expect(log.dead.map(m => Number(m.headers?.find(([name]) => name === 'source_timestamp')?.[1]))).toEqual(
    Array.from({ length: 300 }, (_, i) => 1000 + i).filter(t => t % 7 === 0 && t >= 1100 && t < 1200),
  )
})

it('a backfill without aggregation reads exactly its bounds', async () => {
  const log = new MemoryLog({ lanes: { a: [] }, batch: () => 1 })
  const pipeline = pipelineOf(log, [], { delivery: 'at_least_once' })
  let given: unknown
  const { create } = pipeline.sources[0].plugin
  pipeline.sources[0].plugin.create = (config, ctx) => {
    given = ctx.range
    return create(config, ctx)
  }
  await start(pipeline, { range: { from: 5 }, endAt: Number.NEGATIVE_INFINITY }).run()
  expect(given).toEqual({ from: 5, to: undefined })
})

const aggregates = { n: { count: '*' } }
const window = { window: { size: '10ms', by: 'id', max_future: '0s', allowed_lateness: '0s', idle_timeout: '0s', aggregates } }
const even = { name: 'even', when: 'i % 2 == 0', steps: [window] }

it.each<[what: string, transforms: object[], plain: number, perWindow: number]>([
  ['records that match no branch', [{ route: [even] }], 50, 5],
  ['another branch', [{ route: [even, { name: 'rest', steps: [] }] }], 50, 5],
  ['a nested route', [{ route: [{ name: 'all', steps: [{ route: [even] }] }] }], 50, 5],
  ['copies', [{ route: { match: 'all', branches: [even, { name: 'all', steps: [] }] } }], 100, 5],
  ['a window behind the route needs all of them', [{ route: [{ name: 'odd', when: 'i % 2 == 1', steps: [] }] }, window], 0, 10],
])('records that were read only for the windows of one branch leave no other way: %s', async (_, transforms, plain, perWindow) => {
  const sources = [{ kafka: { brokers: 'embedded', topics: ['in'] }, keyed_by: 'id' }]
  const { pipeline, problems } = await loadInput(
    { name: 't', sources, transforms, sinks: [{ stdout: {} }], dlq: { stdout: {} } },
    { env: {} },
  )
  expect(problems.filter(p => p.severity !== 'warning')).toEqual([])
  await loadLanguageFor(pipeline!)
  const log = new MemoryLog({ lanes: { a: Array.from({ length: 300 }, (_v, i) => ({ i, id: 'k' })) }, batch: () => 17 })
  const run = pipelineOf(log, [], { delivery: 'at_least_once', transforms: pipeline!.transforms })
  await start(run, { range: { from: 1100, to: 1200 }, endAt: 1200 }).run()
  const rows = log.committed.map(r => JSON.parse(r.value))
  const records = rows.filter(r => r.i !== undefined).map(r => r.i)
  expect([records.length, records.every(i => i >= 100 && i < 200)]).toEqual([plain, true])
  expect(rows.filter(r => r.start !== undefined).map(r => [r.start, r.n])).toEqual(
    Array.from({ length: 10 }, (_v, i) => [1100 + i * 10, perWindow]),
  )
})
