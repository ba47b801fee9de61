/** A process that was frozen in the middle of a claim, while another instance took over the lane. On a virtual clock. */
import { describe, expect, test } from 'vitest'
import { defineTransform, type LaneOrigin, type SourcePlugin } from '../../src/contract/plugin.ts'
import type { PipelineRun } from '../../src/runtime/pipeline.ts'
import { stateOwner } from '../../src/kit/state-owner.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { calm, MemoryLog, pipelineOf, start, step } from './harness.ts'

const counting = defineTransform({
  type: 'count',
  schema: {},
  stateful: true,
  create: (_config, ctx) => {
    ctx.state<number>('seen')
    return { process: (messages, out) => messages.forEach(m => out.emit(m)) }
  },
})

interface Scene {
  readonly log: MemoryLog
  readonly lease: { holds: boolean; lose(): void }
  readonly claims: () => number
  readonly run: PipelineRun
  pass(ms: number): Promise<void>
}

/** @param frozen happens between the claim of the lane and the answer about its origin; the lease runs out meanwhile */
function scene(fresh: boolean, frozen: (log: MemoryLog) => LaneOrigin): Scene {
  const clock = new VirtualClock(1_750_000_000_000)
  const lease = { holds: true, lose: () => {} }
  let claims = 0
  const log = new MemoryLog({
    lanes: { a: [1, 2, 3] },
    batch: () => 10,
    endless: true,
    fault: at => void (at === 'claim' && claims++),
    origin: () => {
      lease.holds = false
      return frozen(log)
    },
  })
  const { create, ...plugin } = log.source()
  const source: SourcePlugin = {
    ...plugin,
    create(config, ctx) {
      lease.lose = () => ctx.lose(['a'])
      return Object.assign(create(config, ctx), { holds: () => lease.holds })
    },
  }
  const run = start({ ...pipelineOf(log, [counting]), sources: [step('in', source)] }, { clock, fresh })
  const pass = async (ms: number): Promise<void> => {
    const until = clock.monotonic() + ms
    for (let more = true; more; more = clock.step(until)) await calm()
  }
  return { log, lease, claims: () => claims, run, pass }
}

describe('frozen between the claim and the comparison with the origin', () => {
  test('--fresh does not start over a lane that another instance may own', async () => {
    const { log, lease, claims, run, pass } = scene(true, log => {
      log.checkpoints.set('a', { position: 3, state: new Map() })
      return { id: 'topic-1', start: 0, initial: 0, lanes: 1 }
    })
    const ended = run.run()
    await pass(2000)
    expect(log.checkpoints.get('a')!.position).toBe(3)
    // A further claim would fence the new owner.
    expect(claims()).toBe(1)
    lease.lose()
    await pass(2000)
    run.stop()
    await pass(2000)
    await ended
    expect(log.checkpoints.get('a')!.position).toBe(3)
  })

  test('a commit of the new owner does not count as a deleted checkpoint', async () => {
    const { lease, claims, run, pass } = scene(false, () => ({
      id: 'topic-1',
      start: 0,
      initial: 0,
      lanes: 1,
      remembered: { owner: stateOwner('test.1'), position: 3 },
    }))
    const ended = run.run()
    await pass(2000)
    expect(claims()).toBe(1)
    lease.lose()
    await pass(2000)
    run.stop()
    await pass(2000)
    await expect(ended).resolves.toBeUndefined()
  })
})

test('frozen between the assignment and the claim: the lane is not claimed until the lease is renewed', async () => {
  const { log, lease, claims, run, pass } = scene(true, () => ({ id: 'topic-1', start: 0, initial: 0, lanes: 1 }))
  log.checkpoints.set('a', { position: 3, state: new Map() })
  lease.holds = false
  const ended = run.run()
  await pass(2000)
  // A claim would fence the new owner, and start the lane over.
  expect([claims(), log.checkpoints.get('a')!.position]).toEqual([0, 3])
  lease.lose()
  await pass(2000)
  run.stop()
  await pass(2000)
  await ended
  expect([claims(), log.checkpoints.get('a')!.position]).toEqual([0, 3])
})
