/// <reference types="node" preserve="true" />
/** `pipeline-runner/testing`: for tests of pipelines and plugins, with vitest, node:test, or any other runner. */
export { VirtualClock } from '../kit/clock.ts'
export { type FakeSourceContext, fakeContext, fakeSourceContext, type Warning, writeContext } from './conformance/context.ts'
export {
  type Durable,
  type Event,
  type Input,
  messagesOf,
  type Run,
  type RunOptions,
  runTransform,
  seen,
  type Step,
} from './conformance/run-transform.ts'
export { type SinkCase, sinkConformance } from './conformance/sink.ts'
export { readAll, type SourceCase, sourceConformance } from './conformance/source.ts'
export type { ConformanceTest } from './conformance/suite.ts'
export { type ArbitraryLike, type Random, type TransformCase, transformConformance } from './conformance/transform.ts'
export {
  type DeadLetter,
  type OutputRecord,
  type PipelineTest,
  testPipeline,
  type TestPipelineOptions,
  type TestRecord,
  type TestStub,
} from './pipeline.ts'
export { runTestFile } from './engine.ts'
