/** Provides the status of running pipelines. */
import { type PipelineStatus, provideStatus } from '../../kit/pipeline-status.ts'
import type { PipelineRun } from '../pipeline.ts'

/** @returns a function that stops providing the status. */
export function observe(runs: readonly PipelineRun[]): () => void {
  const ends = runs.map(run => provideStatus(() => statusOf(run)))
  return () => ends.forEach(end => end())
}

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
