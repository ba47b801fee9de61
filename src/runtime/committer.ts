/** Makes the commit batch of a lane durable: one interface for all delivery modes. */
import {
  type Checkpoint,
  type CheckpointDelta,
  type CheckpointStore,
  EnvironmentError,
  FencedError,
  type LaneInfo,
  type Logger,
  PipelineError,
  type Position,
  type Source,
  type Transaction,
  type Transactor,
} from '../contract/plugin.ts'
import { type Clock, systemClock } from '../kit/clock.ts'
import { isMistake } from '../kit/plugin-error.ts'

export interface Committer {
  /** Outputs, state and position are committed in one transaction. */
  readonly atomic: boolean
  /** Scope of the transactions. Sinks of another scope, such as a dlq, are written outside of them. Undefined: every sink takes part. */
  readonly scope?: string
  claim(lane: LaneInfo): Promise<Checkpoint | undefined>
  /** Saves the checkpoint of a claimed lane without outputs. Absent: nothing is stored. */
  save?(lane: LaneInfo, delta: CheckpointDelta): Promise<void>
  /** As `CheckpointStore.former`. */
  former?: CheckpointStore['former']
  /**
   * Writes a commit batch with `writeAll`, then makes `delta` durable (undefined: no checkpoint is due).
   * @returns why the position is not durable although everything is written; the position must be committed again
   */
  write(
    lane: LaneInfo,
    delta: CheckpointDelta | undefined,
    writeAll: (transaction?: Transaction) => Promise<void>,
  ): Promise<Error | undefined | void>
  release(lane: LaneInfo): Promise<void>
  /** As `CheckpointStore.healthy`. */
  healthy?(): boolean | string
  /** Whether restoring the checkpoint and reading again can help. */
  retryable(error: Error): boolean
  close(): Promise<void>
}

const recoverable = (error: Error): boolean => error instanceof FencedError || (error instanceof PipelineError && error.retryable)

/**
 * `exactly_once`: sinks write into the transaction of the lane, which also commits the checkpoint. If the transactions belong to a sink,
 * `source` is notified of the durable position afterwards. A lost notification is harmless, because the checkpoint determines where reading
 * continues.
 */
export function atomicCommitter(
  transactor: Transactor,
  scope?: string,
  source?: Source,
  log?: Logger,
  clock: Pick<Clock, 'after'> = systemClock,
): Committer {
  const offsets = source && new OffsetCommitter(source, log, clock)
  return {
    atomic: true,
    scope,
    claim: lane => {
      offsets?.discard(lane.id)
      return transactor.claim(lane)
    },
    save: (lane, delta) => transactor.save(lane, delta),
    former: transactor.former && ((lane, at) => transactor.former!(lane, at)),
    async write(lane, delta, writeAll) {
      if (!delta) throw new Error(`lane ${lane.id} has output but no position`)
      const transaction = await transactor.begin(lane)
      try {
        await writeAll(transaction)
      } catch (error) {
        // The result of `abort` is ignored: in either case the lane restores its checkpoint or the pipeline stops.
        await transaction.abort().catch(() => {})
        throw error
      }
      await transaction.commit(delta)
      await offsets?.commit(lane, delta.position)
    },
    async release(lane) {
      try {
        await offsets?.flush(lane.id)
      } finally {
        await transactor.release(lane)
      }
    },
    healthy: () => transactor.healthy?.() ?? true,
    retryable: error => recoverable(error) && (source === undefined || source.seek !== undefined),
    async close() {
      await transactor.close()
      offsets?.close()
    },
  }
}

/**
 * `at_least_once` with state, or with a source that stores no position: first the outputs, then the checkpoint, then the commit of the
 * source.
 */
export function storedCommitter(store: CheckpointStore, source: Source): Committer {
  return {
    atomic: false,
    claim: lane => store.claim(lane),
    save: (lane, delta) => store.save(lane, delta),
    former: store.former && ((lane, at) => store.former!(lane, at)),
    async write(lane, delta, writeAll) {
      await writeAll()
      if (!delta) return
      await store.save(lane, delta)
      await source.commit?.(lane.id, delta.position)
    },
    release: lane => store.release(lane),
    healthy: () => store.healthy?.() ?? true,
    retryable: error => recoverable(error) && source.seek !== undefined,
    close: () => store.close(),
  }
}

/** `at_least_once` without state: the source stores its own position. */
export function sourceCommitter(source: Source, log: Logger): Committer {
  return {
    atomic: false,
    claim: async () => undefined,
    async write(lane, delta, writeAll) {
      await writeAll()
      return delta && commitNow(source, lane.id, delta.position, log)
    },
    release: async () => {},
    retryable: error => recoverable(error) && source.seek !== undefined,
    close: async () => {},
  }
}

/** For a backfill, a dry run or a one-shot source: no position is stored, and a second run reads everything again. */
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

/**
 * Commits the offsets of a source whose position is in the checkpoint, so that other programs can see them (for example, the lag of a
 * group). A source with `commitNotifyInterval` is notified at that interval, without waiting for it; other sources are notified at each
 * commit.
 */
class OffsetCommitter {
  private readonly source: Source
  private readonly log: Logger | undefined
  /** Position of the next commit by lane. Set by `commit`, removed by `flush`. */
  private readonly pending = new Map<string, Position>()
  private cancelTimer: (() => void) | undefined
  private readonly clock: Pick<Clock, 'after'>
  /** A plugin mistake in a commit that nothing waited for. Thrown by the next call of `commit` or `close`. */
  private mistake: Error | undefined

  constructor(source: Source, log: Logger | undefined, clock: Pick<Clock, 'after'>) {
    this.clock = clock
    this.source = source
    this.log = log
  }

  /** @throws {EnvironmentError} from a source without `commitNotifyInterval`. @throws {PluginError} for a mistake of an external plugin. */
  async commit(lane: LaneInfo, position: Position): Promise<void> {
    this.throwMistake()
    const { commitNotifyInterval } = this.source
    if (commitNotifyInterval === undefined) {
      await commitNow(this.source, lane.id, position, this.log)
      return
    }
    this.pending.set(lane.id, position)
    this.cancelTimer ??= this.clock.after(commitNotifyInterval, () => {
      this.cancelTimer = undefined
      for (const id of this.pending.keys()) void this.flush(id).catch((error: Error) => (this.mistake ??= error))
    })
  }

  /** Commits the pending position of the lane. @throws {PluginError} for a mistake of an external plugin. */
  async flush(lane: string): Promise<void> {
    const position = this.pending.get(lane)
    if (position === undefined) return
    this.pending.delete(lane)
    // If another instance owns the lane by now, this commit is not needed.
    try {
      await this.source.commit?.(lane, position)
    } catch (error) {
      if (isMistake(error)) throw error
      if (!(error instanceof FencedError)) warnNotCommitted(lane, error as Error, this.log)
    }
  }

  /** Called when the lane is claimed again: the pending position is outdated. */
  discard(lane: string): void {
    this.pending.delete(lane)
  }

  /** @throws {PluginError} for a mistake in a commit that nothing waited for. */
  close(): void {
    this.cancelTimer?.()
    this.pending.clear()
    this.throwMistake()
  }

  private throwMistake(): void {
    const { mistake } = this
    this.mistake = undefined
    if (mistake) throw mistake
  }
}

/**
 * @returns the error, if the position could not be committed. @throws {EnvironmentError} @throws {PluginError} for a mistake of an external
 * plugin.
 */
async function commitNow(source: Source, lane: string, position: Position, log: Logger | undefined): Promise<Error | undefined> {
  try {
    await source.commit?.(lane, position)
    return undefined
  } catch (error) {
    if (error instanceof EnvironmentError || isMistake(error)) throw error
    warnNotCommitted(lane, error as Error, log)
    return error as Error
  }
}

/** The next commit includes this position. After a crash before it, records are only repeated. */
function warnNotCommitted(lane: string, error: Error, log: Logger | undefined): void {
  log?.warn({ lane, error: error.message }, 'the source could not commit its position')
}
