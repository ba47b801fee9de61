/** The status of the pipelines of this process: provided by the runtime, read by everything that reports it. */

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
  /** Epoch ms; null: no step has a watermark. */
  readonly watermark: number | null
}

const providers = new Set<() => PipelineStatus>()

/** @returns a function that ends the registration. */
export function provideStatus(status: () => PipelineStatus): () => void {
  providers.add(status)
  return () => void providers.delete(status)
}

export const statusOfAll = (): PipelineStatus[] => [...providers].map(status => status())
