import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { ConnectionError, DataError, defineTransform, type TransformPlugin } from '../../src/contract/plugin.ts'
import { seeded } from '../support/random.ts'
import { faultError, MemoryLog, pipelineOf, start } from './harness.ts'

/** Waits in the middle of a batch, so that a restore can overtake it. */
const slow = (random: () => number): TransformPlugin =>
  defineTransform({
    type: 'slow',
    schema: {},
    stateful: true,
    create: (_config, ctx) => {
      const state = ctx.state<number>('n')
      return {
        async process(messages, out) {
          for (const m of messages) {
            if (random() < 0.1) await sleep(random() * 4)
            const n = (state.get('n') ?? 0) + 1
            state.set('n', n)
            if (n % 50 === 0) out.fail(m, new DataError('every fiftieth'))
            else out.emit(m.derive({ n }))
          }
        },
      }
    },
  }) as TransformPlugin

it.each(Array.from({ length: 20 }, (_, seed) => seed))(
  'output is exactly once when a restore overtakes a waiting transform, seed %i',
  async seed => {
    const random = seeded(seed)
    let faults = 0
    const log = new MemoryLog({
      lanes: { a: Array.from({ length: 300 }, (_, i) => i) },
      batch: () => 1 + Math.floor(random() * 30),
      fault: at => {
        if (at !== 'read' && faults < 30 && random() < 0.25) {
          faults++
          throw faultError(random)
        }
      },
    })
    await start(pipelineOf(log, [slow(random)], { commit_interval: 1 }), { random }).run()
    expect(faults).toBeGreaterThan(3)
    const expected = Array.from({ length: 300 }, (_, i) => i + 1).filter(n => n % 50 !== 0)
    expect(log.committed.map(r => JSON.parse(r.value).n)).toEqual(expected)
    expect(log.dead.map(m => m.offset)).toEqual([49, 99, 149, 199, 249, 299])
  },
)

it('a batch that was waiting when its lane was restored does not affect the new chain', async () => {
  let failed = false
  const log = new MemoryLog({
    lanes: { a: [{ n: 0 }, { n: 1 }] },
    batch: () => 1,
    fault: where => {
      if (where !== 'commit-before' || failed) return
      failed = true
      throw new ConnectionError('away')
    },
  })
  const restored = Promise.withResolvers<void>()
  const calls: string[][] = []
  const waiting = defineTransform({
    type: 'waiting',
    schema: {},
    create: () => {
      const own: string[] = []
      calls.push(own)
      if (calls.length === 2) restored.resolve()
      return {
        async process(messages, out) {
          own.push('process')
          if (calls.length === 1 && messages[0].offset === 1) await restored.promise
          for (const m of messages) out.emit(m)
        },
        clock: () => 1,
        idle: () => false,
        onClock: () => void own.push('clock'),
      }
    },
  }) as TransformPlugin
  await start(pipelineOf(log, [waiting], { commit_interval: 0 })).run()
  expect(calls).toEqual([
    ['process', 'clock', 'process'],
    ['process', 'clock', 'process', 'clock'],
  ])
  expect(log.committed).toHaveLength(2)
})
