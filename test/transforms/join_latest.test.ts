import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JoinLatestConfig } from '../../src/generated/config-types.ts'
import { Message, type LaneInfo, type Output } from '../../src/contract/plugin.ts'
import join from '../../src/transforms/join_latest.ts'
import { VirtualClock } from '../../src/kit/clock.ts'
import { messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'
import { fakeContext } from '../../src/testing/conformance/context.ts'
import { FakeStore } from '../../src/testing/conformance/state.ts'

const config = (c: Partial<JoinLatestConfig> = {}): JoinLatestConfig => ({
  table: 'has(value.price)',
  key: 'symbol',
  value: 'price',
  as: 'market',
  max_age: 0,
  wait: 0,
  max_waiting: 3,
  on_missing: 'fail',
  max_keys: 100,
  ...c,
})
const price = (symbol: string, p: number, time = 0) => ({ value: { symbol, price: p }, time })
const signal = (symbol: string, id: number, time = 0) => ({ value: { symbol, id }, time })

async function joined(c: Partial<JoinLatestConfig>, ...inputs: { value: unknown; time?: number }[]): Promise<unknown[]> {
  const run = await runTransform(join, config(c), [messagesOf(inputs)])
  return run.events.map(e => (e.kind === 'fail' ? e.error.message : e.message.value))
}

describe('join_latest', () => {
  test('a record is joined with the latest value of its key at its position in the lane', async () => {
    expect(await joined({}, price('A', 1), signal('A', 1), price('B', 7), price('A', 2), signal('A', 2), signal('B', 3))).toEqual([
      { symbol: 'A', id: 1, market: 1 },
      { symbol: 'A', id: 2, market: 2 },
      { symbol: 'B', id: 3, market: 7 },
    ])
  })

  test('missing: dead-lettered, joined with null, or dropped and counted', async () => {
    expect(await joined({}, signal('A', 1), price('A', 1))).toEqual(['the table has no entry for "A"'])
    expect(await joined({ on_missing: 'pass' }, signal('A', 1))).toEqual([{ symbol: 'A', id: 1, market: null }])
    const run = await runTransform(join, config({ on_missing: 'drop' }), [messagesOf([signal('A', 1)])])
    expect([run.events, run.counters]).toEqual([[], { 'runner_join_missing_total{pipeline="test",step="join_latest"}': 1 }])
    expect(await joined({ max_age: 10 }, price('A', 1, 5), signal('A', 1, 15), signal('A', 2, 16))).toEqual([
      { symbol: 'A', id: 1, market: 1 },
      'the table has no entry for "A" that is recent enough',
    ])
  })

  test('records wait for the table in order and for a limited time, and keep their original bytes across crashes', async () => {
    const clock = new VirtualClock(0)
    const c = config({ wait: 1000 })
    const early = messagesOf([{ payload: '{"symbol": "A",  "id":1}' }, signal('A', 2), signal('B', 3), signal('A', 4)])
    const run = await runTransform(join, c, [early, 'crash', messagesOf([price('A', 9)], 4)], { clock, restartAt: [1] })
    // The buffer was full for the fourth.
    expect(run.failures.map(f => [f.message.offset, f.error.message])).toEqual([[3, 'the table has no entry for "A"']])
    expect(run.out.map(m => [m.offset, m.value, String(m.payload)])).toEqual([
      [0, { symbol: 'A', id: 1, market: 9 }, '{"symbol": "A",  "id":1}'],
      [1, { symbol: 'A', id: 2, market: 9 }, '{"symbol":"A","id":2}'],
    ])
    clock.step(1000)
    const later = await runTransform(join, c, ['crash'], { clock, state: run.state, idle: 250 })
    expect(later.failures.map(f => [f.message.offset, f.error.message])).toEqual([[2, 'the table has no entry for "B"']])
    expect(later.state.get('waiting')?.size).toBe(0)
  })

  test('invalid records of both sides are dead-lettered', async () => {
    expect(await joined({ max_keys: 1 }, price('A', 1), price('B', 1), { value: { symbol: null, id: 1 } }, { value: 5 })).toEqual([
      'the table holds 1 keys of this lane already (max_keys); "B" is one more',
      "'symbol' gave null, which is not a key",
      expect.stringContaining('symbol'),
    ])
    expect(await joined({}, price('A', 1), { value: { symbol: 'A', market: 1 } })).toEqual(["the record has a field 'market' of its own"])
  })

  test('lanes of one process share the table; a revoked lane takes its part with it', () => {
    const shared = new Map<string, unknown>()
    const out: unknown[] = []
    const output: Output = { emit: m => void out.push(m.value), emitTo() {}, fail: (_, e) => void out.push(e.message) }
    const lane = (id: string, source: string) => {
      const info: LaneInfo = { id, source }
      const step = join.create(config({ table: undefined, source: 'prices' }), {
        ...fakeContext('join'),
        lane: info,
        watermark() {},
        state: name => new FakeStore(name, new Map()) as never,
        shared: <T>(name: string, make: () => T) => {
          if (!shared.has(name)) shared.set(name, make())
          return shared.get(name) as T
        },
      })
      const origin = { lane: id, source, format: 'json' } as const
      return { step, send: (value: unknown, time = 0) => void step.process([new Message(value, null, time, undefined, 0, origin)], output) }
    }
    const [a, b, signals] = [lane('prices/0', 'prices'), lane('prices/1', 'prices'), lane('signals/0', 'signals')]
    a.send({ symbol: 'A', price: 1 }, 10)
    b.send({ symbol: 'A', price: 2 }, 11)
    signals.send({ symbol: 'A', id: 1 })
    void b.step.close?.()
    signals.send({ symbol: 'A', id: 2 })
    void a.step.close?.()
    signals.send({ symbol: 'A', id: 3 })
    expect(out).toEqual([{ symbol: 'A', id: 1, market: 2 }, { symbol: 'A', id: 2, market: 1 }, 'the table has no entry for "A"'])
  })
})

const symbol = fc.constantFrom('A', 'B', 'C')
const inputs = fc.array(
  fc.record({
    value: fc.oneof(fc.record({ symbol, price: fc.nat(9) }), fc.record({ symbol, id: fc.nat(9) }), fc.record({ id: fc.nat(9) })),
    key: fc.option(fc.string()),
  }),
  { maxLength: 40 },
)
transformConformance('join_latest', join, config(), inputs)
transformConformance('join_latest (waiting)', join, config({ wait: 1000, max_waiting: 5, on_missing: 'pass' }), inputs)
