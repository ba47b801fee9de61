import { expect, it } from 'vitest'
import { ConnectionError, defineTransform, type Sink, type Source, type TransformPlugin } from '../../src/contract/plugin.ts'
import type { Pipeline } from '../../src/config/model.ts'
import type { PipelineRun } from '../../src/runtime/pipeline.ts'
import { MemoryLog, pipelineOf, start } from './harness.ts'

const NEVER = new Promise<never>(() => {})
const input = { a: Array.from({ length: 5000 }, (_, v) => ({ v })) }

/** A pipeline on a log, with its sink or source replaced. */
function broken(part: { sink?: Sink; source?: Partial<Source> }, over: Partial<Pipeline> = {}): PipelineRun {
  const log = new MemoryLog({ lanes: input, batch: () => 50, endless: true })
  const pipeline = pipelineOf(log, [], { delivery: 'at_least_once', shutdown_timeout: 200, ...over })
  if (part.sink) pipeline.sinks[0].plugin.create = () => part.sink!
  if (part.source) {
    const { create } = pipeline.sources[0].plugin
    pipeline.sources[0].plugin.create = (config, ctx) => ({ ...create(config, ctx), ...part.source })
  }
  return start(pipeline)
}

/** `ended` unless the run hangs: then this fails by itself instead of by the test's timeout. */
async function endOf(run: Promise<void>): Promise<string> {
  const late = new Promise<string>(resolve => setTimeout(() => resolve('still running'), 5000))
  return Promise.race([
    run.then(
      () => 'ended',
      (error: Error) => error.message,
    ),
    late,
  ])
}

it('a stop ends by the deadline while a sink hangs and the lane is full', async () => {
  let writes = 0
  const run = broken({ sink: { write: () => (writes++, NEVER) } })
  const ended = run.run()
  await expect.poll(() => writes).toBeGreaterThan(0)
  await expect.poll(() => [...run.lanes.values()][0].load.inFlight).toBeGreaterThanOrEqual(200)
  run.stop()
  expect(await endOf(ended)).toMatch(/not drained within shutdown_timeout \(200 ms\)/)
})

it('a stop ends by the deadline while closing hangs', async () => {
  const run = broken({ sink: { write: async () => {}, close: () => NEVER } })
  const ended = run.run()
  await expect.poll(() => run.built.meters.sum('sink', 'out')).toBe(5000)
  run.stop()
  expect(await endOf(ended)).toBe('ended')
})

it('a stop ends while a sink cannot be opened', async () => {
  let tries = 0
  const run = broken({
    sink: {
      write: async () => {},
      open: async () => {
        tries++
        throw new ConnectionError('nobody there')
      },
    },
  })
  const ended = run.run()
  await expect.poll(() => tries).toBeGreaterThan(1)
  expect(run.notReady().join()).toMatch(/starting/)
  run.stop()
  expect(await endOf(ended)).toBe('ended')
})

it.each(['fails', 'hangs'])('a stop ends while opening the source %s', async how => {
  let tries = 0
  const open = async () => {
    tries++
    if (how === 'hangs') await NEVER
    throw new ConnectionError('nobody there')
  }
  const run = broken({ source: { open } })
  const ended = run.run()
  await expect.poll(() => tries).toBeGreaterThan(how === 'hangs' ? 0 : 1)
  run.stop()
  expect(await endOf(ended)).toMatch(how === 'hangs' ? /shutdown_timeout/ : /^ended$/)
})

it('a run ends when idle, although a transform uses onIdle', async () => {
  let told = 0
  const listener = defineTransform({
    type: 'listener',
    schema: {},
    create: () => ({
      process: (messages, out) => messages.forEach(m => out.emit(m)),
      onIdle: () => void told++,
    }),
  }) as TransformPlugin
  const log = new MemoryLog({ lanes: input, batch: () => 50, endless: true })
  // It does not wait for the next commit either.
  expect(await endOf(start(pipelineOf(log, [listener], { commit_interval: 3_600_000 }), { untilIdle: 600 }).run())).toBe('ended')
  expect(told).toBeGreaterThan(0)
  expect(log.committed.length).toBe(5000)
})

it('idle time ends a run only while the source is reachable', async () => {
  let healthy = false
  const log = new MemoryLog({ lanes: { a: [] }, batch: () => 1, endless: true })
  const pipeline = pipelineOf(log, [])
  const { create } = pipeline.sources[0].plugin
  pipeline.sources[0].plugin.create = (config, ctx) => ({ ...create(config, ctx), open: async () => {}, healthy: () => healthy })
  const run = start(pipeline, { untilIdle: 300 })
  const ended = run.run()
  expect(await Promise.race([endOf(ended), new Promise(resolve => setTimeout(() => resolve('waiting'), 1200))])).toBe('waiting')
  healthy = true
  expect(await endOf(ended)).toBe('ended')
})
