/** Seeds of the long run that have found an error of the runtime (4266, 6362: a freeze in the middle of a claim) or of the oracle. */
import { expect, test } from 'vitest'
import { simulate } from './simulate.ts'

test.each([2616, 4266, 6362, 6953, 11591])('seed %i', async seed => {
  const { violations, trace } = await simulate(seed)
  expect(violations, `repeat: npm run simulate -- --seed ${seed}\n${trace.slice(-20).join('\n')}`).toEqual([])
})
