import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import filter from '../../src/transforms/filter.ts'
import { messagesOf, runTransform, seen, transformConformance } from '../conformance/transform.ts'

const run = (condition: string, ...inputs: unknown[]) => runTransform(filter, { condition }, [messagesOf(inputs.map(value => ({ value })))])

describe('filter', () => {
  test('true passes the message with its bytes, false drops it, any other result fails it', async () => {
    const inputs = [{ price: 1 }, { price: 0 }, { price: 'x' }, {}, { price: 2, other: 1e3 }]
    const result = await run('price > 0.0', ...inputs)
    expect(seen(result)).toEqual([
      'null @0 {"price":1}',
      "fail #2 DataError: 'price > 0.0': '>' does not work on text and a number",
      "fail #3 DataError: field 'price' is missing (the record is empty)",
      'null @0 {"price":2,"other":1000}',
    ])
    expect(result.out.every(m => !m.changed)).toBe(true)
  })

  test('a result that is not a boolean fails', async () => {
    const result = await run('flag', { flag: true }, { flag: 1 }, { flag: 'true' }, { flag: null }, { flag: {} })
    expect(result.out).toHaveLength(1)
    expect(result.failures.map(f => f.error.message)).toEqual(['1', '"true"', 'null', '{}'].map(v => `'flag' gave ${v}, not true or false`))
  })

  test('conditions can use the metadata of the message', async () => {
    const messages = messagesOf([
      { value: {}, key: 'a', time: 1 },
      { value: {}, key: 'b', time: 2 },
    ])
    const result = await runTransform(filter, { condition: 'meta.key == "b" && meta.time > 1 && meta.topic == "in"' }, [messages])
    expect(result.out.map(m => m.key)).toEqual(['b'])
  })

  test('an error that is not a data error is rethrown', async () => {
    const broken = {
      get value(): never {
        throw new TypeError('a bug')
      },
    }
    const transform = filter.create({ condition: 'price > 0.0' }, {} as any)
    expect(() => transform.process([broken as any], {} as any)).toThrow('a bug')
  })
})

transformConformance(
  'filter',
  filter,
  { condition: 'price > 0.0 || meta.key == "k"' },
  fc.array(
    fc.record({
      value: fc.oneof(fc.record({ price: fc.oneof(fc.double(), fc.string()) }), fc.json()),
      key: fc.option(fc.constantFrom('k', 'l')),
    }),
    { maxLength: 20 },
  ),
)
