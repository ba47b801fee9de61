import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Message } from '../../src/contract/plugin.ts'
import type { DedupeConfig } from '../../src/generated/config-types.ts'
import dedupe from '../../src/transforms/dedupe.ts'
import { type Input, messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

const H = 3_600_000
const config = (o: Partial<DedupeConfig> = {}): DedupeConfig => ({ key: 'id', ttl: H, max_keys: 1000, max_future: H, ...o })
const at = (time: number, id: unknown): Input => ({ value: { id }, time })
const passed = async (c: DedupeConfig, inputs: Input[]) => (await runTransform(dedupe, c, [messagesOf(inputs)])).out.map(m => m.offset)

describe('dedupe', () => {
  test('the first message of each key passes unchanged', async () => {
    const input = messagesOf([at(1, 'a'), at(2, 'b'), at(3, 'a'), at(4, 'b'), at(5, 'c')])
    const run = await runTransform(dedupe, config(), [input])
    expect(run.out).toEqual([input[0], input[1], input[4]])
    expect(run.out.every(m => !m.changed)).toBe(true)
    expect(run.counters['runner_duplicates_total{pipeline="test",step="dedupe"}']).toBe(2)
  })

  test('ttl must be longer than 0', () => {
    expect(dedupe.validateConfig!(config({ ttl: 0 }))).toMatchObject([{ path: ['ttl'] }])
    expect(dedupe.validateConfig!(config({ ttl: 1 }))).toEqual([])
  })

  test('a number and its text are different keys; several fields form one key', async () => {
    expect(await passed(config(), [at(1, 1), at(1, '1'), at(1, 1)])).toEqual([0, 1])
    const pair = (a: string, b: string): Input => ({ value: { a, b } })
    expect(await passed(config({ key: '[a, b]' }), [pair('x', 'y,z'), pair('x,y', 'z'), pair('x', 'y,z')])).toEqual([0, 1])
  })

  test('ids that are equal only as doubles are different keys; spellings of one value are one key', async () => {
    const run = await runTransform(dedupe, config(), [
      ['9007199254740992', '9007199254740993', '9007199254740993', '1.10', '1.1', '11e-1', '"1.1"'].map((id, i) =>
        Message.fromRecord(Buffer.from(`{"id":${id}}`), null, i, undefined, i, { lane: 'l', source: 's', format: 'json' }),
      ),
    ])
    expect(run.failures).toEqual([])
    expect(run.out.map(m => m.offset)).toEqual([0, 1, 3, 6])
  })

  test('a key expires when ttl of event time has passed since its first message', async () => {
    expect(await passed(config(), [at(0, 'a'), at(H - 1, 'a'), at(H, 'a'), at(2 * H - 1, 'a'), at(2 * H, 'a')])).toEqual([0, 2, 4])
  })

  test('a late message is still recognized as a duplicate', async () => {
    expect(await passed(config(), [at(10 * H, 'x'), at(10.5 * H, 'x'), at(H, 'a'), at(H, 'a'), at(11 * H, 'y'), at(0, 'a')])).toEqual([
      0, 2, 4,
    ])
  })

  test('beyond max_keys the oldest key is removed, and its next duplicate passes: no record is lost', async () => {
    const run = await runTransform(dedupe, config({ max_keys: 2 }), [
      messagesOf([at(1, 'a'), at(2, 'b'), at(3, 'c'), at(4, 'b'), at(5, 'a')]),
    ])
    expect(run.out.map(m => m.offset)).toEqual([0, 1, 2, 4])
    expect(run.counters['runner_dedupe_forgotten_total{pipeline="test",step="dedupe"}']).toBe(2)
    expect(run.state.get('seen')!.size).toBe(2)
  })

  test('a message without the key field is dead-lettered', async () => {
    const run = await runTransform(dedupe, config(), [messagesOf([at(1, null), { value: {} }, at(1, 'a')])])
    expect(run.out.map(m => m.offset)).toEqual([2])
    expect(run.failures.map(f => [f.message.offset, f.error.name])).toEqual([
      [0, 'DataError'],
      [1, 'DataError'],
    ])
  })

  test('time from a field: an invalid time fails before it can expire every key', async () => {
    const input = (id: string, t: unknown): Input => ({ value: { id, t }, time: 1000 })
    expect(await passed(config({ time: 't' }), [input('a', 0), input('b', 1e14), input('b', 'x'), input('a', H), input('b', H)])).toEqual([
      0, 3, 4,
    ])
  })

  test('the state holds the keys of one ttl only, whatever the number of messages', async () => {
    const inputs = Array.from({ length: 20_000 }, (_, i) => at(i * 1000, `k${i}`))
    const run = await runTransform(dedupe, config({ ttl: 100_000 }), [messagesOf(inputs)])
    expect(run.out).toHaveLength(20_000)
    expect(run.state.get('seen')!.size).toBe(100)
  })
})

const inputs = fc.array(
  fc.record({ time: fc.nat(5 * H), value: fc.record({ id: fc.oneof(fc.nat(12), fc.constantFrom('a', 'b', null)) }) }),
  { maxLength: 60 },
) as unknown as fc.Arbitrary<Input[]>
transformConformance('dedupe', dedupe, config(), inputs)
transformConformance('dedupe with few keys', dedupe, config({ max_keys: 3 }), inputs)

test('no key is lost, and the output is a subsequence of the input', async () => {
  await fc.assert(
    fc.asyncProperty(inputs, fc.integer({ min: 1, max: 5 }), fc.nat(2 * H), async (all, max_keys, ttl) => {
      const run = await runTransform(dedupe, config({ max_keys, ttl: ttl + 1 }), [messagesOf(all)])
      const ids = (list: { value?: unknown }[]) =>
        new Set(list.map(m => JSON.stringify((m.value as { id: unknown }).id)).filter(id => id !== 'null'))
      expect(ids(run.out)).toEqual(ids(all))
      const offsets = run.out.map(m => m.offset)
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b))
    }),
  )
})
