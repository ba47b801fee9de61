/** The final log line, the status and the metrics count committed records, however often a lane is restored. */
import { expect, test } from 'vitest'
import { DataError, defineTransform, type TransformPlugin } from '../../src/contract/plugin.ts'
import { statusOf } from '../../src/runtime/telemetry/observed.ts'
import { statusOf as endpointStatusOf } from '../../src/runtime/telemetry/endpoints.ts'
import { createRegistry } from '../../src/runtime/telemetry/prometheus.ts'
import type { PipelineRun } from '../../src/runtime/pipeline.ts'
import { seeded } from '../support/random.ts'
import { faultError, MemoryLog, pipelineOf, start } from './harness.ts'

/** Fails negative numbers, throws at 13, and keeps a sum. */
const summing = defineTransform({
  type: 'summing',
  schema: {},
  stateful: true,
  create: (_config, ctx) => {
    const state = ctx.state<number>('sum')
    return {
      process(messages, out) {
        for (const m of messages) {
          const { v } = m.value as { v: number }
          if (v === 13) throw new TypeError('thirteen')
          if (v < 0) out.fail(m, new DataError('negative'))
          else {
            state.set('all', (state.get('all') ?? 0) + v)
            out.emit(m)
          }
        }
      },
    }
  },
}) as TransformPlugin

const N = 200
const input = (random: () => number): Record<string, unknown[]> =>
  Object.fromEntries(
    ['a', 'b'].map(id => [
      id,
      Array.from({ length: N }, (_, i) =>
        random() < 0.02 ? Buffer.from('{') : { v: i % 90 === 13 ? 13 : random() < 0.05 ? -1 : 100 + i },
      ),
    ]),
  )

/** The same figures in every output. */
async function figures(run: PipelineRun): Promise<{ in: number; out: number; dead: number }> {
  const { in: read, out, dead } = statusOf(run)
  const { steps } = endpointStatusOf(run)
  const sum = (field: 'in' | 'out' | 'dead', kind?: string): number =>
    Object.values(steps).reduce((n, s) => (kind === undefined || s.kind === kind ? n + s[field] : n), 0)
  expect({ in: sum('in', 'source'), out: sum('out', 'sink'), dead: sum('dead') }).toEqual({ in: read, out, dead })
  const text = await (await createRegistry([run], { process: false })).metrics()
  const metric = (field: string, kind: string): number =>
    [...text.matchAll(new RegExp(`^runner_step_messages_${field}_total\\{.*kind="${kind}"\\} (\\d+)`, 'gm'))].reduce(
      (n, m) => n + Number(m[1]),
      0,
    )
  expect({ in: metric('in', 'source'), out: metric('out', 'sink'), dead: metric('dead', '[a-z]+') }).toEqual({ in: read, out, dead })
  return { in: read, out, dead }
}

test.each(Array.from({ length: 20 }, (_, seed) => seed))('exactly once: every record counts once, whatever fails; seed %i', async seed => {
  const random = seeded(seed)
  let faults = 0
  const log = new MemoryLog({
    lanes: input(random),
    batch: () => 1 + Math.floor(random() * 30),
    fault: () => {
      if (faults < 40 && random() < 0.15) {
        faults++
        throw faultError(random)
      }
    },
  })
  const run = start(pipelineOf(log, [summing]), { random })
  await run.run()
  expect(log.committed.length + log.dead.length).toBe(2 * N)
  expect(await figures(run)).toEqual({ in: 2 * N, out: log.committed.length, dead: log.dead.length })
})

test('at least once: reads and dead letters count once, each write counts', async () => {
  const random = seeded(3)
  let faults = 0
  const log = new MemoryLog({
    lanes: input(random),
    batch: () => 11,
    fault: where => {
      // Only the first ones: the number of saves depends on timing.
      if (where === 'save' && faults < 5) {
        faults++
        throw faultError(random)
      }
    },
  })
  const run = start(pipelineOf(log, [summing], { delivery: 'at_least_once', commit_interval: 1 }), { random })
  await run.run()
  expect(faults).toBe(5)
  const letters = new Set(log.dead.map(m => `${m.origin!.lane} ${m.offset}`))
  expect(await figures(run)).toEqual({ in: 2 * N, out: log.committed.length, dead: letters.size })
  expect(log.committed.length).toBeGreaterThan(2 * N - letters.size)
})

test('records that were not committed when the run failed are not counted', async () => {
  const log = new MemoryLog({
    lanes: { a: Array.from({ length: 100 }, (_, v) => ({ v: 100 + v })) },
    batch: () => 10,
    fault: where => {
      if (where === 'write') throw new Error('disk gone')
    },
  })
  const run = start(pipelineOf(log, [summing]))
  await expect(run.run()).rejects.toThrow('disk gone')
  expect(await figures(run)).toEqual({ in: 0, out: 0, dead: 0 })
})
