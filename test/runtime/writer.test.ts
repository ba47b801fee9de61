/** What the writer logs and counts for retries. */
import { expect, test } from 'vitest'
import { BatchError, ConnectionError, DataError, EnvironmentError, Message, type Sink } from '../../src/contract/plugin.ts'
import { systemClock } from '../../src/kit/clock.ts'
import { Writer } from '../../src/runtime/writer.ts'

const retry = { initial_delay: 1, max_delay: 1, breaker_failures: 10, breaker_reset: 1 }
const context = { signal: new AbortController().signal, lane: { id: 'a/0', source: 'in' } }

test.each([
  ['a BatchError', () => new BatchError(new Map([[0, new DataError('bad')]]))],
  ['an EnvironmentError', () => new EnvironmentError('no right')],
])('%s after a retry is not logged or counted as one', async (_, last) => {
  const lines: unknown[] = []
  const note = (fields: object, message: string): void => void lines.push([message, fields])
  const log = { debug: note, info: note, warn: note, error: note }
  const failures = [new ConnectionError('busy'), last()]
  const sink: Sink = {
    write: async () => {
      const error = failures.shift()
      if (error) throw error
    },
  }
  const meter = { in: 0, out: 0, dead: 0, seconds: 0, retries: 0 }
  const writer = new Writer({ name: 's' } as never, sink, meter as never, { retry: retry as never, clock: systemClock, log })
  await writer.write([new Message(1), new Message(2)], context).catch(() => {})
  expect(lines).toEqual([['sink failed, trying again', { step: 's', error: 'busy' }]])
  expect(meter.retries).toBe(1)
})
