import { defineSink, defineSource, type SinkPlugin, type SourcePlugin } from '../../src/contract/plugin.ts'
import type { Pipeline, Step } from '../../src/config/model.ts'

export const step = (name: string, plugin: unknown, config: unknown = {}, over: Partial<Step> & { from?: unknown } = {}): Step<any> => ({
  type: (plugin as { type: string }).type,
  name,
  plugin: plugin as any,
  config,
  at: { file: 'p.yaml', line: 7, column: 5 },
  secrets: [],
  ...over,
})

const never = (): never => {
  throw new Error('explaining makes no instance')
}

export const source = (over: Partial<SourcePlugin> = {}): SourcePlugin =>
  defineSource({ type: 'log', schema: {}, replayable: true, reason: 'it keeps its records', create: never, ...over }) as SourcePlugin
export const sink = (over: Partial<SinkPlugin> = {}): SinkPlugin =>
  defineSink({ type: 'log', schema: {}, onRedelivery: 'appends', reason: 'it keeps both copies', create: never, ...over }) as SinkPlugin
/** Takes part in transactions of that scope. */
export const transactional = (scope: string): Pick<SourcePlugin, 'transactions'> => ({
  transactions: { scope: () => scope, create: never },
})

export const pipelineOf = (over: Partial<Pipeline> = {}): Pipeline => ({
  file: 'p.yaml',
  name: 'p',
  version: 1,
  sources: [step('in', source())],
  transforms: [],
  sinks: [step('out', sink())],
  delivery: 'at_least_once',
  commit_interval: 100,
  max_in_flight: 1000,
  shutdown_timeout: 30_000,
  retry: { initial_delay: 100, max_delay: 30_000, breaker_failures: 5, breaker_reset: 10_000 },
  hash: 'abc',
  ...over,
})
