/** The sink suite of `pipeline-runner/testing`, for vitest. */
import { describe, test } from 'vitest'
import { type SinkCase, sinkConformance as suite } from '../../src/testing/conformance/sink.ts'

export type { SinkCase }

export function sinkConformance<C>(title: string, one: SinkCase<C>): void {
  describe(`${title}: sink conformance`, () => {
    for (const { name, run } of suite(one)) test(name, run)
  })
}
