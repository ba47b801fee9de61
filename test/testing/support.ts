/** Hand-made pipelines and test files for the engine's own tests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import {
  DataError,
  defineSink,
  defineSource,
  defineTransform,
  Message,
  type SinkPlugin,
  type Source,
  type SourcePlugin,
  type TransformPlugin,
} from '../../src/contract/plugin.ts'
import type { Pipeline, Problem, Step } from '../../src/config/model.ts'
import { runTestFile, type FileResult, type TestOptions } from '../../src/testing/engine.ts'
import bars from '../../src/transforms/bars.ts'

const at = { file: 'p.yaml', line: 1, column: 1 }
export const step = (name: string, plugin: unknown, config: unknown = {}, type = name): Step<any> => ({
  type,
  name,
  plugin: plugin as any,
  config,
  at,
  secrets: [],
})

/** A source may be made, to see which methods it has, but not opened. */
const unopened = (): Source => {
  const used = (): never => {
    throw new Error('a real source was used under test')
  }
  return { open: used, read: used }
}

export const topicSource = defineSource({
  type: 'topics',
  schema: {},
  replayable: true,
  reason: 'the topic keeps its records',
  transactions: { scope: () => 'log', create: () => Promise.reject(new Error('not under test')) as never },
  create: unopened,
}) as SourcePlugin

export const socketSource = defineSource({
  type: 'socket',
  schema: {},
  replayable: false,
  reason: 'the peer forgets what it has sent',
  create: unopened,
}) as SourcePlugin

export const topicSink = defineSink({
  type: 'topics',
  schema: {},
  onRedelivery: 'appends',
  reason: 'a topic keeps both copies',
  transactions: { scope: () => 'log' },
  create: () => {
    throw new Error('a real sink was made under test')
  },
}) as SinkPlugin

/** Adds up `n` in state, per lane; emits the total at the end. */
export const summing = defineTransform({
  type: 'summing',
  schema: {},
  stateful: true,
  create: (_config, ctx) => {
    const state = ctx.state<number>('sum')
    const seen = ctx.metrics.counter('seen_total', 'messages seen', { lane: ctx.lane.id })
    return {
      process(messages, out) {
        for (const m of messages) {
          const { n } = m.value as { n: unknown }
          if (typeof n !== 'number') {
            out.fail(m, new DataError(`n is ${JSON.stringify(n)}`))
            continue
          }
          seen.inc()
          const sum = (state.get('sum') ?? 0) + n
          state.set('sum', sum)
          out.emit(m.derive({ n, sum }))
        }
      },
      onEnd(out) {
        out.emit(new Message({ total: state.get('sum') ?? 0 }, 'total'))
      },
    }
  },
}) as TransformPlugin

export const barsStep = (over: object = {}): Step<any> =>
  step('bars', bars, {
    interval: 60_000,
    allowed_lateness: 2000,
    idle_timeout: 10_000,
    on_late: 'dlq',
    retain: 3_600_000,
    max_future: 3_600_000,
    gap_fill: 'none',
    gap_limit: 1440,
    fields: { symbol: 'symbol', price: 'price', volume: 'volume', ts: 'ts' },
    ...over,
  })

export function pipelineOf(transforms: readonly Step<any>[], over: Partial<Pipeline> = {}): Pipeline {
  return {
    file: 'p.yaml',
    name: 'p',
    version: 1,
    sources: [step('in', topicSource, { topics: ['ticks'] })],
    transforms,
    sinks: [step('out', topicSink)],
    dlq: step('dlq', topicSink),
    delivery: 'exactly_once',
    commit_interval: 100,
    max_in_flight: 10_000,
    shutdown_timeout: 30_000,
    retry: { initial_delay: 100, max_delay: 1000, breaker_failures: 5, breaker_reset: 1000 },
    hash: '',
    ...over,
  }
}

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** A folder that is gone after the test file. */
export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'runner-yaml-test-'))
  folders.push(folder)
  return folder
}

/** Writes a test file into its own folder. */
export function testFile(text: string, others: Record<string, string | Buffer> = {}): string {
  const folder = tempFolder()
  for (const [name, content] of Object.entries(others)) writeFileSync(join(folder, name), content)
  const file = join(folder, 'p.test.yaml')
  writeFileSync(file, text)
  return file
}

export function run(
  text: string,
  pipeline: Pipeline,
  options: Partial<TestOptions> = {},
  others: Record<string, string | Buffer> = {},
): Promise<FileResult> {
  const load = async (): Promise<{ pipeline: Pipeline; problems: readonly Problem[] }> => ({ pipeline, problems: [] })
  return runTestFile(testFile(text, others), { repeat: 1, load, ...options })
}
