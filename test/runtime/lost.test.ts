import { expect, it } from 'vitest'
import { ConnectionError, type SourceContext } from '../../src/contract/plugin.ts'
import { MemoryLog, pipelineOf, start } from './harness.ts'

it('a lane that is lost during its claim is not claimed again: a second claim would fence its new owner', async () => {
  let claims = 0
  const log = new MemoryLog({
    lanes: { a: [{ v: 1 }] },
    batch: () => 1,
    endless: true,
    fault: at => {
      if (at !== 'claim') return
      claims++
      throw new ConnectionError('no coordinator')
    },
  })
  const pipeline = pipelineOf(log, [])
  const { create } = pipeline.sources[0].plugin
  let context!: SourceContext
  pipeline.sources[0].plugin.create = (config, ctx) => create(config, (context = ctx as SourceContext))
  const run = start(pipeline)
  const ended = run.run()
  await expect.poll(() => claims).toBeGreaterThan(2)
  context.lose(['a'])
  // The source continues without the lane.
  await expect.poll(() => run.notReady()).toEqual([])
  const before = claims
  await new Promise(resolve => setTimeout(resolve, 50))
  expect(claims).toBe(before)
  expect(run.lanes.size).toBe(0)
  run.stop()
  await ended
})
