import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { countRepeats } from '../../../src/runtime/telemetry/repeats.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

function logger() {
  const lines: string[] = []
  const note = (_: object, message: string): void => void lines.push(message)
  return { lines, log: countRepeats({ debug: note, info: note, warn: note, error: note }) }
}

test('a repeated error is one line, then a count at growing intervals', () => {
  const { lines, log } = logger()
  for (let second = 0; second < 120; second++) {
    for (let i = 0; i < 8; i++)
      log.warn({ step: 'out', lane: `in/${i}`, error: `connect ECONNREFUSED 127.0.0.1:${9092 + i}` }, 'trying again')
    vi.advanceTimersByTime(1000)
  }
  expect(lines).toEqual([
    'trying again',
    'trying again (79 times more in 10 s)',
    'trying again (160 times more in 20 s)',
    'trying again (320 times more in 40 s)',
  ])
})

test('another step, another error and a line without an error each have their own line', () => {
  const { lines, log } = logger()
  log.warn({ step: 'a', error: 'gone' }, 'first')
  log.warn({ step: 'b', error: 'gone' }, 'second')
  log.warn({ step: 'a', error: 'full' }, 'third')
  log.error({ step: 'a', error: 'gone' }, 'fourth')
  log.warn({ step: 'a' }, 'fifth')
  log.warn({ step: 'a' }, 'fifth')
  log.info({ step: 'a', error: 'gone' }, 'sixth')
  expect(lines).toEqual(['first', 'second', 'third', 'fourth', 'fifth', 'fifth', 'sixth'])
})

test('an error that recurs after it was resolved is logged as new', () => {
  const { lines, log } = logger()
  log.warn({ error: 'gone' }, 'trying again')
  vi.advanceTimersByTime(11_000)
  log.warn({ error: 'gone' }, 'trying again')
  expect(lines).toEqual(['trying again', 'trying again'])
})
