/** State of a lane: restored unchanged, parsed on first access, bounded, and in memory once. */
import { expect, test } from 'vitest'
import { defineTransform, type State, type TransformPlugin } from '../../src/contract/plugin.ts'
import { keptCheckpoint, keptOf, KeptState } from '../../src/kit/kept-state.ts'
import { LaneState } from '../../src/runtime/state.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { calm, MemoryLog, pipelineOf, start } from './harness.ts'

const restored = (entries: readonly [string, string][]): { state: LaneState; store: State<any> } => {
  const state = new LaneState({ position: 1, state: entries.map(([key, json]) => ['s', key, json] as const) })
  return { state, store: state.open('s') }
}

test('restored entries are present, in order, and do not count as changes', () => {
  const { state, store } = restored([
    ['b', '[1,"x"]'],
    ['a', '{"n":2}'],
    ['c', 'null'],
  ])
  expect([...store.entries()]).toEqual([
    ['b', [1, 'x']],
    ['a', { n: 2 }],
    ['c', null],
  ])
  expect([store.size, store.get('a'), store.get('b'), store.get('d')]).toEqual([3, { n: 2 }, [1, 'x'], undefined])
  // Two reads return the same object: a step may change it in place and set it.
  expect(store.get('a')).toBe(store.get('a'))
  expect([...store.entries()].map(([key]) => key).toSorted()).toEqual(['a', 'b', 'c'])
  expect(state.takeChanges()).toEqual([])
})

test('restored entries can be overwritten and deleted, whether they were read or not', () => {
  const { state, store } = restored([
    ['a', '1'],
    ['b', '2'],
    ['c', '3'],
    ['d', '4'],
  ])
  store.set('a', 10)
  store.delete('b')
  store.get('c')
  store.delete('c')
  store.delete('none')
  expect([store.size, store.get('a'), store.get('b'), store.get('c'), store.get('d')]).toEqual([2, 10, undefined, undefined, 4])
  expect(state.takeChanges()).toEqual([
    ['s', 'a', '10'],
    ['s', 'b', null],
    ['s', 'c', null],
  ])
  expect(state.size).toBe(2)
})

test('clear also deletes restored entries, whether they were read or not', () => {
  const { state, store } = restored([
    ['a', '1'],
    ['b', '2'],
  ])
  store.get('b')
  store.set('c', 3)
  state.clear()
  expect([state.size, [...store.entries()]]).toEqual([0, []])
  expect(state.takeChanges()).toEqual([
    ['s', 'c', null],
    ['s', 'a', null],
    ['s', 'b', null],
  ])
})

test('a checkpoint that was read entry by entry is moved, not copied', () => {
  const kept = new KeptState()
  kept.set('s', 'a', '1')
  kept.set('s', 'b', '2')
  kept.set('s', 'a', '3')
  kept.delete('s', 'b')
  kept.delete('t', 'x')
  const checkpoint = keptCheckpoint(7, kept)
  expect(checkpoint).toEqual({ position: 7, state: [['s', 'a', '3']] })
  expect(keptOf(checkpoint)).toBe(kept)
  expect(keptOf({ position: 7, state: [['s', 'a', '3']] }).size).toBe(1)
})

const keeping: TransformPlugin = defineTransform({
  type: 'keeping',
  schema: {},
  stateful: true,
  create: (_config, ctx) => {
    const state = ctx.state<string>('all')
    return {
      process(messages, out) {
        for (const m of messages) {
          state.set(String(m.offset), 'x'.repeat(1000))
          out.emit(m)
        }
      },
    }
  },
})

test('a run that exceeds limits.state stops after a commit, and the error lists the size of each step', async () => {
  const clock = new VirtualClock(1_700_000_000_000)
  const log = new MemoryLog({ lanes: { a: Array.from({ length: 2000 }, (_, n) => ({ n })) }, batch: () => 50, endless: true })
  const run = start(pipelineOf(log, [keeping], { limits: { state: 1_048_576 } }), { clock })
  const ended = expect(run.run()).rejects.toThrow(
    /^the state of 1 lanes takes about \d MiB of memory, more than limits\.state \(1 MiB\): t0\.all \d MiB in \d+ keys\. .*--max-old-space-size/,
  )
  for (let i = 0; i < 200; i++) {
    await calm()
    clock.step(clock.monotonic() + 50)
  }
  await ended
  expect(log.checkpoints.get('a')!.state.size).toBeGreaterThan(500)
})
