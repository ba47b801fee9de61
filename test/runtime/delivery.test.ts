import { afterAll, describe, expect, it } from 'vitest'
import { DataError, defineTransform, type TransformPlugin } from '../../src/contract/plugin.ts'
import { seeded } from '../support/random.ts'
import { faultError, MemoryLog, pipelineOf, start } from './harness.ts'

/** Emits a running count and sum per lane at every third message: wrong as soon as one message is lost or seen twice. */
const counting = defineTransform({
  type: 'counting',
  schema: {},
  stateful: true,
  create: (_config, ctx) => {
    const state = ctx.state<{ n: number; sum: number }>('count')
    return {
      process(messages, out) {
        for (const m of messages) {
          const { v } = m.value as { v: number }
          if (v < 0) {
            out.fail(m, new DataError('negative'))
            continue
          }
          const s = state.get('all') ?? { n: 0, sum: 0 }
          state.set('all', { n: s.n + 1, sum: s.sum + v })
          if ((s.n + 1) % 3 === 0) out.emit(m.derive(state.get('all')))
        }
      },
    }
  },
}) as TransformPlugin

const lanes = (n: number, random: () => number): Record<string, unknown[]> =>
  Object.fromEntries(['a', 'b', 'c'].map(id => [id, Array.from({ length: n }, (_, i) => ({ v: random() < 0.03 ? -1 : i }))]))

function expected(input: Record<string, unknown[]>): string[] {
  return Object.entries(input).flatMap(([lane, values]) => {
    let n = 0
    let sum = 0
    const rows: string[] = []
    for (const { v } of values as { v: number }[]) {
      if (v < 0) continue
      n++
      sum += v
      if (n % 3 === 0) rows.push(`${lane} ${JSON.stringify({ n, sum })}`)
    }
    return rows
  })
}
const rows = (log: MemoryLog): string[] => log.committed.map(r => `${r.lane} ${r.value}`)
const byLane = (list: string[]): string[] => ['a', 'b', 'c'].flatMap(id => list.filter(r => r.startsWith(`${id} `)))

describe('delivery', () => {
  /** Faults of each run under faults. How many steps a run takes, and so how many can fail, depends on the machine's speed. */
  const faultsMet: number[] = []
  afterAll(() => {
    if (faultsMet.length > 0) expect(faultsMet.reduce((n, faults) => n + faults, 0) / faultsMet.length).toBeGreaterThan(5)
  })

  it('every record is delivered once, in lane order', async () => {
    const input = lanes(500, seeded(1))
    const log = new MemoryLog({ lanes: input, batch: () => 17 })
    await start(pipelineOf(log, [counting])).run()
    expect(byLane(rows(log))).toEqual(expected(input))
    expect(log.dead.length).toBe(
      Object.values(input)
        .flat()
        .filter(r => (r as { v: number }).v < 0).length,
    )
  })

  it.each(Array.from({ length: 40 }, (_, seed) => seed))('delivery is exactly once under faults at every step, seed %i', async seed => {
    const random = seeded(seed)
    const input = lanes(300, random)
    let faults = 0
    const log = new MemoryLog({
      lanes: input,
      batch: () => 1 + Math.floor(random() * 40),
      fault: () => {
        if (faults < 60 && random() < 0.15) {
          faults++
          throw faultError(random)
        }
      },
    })
    await start(pipelineOf(log, [counting]), { random }).run()
    faultsMet.push(faults)
    expect(byLane(rows(log))).toEqual(expected(input))
    expect(log.dead.length).toBe(
      Object.values(input)
        .flat()
        .filter(r => (r as { v: number }).v < 0).length,
    )
  })

  it.each(Array.from({ length: 25 }, (_, seed) => seed + 100))(
    'delivery is exactly once when the process crashes repeatedly, seed %i',
    async seed => {
      const random = seeded(seed)
      const input = lanes(300, random)
      const log = new MemoryLog({ lanes: input, batch: () => 1 + Math.floor(random() * 20), endless: true })
      for (let life = 0; life < 15; life++) {
        const run = start(pipelineOf(log, [counting]), { random })
        const ended = run.run().catch(() => {})
        await new Promise(resolve => setTimeout(resolve, random() * 25))
        run.abort(new Error('killed'))
        await ended
      }
      const last = start(pipelineOf(log, [counting]), { random, untilIdle: 300 })
      await last.run()
      expect(byLane(rows(log))).toEqual(expected(input))
    },
  )

  it('at least once: state is correct after faults, outputs may repeat, and none is missing', async () => {
    const random = seeded(7)
    const input = lanes(300, random)
    let faults = 0
    const log = new MemoryLog({
      lanes: input,
      batch: () => 11,
      fault: where => {
        if (where !== 'write' && faults < 20 && random() < 0.2) {
          faults++
          throw faultError(random)
        }
      },
    })
    await start(pipelineOf(log, [counting], { delivery: 'at_least_once' }), { random }).run()
    expect([...new Set(byLane(rows(log)))].toSorted()).toEqual(expected(input).toSorted())
  })

  it('stop drains: records that were read are written and committed', async () => {
    const input = lanes(400, seeded(3))
    const log = new MemoryLog({ lanes: input, batch: () => 5, endless: true })
    const run = start(pipelineOf(log, [counting], { commit_interval: 60_000 }))
    const ended = run.run()
    await expect.poll(() => [...run.lanes.values()].reduce((n, l) => n + l.load.inFlight, 0)).toBeGreaterThan(100)
    run.stop()
    await ended
    const read = run.built.meters.sum('source', 'in')
    expect([...log.checkpoints.values()].reduce((n, c) => n + c.position, 0)).toBe(read)
    expect(read).toBeGreaterThan(0)
  })

  it('the number of bytes in memory is bounded while the sink hangs', async () => {
    const mb = Buffer.from(JSON.stringify({ v: 'x'.repeat(1024 * 1024) }))
    const all = Array.from({ length: 200 }, () => mb)
    const log = new MemoryLog({ lanes: { a: all, b: all }, batch: () => 2 })
    const pipeline = pipelineOf(log, [], { delivery: 'at_least_once' })
    let open!: () => void
    const gate = new Promise<void>(resolve => (open = resolve))
    pipeline.sinks[0].plugin.create = () => ({ write: () => gate })
    const run = start(pipeline)
    const ended = run.run()
    await new Promise(resolve => setTimeout(resolve, 300))
    // 16 MB for both lanes' filling cycles and as much for those being written, and a batch each on top.
    expect(run.built.meters.sum('source', 'out')).toBeLessThanOrEqual(32 + 4 * 2)
    open()
    await ended
    expect(run.built.meters.sum('sink', 'out')).toBe(400)
  })

  it('the number of messages in memory is bounded while the sink hangs', async () => {
    const log = new MemoryLog({ lanes: { a: Array.from({ length: 5000 }, (_, v) => ({ v })) }, batch: () => 50 })
    const pipeline = pipelineOf(log, [], { delivery: 'at_least_once' })
    let open!: () => void
    const gate = new Promise<void>(resolve => (open = resolve))
    pipeline.sinks[0].plugin.create = () => ({ write: () => gate })
    const run = start(pipeline)
    const ended = run.run()
    await new Promise(resolve => setTimeout(resolve, 150))
    // One cycle in the sink and one filling, each at most max_in_flight (counted with its outputs) plus a batch.
    expect(run.built.meters.sum('source', 'out')).toBeLessThanOrEqual(2 * 200 + 2 * 50)
    open()
    await ended
    expect(run.built.meters.sum('sink', 'out')).toBe(5000)
  })
})
