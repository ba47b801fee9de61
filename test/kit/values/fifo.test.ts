import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fifo } from '../../../src/kit/values/fifo.ts'

test('gives the same results as an array, and its memory follows its size', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), fc.array(fc.integer({ min: -3000, max: 3000 }), { maxLength: 12 }), (start, steps) => {
      const fifo = new Fifo(start)
      const model = [...start]
      for (const [i, n] of steps.entries()) {
        for (let k = 0; k < n; k++) {
          fifo.push(i)
          model.push(i)
        }
        for (let k = 0; k < -n; k++) {
          // An expect for each of them takes most of a minute.
          const [peeked, shifted, right] = [fifo.peek(), fifo.shift(), model.shift()]
          if (peeked !== right || shifted !== right) expect([peeked, shifted]).toEqual([right, right])
        }
        expect(fifo.length).toBe(model.length)
        expect(fifo.capacity).toBeLessThanOrEqual(Math.max(2 * model.length, model.length + 501))
      }
    }),
    { numRuns: 30 },
  )
})

test('a million items pass through a queue of a hundred', () => {
  const fifo = new Fifo<number>()
  let most = 0
  let wrong = 0
  for (let n = 0; n < 1_000_000; n++) {
    fifo.push(n)
    if (n >= 100 && fifo.shift() !== n - 100) wrong++
    most = Math.max(most, fifo.capacity)
  }
  expect(wrong).toBe(0)
  expect(most).toBeLessThan(1000)
})
