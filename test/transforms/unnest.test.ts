import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { UnnestConfig } from '../../src/generated/config-types.ts'
import { Message } from '../../src/contract/plugin.ts'
import unnest from '../../src/transforms/unnest.ts'
import { messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

async function outcome(c: Partial<UnnestConfig> & { field: string }, ...inputs: unknown[]): Promise<unknown[]> {
  const run = await runTransform(unnest, { on_empty: 'drop', ...c }, [messagesOf(inputs.map(value => ({ value })))])
  return run.events.map(e => (e.kind === 'fail' ? `#${e.message.offset} ${e.error.message}` : e.message.value))
}

describe('unnest', () => {
  const order = {
    id: 1,
    buyer: { name: 'ann' },
    items: [
      { sku: 'a', n: 1 },
      { sku: 'b', n: 2 },
    ],
  }

  test('each element becomes a message', async () => {
    expect(await outcome({ field: 'items' }, order)).toEqual(order.items)
    expect(await outcome({ field: 'a.b' }, { a: { b: [1, 'x', null, [2]] } })).toEqual([1, 'x', null, [2]])
  })

  test('elements can be put under a name, with fields of the record', async () => {
    expect(await outcome({ field: 'items', as: 'item', keep: ['id', 'buyer.name'] }, order)).toEqual([
      { id: 1, name: 'ann', item: order.items[0] },
      { id: 1, name: 'ann', item: order.items[1] },
    ])
    expect(await outcome({ field: 'items', as: 'item' }, { items: [1] })).toEqual([{ item: 1 }])
  })

  test('fields of the record can be added to the element', async () => {
    expect(await outcome({ field: 'items', keep: ['id'] }, order)).toEqual([
      { id: 1, sku: 'a', n: 1 },
      { id: 1, sku: 'b', n: 2 },
    ])
  })

  test('a record is unnested completely or not at all', async () => {
    const c = { field: 'items', keep: ['id'] }
    expect(await outcome(c, { id: 1, items: [{ a: 1 }, 5] }, { id: 1, items: [{ a: 1 }, { id: 2 }] }, { items: [{}] })).toEqual([
      "#0 items[1] must be an object, is 5 (to name other elements, set 'as')",
      "#1 items[1] has a field 'id', too (to keep both, set 'as')",
      '#2 id is missing',
    ])
  })

  test('a value that is not a list fails', async () => {
    expect(await outcome({ field: 'items' }, {}, { items: null }, { items: { a: 1 } }, { items: 'abc' }, 5, null)).toEqual([
      '#0 items must be a list, is missing',
      '#1 items must be a list, is null',
      '#2 items must be a list, is {"a":1}',
      '#3 items must be a list, is "abc"',
      '#4 items must be a list, is missing',
      '#5 items must be a list, is missing',
    ])
  })

  test('a list with more elements than limits.messages fails', async () => {
    expect(await outcome({ field: 'items' }, { items: Array.from({ length: 100_001 }, () => 1) })).toEqual([
      '#0 items has 100001 elements, more than limits.messages (100000): split it before this step, or raise limits.messages',
    ])
  })

  test('an empty list gives no messages, or fails', async () => {
    expect(await outcome({ field: 'items' }, { items: [] })).toEqual([])
    expect(await outcome({ field: 'items', on_empty: 'fail' }, { items: [] })).toEqual(['#0 items is empty'])
  })

  test('messages keep their origin', async () => {
    const [message] = messagesOf([{ value: { l: [1, 2] }, key: 'k', time: 7, headers: [['h', 'v']] }], 41)
    const run = await runTransform(unnest, { field: 'l', on_empty: 'drop' }, [[message]])
    for (const m of run.out)
      expect(m).toMatchObject({ time: 7, headers: [['h', 'v']], offset: 41, origin: message.origin, payload: message.payload })
    expect(run.out.map(m => [String(m.encodeKey()), m.encode()])).toEqual([
      ['k', '1'],
      ['k', '2'],
    ])
  })

  test('a key set by an earlier step is kept', async () => {
    const [message] = messagesOf([{ value: { l: [1] }, key: 'k' }])
    message.key = 'new'
    const run = await runTransform(unnest, { field: 'l', on_empty: 'drop' }, [[message]])
    expect(run.out[0].encodeKey()).toBe('new')
  })

  test('fields with names of inherited properties are plain fields', async () => {
    expect(await outcome({ field: 'constructor' }, {})).toEqual(['#0 constructor must be a list, is missing'])
    expect(JSON.stringify(await outcome({ field: 'l', as: '__proto__' }, { l: [{ a: 1 }] }))).toBe('[{"__proto__":{"a":1}}]')
  })

  test.each<[Partial<UnnestConfig>, string[]]>([
    [{ keep: ['id', 'a.b'], as: 'item' }, []],
    [{ keep: ['a.id', 'b.id'] }, ["keep/1: b.id becomes the field 'id', which a.id is already"]],
    [{ keep: ['id'], as: 'id' }, ["keep/0: id becomes the field 'id', which 'as: id' is already"]],
    [{ keep: ['items'] }, ['keep/0: items is the list that is taken apart']],
  ])('check %j', (c, expected) => {
    expect(unnest.validateConfig!({ field: 'items', on_empty: 'drop', ...c }).map(p => `${p.path.join('/')}: ${p.message}`)).toEqual(
      expected,
    )
  })
})

transformConformance(
  'unnest',
  unnest,
  { field: 'l', keep: ['id'], on_empty: 'fail' },
  fc.array(
    fc.record({
      value: fc.record({
        id: fc.nat(),
        l: fc.oneof(fc.array(fc.oneof(fc.record({ a: fc.nat() }), fc.nat()), { maxLength: 4 }), fc.string()),
      }),
      key: fc.option(fc.string()),
    }),
    { maxLength: 15 },
  ),
)

test('each element has its index in the record, also after a second unnest', () => {
  const emitted: Message[] = []
  const out = { emit: (m: Message) => void emitted.push(m), emitTo() {}, fail() {} }
  const unnestOf = (field: string) => unnest.create({ field, on_empty: 'drop' } as never, {} as never)
  void unnestOf('a').process([new Message({ a: [{ b: [{ n: 1 }, { n: 2 }] }, { b: [] }] })], out)
  expect(emitted.map(m => m.part)).toEqual(['a[0]', 'a[1]'])
  void unnestOf('b').process(emitted.splice(0), out)
  expect(emitted.map(m => m.part)).toEqual(['a[0].b[0]', 'a[0].b[1]'])
  expect(emitted[0].derive(1).part).toBe('a[0].b[0]')
})
