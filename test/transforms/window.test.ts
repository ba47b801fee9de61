import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ExactNumber, type Json } from '../../src/contract/plugin.ts'
import type { WindowConfig } from '../../src/generated/config-types.ts'
import window from '../../src/transforms/window.ts'
import { type Input, messagesOf, runTransform, seen, transformConformance } from '../conformance/transform.ts'

const S = 1000
const base: WindowConfig = {
  aggregates: { n: { count: '*' } },
  collect_limit: 10_000,
  allowed_lateness: 0,
  idle_timeout: 10 * S,
  on_late: 'drop',
  max_future: 3_600_000,
  on_gap: 'stop',
  outside: 'drop',
}
const every: WindowConfig['aggregates'] = {
  n: { count: '*' },
  there: { count: 'v' },
  sum: { sum: 'v' },
  min: { min: 'v' },
  max: { max: 'v' },
  avg: { avg: 'v' },
  first: { first: 'tag' },
  last: { last: 'tag' },
  all: { collect: 'tag' },
}
const config = (o: Partial<WindowConfig>): WindowConfig => ({ ...base, ...o })
const at = (time: number, value: Json = {}, key: string | null = 'k'): Input => ({ value, time, key })
const records = (run: { out: { value: unknown }[] }) => run.out.map(m => m.value)

describe('fixed windows', () => {
  test('tumbling: one message per key and window, ordered by end, start and key, with key and time set', async () => {
    const run = await runTransform(
      window,
      config({ size: 10 * S }),
      [messagesOf([at(1, {}, 'b'), at(2, {}, 'a'), at(9999, {}, 'a'), at(10_000, {}, 'b'), at(20_000, {}, null)])],
      { end: true },
    )
    expect(seen(run)).toEqual([
      'a @9999 {"key":"a","start":0,"end":10000,"n":2}',
      'b @1 {"key":"b","start":0,"end":10000,"n":1}',
      'b @10000 {"key":"b","start":10000,"end":20000,"n":1}',
      'null @20000 {"key":null,"start":20000,"end":30000,"n":1}',
    ])
  })

  test('hopping: a message counts in every window that contains it', async () => {
    const run = await runTransform(window, config({ size: 10 * S, every: 5 * S }), [messagesOf([at(7 * S), at(12 * S)])], { end: true })
    expect(records(run)).toEqual([
      { key: 'k', start: 0, end: 10_000, n: 1 },
      { key: 'k', start: 5000, end: 15_000, n: 2 },
      { key: 'k', start: 10_000, end: 20_000, n: 1 },
    ])
  })

  test('hopping: a message that is late for one window counts in the others', async () => {
    const run = await runTransform(window, config({ size: 10 * S, every: 5 * S }), [messagesOf([at(12 * S), at(7 * S), at(4 * S)])], {
      end: true,
    })
    expect(records(run)).toEqual([
      { key: 'k', start: 5000, end: 15_000, n: 2 },
      { key: 'k', start: 10_000, end: 20_000, n: 1 },
    ])
    expect(run.counters['runner_late_messages_total{pipeline="test",step="window",action="dropped"}']).toBe(1)
  })

  test('all aggregates: sums are exact, first and last use event time, nulls are skipped', async () => {
    const values = [at(5, { v: 0.1, tag: 'b' }), at(3, { v: '0.2', tag: 'a' }), at(5, { v: 0.3, tag: 'c' }), at(4, { v: 1e-8 })]
    const run = await runTransform(window, config({ size: 10 * S, aggregates: every, allowed_lateness: S }), [messagesOf(values)], {
      end: true,
    })
    expect(records(run)).toEqual([
      {
        key: 'k',
        start: 0,
        end: 10_000,
        n: 4,
        there: 4,
        sum: 0.60000001,
        min: 1e-8,
        max: 0.3,
        avg: 0.1500000025,
        first: 'a',
        last: 'c',
        all: ['a', null, 'b', 'c'],
      },
    ])
  })

  test('a field that is not a number fails the message; counting a field skips nulls', async () => {
    const aggregates = { n: { count: '*' }, there: { count: 'v' }, sum: { sum: 'x' } }
    const run = await runTransform(
      window,
      config({ size: S, aggregates }),
      [messagesOf([at(1, { x: 1, v: null }), at(1, { x: 'one' }), at(1, {}), at(1, { x: '2', v: 0 })])],
      { end: true },
    )
    expect(records(run)).toEqual([{ key: 'k', start: 0, end: 1000, n: 2, there: 1, sum: 3 }])
    expect(run.failures.map(f => f.error.message)).toEqual([
      'x is "one"; allowed for sum: a finite number, or one as a decimal string',
      'x is missing; allowed for sum: a finite number, or one as a decimal string',
    ])
  })

  test('a number beyond the double range: min, max, first and last are exact; the error of sum and avg has the valid range', async () => {
    const x = (text: string) => at(1, { x: new ExactNumber(text) })
    const aggregates = { min: { min: 'x' }, max: { max: 'x' }, first: { first: 'x' }, last: { last: 'x' } }
    const inputs = ['2e400', '-1e400', '3e400', '1e-400'].map(x)
    const exact = await runTransform(window, config({ size: S, aggregates }), [messagesOf(inputs)], { end: true })
    expect(exact.failures).toEqual([])
    expect(exact.out.map(m => JSON.stringify(m.value))).toEqual([
      '{"key":"k","start":0,"end":1000,"min":-1e400,"max":3e400,"first":2e400,"last":1e-400}',
    ])
    for (const kind of ['sum', 'avg']) {
      const run = await runTransform(
        window,
        config({ size: S, aggregates: { s: { [kind]: 'x' } } }),
        [messagesOf([...inputs, at(1, { x: 2 }), at(1, { x: '1e400' }), x(`1.${'1'.repeat(500)}`)])],
        { end: true },
      )
      expect(records(run)).toMatchObject([{ s: 2 }])
      const more = '; min, max, first and last take JSON numbers of any size'
      expect(run.failures.map(f => f.error.message.replace(/1{20,}\.*/, '…'))).toEqual([
        ...['2e400', '-1e400', '3e400'].map(n => `x is ${n}; for ${kind} it is above 1.8e308, beyond the range of exact arithmetic${more}`),
        `x is 1e-400; for ${kind} it is closer to 0 than 5e-324, beyond the range of exact arithmetic${more}`,
        `x is "1e400"; for ${kind} it is above 1.8e308, beyond the range of exact arithmetic${more}`,
        `x is 1.…; for ${kind} it is longer than 400 characters${more}`,
      ])
    }
  })

  test('by: a field or an expression; a message without a key fails', async () => {
    const run = await runTransform(
      window,
      config({ size: S, by: 'user.id' }),
      [messagesOf([at(1, { user: { id: 7 } }), at(1, { user: { id: 'x' } }), at(1, { user: {} }), at(1, { user: { id: null } })])],
      { end: true },
    )
    expect(run.out.map(m => m.key)).toEqual(['7', 'x'])
    expect(run.failures).toHaveLength(2)
    expect(run.failures[1].error.message).toBe("by: 'user.id' gave null; allowed: a string, a number, true or false")
  })

  test('time: from a field, checked against the time of the record', async () => {
    const run = await runTransform(
      window,
      config({ size: S, time: 't', max_future: 5 * S }),
      [messagesOf([at(1000, { t: 500 }), at(1000, { t: '6000' }), at(1000, { t: 6001 }), at(1000, { t: 1.5 })])],
      { end: true },
    )
    expect(run.out.map(m => m.time)).toEqual([500, 6000])
    expect(run.failures.map(f => f.message.offset)).toEqual([2, 3])
  })

  test('late messages are dead-lettered', async () => {
    const run = await runTransform(window, config({ size: S, on_late: 'dlq' }), [messagesOf([at(0), at(2500), at(1)])])
    expect(run.failures.map(f => f.error.message)).toEqual([
      'late: 1 belongs to the window 0-1000, which closed when event time reached 1000; it is 1500ms past that',
    ])
  })

  test('an idle lane closes windows by the wall clock', async () => {
    const idle = async (ms: number) =>
      (await runTransform(window, config({ size: 15 * S }), [messagesOf([at(S)])], { idle: ms })).out.length
    expect(await idle(13 * S)).toBe(0)
    expect(await idle(14 * S)).toBe(1)
  })

  test('collect_limit: the message that exceeds the limit fails and counts in none of its windows', async () => {
    const aggregates = { n: { count: '*' }, all: { collect: 'i' } }
    const run = await runTransform(
      window,
      config({ size: 10 * S, every: 5 * S, aggregates, collect_limit: 2 }),
      [messagesOf([at(1, { i: 1 }), at(2, { i: 2 }), at(3, { i: 3 }), at(6 * S, { i: 4 })])],
      { end: true },
    )
    expect(records(run)).toEqual([
      { key: 'k', start: -5000, end: 5000, n: 2, all: [1, 2] },
      { key: 'k', start: 0, end: 10_000, n: 2, all: [1, 2] },
    ])
    expect(run.failures.map(f => f.message.offset)).toEqual([2, 3])
  })
})

describe('sessions', () => {
  test('a session spans its first message to its last one plus the gap; messages exactly one gap apart are two sessions', async () => {
    const run = await runTransform(window, config({ gap: 10 * S }), [messagesOf([at(0), at(9999), at(19_999), at(30 * S)])], { end: true })
    expect(records(run)).toEqual([
      { key: 'k', start: 0, end: 19_999, n: 2 },
      { key: 'k', start: 19_999, end: 29_999, n: 1 },
      { key: 'k', start: 30_000, end: 40_000, n: 1 },
    ])
  })

  test('a message between two sessions merges them', async () => {
    const run = await runTransform(
      window,
      config({ gap: 10 * S, allowed_lateness: 60 * S, aggregates: { n: { count: '*' }, all: { collect: 'i' }, sum: { sum: 'i' } } }),
      [messagesOf([at(20 * S, { i: 3.25 }), at(5 * S, { i: 1 }), at(12 * S, { i: 1.5 }), at(0, { i: 0 })])],
      { end: true },
    )
    expect(records(run)).toEqual([{ key: 'k', start: 0, end: 30_000, n: 4, all: [0, 1, 1.5, 3.25], sum: 5.75 }])
    expect(run.state.get('windows')!.size).toBe(0)
  })

  test('collect_limit applies to merged sessions', async () => {
    const run = await runTransform(
      window,
      config({ gap: 10 * S, allowed_lateness: 60 * S, collect_limit: 2, aggregates: { all: { collect: 'i' } } }),
      [messagesOf([at(20 * S, { i: 3 }), at(5 * S, { i: 1 }), at(12 * S, { i: 2 })])],
      { end: true },
    )
    expect(run.out).toHaveLength(2)
    expect(run.failures).toHaveLength(1)
  })
})

const messages = fc.array(
  fc.record({
    // Full seconds, so that windows and gaps meet exactly.
    time: fc.oneof({ weight: 3, arbitrary: fc.nat(60) }, { weight: 1, arbitrary: fc.nat(300) }).map(s => s * S),
    key: fc.oneof({ weight: 3, arbitrary: fc.constant('a') }, { weight: 1, arbitrary: fc.constantFrom('b', '1|"x"', null) }),
    value: fc.record({
      v: fc.oneof(
        fc.integer().map(n => n / 100),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.constant('0.1234567890123456789012'),
      ),
      tag: fc.oneof(fc.nat(9), fc.constant(null)),
    }),
  }),
  { maxLength: 40 },
)
const inputs = messages as unknown as fc.Arbitrary<Input[]>

transformConformance('tumbling', window, config({ size: 10 * S, aggregates: every, allowed_lateness: 5 * S }), inputs)
transformConformance('hopping', window, config({ size: 10 * S, every: 3 * S, aggregates: every, on_late: 'dlq', collect_limit: 5 }), inputs)
transformConformance('sessions', window, config({ gap: 10 * S, aggregates: every, allowed_lateness: 20 * S, collect_limit: 8 }), inputs)
transformConformance('sessions closed by silence', window, config({ gap: 10 * S, aggregates: every }), inputs, { end: false, idle: 12 * S })

describe('without late messages, windows match their definition', () => {
  const patient = { allowed_lateness: 1e9, aggregates: every }

  test('fixed windows hold exactly the messages of their interval', async () => {
    await fc.assert(
      fc.asyncProperty(messages, fc.constantFrom(10 * S, 7 * S), fc.constantFrom(10 * S, 5 * S, 3 * S), async (all, size, hop) => {
        const every = Math.min(size, hop)
        const run = await runTransform(window, config({ ...patient, size, every }), [messagesOf(all as Input[])], { end: true })
        const expected: unknown[] = []
        for (let start = -20 * every; start < 310 * S; start += every) {
          for (const key of [null, '1|"x"', 'a', 'b']) {
            const inside = all.filter(m => m.key === key && m.time >= start && m.time < start + size)
            if (inside.length > 0) expected.push(summary(key, start, start + size, inside))
          }
        }
        const got = (records(run) as Record<string, Json>[]).map(essence)
        expect(got).toHaveLength(expected.length)
        expect(got).toEqual(expect.arrayContaining(expected))
      }),
    )
  })

  test('a session ends where its key has no message for the gap', async () => {
    await fc.assert(
      fc.asyncProperty(messages, async all => {
        const gap = 10 * S
        const run = await runTransform(window, config({ ...patient, gap }), [messagesOf(all as Input[])], { end: true })
        const expected: unknown[] = []
        for (const key of [null, '1|"x"', 'a', 'b']) {
          const mine = all.filter(m => m.key === key).toSorted((a, b) => a.time - b.time)
          let session: typeof mine = []
          for (const [i, m] of mine.entries()) {
            session.push(m)
            if (i + 1 < mine.length && mine[i + 1].time - m.time < gap) continue
            expected.push(summary(key, session[0].time, m.time + gap, session))
            session = []
          }
        }
        const got = (records(run) as Record<string, Json>[]).map(essence)
        expect(got).toHaveLength(expected.length)
        expect(got).toEqual(expect.arrayContaining(expected))
      }),
    )
  })

  /** Checks that do not repeat the implementation: counts, bounds, and the tags in order of time, ties by arrival. */
  function summary(key: string | null, start: number, end: number, inside: { time: number; value: { tag: number | null } }[]): object {
    const tags = inside.toSorted((a, b) => a.time - b.time).map(m => m.value.tag)
    return { key, start, end, n: tags.length, all: tags, first: tags[0], last: tags.at(-1) }
  }
  const essence = ({ key, start, end, n, all, first, last }: Record<string, Json>) => ({ key, start, end, n, all, first, last })

  test('sum and avg equal those of integers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: -1e9, max: 1e9 }), { minLength: 1, maxLength: 50 }), async cents => {
        const run = await runTransform(
          window,
          config({ size: S, aggregates: every }),
          [messagesOf(cents.map(c => at(1, { v: c / 100, tag: 0 })))],
          { end: true },
        )
        const total = cents.reduce((a, b) => a + b, 0)
        const [record] = records(run) as Record<string, number>[]
        expect(record.sum).toBe(total / 100 + 0)
        expect(record.avg).toBeCloseTo(total / 100 / cents.length, 6)
        expect([record.min, record.max]).toEqual([Math.min(...cents) / 100 + 0, Math.max(...cents) / 100 + 0])
      }),
    )
  })
})

test('open windows of other settings are an error; settings that do not affect them may change', async () => {
  const first = await runTransform(window, config({ size: 10 * S }), [messagesOf([at(1)])])
  const again = (o: Partial<WindowConfig>) =>
    runTransform(window, config({ size: 10 * S, ...o }), [], { state: structuredClone(first.state), end: true })
  await expect(again({ size: 5 * S })).rejects.toMatchObject({
    code: 'PIPE_STATE',
    message: expect.stringContaining('1 open windows'),
  })
  await expect(again({ aggregates: { n: { count: 'x' } } })).rejects.toMatchObject({ code: 'PIPE_STATE' })
  expect((await again({ allowed_lateness: S, on_late: 'dlq' })).out).toHaveLength(1)
})

describe('check', () => {
  const problems = (o: Partial<WindowConfig>) => window.validateConfig!(config(o)).map(p => `${p.path.join('.')}: ${p.message}`)
  test.each<[Partial<WindowConfig>, string[]]>([
    [{ size: 10 * S }, []],
    [{ size: 10 * S, every: S }, []],
    [{ gap: S }, []],
    [{}, [': a window needs `size` (tumbling, or hopping with `every`) or `gap` (sessions)']],
    [{ size: S, gap: S }, ['gap: a window has either `size` or `gap`, not both']],
    [{ gap: S, every: S }, ['every: `every` needs `size`']],
    [{ size: S, every: 2 * S }, ['every: windows of 1s must begin every 1s or more often']],
    [{ size: 3_600_000, every: 1 }, ['every: every message would belong to 3600000 windows; at most 1000 are allowed']],
    [{ size: 0 }, ['size: a window must be longer than 0']],
    [{ size: S, aggregates: { end: { count: '*' } } }, ['aggregates.end: the output has a field `end` of its own (key, start, end)']],
    [{ size: S, aggregates: { x: { sum: '*' } } }, ['aggregates.x.sum: `*` works only with count; sum needs a field']],
    [{ size: S, aggregates: Object.fromEntries([['__proto__', { count: '*' }]]) }, ['aggregates.__proto__: a field cannot have this name']],
  ])('%j', (o, expected) => expect(problems(o)).toEqual(expected))
})
