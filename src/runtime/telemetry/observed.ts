/** The pipelines of this process, for whoever reports on them. */
import type { PipelineRun } from '../pipeline.ts'

export interface PipelineStatus {
  readonly pipeline: string
  readonly version: number
  readonly status: 'ok' | 'not_ready'
  /** Why it is not ready. */
  readonly problems: readonly string[]
  /** Records since the start: read by sources, written by sinks, refused. */
  readonly in: number
  readonly out: number
  readonly dead: number
  readonly lag: number
  readonly retries: number
  /** Epoch ms; null: no step keeps one. */
  readonly watermark: number | null
}

const observed = new Set<PipelineRun>()

/** @returns a function that ends it. */
export function observe(runs: readonly PipelineRun[]): () => void {
  for (const run of runs) observed.add(run)
  return () => {
    for (const run of runs) observed.delete(run)
  }
}

export const statusOfAll = (): PipelineStatus[] => [...observed].map(statusOf)

export function statusOf(run: PipelineRun): PipelineStatus {
  const { pipeline, meters } = run.built
  const problems = run.notReady()
  const total = (field: 'dead' | 'retries'): number => meters.steps.reduce((n, m) => n + m[field], 0)
  return {
    pipeline: pipeline.name,
    version: pipeline.version,
    status: problems.length === 0 ? 'ok' : 'not_ready',
    problems,
    in: meters.sum('source', 'in'),
    out: meters.sum('sink', 'out'),
    dead: total('dead'),
    lag: meters.totalLag(),
    retries: total('retries'),
    watermark: meters.lowestWatermark() ?? null,
  }
}
