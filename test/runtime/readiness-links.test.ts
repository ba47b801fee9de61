/** A hang before, in or after a `repartition` holds back every lane: the pipeline is not ready, and the reason names the step or lane. On a virtual clock. */
import { expect, test } from 'vitest'
import { loadText } from '../../src/config/load.ts'
import { ConnectionError, defineSink, defineTransform, type Output, type Message, type TransformPlugin } from '../../src/contract/plugin.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { withMemoryLinks } from '../../src/runtime/memory-link.ts'
import type { PipelineRun } from '../../src/runtime/pipeline.ts'
import { calm, MemoryLog, pipelineOf, start, step } from './harness.ts'

const FILE = `
name: test
sources: [{ kafka: { topics: [a, b] } }]
transforms:
  - repartition: { by: user, time: ts, partitions: 1, idle_timeout: 0s }
  - window: { size: 10s, by: user, time: ts, allowed_lateness: 0s, idle_timeout: 0s, aggregates: { n: { count: "*" } } }
sinks: [{ stdout: {} }]
`
const lanes = Object.fromEntries(['a', 'b'].map(id => [id, Array.from({ length: 21 }, (_, n) => ({ user: 'u', ts: n * 1000 }))]))

type Write = (messages: readonly Message[]) => Promise<void>
type Process = (messages: readonly Message[], out: Output) => void | Promise<void>
interface Holds {
  /** A transform in front of `repartition`. */
  before?: (lane: string) => Process
  /** In front of the write to the internal topic. */
  write?: Write
  /** A transform behind the window. */
  behind?: Process
}

const pass: Process = (messages, out) => {
  for (const m of messages) out.emit(m)
}
const transform = (type: string, process: (lane: string) => Process): TransformPlugin =>
  defineTransform({ type, schema: {}, create: (_, ctx) => ({ process: process(ctx.lane.id) }) }) as TransformPlugin

/** Time passes; between two timers everything runs that can. */
async function elapse(clock: VirtualClock, ms: number): Promise<void> {
  const until = clock.monotonic() + ms
  for (let more = true; more; ) {
    await calm()
    more = clock.step(until)
  }
  await calm()
}

async function linked({ before = () => pass, write = async () => {}, behind = pass }: Holds) {
  const { pipeline: loaded } = await loadText('t.yaml', FILE, { env: {} })
  const { transforms, links } = withMemoryLinks(loaded!)
  const log = new MemoryLog({ lanes, batch: () => 7, endless: true })
  const clock = new VirtualClock(1_700_000_000_000)
  const [link] = links!
  const { plugin } = link.sink
  const waiting = defineSink({
    ...plugin,
    create(config, ctx) {
      const inner = plugin.create(config, ctx)
      return {
        ...inner,
        async write(messages, context) {
          await write(messages)
          await inner.write(messages, context)
        },
      }
    },
  })
  const run = start(
    {
      ...pipelineOf(log, [], { delivery: 'at_least_once' }),
      // Event time waits for each partition of these topics.
      sources: [{ ...step('in', log.source(), { topics: ['a', 'b'] }), type: 'kafka' }],
      transforms: [
        step(
          'before',
          transform('before', lane => before(lane)),
        ),
        ...transforms,
        step(
          'behind',
          transform('behind', () => behind),
        ),
      ],
      links: [{ ...link, index: 1, sink: { ...link.sink, plugin: waiting } }],
    },
    { clock },
  )
  const ended = run.run()
  const windows = () =>
    log.committed.map(({ value }) => JSON.parse(value) as { start: number; n: number }).map(({ start, n }) => [start, n])
  return {
    run,
    windows,
    elapse: (ms: number) => elapse(clock, ms),
    async stop() {
      const over = expect(ended).rejects.toThrow('the end of the test')
      run.abort(new Error('the end of the test'))
      await elapse(clock, 10_000)
      await over
    },
  }
}
const about = (run: PipelineRun) => run.reasons().map(({ kind, name, reason, seconds }) => [kind, name, reason, seconds])
const complete = [
  [0, 20],
  [10_000, 20],
]

test('a lane of the input hangs: no lane closes a window, and that lane is the reason; when it resumes, no record is missing', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const before = (lane: string): Process => {
    if (lane === 'a') return pass
    return async (messages, out) => {
      await promise
      await pass(messages, out)
    }
  }
  const w = await linked({ before })
  await w.elapse(7000)
  expect(about(w.run)).toEqual([])
  await w.elapse(3000)
  expect(about(w.run)).toEqual([['lane', 'b', 'the transforms have not finished a batch', 10]])
  expect(w.windows()).toEqual([])
  resolve()
  await w.elapse(1000)
  expect(w.windows()).toEqual(complete)
  expect(about(w.run)).toEqual([])
  await w.stop()
})

test.each([
  ['hangs', () => new Promise<void>(() => {}), 'no answer: what was written is not acknowledged'],
  ['fails', () => Promise.reject(new ConnectionError('the brokers are away')), 'the brokers are away'],
] as const)('the internal topic %s: the writing side of the step is the reason', async (_, write, reason) => {
  const w = await linked({ write })
  await w.elapse(12_000)
  expect(about(w.run)).toEqual([['link', 'repartition.write', expect.stringContaining(reason), 12]])
  expect(w.windows()).toEqual([])
  await w.stop()
})

test('a step after it hangs: the lane of the internal topic is the reason', async () => {
  const w = await linked({ behind: () => new Promise<void>(() => {}) })
  await w.elapse(12_000)
  expect(about(w.run)).toEqual([
    ['lane', expect.stringMatching(/^__runner\.test\..*repartition\/0$/), 'the transforms have not finished a batch', 12],
  ])
  await w.stop()
})
