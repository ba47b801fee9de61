import { describe, expect, test } from 'vitest'
import { ExactNumber, Message } from '../../../src/contract/plugin.ts'
import { parseTime, timeReader } from '../../../src/kit/values/event-time.ts'

const MS = Date.UTC(2026, 0, 1, 12, 30, 15, 678)

describe('time units', () => {
  test.each([
    ['s', 1767270615.678],
    ['s', '1767270615.678'],
    ['ms', MS],
    ['us', MS * 1000 + 999],
    ['us', `${MS}999`],
    ['ns', `${MS}999999`],
    ['ns', MS * 1e6],
    [undefined, MS],
    [undefined, String(MS)],
  ] as const)('%s: %s is the instant', (unit, raw) => {
    expect(parseTime(raw, unit)).toBe(MS)
  })

  test('every millisecond of a second survives conversion through fractional seconds', () => {
    for (let ms = 0; ms < 1000; ms++) expect(parseTime((MS - 678 + ms) / 1000, 's')).toBe(MS - 678 + ms)
  })

  test('digits below a millisecond are truncated, also just before the next one', () => {
    const late = [
      ['s', '1767270615.6789999999'],
      ['s', new ExactNumber('1767270615.6789999')],
      ['us', new ExactNumber('1767270615678999.9')],
      ['ns', new ExactNumber('1767270615678999900')],
      ['ns', new ExactNumber('1767270615678999999')],
      ['ns', new ExactNumber('1.7672706156789999e18')],
    ] as const
    for (const [unit, raw] of late.slice(1)) expect([raw, parseTime(raw, unit)]).toEqual([raw, MS])
    // More digits than a time has.
    expect(parseTime(late[0][1], 's')).toBeNaN()
  })

  test.each([
    [1767270615, /looks like seconds \(2026-01-01T12:30:15.000Z\).*time_unit: s/],
    ['1767270615', /looks like seconds/],
    [MS * 1000, /looks like microseconds \(2026-01-01T12:30:15.678Z\).*time_unit: us/],
    [MS * 1e6, /looks like nanoseconds/],
    ['soon', /epoch milliseconds/],
    [-1, /epoch milliseconds/],
  ])('without a unit %s is an error with the unit to write', (raw, words) => {
    const read = timeReader('ts', 3_600_000)
    expect(() => read(new Message({ ts: raw }, null, MS))).toThrow(words)
  })

  test.each([
    ['us', MS, /looks like milliseconds \(2026-01-01T12:30:15.678Z\), not microseconds: set `time_unit: ms`/],
    ['ns', MS, /looks like milliseconds/],
    ['s', MS, /looks like milliseconds/],
    ['us', 1_767_270_615, /looks like seconds/],
    ['ns', 1_767_270_615, /looks like seconds/],
    ['ns', MS * 1000, /looks like microseconds/],
    ['s', MS * 1000, /looks like microseconds/],
    ['us', MS * 1e6, /looks like nanoseconds/],
    ['s', String(MS), /looks like milliseconds/],
  ] as const)('an implausible unit is an error, not another date: %s, %s', (unit, raw, words) => {
    expect(() => timeReader('ts', 3_600_000, unit)(new Message({ ts: raw }, null, 0))).toThrow(words)
  })

  test('any other unit is trusted: 1970 in milliseconds, small numbers, the year 1980', () => {
    expect(timeReader('ts', 3_600_000, 'ms')(new Message({ ts: 1_767_270_615 }, null, MS))).toBe(1_767_270_615)
    expect(timeReader('ts', 3_600_000, 'us')(new Message({ ts: 60_000_000 }, null, 0))).toBe(60_000)
    expect(timeReader('ts', 3_600_000, 's')(new Message({ ts: 60 }, null, 0))).toBe(60_000)
    expect(timeReader('ts', 3_600_000, 'us')(new Message({ ts: 315_532_800e6 }, null, 0))).toBe(315_532_800_000)
  })

  test('small numbers are milliseconds, because tests and simulations count from 0', () => {
    expect(timeReader('ts', 3_600_000)(new Message({ ts: 60_000 }, null, 0))).toBe(60_000)
  })
})
