/** The wall clock is used for timestamps, never for waiting. Each test sets it, or stops the process, at the worst moment. */
import { expect, test } from 'vitest'
import {
  type Batch,
  defineSource,
  Message,
  type SourceContext,
  type SourcePlugin,
  type TransformPlugin,
} from '../../src/contract/plugin.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import windowTransform from '../../src/transforms/window.ts'
import { calm, MemoryLog, pipelineOf, start, step } from './harness.ts'

const HOUR = 3_600_000
const START = 1_700_000_000_000
const SIZE = 10_000

/** Messages arrive under control of the test. `asked`: what the source reports about its idle time. */
class Pushed {
  readonly arrived: Batch[] = []
  asked: boolean | number = true
  private wake: (() => void) | undefined
  private offset = 0

  push(...times: number[]): void {
    const messages = times.map(time => new Message({ n: 1 }, 'k', time, undefined, this.offset++))
    this.arrived.push({ lane: 'a', messages, position: this.offset })
    this.wake?.()
  }

  plugin(log: MemoryLog): SourcePlugin {
    const { transactions } = log.source()
    return defineSource({
      type: 'pushed',
      schema: {},
      replayable: true,
      reason: 'a test',
      transactions,
      create: (_config, ctx: SourceContext) => ({
        open: async () => void (await ctx.assign([{ id: 'a', source: ctx.step }])),
        read: async signal => {
          while (this.arrived.length === 0) {
            await new Promise<void>((resolve, reject) => {
              signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
              this.wake = resolve
            })
          }
          return this.arrived.shift()!
        },
        seek: async () => {},
        caughtUp: () => this.asked,
      }),
    })
  }
}

const counts: TransformPlugin = {
  ...windowTransform,
  create: (config, ctx) =>
    windowTransform.create({ allowed_lateness: 0, max_future: HOUR, on_late: 'dlq', collect_limit: 10, ...config }, ctx),
}

async function world(idle_timeout = 1000) {
  const log = new MemoryLog({ lanes: {}, batch: () => 1 })
  const pushed = new Pushed()
  const clock = new VirtualClock(START)
  const config = { size: SIZE, idle_timeout, aggregates: { n: { count: '*' } } }
  const pipeline = pipelineOf(log, [], {
    sources: [step('in', pushed.plugin(log))],
    transforms: [step('window', counts, config)],
    commit_interval: 1000,
  })
  const run = start(pipeline, { clock })
  const over = run.run()
  await calm()
  return {
    log,
    pushed,
    clock,
    calm,
    /** Timers fire at their time. */
    async pass(ms: number): Promise<void> {
      const until = clock.monotonic() + ms
      while (clock.step(until)) await calm()
    },
    async end(): Promise<void> {
      run.stop()
      await over
    },
  }
}

test.each([-24 * HOUR, -HOUR, HOUR, 24 * HOUR])('a wall clock jump of %i ms does not delay commits', async by => {
  const w = await world()
  for (let i = 0; i < 5; i++) {
    w.pushed.push(START + i)
    await w.calm()
    w.clock.setWallClock(i % 2 === 0 ? by : -by)
    await w.pass(1000)
    expect(w.log.checkpoints.get('a')?.position).toBe(i + 1)
  }
  await w.end()
})

test('a wall clock that is a day ahead for two seconds closes no window and makes no record late', async () => {
  const w = await world()
  w.pushed.push(START)
  await w.pass(500)
  w.clock.setWallClock(24 * HOUR)
  await w.pass(2000)
  w.clock.setWallClock(-24 * HOUR)
  await w.pass(500)
  expect(w.log.committed).toEqual([])
  w.pushed.push(START + 9000, START + SIZE)
  await w.pass(1000)
  expect(w.log.dead).toEqual([])
  expect(w.log.committed.map(r => JSON.parse(r.value).n)).toEqual([2])
  await w.end()
})

test('idle time closes the windows seen so far, and advances the watermark no further', async () => {
  const w = await world()
  w.pushed.push(START)
  await w.pass(10 * 60_000)
  expect(w.log.committed.map(r => JSON.parse(r.value).n)).toEqual([1])
  // Dated long before "now", but after everything that was published.
  w.pushed.push(START + SIZE, START + 2 * SIZE)
  await w.pass(1000)
  expect(w.log.dead).toEqual([])
  expect(w.log.committed).toHaveLength(2)
  await w.end()
})

test('the time that a process was stopped does not count as idle time', async () => {
  const w = await world(10_000)
  w.pushed.push(START)
  await w.pass(500)
  // SIGSTOP: no timer fires for 64 s; then they all do, before the first byte is read from a socket.
  w.clock.skip(64_000)
  await w.pass(250)
  w.pushed.push(START + 1, START + 2)
  await w.pass(500)
  expect(w.log.dead).toEqual([])
  expect(w.log.committed).toEqual([])
  w.pushed.push(START + SIZE)
  await w.pass(2000)
  expect(w.log.committed.map(r => JSON.parse(r.value).n)).toEqual([3])
  await w.end()
})

test('for a polling source, idle time counts up to the start of its last empty poll', async () => {
  const w = await world()
  w.pushed.asked = w.clock.monotonic()
  w.pushed.push(START)
  await w.pass(60_000)
  // The poll was sent before the message came, and is not answered.
  expect(w.log.committed).toEqual([])
  w.pushed.asked = w.clock.monotonic()
  await w.pass(500)
  expect(w.log.committed).toHaveLength(1)
  await w.end()
})
