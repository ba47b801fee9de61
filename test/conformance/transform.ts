/** The transform suite of `pipeline-runner/testing`, for vitest and with fast-check's arbitraries. */
import type * as fc from 'fast-check'
import { describe, test } from 'vitest'
import type { TransformPlugin } from '../../src/contract/plugin.ts'
import type { Input } from '../../src/testing/conformance/run-transform.ts'
import { transformConformance as suite } from '../../src/testing/conformance/transform.ts'

export * from '../../src/testing/conformance/run-transform.ts'
export { split } from '../../src/testing/conformance/transform.ts'

export interface ConformanceOptions {
  numRuns?: number
  idle?: number
  end?: boolean | number
}

export function transformConformance<C>(
  title: string,
  plugin: TransformPlugin<C>,
  config: C,
  inputs: fc.Arbitrary<Input[]>,
  { numRuns, ...ending }: ConformanceOptions = {},
): void {
  describe(`${title}: transform conformance`, () => {
    for (const { name, run } of suite({ plugin, config, inputs, runs: numRuns, ...ending })) test(name, run)
  })
}
