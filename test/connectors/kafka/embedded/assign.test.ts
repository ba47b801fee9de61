import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { assign, type Holding, type Member } from '../../../../src/connectors/kafka/embedded/assign.ts'

const members = (...ids: string[]): Member[] => ids.map(id => ({ id, topics: new Set(['t']) }))
const parts = (holders: (string | null)[]): Holding[] => holders.map((holder, part) => ({ part, topic: 't', holder }))

test('a new member gets its share, and no other partition moves', () => {
  const before = parts(['a', 'a', 'a', 'b', 'b', 'b'])
  const after = assign(members('a', 'b', 'c'), before)
  expect(before.filter(p => after.get(p.part) !== p.holder).length).toBe(2)
  expect([...after.values()].toSorted()).toEqual(['a', 'a', 'b', 'b', 'c', 'c'])
})

test('the partitions of a member that leaves are distributed, and no other partition moves', () => {
  const after = assign(members('a', 'b'), parts(['a', 'a', 'b', 'b', 'gone', 'gone']))
  expect([...after]).toEqual(
    expect.arrayContaining([
      [0, 'a'],
      [1, 'a'],
      [2, 'b'],
      [3, 'b'],
    ]),
  ) // prettier-ignore
  expect([after.get(4), after.get(5)].toSorted()).toEqual(['a', 'b'])
})

test('any members and topics: the assignment is complete, limited to subscribers, balanced, and stable when repeated', () => {
  const topic = fc.constantFrom('t', 'u', 'v')
  const member = fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd', 'e'), topics: fc.uniqueArray(topic, { minLength: 1 }) })
  const holding = fc.record({ topic, holder: fc.option(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'gone')) })
  fc.assert(
    fc.property(fc.uniqueArray(member, { selector: m => m.id }), fc.array(holding, { maxLength: 40 }), (ms, hs) => {
      const group: Member[] = ms.map(m => ({ id: m.id, topics: new Set<string>(m.topics) }))
      const holdings = hs.map((h, part) => ({ ...h, part }))
      const result = assign(group, holdings)
      const load = new Map<string, number>(group.map(m => [m.id, 0]))
      for (const h of holdings) {
        const wanted = group.filter(m => m.topics.has(h.topic))
        const to = result.get(h.part)
        expect(wanted.length === 0 ? to === undefined : wanted.some(m => m.id === to)).toBe(true)
        if (to !== undefined) load.set(to, load.get(to)! + 1)
      }
      // No single move to another subscriber would make it more even.
      for (const h of holdings)
        for (const m of group) {
          const from = result.get(h.part)
          if (from !== undefined && m.topics.has(h.topic)) expect(load.get(from)! - load.get(m.id)!).toBeLessThan(2)
        }
      expect(
        assign(
          group,
          holdings.map(h => ({ ...h, holder: result.get(h.part) ?? null })),
        ),
      ).toEqual(result)
    }),
  )
})
