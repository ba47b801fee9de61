/** The source suite of `pipeline-runner/testing`, for vitest. */
import { describe, test } from 'vitest'
import { type SourceCase, sourceConformance as suite } from '../../src/testing/conformance/source.ts'

export { readAll, type SourceCase } from '../../src/testing/conformance/source.ts'

export function sourceConformance<C>(title: string, one: SourceCase<C>): void {
  describe(`${title}: source conformance`, () => {
    for (const { name, run } of suite(one)) test(name, run)
  })
}
