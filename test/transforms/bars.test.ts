import { describe, expect, test } from 'vitest'
import type { Json } from '../../src/contract/plugin.ts'
import type { BarsConfig } from '../../src/generated/config-types.ts'
import bars from '../../src/transforms/bars.ts'
import { type Durable, type Input, messagesOf, runTransform, seen, type Step } from '../conformance/transform.ts'

const M = 60_000
const DEFAULTS: BarsConfig = {
  interval: M,
  allowed_lateness: 2000,
  idle_timeout: 10_000,
  on_late: 'drop',
  retain: 3_600_000,
  max_future: 3_600_000,
  on_gap: 'stop',
  gap_fill: 'none',
  gap_limit: 1440,
  outside: 'drop',
  prices: 'positive',
  fields: { symbol: 'symbol', price: 'price', volume: 'volume', ts: 'ts' },
}
const config = (o: Partial<BarsConfig> = {}): BarsConfig => ({ ...DEFAULTS, ...o })
const tick = (ts: unknown, price: unknown = 100, volume: unknown = 1, symbol: unknown = 'A'): Input => ({
  value: { symbol, price, volume, ts } as Json,
})
const values = (run: { out: { value: unknown }[] }) => run.out.map(m => m.value as Record<string, unknown>)
const pick = (run: { out: { value: unknown }[] }, ...keys: string[]) => values(run).map(v => keys.map(k => v[k]))

describe('output', () => {
  test('one line per symbol and window, with keys in the documented order and with key and time set', async () => {
    const run = await runTransform(
      bars,
      config(),
      [messagesOf([tick(0, 10), tick(30_000, 12, 3), tick(59_999, 9), tick(M, 11), tick(1000, 99, 1, 'B')])],
      { end: true },
    )
    expect(seen(run)).toEqual([
      'A @59999 {"symbol":"A","interval":"1m","start":0,"end":60000,"open":10,"high":12,"low":9,"close":9,"volume":5,"vwap":11,"count":3}',
      'B @1000 {"symbol":"B","interval":"1m","start":0,"end":60000,"open":99,"high":99,"low":99,"close":99,"volume":1,"vwap":99,"count":1}',
      'A @60000 {"symbol":"A","interval":"1m","start":60000,"end":120000,"open":11,"high":11,"low":11,"close":11,"volume":1,"vwap":11,"count":1}',
    ])
  })

  test('ten times 0.1 is 1, and a value beyond double precision is written with all its digits', async () => {
    const tenths = await runTransform(bars, config(), [messagesOf(Array.from({ length: 10 }, (_, i) => tick(i, 0.1, 0.1)))], { end: true })
    expect(pick(tenths, 'volume', 'vwap')).toEqual([[1, 0.1]])
    const wide = await runTransform(bars, config(), [messagesOf([tick(0, '12345678901234567.89', '0.1'), tick(1, 1, 0.2)])], { end: true })
    expect(pick(wide, 'open', 'high', 'low', 'volume', 'vwap')).toEqual([
      ['12345678901234567.89', '12345678901234567.89', 1, 0.3, 4115226300410000],
    ])
  })

  test('JSON numbers leave as JSON numbers: prices digit for digit, sums with all digits; text can become text', async () => {
    const run = async (...ticks: [price: string, volume: string][]) => {
      const records = ticks.map(
        ([price, volume], ts): Input => ({ payload: `{"symbol":"A","price":${price},"volume":${volume},"ts":${ts}}` }),
      )
      const { out } = await runTransform(
        bars,
        config({ gap_fill: 'previous' }),
        [...messagesOf(records).flatMap((m): Step[] => [[m], 'crash']), messagesOf([tick(2 * M, 1)]), 'crash'],
        { end: true },
      )
      return out.map(m => /"open":(.*),"count"/.exec(String(m.encode()))![1])
    }
    const [first, empty] = await run(['1.10', '0.1'], ['12345678901234567.89', '9007199254740993'], ['1.1', '0.2'], ['1E0', '1e-30'])
    expect(first).toBe(
      '1.10,"high":12345678901234567.89,"low":1E0,"close":1E0,"volume":9007199254740993.300000000000000000000000000001,"vwap":12345678901200000',
    )
    expect(empty).toBe('1E0,"high":1E0,"low":1E0,"close":1E0,"volume":0,"vwap":null')
    // 2^60 as a double prints other digits than its value.
    expect((await run(['1', '1152921504606847000'], ['1', '0']))[0]).toContain('"volume":1152921504606847000,')
    expect((await run(['1.10', '9007199254740992'], ['1', '1']))[0]).toContain(
      '1.10,"high":1.10,"low":1,"close":1,"volume":9007199254740993,',
    )
    expect((await run(['"9007199254740993"', '9007199254740993']))[0]).toContain('"close":"9007199254740993","volume":9007199254740993,')
    expect((await run(['9007199254740993', '9007199254740992'], ['1', '"1.0"']))[0]).toContain(
      '9007199254740993,"high":9007199254740993,"low":1,"close":1,"volume":"9007199254740993"',
    )
  })

  test('vwap is rounded half-even to 12 significant digits and null without volume', async () => {
    const vwap = async (...ticks: Input[]) => pick(await runTransform(bars, config(), [messagesOf(ticks)], { end: true }), 'vwap')[0][0]
    expect(await vwap(tick(0, 1), tick(0, 1.00000000001))).toBe(1) // ...005: the even digit next to it is 0
    expect(await vwap(tick(0, 1.00000000001), tick(0, 1.00000000002))).toBe(1.00000000002) // ...015: the even digit next to it is 2
    expect(await vwap(tick(0, 2, 1), tick(0, 1, 2))).toBe(1.33333333333)
    expect(await vwap(tick(0, 5, 0))).toBe(null)
  })

  test('open and close follow event time; ties go by arrival', async () => {
    const run = await runTransform(
      bars,
      config(),
      [messagesOf([tick(5000, 3), tick(4000, 1), tick(4000, 2), tick(5000, 4), tick(4500, 9)])],
      { end: true },
    )
    expect(pick(run, 'open', 'close', 'high', 'low')).toEqual([[1, 4, 9, 1]])
  })

  test('other intervals, other field names and numeric strings are accepted', async () => {
    const fields = { symbol: 'd.s', price: 'd.p', volume: 'q', ts: 'T' }
    const input = (ts: number, p: string): Input => ({ value: { d: { s: 'A', p }, q: '0.5', T: String(ts), symbol: 7 } })
    const run = await runTransform(
      bars,
      config({ interval: 86_400_000, fields }),
      [messagesOf([input(1, '1.50'), input(86_399_999, '2.5')])],
      { end: true },
    )
    expect(pick(run, 'interval', 'end', 'open', 'close', 'volume', 'vwap')).toEqual([['1d', 86_400_000, 1.5, 2.5, 1, 2]])
  })
})

describe('closing of bars', () => {
  test('a bar closes when event time passes its end by allowed_lateness, not earlier', async () => {
    const closed = async (ts: number) => (await runTransform(bars, config(), [messagesOf([tick(0), tick(ts)])])).out.length
    expect(await closed(M + 1999)).toBe(0)
    expect(await closed(M + 2000)).toBe(1)
  })

  test('bars that close together are ordered by end, then by symbol', async () => {
    const run = await runTransform(bars, config({ allowed_lateness: 3 * M }), [
      messagesOf([tick(M, 1, 1, 'B'), tick(M, 1, 1, 'A'), tick(0, 1, 1, 'B'), tick(0, 1, 1, 'A'), tick(10 * M, 1, 1, 'C')]),
    ])
    expect(pick(run, 'end', 'symbol')).toEqual([
      [M, 'A'],
      [M, 'B'],
      [2 * M, 'A'],
      [2 * M, 'B'],
    ])
  })

  test('an idle lane advances with the wall clock, and a restart keeps the event time reached', async () => {
    const idle = (silence: number, more: Step[] = []) =>
      runTransform(bars, config(), [messagesOf([tick(50_000)]), { idle: silence }, ...more])
    expect((await idle(9_999)).out).toHaveLength(0) // below idle_timeout
    expect((await idle(11_999)).out).toHaveLength(0) // 50 s + 11.999 s - 2 s is not yet 60 s
    expect((await idle(12_000)).out).toHaveLength(1)
    const late = await idle(12_000, ['crash', messagesOf([tick(55_000)], 1)])
    expect(late.out).toHaveLength(1)
    expect(late.counters['runner_late_messages_total{pipeline="test",step="bars",action="dropped"}']).toBe(1)
    expect(late.watermarks.at(-1)).toBe(M)
  })

  test('idle_timeout 0 disables closing by the wall clock', async () => {
    expect((await runTransform(bars, config({ idle_timeout: 0 }), [messagesOf([tick(0)])], { idle: 1e9 })).out).toHaveLength(0)
  })

  test('the end of the input closes all bars, and trades for those bars are late after a restart', async () => {
    const first = await runTransform(bars, config(), [messagesOf([tick(0), tick(M)])], { end: true })
    expect(first.out).toHaveLength(2)
    const second = await runTransform(bars, config(), [messagesOf([tick(M + 1), tick(2 * M)])], { end: true, state: first.state })
    expect(pick(second, 'start')).toEqual([[2 * M]])
  })

  test('the end of a backfill closes only windows that end within its range', async () => {
    const run = await runTransform(bars, config(), [messagesOf([tick(0), tick(M + 500)])], { end: M })
    expect(pick(run, 'end')).toEqual([[M]])
  })
})

describe('late trades', () => {
  const steps = [messagesOf([tick(10_000, 5), tick(M + 2000), tick(20_000, 7)])]

  test('drop: late trades are counted', async () => {
    const run = await runTransform(bars, config(), steps)
    expect(pick(run, 'high')).toEqual([[5]])
    expect(run.failures).toHaveLength(0)
    expect(run.counters['runner_late_messages_total{pipeline="test",step="bars",action="dropped"}']).toBe(1)
  })

  test('dlq: the trade fails, and the error has the window and the delay', async () => {
    const run = await runTransform(bars, config({ on_late: 'dlq' }), steps)
    expect(seen(run).at(-1)).toBe(
      'fail #2 LateError: late: 20000 belongs to the window 0-60000, which closed when event time reached 60000; it is 0ms past that',
    )
    expect((run.failures[0].error as { code?: string }).code).toBe('PIPE_LATE')
  })

  test('revise: the corrected bar is emitted again with a revision number, also after a crash', async () => {
    const run = await runTransform(bars, config({ on_late: 'revise' }), [
      messagesOf([tick(10_000, 5), tick(M + 2000)]),
      'crash',
      messagesOf([tick(20_000, 7), tick(5_000, 1)], 2),
    ])
    expect(pick(run, 'start', 'open', 'high', 'close', 'count', 'revision')).toEqual([
      [0, 5, 5, 5, 1, undefined],
      [0, 5, 7, 7, 2, 1],
      [0, 1, 7, 7, 3, 2],
    ])
  })

  test('revise: the first bar of a window without trades is revision 1; a trade older than retain is dropped', async () => {
    const run = await runTransform(
      bars,
      config({ on_late: 'revise', retain: M }),
      [messagesOf([tick(0), tick(3 * M + 2000), tick(2 * M), tick(M)])],
      { end: true },
    )
    expect(pick(run, 'start', 'revision')).toEqual([
      [0, undefined],
      [2 * M, 1],
      [3 * M, undefined],
    ])
    expect(run.counters['runner_late_messages_total{pipeline="test",step="bars",action="dropped"}']).toBe(1)
  })

  test('closed bars are removed from the state when they can no longer be revised', async () => {
    const all = Array.from({ length: 200 }, (_, i) => tick(i * M))
    const kept = async (o: Partial<BarsConfig>) =>
      (
        await runTransform(
          bars,
          config(o),
          all.map(t => messagesOf([t])),
        )
      ).state.get('bars')!.size
    expect(await kept({})).toBe(2)
    expect(await kept({ on_late: 'revise', retain: 10 * M })).toBe(12)
  })
})

describe('gaps', () => {
  const fill = config({ gap_fill: 'previous' })

  test('gaps between two bars of a symbol are filled with the previous close', async () => {
    const run = await runTransform(bars, fill, [messagesOf([tick(0, 5), tick(M, 1, 1, 'B'), tick(3 * M, 7)])], { end: true })
    expect(pick(run, 'symbol', 'start', 'open', 'high', 'low', 'close', 'volume', 'vwap', 'count')).toEqual([
      ['A', 0, 5, 5, 5, 5, 1, 5, 1],
      ['B', M, 1, 1, 1, 1, 1, 1, 1],
      ['A', M, 5, 5, 5, 5, 0, null, 0],
      ['A', 2 * M, 5, 5, 5, 5, 0, null, 0],
      ['A', 3 * M, 7, 7, 7, 7, 1, 7, 1],
    ])
  })

  test('gaps longer than gap_limit are not filled', async () => {
    const ends = async (gap_limit: number) =>
      (await runTransform(bars, { ...fill, gap_limit }, [messagesOf([tick(0), tick(4 * M)])], { end: true })).out.length
    expect(await ends(3)).toBe(5)
    expect(await ends(2)).toBe(2)
  })

  test('the next gap repeats a revised close, and a revised window is not filled again', async () => {
    const run = await runTransform(
      bars,
      config({ gap_fill: 'previous', on_late: 'revise', allowed_lateness: 0 }),
      [messagesOf([tick(0, 5), tick(3 * M, 1, 1, 'B'), tick(M, 6), tick(4 * M, 8)])],
      { end: true },
    )
    expect(pick(run, 'symbol', 'start', 'close', 'count', 'revision')).toEqual([
      ['A', 0, 5, 1, undefined],
      ['A', M, 6, 1, 1],
      ['B', 3 * M, 1, 1, undefined],
      ['A', 2 * M, 6, 0, undefined],
      ['A', 3 * M, 6, 0, undefined],
      ['A', 4 * M, 8, 1, undefined],
    ])
  })
})

describe('prices: any', () => {
  test('zero and negative prices are accepted, and no NaN occurs', async () => {
    const run = await runTransform(
      bars,
      config({ prices: 'any' }),
      [messagesOf([tick(0, 10.1), tick(10_000, -37.63, 2), tick(20_000, 0), tick(30_000, 'x'), tick(40_000, 0.01)])],
      { end: true },
    )
    expect(pick(run, 'open', 'high', 'low', 'close', 'volume', 'vwap', 'count')).toEqual([[10.1, 10.1, -37.63, 0.01, 5, -13.03, 4]])
    expect(run.failures.map(f => f.error.message)).toEqual(['price is "x"; allowed: a finite number, or one as a decimal string'])
  })
})

describe('a record that is not a trade fails, and no other record is lost', () => {
  const bad: [why: string, input: Input, message: string | RegExp][] = [
    ['not an object', { value: [1] }, 'a tick must be a JSON object, is [1]'],
    ['null', { value: null }, 'a tick must be a JSON object, is null'],
    ['no symbol', { value: { price: 1, volume: 1, ts: 1 } }, 'symbol is missing; allowed: a non-empty string'],
    ['empty symbol', tick(1, 1, 1, ''), 'symbol is ""; allowed: a non-empty string'],
    ['symbol that cannot be a key', tick(1, 1, 1, 'A\ud800'), 'symbol is "A\\ud800"; allowed: valid Unicode'],
    ['symbol of another type', tick(1, 1, 1, 5), 'symbol is 5; allowed: a non-empty string'],
    [
      'no price',
      { value: { symbol: 'A', volume: 1, ts: 1 } },
      'price is missing; allowed: a finite number > 0, or one as a decimal string',
    ],
    ['zero price', tick(1, 0), /^price is 0;.*`prices: any`/],
    ['negative price', tick(1, -5), /^price is -5;.*`prices: any`/],
    ['negative price as text', tick(1, '-5'), /^price is "-5";/],
    ['wide negative price as text', tick(1, '-12345678901234567.89'), /^price is "-12345678901234567.89";/],
    ['NaN', tick(1, 'NaN'), /^price is "NaN";/],
    ['bare NaN', { payload: '{"symbol":"A","price":NaN,"volume":1,"ts":1}' }, /malformed JSON/],
    ['infinity', { payload: '{"symbol":"A","price":1e999,"volume":1,"ts":1}' }, /^price is 1e999; it is above 1.8e308/],
    ['price beyond a double', tick(1, '1e999'), 'price is "1e999"; it is above 1.8e308, beyond the range of exact arithmetic'],
    ['price below a double', tick(1, '1e-400'), /^price is "1e-400"; it is closer to 0 than 5e-324/],
    ['hex', tick(1, '0x10'), /^price is "0x10";/],
    ['spaces', tick(1, ' 1'), /^price is " 1";/],
    ['a boolean', tick(1, true), /^price is true;/],
    ['a number with too many digits', tick(1, '1'.repeat(1000)), /^price is "1{76}\.\.\.;/],
    ['negative volume', tick(1, 1, -0.1), 'volume is -0.1; allowed: a finite number >= 0, or one as a decimal string'],
    ['volume beyond a double', tick(1, 1, '1e400'), /^volume is "1e400"; it is above 1.8e308/],
    ['volume as empty text', tick(1, 1, ''), /^volume is "";/],
    ['null volume', tick(1, 1, null), /^volume is null;/],
    ['fraction of a ms', tick(1.5), 'ts is 1.5; allowed: an integer, epoch milliseconds, or one as a string of digits'],
    ['a date', tick('2026-01-01'), /^ts is "2026-01-01";/],
    ['negative time', tick(-1), /^ts is -1;/],
    ['time beyond dates', tick(8.64e15 + 2), /^ts is 8640000000000002, which looks like microseconds/],
    ['malformed JSON', { payload: '{"symbol"' }, /malformed JSON/],
    ['tombstone', { payload: null }, /tombstone/],
    ['empty payload', { payload: '' }, /payload is empty/],
    ['invalid UTF-8', { payload: Buffer.from([0x7b, 0xff, 0x7d]) }, /not valid UTF-8/],
  ]
  test.each(bad)('%s', async (_, input, message) => {
    const run = await runTransform(bars, config(), [messagesOf([tick(1, 1), input, tick(2, 2)])], { end: true })
    expect(run.failures.map(f => [f.message.offset, f.error.message])).toEqual([
      [1, typeof message === 'string' ? message : expect.stringMatching(message)],
    ])
    expect(pick(run, 'count', 'high')).toEqual([[2, 2]])
  })

  test('a time too far ahead of its record is rejected before it can close a bar; a record without a time allows any', async () => {
    const at = (ts: number, time: number): Input => ({ ...tick(ts), time })
    const run = await runTransform(bars, config({ max_future: M }), [messagesOf([at(5000, 5000), at(65_001, 5000), at(65_000, 5000)])])
    expect(run.failures.map(f => f.error.message)).toEqual([
      "ts is 65001; allowed: at most 1m after the record's own time 5000; this is 60001ms after it",
    ])
    expect(run.out).toHaveLength(1)
    expect((await runTransform(bars, config(), [messagesOf([at(1e12, 0)])])).failures).toHaveLength(0)
  })
})

test('open bars of another interval are an error; without open bars, the interval may change', async () => {
  const run = (interval: number, steps: Step[], end: boolean, state?: Durable) =>
    runTransform(bars, config({ interval }), steps, { end, state })
  const open = await run(M, [messagesOf([tick(0)])], false)
  await expect(run(5 * M, [], true, open.state)).rejects.toMatchObject({
    code: 'PIPE_STATE',
    message: expect.stringContaining("1 open windows of step 'bars' made as 1m; the file has 5m"),
  })
  const closed = await run(M, [messagesOf([tick(0)])], true)
  expect(pick(await run(5 * M, [messagesOf([tick(10 * M)])], true, closed.state), 'interval')).toEqual([['5m']])
})

describe('check', () => {
  test.each([1000, 90_000, 2000, M, 3_600_000, 86_400_000])('%i ms is a valid interval', interval =>
    expect(bars.validateConfig!(config({ interval }))).toEqual([]),
  )
  test.each([
    [500, '1s'],
    [7 * M, '5m'],
    [2 * 86_400_000, '1d'],
    [86_400_000 / 7, '4h'],
  ])('%i ms is not a valid interval; %s is suggested', (interval, suggestion) =>
    expect(bars.validateConfig!(config({ interval }))).toMatchObject([{ path: ['interval'], suggestion }]),
  )
})
