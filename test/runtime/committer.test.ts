import { afterEach, expect, test, vi } from 'vitest'
import { type CheckpointDelta, FencedError, type LaneInfo, type Source, type Transactor } from '../../src/contract/plugin.ts'
import { PluginError } from '../../src/kit/plugin-error.ts'
import { atomicCommitter } from '../../src/runtime/committer.ts'
import { fakeContext } from '../../src/testing/conformance/context.ts'

afterEach(() => vi.useRealTimers())

const [a, b]: LaneInfo[] = ['a', 'b'].map(id => ({ id, source: 'in' }))
const to = (position: number): CheckpointDelta => ({ position, state: [] })

/** Transactions that work, and a source that records its notifications. */
function committerOf(commitNotifyInterval?: number, fault?: () => Error) {
  vi.useFakeTimers()
  const told: string[] = []
  const source: Source = {
    commitNotifyInterval,
    read: async () => null,
    async commit(lane, position) {
      if (fault) throw fault()
      told.push(`${lane} ${position}`)
    },
  }
  const transactor = {
    claim: async () => undefined,
    begin: async () => ({ commit: async () => {}, abort: async () => {} }),
    release: async (lane: LaneInfo) => void told.push(`${lane.id} released`),
    close: async () => {},
  } as unknown as Transactor
  const log = fakeContext('in').log
  const warn = vi.spyOn(log, 'warn')
  const committer = atomicCommitter(transactor, 'there', source, log)
  return { told, warn, committer, write: (lane: LaneInfo, n: number) => committer.write(lane, to(n), async () => {}) }
}

test('a source without an interval is notified of each commit', async () => {
  const { told, write } = committerOf()
  for (const n of [1, 2, 3]) await write(a, n)
  expect(told).toEqual(['a 1', 'a 2', 'a 3'])
})

test('a source with an interval gets the last position of each lane once per interval, and at the end', async () => {
  const { told, write, committer } = committerOf(1000)
  for (const n of [1, 2, 3]) await write(a, n)
  await write(b, 7)
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(1000)
  expect(told).toEqual(['a 3', 'b 7'])
  await vi.advanceTimersByTimeAsync(5000)
  await write(a, 4)
  await committer.release(a)
  await committer.release(b)
  expect(told.slice(2)).toEqual(['a 4', 'a released', 'b released'])
})

test('a pending notification of a lane that restarts is dropped', async () => {
  const { told, write, committer } = committerOf(1000)
  await write(a, 9)
  await committer.claim(a)
  await vi.advanceTimersByTimeAsync(5000)
  expect(told).toEqual([])
})

const mistake = () =>
  new PluginError({ step: 'in', at: { file: 'p.yaml', line: 3 }, method: 'commit', foreign: true }, new TypeError('boom'))

test.each([undefined, 1000])("an error in a plugin's commit ends the run, at the latest on close (interval: %s)", async interval => {
  const { write, committer } = committerOf(interval, mistake)
  if (interval === undefined) await expect(write(a, 1)).rejects.toThrow(/^step 'in' \(p\.yaml:3\): commit threw TypeError/)
  else {
    await write(a, 1)
    await vi.advanceTimersByTimeAsync(interval)
    await expect(write(a, 2)).rejects.toThrow('commit threw TypeError')
    await write(a, 3)
    await vi.advanceTimersByTimeAsync(interval)
    await expect(committer.close()).rejects.toThrow('commit threw TypeError')
    await write(a, 4)
    await expect(committer.release(a)).rejects.toThrow('commit threw TypeError')
  }
})

test.each([
  ['a lane that another instance owns', () => new FencedError('gone'), 0],
  ['a group that does not respond', () => new Error('away'), 1],
])('%s does not stop the run', async (_, fault, warnings) => {
  const { warn, write, committer } = committerOf(1000, fault)
  await write(a, 1)
  await vi.advanceTimersByTimeAsync(1000)
  await write(a, 2)
  await committer.close()
  expect(warn).toHaveBeenCalledTimes(warnings)
})
