/** How the pipelines of this process are doing: provided by the runtime, read by whatever reports on them. */

export interface PipelineStatus {
  readonly pipeline: string
  readonly version: number
  readonly status: 'ok' | 'not_ready'
  /** Why it is not ready. */
  readonly problems: readonly string[]
  /** Committed records since the start: read by sources, written by sinks, dead-lettered. */
  readonly in: number
  readonly out: number
  readonly dead: number
  readonly lag: number
  readonly retries: number
  /** Epoch ms; null: no step keeps one. */
  readonly watermark: number | null
}

const providers = new Set<() => PipelineStatus>()

/** @returns a function that ends it. */
export function provideStatus(status: () => PipelineStatus): () => void {
  providers.add(status)
  return () => void providers.delete(status)
}

export const statusOfAll = (): PipelineStatus[] => [...providers].map(status => status())
