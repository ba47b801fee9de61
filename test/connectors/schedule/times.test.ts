import { expect, test } from 'vitest'
import { cronTimes, intervals } from '../../../src/connectors/schedule/times.ts'

test.each([
  ['an interval', intervals(60_000)],
  ['a cron expression', cronTimes('* * * * *', 'Europe/Paris')],
])('%s: next is after the time, last is at or before it', (_, times) => {
  const minute = Date.UTC(2026, 0, 1, 12, 0)
  for (const [at, last, next] of [
    [minute - 1, -1, 0],
    [minute, 0, 1],
    [minute + 1, 0, 1],
    [minute + 59_999, 0, 1],
  ]) {
    expect(times.last(at)).toBe(minute + last * 60_000)
    expect(times.next(at)).toBe(minute + next * 60_000)
  }
})

test('a zone that does not exist is an error at once', () => {
  expect(() => cronTimes('* * * * *', 'Mars/Olympus')).toThrow()
})
