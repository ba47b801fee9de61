import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Marks, readMarks, STORE } from '../../src/dead-letters/marks.ts'
import { LaneState } from '../../src/runtime/state.ts'

/** Offsets that hold a record, each with how often it is passed over before it is marked (0: at the first reading). */
const log = fc.array(
  fc.record({ step: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 900, max: 9000 })), round: fc.integer({ min: 0, max: 2 }) }),
  { maxLength: 300 },
)

test('marked dead letters are done, and no others, also after each restart; after all are marked, little more than the lower mark is stored', () => {
  fc.assert(
    fc.property(log, steps => {
      let at = -1
      const records = steps.map(({ step, round }) => ({ offset: (at += step), round }))
      const saved = new Map<string, string>()
      const checkpoint = () => ({ position: 0, state: [...saved].map(([key, json]) => [STORE, key, json] as const) })
      for (let round = 0; round <= 2; round++) {
        const state = new LaneState(checkpoint())
        const marks = new Marks(state.open(STORE))
        let gap = marks.low
        for (const { offset, round: when } of records.filter(r => r.offset >= marks.low)) {
          if (when === round) marks.mark(offset, gap, when === 1 ? 'discarded' : 'replayed')
          gap = offset + 1
        }
        for (const [, key, json] of state.takeChanges()) {
          if (json === null) saved.delete(key)
          else saved.set(key, json)
        }
        const read = readMarks(checkpoint())
        for (const m of [marks, read]) expect(records.filter(r => m.has(r.offset))).toEqual(records.filter(r => r.round <= round))
        expect([read.count('replayed'), read.count('discarded')]).toEqual(
          [(r: number) => r !== 1, (r: number) => r === 1].map(way => records.filter(r => r.round <= round && way(r.round)).length),
        )
      }
      // The one that the lower mark is in may stay.
      if (!steps.some(({ step }) => step > 4096)) expect([...saved.keys()].filter(key => key.startsWith('b')).length).toBeLessThanOrEqual(1)
    }),
    { numRuns: 300 },
  )
})

test('marks beyond the end of the topic are ignored', () => {
  const marks = new Marks(new Map<string, number>([['low', 10]]) as never)
  marks.fit(10)
  expect(marks.has(9)).toBe(true)
  marks.fit(9)
  expect([marks.low, marks.has(0)]).toEqual([0, false])
})
