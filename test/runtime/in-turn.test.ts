/** Two processes on two machines claim a lane from each other: without a group that divides the work, one of them must stop. On a virtual clock. */
import { expect, test } from 'vitest'
import { FencedError, LiveConflictError, type SourcePlugin } from '../../src/contract/plugin.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { calm, MemoryLog, pipelineOf, start, step } from './harness.ts'

/** Commits number `fenced` find that another instance owns the lane. @returns how the run ended, and what was committed */
async function run(fenced: readonly number[], shares: boolean): Promise<{ ended: unknown; out: number }> {
  const clock = new VirtualClock(1_700_000_000_000)
  let commits = 0
  const log = new MemoryLog({
    lanes: { a: Array.from({ length: 100 }, (_, v) => v) },
    batch: () => 10,
    fault(at) {
      if (at === 'commit-before' && fenced.includes(++commits)) throw new FencedError('fenced: another instance now owns lane a')
    },
  })
  const source: SourcePlugin = { ...log.source(), shares }
  const pipeline = pipelineOf(log, [], { sources: [step('in', source)] })
  const running = start(pipeline, { clock, random: () => 1 })
  let ended: unknown
  let over = false
  running.run().then(
    () => (over = true),
    (error: unknown) => {
      over = true
      ended = error
    },
  )
  while (!over) {
    await calm()
    clock.step(clock.monotonic() + 1000)
  }
  return { ended, out: log.committed.length }
}

test('a lane that is fenced twice within seconds ends the run if its source cannot share it', async () => {
  const { ended } = await run([1, 2], false)
  expect(ended).toBeInstanceOf(LiveConflictError)
  expect((ended as Error).message).toMatch(/lane a alternately[^]*source in cannot share[^]*another name or version/)
})

test('a lane that is fenced once, or of a group that revokes lanes, does not end the run', async () => {
  for (const [fenced, shares] of [
    [[1], false],
    [[1, 2], true],
  ] as const)
    expect(await run(fenced, shares)).toEqual({ ended: undefined, out: 100 })
})
