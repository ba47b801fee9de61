/** Faults between a write and its commit, found by the simulation (test/simulation). All on the virtual clock. */
import { expect, test } from 'vitest'
import {
  type Batch,
  ConnectionError,
  defineSink,
  defineSource,
  defineTransform,
  FencedError,
  Message,
  type SourceContext,
  type Transactor,
  type TransformPlugin,
  UnknownOutcomeError,
} from '../../src/contract/plugin.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { calm, MemoryLog, pipelineOf, start, step } from './harness.ts'

const batchOf = (lane: string, from: number, count: number): Batch => ({
  lane,
  messages: Array.from({ length: count }, (_, i) => new Message({ v: from + i }, lane, 1000, undefined, from + i)),
  position: from + count,
})

/** Returns the records that the test adds, on lanes `a` and `b`. */
function world(commit?: (position: number) => Promise<void>, transactor?: Transactor, transforms: TransformPlugin[] = []) {
  const clock = new VirtualClock(1_700_000_000_000)
  const waiting: Batch[] = []
  const seeks: string[] = []
  let wake = (): void => {}
  let context!: SourceContext
  const source = defineSource({
    type: 'given',
    schema: {},
    replayable: true,
    shares: true,
    reason: 'a test',
    transactions: transactor && { scope: () => 'here', create: () => transactor },
    create: (_, ctx) => ({
      async open() {
        context = ctx
        await ctx.assign(['a', 'b'].map(id => ({ id, source: ctx.step })))
      },
      async read(signal) {
        while (waiting.length === 0) {
          signal.throwIfAborted()
          await new Promise<void>((resolve, reject) => {
            wake = resolve
            signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
          })
        }
        return waiting.shift()!
      },
      seek: async lane => void seeks.push(lane),
      ...(commit && { commit: (_lane: string, position: unknown) => commit(position as number) }),
    }),
  })
  const written: string[] = []
  const sink = defineSink({
    type: 'list',
    schema: {},
    onRedelivery: 'appends',
    reason: 'a test',
    transactions: { scope: () => 'here' },
    create: () => ({ write: async (messages, { lane }) => void written.push(...messages.map(m => `${lane.id}${m.offset}`)) }),
  })
  const pipeline = pipelineOf(new MemoryLog({ lanes: {}, batch: () => 1 }), transforms, {
    sources: [step('in', source)],
    sinks: [step('out', sink)],
    delivery: transactor ? 'exactly_once' : 'at_least_once',
    commit_interval: 100,
    max_in_flight: 10,
    shutdown_timeout: 60_000,
  })
  const run = start(pipeline, { clock })
  return {
    run,
    written,
    seeks,
    lose: (lane: string) => context.lose([lane]),
    put(...batches: Batch[]) {
      waiting.push(...batches)
      wake()
    },
    async pass(ms: number): Promise<void> {
      await calm()
      const until = clock.monotonic() + ms
      while (clock.step(until)) await calm()
    },
  }
}

test('a position that could not be committed is committed again, even if no record follows', async () => {
  const committed: number[] = []
  let away = true
  const w = world(async position => {
    if (away) throw new ConnectionError('the coordinator is away')
    committed.push(position)
  })
  const ended = w.run.run()
  w.put(batchOf('a', 0, 3))
  await w.pass(5000)
  expect(w.written).toEqual(['a0', 'a1', 'a2'])
  expect(committed).toEqual([])
  expect(w.run.notReady().join()).toContain('the coordinator is away')
  away = false
  await w.pass(5000)
  expect(committed).toEqual([3])
  expect(w.run.notReady()).toEqual([])
  expect(w.written).toHaveLength(3)
  w.run.stop()
  await ended
})

test('a run that could not commit its last position fails', async () => {
  const w = world(async () => {
    throw new ConnectionError('the coordinator is away')
  })
  const ended = w.run.run().then(
    () => 'in order',
    (error: Error) => error.message,
  )
  w.put(batchOf('a', 0, 3))
  await w.pass(1000)
  w.run.stop()
  await w.pass(60_000)
  expect(await ended).toMatch(/not drained within shutdown_timeout/)
})

/** Lane `a` is fenced at its first commit. */
function fencing(): Transactor {
  const commits = new Map<string, number>()
  return {
    claim: async () => undefined,
    begin: async ({ id }) => ({
      commit: async () => {
        commits.set(id, (commits.get(id) ?? 0) + 1)
        if (id === 'a' && commits.get(id) === 1) throw new FencedError('fenced: another instance now owns lane a')
      },
      abort: async () => {},
    }),
    save: async () => {},
    release: async () => {},
    close: async () => {},
  }
}

test('a full lane that is fenced does not block the other lanes while it waits for its revocation', async () => {
  const w = world(undefined, fencing())
  const ended = w.run.run()
  // The second batch of `a` waits for room, and with it the source.
  w.put(batchOf('a', 0, 20), batchOf('a', 20, 20), batchOf('a', 40, 20), batchOf('b', 0, 3))
  await w.pass(2000)
  expect(w.seeks).toEqual([])
  expect(w.written.filter(row => row.startsWith('b'))).toEqual(['b0', 'b1', 'b2'])
  await w.pass(15_000)
  expect(w.seeks).toEqual(['a'])
  w.run.stop()
  await w.pass(1000)
  await ended
})

test('a lane that is lost while it waits for its revocation does not delay the end of the run', async () => {
  const w = world(undefined, fencing())
  let over = false
  const ended = w.run.run().then(() => (over = true))
  w.put(batchOf('a', 0, 3))
  await calm()
  w.run.stop()
  await calm()
  w.lose('a')
  await w.pass(1000)
  expect(over).toBe(true)
  await ended
})

test('a lane whose last commit had an unknown outcome and succeeded is ready again, and the run ends normally', async () => {
  let emits = false
  let silent = true
  const onSilence = defineTransform({
    type: 'on_silence',
    schema: {},
    create: (_, ctx) => ({
      process: () => {},
      onIdle(_silence, out) {
        if (ctx.lane.id !== 'a' || !emits) return
        emits = false
        out.emit(new Message('closed', 'a'))
      },
    }),
  }) as TransformPlugin
  const w = world(
    undefined,
    {
      ...fencing(),
      claim: async () => ({ position: 3, state: [] }),
      begin: async ({ id }) => ({
        commit: async () => {
          if (id === 'a' && silent) throw new UnknownOutcomeError('the answer was lost')
        },
        abort: async () => {},
      }),
    },
    [onSilence],
  )
  const ended = w.run.run()
  await w.pass(1000)
  emits = true
  await w.pass(5000)
  expect(w.seeks.length).toBeGreaterThan(1)
  expect(w.run.notReady().join()).toContain('the answer was lost')
  silent = false
  await w.pass(10_000)
  expect(w.run.notReady()).toEqual([])
  w.run.stop()
  await w.pass(1000)
  await ended
})

test('a commit of the old position does not hide that later records could not be committed', async () => {
  const w = world(undefined, {
    ...fencing(),
    claim: async () => ({ position: 0, state: [] }),
    begin: async () => ({
      commit: async delta => {
        if (delta.position !== 0) throw new ConnectionError('the output topic is gone')
      },
      abort: async () => {},
    }),
  })
  const ended = w.run.run().then(
    () => 'in order',
    (error: Error) => error.message,
  )
  w.put(batchOf('a', 0, 3))
  await w.pass(5000)
  expect(w.seeks).toEqual(['a'])
  expect(w.run.notReady().join()).toContain('the output topic is gone')
  w.run.stop()
  await w.pass(1000)
  expect(await ended).toMatch(/stopped while a could not commit \(the output topic is gone\)/)
})
