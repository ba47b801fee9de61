/** A hanging or failing step makes the pipeline not ready; the reason names the step and the start time. On a virtual clock. */
import { expect, test } from 'vitest'
import {
  ConnectionError,
  defineSink,
  defineTransform,
  type SinkPlugin,
  type SourcePlugin,
  type TransformPlugin,
  type WriteContext,
} from '../../src/contract/plugin.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import type { PipelineRun } from '../../src/runtime/pipeline.ts'
import { calm, MemoryLog, type MemoryLogOptions, pipelineOf, start, step } from './harness.ts'

const START = 1_700_000_000_000
const retry = { initial_delay: 100, max_delay: 30_000, breaker_failures: 5, breaker_reset: 2000 }
const lanes = { a: Array.from({ length: 10 }, (_, n) => ({ n })) }

/** Lets `ms` of the clock pass; between two timers everything runs that can. */
async function pass(clock: VirtualClock, ms: number): Promise<void> {
  const until = clock.monotonic() + ms
  for (let more = true; more; ) {
    await calm()
    more = clock.step(until)
  }
  await calm()
}

const sinkOf = (write: (context: WriteContext) => Promise<void>): SinkPlugin =>
  defineSink({
    type: 'test',
    schema: {},
    onRedelivery: 'appends',
    reason: 'a test',
    create: () => ({ write: (_, context) => write(context) }),
  })

function runOf(log: MemoryLog, clock: VirtualClock, sink?: SinkPlugin, transforms: readonly TransformPlugin[] = []): PipelineRun {
  const pipeline = pipelineOf(log, transforms, { retry, delivery: sink ? 'at_least_once' : 'exactly_once' })
  return start(sink ? { ...pipeline, sinks: [step('out', sink)] } : pipeline, { clock, random: () => 1 })
}

const endless = (options: Partial<MemoryLogOptions> = {}): MemoryLog => new MemoryLog({ lanes, batch: () => 5, endless: true, ...options })
const about = (run: PipelineRun) => run.reasons().map(({ kind, name, reason, seconds }) => [kind, name, reason, seconds])

async function stop(run: PipelineRun, clock: VirtualClock, ended: Promise<void>): Promise<void> {
  const over = expect(ended).rejects.toThrow('the end of the test')
  run.abort(new Error('the end of the test'))
  await pass(clock, 10_000)
  await over
}

test('a sink that accepts a write and does not respond', async () => {
  const clock = new VirtualClock(START)
  const run = runOf(
    endless(),
    clock,
    sinkOf(() => new Promise(() => {})),
  )
  const ended = run.run()
  await pass(clock, 7000)
  expect(run.reasons()).toEqual([])
  await pass(clock, 3000)
  const since = new Date(START).toISOString()
  expect(run.reasons()).toEqual([
    { kind: 'sink', name: 'out', reason: 'no answer: what was written is not acknowledged', since, seconds: 10 },
  ])
  expect(run.notReady()).toEqual(['sink out: no answer: what was written is not acknowledged'])
  await stop(run, clock, ended)
})

test('a slow sink that makes progress is ready', async () => {
  const clock = new VirtualClock(START)
  const slow = sinkOf(async ({ progress }) => {
    for (let i = 0; i < 10; i++) {
      await new Promise<void>(resolve => clock.after(5000, resolve))
      progress!()
    }
  })
  const run = runOf(endless(), clock, slow)
  const ended = run.run()
  for (let i = 0; i < 40; i++) {
    await pass(clock, 1000)
    expect(run.reasons()).toEqual([])
  }
  await stop(run, clock, ended)
})

test('a failing sink is reported with its error; after it recovers, a write follows within breaker_reset', async () => {
  const clock = new VirtualClock(START)
  let away = true
  let back = 0
  const sink = sinkOf(async () => {
    if (away) throw new ConnectionError('api answers 503')
    back ||= clock.monotonic()
  })
  const run = runOf(endless(), clock, sink)
  const ended = run.run()
  await pass(clock, 120_000)
  expect(about(run)).toEqual([['sink', 'out', 'circuit open: api answers 503', 120]])
  away = false
  const from = clock.monotonic()
  await pass(clock, 10_000)
  expect(back - from).toBeLessThanOrEqual(retry.breaker_reset)
  expect(run.reasons()).toEqual([])
  await stop(run, clock, ended)
})

test('failing transactions: their sink is named, retries are counted, and the lane resumes soon after', async () => {
  const clock = new VirtualClock(START)
  let away = true
  const log = endless({
    endless: false,
    fault: at => {
      if (away && at === 'begin') throw new ConnectionError('could not extend file (53100)')
    },
  })
  const run = runOf(log, clock)
  const ended = run.run()
  await pass(clock, 45_000)
  expect(about(run)).toEqual([['sink', 'out', 'could not extend file (53100)', 45]])
  expect(run.built.meters.step('out', 'sink').retries).toBeGreaterThan(10)
  away = false
  await pass(clock, 3000)
  expect(log.committed).toHaveLength(10)
  expect(run.reasons()).toEqual([])
  await ended
})

test('a transform whose peer is unreachable, and one that never returns', async () => {
  const clock = new VirtualClock(START)
  let answer: () => Promise<void> = () => Promise.reject(new ConnectionError('the table is away'))
  const asking = defineTransform({ type: 'ask', schema: {}, create: () => ({ process: () => answer() }) }) as TransformPlugin
  const run = runOf(endless(), clock, undefined, [asking])
  const ended = run.run()
  await pass(clock, 10_000)
  expect(about(run)).toEqual([['transform', 't0', 'the table is away', 10]])
  expect(run.built.meters.step('t0', 'transform').retries).toBeGreaterThan(4)
  answer = () => new Promise(() => {})
  await pass(clock, 11_000)
  expect(run.notReady().join()).toMatch(/transforms have not finished a batch|the table is away/)
  await stop(run, clock, ended)
})

/** A source whose lane has a lease, as in a group: the test controls whether it is valid, and revokes the lane. */
function leased(log: MemoryLog): { plugin: SourcePlugin; lease: { holds: boolean; lose(): void } } {
  const lease = { holds: true, lose: () => {} }
  const { create, ...plugin } = log.source()
  return {
    lease,
    plugin: {
      ...plugin,
      create: (config, ctx) => {
        lease.lose = () => ctx.lose(['a'])
        return Object.assign(create(config, ctx), { holds: () => lease.holds })
      },
    },
  }
}

test('a lane is lost: its write is aborted and not retried', async () => {
  const clock = new VirtualClock(START)
  const log = endless()
  const { plugin, lease } = leased(log)
  let writes = 0
  const sink = sinkOf(async () => {
    writes++
    throw new ConnectionError('away')
  })
  const run = start(
    { ...pipelineOf(log, [], { retry, delivery: 'at_least_once' }), sources: [step('in', plugin)], sinks: [step('out', sink)] },
    { clock },
  )
  const ended = run.run()
  await pass(clock, 5000)
  expect(writes).toBeGreaterThan(3)
  const before = writes
  lease.lose()
  await pass(clock, 60_000)
  expect(writes).toBe(before)
  await stop(run, clock, ended)
})

test('a lane that is lost while its transactions fail is no longer a reason', async () => {
  const clock = new VirtualClock(START)
  const log = endless({
    fault: at => {
      if (at === 'begin') throw new ConnectionError('read ECONNRESET')
    },
  })
  const { plugin, lease } = leased(log)
  const run = start({ ...pipelineOf(log, [], { retry }), sources: [step('in', plugin)] }, { clock })
  const ended = run.run()
  await pass(clock, 5000)
  expect(about(run)).toEqual([['sink', 'out', 'read ECONNRESET', 5]])
  lease.lose()
  await pass(clock, 2000)
  expect(run.reasons()).toEqual([])
  await stop(run, clock, ended)
})

test('a process that was frozen for longer than its lease writes only after it has claimed the lane again', async () => {
  const clock = new VirtualClock(START)
  const log = endless()
  const { plugin, lease } = leased(log)
  let writes = 0
  let claims = 0
  const sink: SinkPlugin = {
    ...sinkOf(async () => void writes++),
    create: () => ({ write: async () => void writes++, claim: async () => void claims++ }),
  }
  lease.holds = false
  const run = start(
    { ...pipelineOf(log, [], { retry, delivery: 'at_least_once' }), sources: [step('in', plugin)], sinks: [step('out', sink)] },
    { clock },
  )
  const ended = run.run()
  await pass(clock, 5000)
  expect([writes, claims]).toEqual([0, 0])
  expect(run.notReady().join()).toMatch(/may belong to another instance/)
  lease.holds = true
  await pass(clock, 20_000)
  expect(claims).toBe(1)
  expect(writes).toBeGreaterThan(0)
  await stop(run, clock, ended)
})
