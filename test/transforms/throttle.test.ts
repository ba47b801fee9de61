import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ThrottleConfig } from '../../src/generated/config-types.ts'
import throttle from '../../src/transforms/throttle.ts'
import { type Input, messagesOf, runTransform, seen, transformConformance } from '../conformance/transform.ts'

const config = (o: Partial<ThrottleConfig> = {}): ThrottleConfig => ({
  interval: 1000,
  max: 1,
  key: 's',
  keep: 'first',
  max_future: 3_600_000,
  idle_timeout: 1000,
  max_keys: 1000,
  ...o,
})
const at = (time: number, s = 'a', n = time): Input => ({ value: { s, n }, time })
const passed = async (c: ThrottleConfig, inputs: Input[], options = {}) =>
  (await runTransform(throttle, c, [messagesOf(inputs)], options)).out.map(m => (m.value as { n: number }).n)

describe('throttle', () => {
  test('the first message of each key and interval passes at once and unchanged', async () => {
    const input = messagesOf([at(1000), at(1001), at(1500, 'b'), at(1999), at(2000), at(2001, 'b')])
    const run = await runTransform(throttle, config(), [input])
    expect(run.out).toEqual([input[0], input[2], input[4], input[5]])
    expect(run.out.every(m => !m.changed)).toBe(true)
    expect(run.counters['runner_throttled_total{pipeline="test",step="throttle"}']).toBe(2)
    expect(await passed(config({ max: 2 }), [at(0), at(1), at(2), at(1000)])).toEqual([0, 1, 1000])
  })

  test('the last message passes when event time reaches the end of its interval', async () => {
    const last = config({ keep: 'last' })
    expect(await passed(last, [at(0), at(1), at(2, 'b'), at(999)])).toEqual([])
    expect(await passed(last, [at(0), at(1), at(2, 'b'), at(999), at(1000, 'c')])).toEqual([999, 2])
    expect(await passed(config({ keep: 'last', max: 2 }), [at(0), at(1), at(2), at(1000)], { end: true })).toEqual([1, 2, 1000])
    expect(await passed(last, [at(0), at(1)], { idle: 999 })).toEqual([])
    expect(await passed(last, [at(0), at(1)], { idle: 1000 })).toEqual([1])
  })

  test('the kept message has its own key, time, headers and header bytes', async () => {
    const headers = [
      ['h', Buffer.from([255, 0])],
      ['n', null],
    ] as const
    const run = await runTransform(throttle, config({ keep: 'last' }), [messagesOf([{ ...at(5), key: 'k', headers }]), 'crash'], {
      end: true,
    })
    expect(run.out[0]).toMatchObject({
      key: 'k',
      time: 5,
      headers: [
        ['h', Buffer.from([255, 0])],
        ['n', null],
      ],
    })
  })

  test('a message older than the interval of its key counts in the current interval', async () => {
    expect(await passed(config(), [at(5000), at(4000), at(100, 'b', 1), at(200, 'b', 2), at(6000)])).toEqual([5000, 1, 6000])
  })

  test('a message without time or key fails; the number of keys is limited', async () => {
    const run = await runTransform(throttle, config({ time: 'n', max_keys: 1 }), [
      messagesOf([at(1), { value: { n: 1 }, time: 1 }, { value: { s: 'a', n: 'x' }, time: 1 }, at(2, 'b'), at(1001, 'b')]),
    ])
    expect(run.out.map(m => m.offset)).toEqual([0, 4])
    expect(run.failures.map(f => f.message.offset)).toEqual([1, 2, 3])
  })

  test('idle keys are removed', async () => {
    const run = await runTransform(throttle, config(), [messagesOf([...Array.from({ length: 50 }, (_, i) => at(i, `k${i}`)), at(5000)])])
    expect(run.state.get('slots')!.size).toBe(1)
    expect(seen(run)).toHaveLength(51)
  })
})

const inputs = fc.array(
  fc
    .record({ s: fc.constantFrom('a', 'b', 'c'), time: fc.nat(6000) })
    .map(({ s, time }): Input => ({ value: { s, n: time }, time, key: s })),
  { maxLength: 40 },
)
for (const keep of ['first', 'last'] as const)
  for (const max of [1, 2])
    transformConformance(`throttle ${keep} ${max}`, throttle, config({ keep, max }), inputs, { numRuns: 60, end: true })
