import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { GroupConfig } from '../../src/generated/config-types.ts'
import group from '../../src/transforms/group.ts'
import { messagesOf, runTransform, seen, transformConformance } from '../conformance/transform.ts'

const config = (c: Partial<GroupConfig> & { key: string }): GroupConfig => ({ key_as: 'key', as: 'items', on_empty: 'drop', ...c })
const rows = (...list: unknown[]) => ({ batch: 7, rows: list })

describe('group', () => {
  test('one message per key; groups in the order of their first element, elements in order', async () => {
    const c = config({ key: 'company', field: 'rows', keep: ['batch'], key_as: 'company', as: 'rows' })
    const value = rows({ company: 'b', n: 1 }, { company: 'a', n: 2 }, { company: 'b', n: 3 })
    const run = await runTransform(group, c, [messagesOf([{ value, key: 'k', time: 5 }])])
    expect(seen(run)).toEqual([
      'b @5 {"company":"b","batch":7,"rows":[{"company":"b","n":1},{"company":"b","n":3}]}',
      'a @5 {"company":"a","batch":7,"rows":[{"company":"a","n":2}]}',
    ])
    expect(run.out.map(m => m.offset)).toEqual([0, 0])
  })

  test('messages of one record are grouped; those of the next record are not added to the group', async () => {
    const [first, second] = messagesOf([{ value: rows() }, { value: rows() }])
    const made = [first.derive({ c: 'x', n: 1 }), first.derive({ c: 1 }), first.derive({ c: 'x', n: 2 }), second.derive({ c: 'x', n: 3 })]
    const run = await runTransform(group, config({ key: 'c' }), [made])
    expect(run.out.map(m => [m.key, m.value])).toEqual([
      [
        'x',
        {
          key: 'x',
          items: [
            { c: 'x', n: 1 },
            { c: 'x', n: 2 },
          ],
        },
      ],
      ['1', { key: 1, items: [{ c: 1 }] }],
      ['x', { key: 'x', items: [{ c: 'x', n: 3 }] }],
    ])
  })

  test('a record with one invalid element fails as a whole, with the index; an invalid message fails alone', async () => {
    const run = await runTransform(group, config({ key: 'c', field: 'rows' }), [
      messagesOf([
        { value: rows({ c: 'a' }, { d: 1 }) },
        { value: rows({ c: null }) },
        { value: 5 },
        { value: rows() },
        { value: rows({ c: 'a' }) },
      ]),
    ])
    expect(run.failures.map(f => f.error.message)).toEqual([
      "rows[1]: field 'c' is missing (the record has d)",
      "rows[0]: 'c' gave null, which is not a key",
      'rows must be a list, is missing',
    ])
    expect(run.out).toHaveLength(1)
    const strict = await runTransform(group, config({ key: 'c', field: 'rows', on_empty: 'fail' }), [messagesOf([{ value: rows() }])])
    expect(strict.failures.map(f => f.error.message)).toEqual(['rows is empty'])
    const [m] = messagesOf([{ value: rows() }])
    const kept = await runTransform(group, config({ key: 'c', keep: ['id'] }), [[m.derive({ c: 'a' }), m.derive({ c: 'a', id: 1 })]])
    expect(kept.failures.map(f => f.error.message)).toEqual(['id is missing'])
    expect(kept.out.map(o => o.value)).toEqual([{ key: 'a', id: 1, items: [{ c: 'a', id: 1 }] }])
  })

  test('name conflicts are reported', () => {
    expect(group.validateConfig!(config({ key: 'c', as: 'key' }))).toHaveLength(1)
    expect(group.validateConfig!(config({ key: 'c', field: 'rows', keep: ['rows', 'a.items'] }))).toHaveLength(2)
    expect(group.validateConfig!(config({ key: 'c', field: 'rows', keep: ['a.b'] }))).toEqual([])
  })
})

const element = fc.record({ c: fc.oneof(fc.constantFrom('a', 'b', '1'), fc.constant(1), fc.constant(null)), n: fc.nat() })
const inputs = fc.array(fc.record({ value: fc.record({ c: fc.constantFrom('a', 'b'), rows: fc.array(element, { maxLength: 6 }) }) }), {
  maxLength: 20,
})
transformConformance('group (elements)', group, config({ key: 'c', field: 'rows' }), inputs)
transformConformance('group (messages)', group, config({ key: 'c' }), inputs)
