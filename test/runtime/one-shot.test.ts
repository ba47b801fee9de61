/** A one-shot pipeline reads all records in each run, waits for its peers for a limited time, and fails if it is incomplete. */
import { expect, test } from 'vitest'
import { ConnectionError, defineSource, type Source, type SourcePlugin } from '../../src/contract/plugin.ts'
import { obstacles } from '../../src/config/delivery.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { PEER_WAIT_LIMIT } from '../../src/runtime/pipeline.ts'
import { calm, MemoryLog, pipelineOf, start, step } from './harness.ts'

const memory = (): MemoryLog => new MemoryLog({ lanes: { a: [1, 2, 3] }, batch: () => 2 })
const oneShot = (log: MemoryLog): SourcePlugin => ({ ...log.source(), oneShot: true })
const source = (made: Partial<Source>): SourcePlugin =>
  defineSource({
    type: 'test',
    schema: {},
    replayable: true,
    oneShot: true,
    reason: 'a test',
    create: () => ({ open: async () => {}, read: async () => null, ...made }) as Source,
  })

async function until(clock: VirtualClock, run: Promise<void>, ms: number): Promise<Error | undefined | 'running'> {
  let end: Error | undefined | 'running' = 'running'
  void run.then(
    () => (end = undefined),
    (e: Error) => (end = e),
  )
  const stop = clock.monotonic() + ms
  await calm()
  while (end === 'running' && clock.step(stop)) await calm()
  return end
}

test('a second run reads all records again, and no state is kept', async () => {
  const log = memory()
  for (const _ of [1, 2]) {
    await start(pipelineOf(log, [], { sources: [step('in', oneShot(log))], delivery: 'at_least_once' })).run()
    expect(log.checkpoints.size).toBe(0)
  }
  expect(log.committed.map(r => Number(r.value))).toEqual([1, 2, 3, 1, 2, 3])
})

test('exactly_once is an error with the reason: every run writes all records again', () => {
  const log = memory()
  expect(obstacles([step('in', oneShot(log))], [step('out', log.sink())])).toEqual([
    { from: 'in', reason: 'in stores no position: each run reads everything and writes it again' },
  ])
})

test.each([
  [
    'never comes',
    {
      open: async () => {
        throw new ConnectionError('connect ECONNREFUSED 127.0.0.1:9')
      },
    },
    /a peer could not be reached for 30 s, the time limit of a one-shot pipeline: connect ECONNREFUSED/,
  ],
  [
    'goes while it is read',
    { healthy: () => false, read: (signal: AbortSignal) => new Promise<never>((_, no) => signal.addEventListener('abort', no)) },
    /source in could not be reached for 30 s/,
  ],
])('a peer that %s ends the run as an environment error', async (_, made, message) => {
  const clock = new VirtualClock(1_790_000_000_000)
  const log = memory()
  const pipeline = pipelineOf(log, [], { sources: [step('in', source(made))], delivery: 'at_least_once' })
  const over = start(pipeline, { clock }).run()
  expect(await until(clock, over, PEER_WAIT_LIMIT - 1)).toBe('running')
  expect(await until(clock, over, 1000)).toMatchObject({ code: 'PIPE_ENVIRONMENT', message: expect.stringMatching(message) })
})

test('a run that is stopped before the end has failed', async () => {
  const log = new MemoryLog({ lanes: { a: [1, 2, 3] }, batch: () => 2, endless: true })
  const run = start(pipelineOf(log, [], { sources: [step('in', oneShot(log))], delivery: 'at_least_once' }))
  const over = run.run()
  await expect.poll(() => log.committed.length).toBe(3)
  run.stop()
  await expect(over).rejects.toMatchObject({ code: 'PIPE_STOPPED' })
})
