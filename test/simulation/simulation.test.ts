import { expect, test } from 'vitest'
import { MUTANTS } from './mutants.ts'
import { simulate } from './simulate.ts'

/** Of the test; the long run has more: `npm run simulate -- --seeds 10000`. */
const SEEDS = 500
const PART = 50

test.each(Array.from({ length: SEEDS / PART }, (_, i) => i * PART))('the runtime keeps its guarantees: 50 seeds from %i', async from => {
  for (let seed = from; seed < from + PART; seed++) {
    const { violations, trace } = await simulate(seed)
    expect(violations, `repeat: npm run simulate -- --seed ${seed}\n${trace.slice(-20).join('\n')}`).toEqual([])
  }
})

test('a seed gives the same trace again', async () => {
  for (const seed of [3, 33, 333]) {
    const first = await simulate(seed)
    const second = await simulate(seed)
    expect(second.trace).toEqual(first.trace)
    expect(second.hash).toBe(first.hash)
  }
})

test.each(MUTANTS.map(m => [m.name, m] as const))('the simulation finds a planted bug: %s', async (_, mutant) => {
  for (let seed = 0; seed < 200; seed++) if (mutant.seeds?.(seed) !== false && (await simulate(seed, mutant)).violations.length > 0) return
  expect.unreachable(`no seed of 200 finds it`)
})
