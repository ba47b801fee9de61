/// <reference types="node" preserve="true" />
/**
 * `pipeline-runner`: what plugins are written with, and the engine for programs that embed it. A plugin pays only for the contract:
 * the engine is loaded by its first call.
 */
import type * as engine from './engine/index.ts'

export * from './contract/plugin.ts'
export { MemoryChannel, type ChannelOptions, type MemoryRecord, type StoredRecord } from './connectors/memory/channel.ts'
export { ConfigError } from './engine/errors.ts'
export type { PipelineInput } from './config/load.ts'
export type { Problem } from './config/model.ts'
export type { LoadOptions, RunOptions, TestOptions, Validation } from './engine/index.ts'
export type { PipelineHandle, RunCounts, RunResult, RunStatus, StepReport } from './engine/launch.ts'
export type { Explanation } from './explain/describe.ts'
export type { TestFailure, TestFileReport, TestReport } from './testing/json.ts'

/**
 * Starts a pipeline: from a file, YAML text, or the parsed file as plain data. Resolves once it has started. It handles no signal and
 * never ends the process; any number of pipelines with different names run in one process.
 *
 * @throws {ConfigError} with every problem of the pipeline.
 * @throws {EnvironmentError} when a port of `metrics` or `endpoints` is taken.
 *
 * @example
 * import { run } from 'pipeline-runner'
 *
 * const pipeline = await run('pipelines/bars.yaml', { logger })
 * pipeline.completed.catch(error => logger.error({}, error.message))
 * // …
 * await pipeline.stop()
 */
export const run: typeof engine.run = async (...args) => (await import('./engine/index.ts')).run(...args)

/**
 * Checks a pipeline without running it. Needs no network. Never throws for what is in it.
 *
 * @example
 * const { ok, problems } = await validate({ name: 'x', sources: [], sinks: [] })
 * // problems[0]: { path: 'sources', message: …, suggestion: … }
 */
export const validate: typeof engine.validate = async (...args) => (await import('./engine/index.ts')).validate(...args)

/**
 * What a pipeline is, with every default filled in, and what it guarantees. Secrets are `***`.
 *
 * @throws {ConfigError}
 *
 * @example
 * const { weakest } = await explain('pipelines/bars.yaml')
 * console.log(weakest?.guarantee) // 'exactly_once'
 */
export const explain: typeof engine.explain = async (...args) => (await import('./engine/index.ts')).explain(...args)

/**
 * Runs the tests of a file (`*.test.yaml`), a text or an object on a virtual clock, as `runner test` does.
 *
 * @throws {ConfigError} when the tests, or their pipeline, cannot be run as they are.
 *
 * @example
 * const { ok, tests } = await test('pipelines/bars.test.yaml')
 */
export const test: typeof engine.test = async (...args) => (await import('./engine/index.ts')).test(...args)
