import { afterEach, expect, test, vi } from 'vitest'
import { heartbeats } from '../../../src/connectors/kafka/client/consume/heartbeat.ts'

afterEach(() => vi.useRealTimers())

test('a session is kept while another request beside the heartbeats has no response', async () => {
  vi.useFakeTimers()
  // A frozen broker that is not the coordinator does this to the one that looks for new partitions.
  const silent = new Promise<void>(() => {})
  let beats = 0
  let asked = 0
  const told: string[] = []
  const stop = new AbortController()
  const beating = heartbeats(
    {
      group: 'g',
      intervalMs: 1000,
      sessionMs: 10_000,
      contact: { at: Date.now() },
      beat: async () => void beats++,
      chores: () => {
        asked++
        return silent
      },
      onRebalance: () => told.push('rebalance'),
      onExpelled: how => told.push(how),
      onError: error => told.push(error.message),
      onFatal: error => told.push(error.message),
    },
    stop.signal,
  )
  await vi.advanceTimersByTimeAsync(30_000)
  expect({ beats, asked, told }).toEqual({ beats: 30, asked: 1, told: [] })
  stop.abort()
  await beating
})
