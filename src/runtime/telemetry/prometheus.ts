/** Meters as prom-client metrics. They are computed at each scrape, so a running pipeline does no extra work for them. */
import type { Registry } from 'prom-client'
import type { PipelineRun } from '../pipeline.ts'
import type { Family, StepMeter } from './meters.ts'

type StepField = 'in' | 'out' | 'dead' | 'seconds' | 'retries'
const STEP_COUNTERS: readonly (readonly [field: StepField, name: string, help: string])[] = [
  [
    'in',
    'runner_step_messages_in_total',
    'Messages that entered the step, including repeats after a restore; for a source: read and committed',
  ],
  [
    'out',
    'runner_step_messages_out_total',
    'Messages that left the step, including repeats after a restore; for a sink: acknowledged, and committed with its transaction',
  ],
  ['dead', 'runner_step_messages_dead_total', 'Messages the step sent to the dead-letter queue, once they are committed'],
  ['seconds', 'runner_step_seconds_total', 'Seconds spent in the step; for a sink: writing'],
  ['retries', 'runner_step_retries_total', 'Retried writes'],
]

/**
 * @param runs read at every scrape, so the collection may change.
 * @param options `process`: adds CPU, memory and event-loop metrics of the process.
 */
export async function createRegistry(runs: Iterable<PipelineRun>, options: { readonly process: boolean }): Promise<Registry> {
  const prom = await import('prom-client')
  const registry = new prom.Registry()
  if (options.process) prom.collectDefaultMetrics({ register: registry })
  const registers = [registry]

  for (const [field, name, help] of STEP_COUNTERS) {
    const metric = new prom.Counter({
      name,
      help,
      registers,
      labelNames: ['pipeline', 'step', 'kind'],
      collect: () => {
        metric.reset()
        for (const { built } of runs)
          for (const m of built.meters.steps)
            metric.inc({ pipeline: built.meters.pipeline, step: m.step, kind: m.kind }, m[field as keyof StepMeter] as number)
      },
    })
  }

  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    fill: (set: (labels: Record<string, string>, value: number) => void, run: PipelineRun) => void,
  ): void => {
    const metric = new prom.Gauge({
      name,
      help,
      registers,
      labelNames: ['pipeline', ...labelNames],
      collect: () => {
        metric.reset()
        for (const run of runs) fill((labels, value) => metric.set({ pipeline: run.built.meters.pipeline, ...labels }, value), run)
      },
    })
  }
  gauge('runner_lag', 'Records behind the end of the input, per lane', ['lane'], (set, { built }) => {
    for (const [lane, lag] of built.meters.lag) set({ lane }, lag)
  })
  gauge('runner_watermark_delay_seconds', 'Wall clock minus event-time watermark', ['step', 'lane'], (set, run) => {
    for (const w of run.built.meters.watermarks.values()) set({ step: w.step, lane: w.lane }, (run.now() - w.time) / 1000)
  })
  gauge('runner_in_flight', 'Messages read and not yet flushed, per lane', ['lane'], (set, { lanes }) => {
    for (const [lane, l] of lanes) set({ lane }, l.load.inFlight)
  })
  gauge('runner_state_keys', 'Keys of state held, per lane', ['lane'], (set, { lanes }) => {
    for (const [lane, l] of lanes) set({ lane }, l.load.stateKeys)
  })
  gauge('runner_state_bytes', 'Estimated memory of the state, per lane', ['lane'], (set, { lanes }) => {
    for (const [lane, l] of lanes) {
      let sum = 0
      for (const [, bytes] of l.stateBytes()) sum += bytes
      set({ lane }, sum)
    }
  })
  gauge('runner_ready', '1 when the pipeline is ready', [], (set, run) => set({}, run.notReady().length === 0 ? 1 : 0))

  // Plugins create meters while they run, so their families are looked up at every scrape.
  const plugins = new Set<string>()
  const addFamilies = (): void => {
    for (const { built } of runs) for (const family of built.meters.families.values()) if (!plugins.has(family.name)) addFamily(family)
  }
  const addFamily = (family: Family): void => {
    const [sample] = family.samples.values()
    if (!sample) return
    plugins.add(family.name)
    const metric = new (family.type === 'counter' ? prom.Counter : prom.Gauge)({
      name: family.name,
      help: family.help,
      labelNames: Object.keys(sample.labels),
      registers,
      collect: () => {
        metric.reset()
        for (const { built } of runs)
          for (const { labels, value } of built.meters.families.get(family.name)?.samples.values() ?? []) metric.inc(labels, value)
      },
    })
  }
  for (const name of ['metrics', 'getMetricsAsArray', 'getMetricsAsJSON'] as const) {
    const original = registry[name].bind(registry) as () => never
    registry[name] = () => {
      addFamilies()
      return original()
    }
  }
  return registry
}
