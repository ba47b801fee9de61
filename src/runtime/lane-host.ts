import type { LaneInfo, Logger, Source } from '../contract/plugin.ts'
import type { Range } from './backfill.ts'
import type { Stage } from './chain.ts'
import type { Clock } from '../kit/clock.ts'
import type { Committer } from './committer.ts'
import type { Backoff } from '../kit/pause.ts'
import type { Router } from './router.ts'
import type { LaneState } from './state.ts'
import type { Writer } from './writer.ts'

/** What a lane needs of its pipeline. */
export interface LaneHost {
  readonly pipeline: string
  readonly clock: Clock
  readonly committer: Committer
  readonly source: Source
  readonly router: Router
  readonly writers: readonly Writer[]
  readonly dlq: Writer | undefined
  /** Without a dlq: messages that cannot be processed are counted and dropped. */
  readonly dropsDead: boolean
  readonly log: Logger
  readonly signal: AbortSignal
  /** Aborted when nothing more is to be read. */
  readonly stopping: AbortSignal
  /** Of a back-fill that reads more than was asked for. */
  readonly bounds: Range | undefined
  readonly commitInterval: number
  readonly maxInFlight: number
  /** Source bytes that a cycle may keep in memory: the lanes of a pipeline share what it may have. */
  maxBytes(): number
  /** Between rewinds, and tries of a transform. */
  readonly backoff: Backoff
  readonly random: () => number
  /** Builds fresh transforms on this state. */
  stages(lane: LaneInfo, state: LaneState): Stage[]
  /** The pipeline can't go on. */
  fatal(error: Error): void
  /** In front of the chain: lets through what can be decoded, or at least was unpacked. */
  readonly inlet: Stage
}
