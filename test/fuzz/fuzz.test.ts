/** A bounded run of every fuzz target, with a seed of its own: the same inputs each time, so that a failure is one of the code. */
import { expect, test } from 'vitest'
import { fuzz, replay } from './fuzz.ts'
import { targets } from './targets.ts'

test.each(Object.keys(targets))('%s: hostile input gives a value, an expected error or a dead letter', { timeout: 120_000 }, async name => {
  const { failure } = await replay(name)
  expect(failure).toBeUndefined()
  const result = await fuzz(name, { seed: 1, runs: 4_000, seconds: 60 })
  expect(result.failure && `${result.failure}\ninput (base64): ${result.input!.toString('base64')}`).toBeUndefined()
  expect(result.outcomes).toBeGreaterThan(3)
})
