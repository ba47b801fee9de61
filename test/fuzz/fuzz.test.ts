/** A bounded run of every fuzz target, with a seed of its own: the same inputs each time, so that a failure is one of the code. */
import { expect, test } from 'vitest'
import { fuzz, replay } from './fuzz.ts'
import { targets } from './targets.ts'

/** Those that take longer than 50 µs. A count, not a time, so that a busy machine tries the same. */
const RUNS: Readonly<Record<string, number>> = { yaml: 200, cel: 600, csv: 1500, compression: 1500 }

test.each(Object.keys(targets))('%s: hostile input gives a value, an expected error or a dead letter', async name => {
  const { failure } = await replay(name)
  expect(failure).toBeUndefined()
  const result = await fuzz(name, { seed: 1, runs: RUNS[name] ?? 2_500, seconds: 600 })
  expect(result.failure && `${result.failure}\ninput (base64): ${result.input!.toString('base64')}`).toBeUndefined()
  expect(result.outcomes).toBeGreaterThan(3)
})
