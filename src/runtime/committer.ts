/** How a lane's cycle becomes durable: the three modes of delivery behind one face. */
import {
  type Checkpoint,
  type CheckpointDelta,
  type CheckpointStore,
  FencedError,
  type LaneInfo,
  type Logger,
  PipelineError,
  type Source,
  type Transaction,
  type Transactor,
} from '../contract/plugin.ts'
import { Teller, tellSource } from './teller.ts'

export interface Committer {
  /** Outputs, state and position are one transaction. */
  readonly atomic: boolean
  /** Of the transactions: sinks of another scope (a dlq) are written beside them. Undefined: every sink takes part. */
  readonly scope?: string
  claim(lane: LaneInfo): Promise<Checkpoint | undefined>
  /** Writes a cycle by `writeAll`, then makes `delta` durable (undefined: no checkpoint is due). */
  write(lane: LaneInfo, delta: CheckpointDelta | undefined, writeAll: (transaction?: Transaction) => Promise<void>): Promise<void>
  release(lane: LaneInfo): Promise<void>
  /** Rewinding the lane may help. */
  retryable(error: Error): boolean
  close(): Promise<void>
}

const rewindable = (error: Error): boolean => error instanceof FencedError || (error instanceof PipelineError && error.retryable)

/**
 * `exactly_once`: sinks write into the lane's transaction, the checkpoint commits it. Where the transactions are a sink's, the
 * `source` hears afterwards what is durable, and may miss it: the checkpoint decides where reading goes on.
 */
export function atomicCommitter(transactor: Transactor, scope?: string, source?: Source, log?: Logger): Committer {
  const teller = source && new Teller(source, log)
  return {
    atomic: true,
    scope,
    claim: lane => {
      teller?.forget(lane.id)
      return transactor.claim(lane)
    },
    async write(lane, delta, writeAll) {
      if (!delta) throw new Error(`lane ${lane.id} has output but no position`)
      const transaction = await transactor.begin(lane)
      try {
        await writeAll(transaction)
      } catch (error) {
        // The transaction's own end decides nothing here: the lane is rewound or the pipeline stops, whatever abort says.
        await transaction.abort().catch(() => {})
        throw error
      }
      await transaction.commit(delta)
      await teller?.tell(lane, delta.position)
    },
    async release(lane) {
      await teller?.flush(lane.id)
      await transactor.release(lane)
    },
    retryable: error => rewindable(error) && (source === undefined || source.seek !== undefined),
    async close() {
      teller?.close()
      await transactor.close()
    },
  }
}

/** `at_least_once` with state, or a source without a memory of its own: outputs first, then checkpoint, then the source's own commit. */
export function storedCommitter(store: CheckpointStore, source: Source): Committer {
  return {
    atomic: false,
    claim: lane => store.claim(lane),
    async write(lane, delta, writeAll) {
      await writeAll()
      if (!delta) return
      await store.save(lane, delta)
      await source.commit?.(lane.id, delta.position)
    },
    release: lane => store.release(lane),
    retryable: error => rewindable(error) && source.seek !== undefined,
    close: () => store.close(),
  }
}

/** `at_least_once` without state: the source remembers its position itself. */
export function sourceCommitter(source: Source, log: Logger): Committer {
  return {
    atomic: false,
    claim: async () => undefined,
    async write(lane, delta, writeAll) {
      await writeAll()
      if (delta) await tellSource(source, lane.id, delta.position, log)
    },
    release: async () => {},
    retryable: error => rewindable(error) && source.seek !== undefined,
    close: async () => {},
  }
}

/** A back-fill or a dry run: nothing is remembered, a second run does it all again. */
export function ephemeralCommitter(): Committer {
  return {
    atomic: false,
    claim: async () => undefined,
    write: (_lane, _delta, writeAll) => writeAll(),
    release: async () => {},
    retryable: () => false,
    close: async () => {},
  }
}
