/** How a lane's commit batch becomes durable: the delivery modes behind one interface. */
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
  /** Outputs, state and position are one transaction. */
  readonly atomic: boolean
  /** Of the transactions: sinks of another scope (a dlq) are written beside them. Undefined: every sink takes part. */
  readonly scope?: string
  claim(lane: LaneInfo): Promise<Checkpoint | undefined>
  /** Of a claimed lane, without output. Absent: nothing is kept. */
  save?(lane: LaneInfo, delta: CheckpointDelta): Promise<void>
  /** As `CheckpointStore.former`. */
  former?: CheckpointStore['former']
  /**
   * Writes a commit batch by `writeAll`, then makes `delta` durable (undefined: no checkpoint is due).
   * @returns why the position is not durable although everything is written: it is to be committed again
   */
  write(
    lane: LaneInfo,
    delta: CheckpointDelta | undefined,
    writeAll: (transaction?: Transaction) => Promise<void>,
  ): Promise<Error | undefined | void>
  release(lane: LaneInfo): Promise<void>
  /** As `CheckpointStore.healthy`. */
  healthy?(): boolean | string
  /** Restoring the checkpoint and reading again may help. */
  retryable(error: Error): boolean
  close(): Promise<void>
}

const recoverable = (error: Error): boolean => error instanceof FencedError || (error instanceof PipelineError && error.retryable)

/**
 * `exactly_once`: sinks write into the lane's transaction, the checkpoint commits it. Where the transactions are a sink's, the
 * `source` is notified afterwards of what is durable. It may miss a notification: the checkpoint decides where reading goes on.
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
        // The transaction's own end decides nothing here: the lane restores its checkpoint or the pipeline stops, whatever abort says.
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

/** `at_least_once` with state, or a source without a memory of its own: outputs first, then checkpoint, then the source's own commit. */
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

/** `at_least_once` without state: the source remembers its position itself. */
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

/** A backfill, a dry run, a one-shot source: no position is stored, and a second run repeats everything. */
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
 * Commits a source's own offsets where the checkpoint decides where reading goes on, so that they are for others to see: a group's lag,
 * for example. A source that sets `commitNotifyInterval` is notified that often, and nothing waits for it; others are notified at once.
 */
class OffsetCommitter {
  private readonly source: Source
  private readonly log: Logger | undefined
  /** By lane: the position of the next commit. Set by `commit`, taken by `flush`. */
  private readonly pending = new Map<string, Position>()
  private cancelTimer: (() => void) | undefined
  private readonly clock: Pick<Clock, 'after'>
  /** A mistake of the plugin in a commit that nothing waited for: thrown where the next is waited for. */
  private mistake: Error | undefined

  constructor(source: Source, log: Logger | undefined, clock: Pick<Clock, 'after'>) {
    this.clock = clock
    this.source = source
    this.log = log
  }

  /** @throws {EnvironmentError} from a source that is notified at once. @throws {PluginError} of a plugin that is not built in. */
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

  /** Commits what is pending for the lane. @throws {PluginError} of a plugin that is not built in. */
  async flush(lane: string): Promise<void> {
    const position = this.pending.get(lane)
    if (position === undefined) return
    this.pending.delete(lane)
    // Another instance may own the lane by now: then the commit is not needed.
    try {
      await this.source.commit?.(lane, position)
    } catch (error) {
      if (isMistake(error)) throw error
      if (!(error instanceof FencedError)) warnNotCommitted(lane, error as Error, this.log)
    }
  }

  /** The lane is claimed anew: what is pending is outdated. */
  discard(lane: string): void {
    this.pending.delete(lane)
  }

  /** @throws {PluginError} of a commit that nothing waited for. */
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

/** @returns why it could not be committed. @throws {EnvironmentError} @throws {PluginError} of a plugin that is not built in. */
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

/** The next commit covers this one; until then a crash only repeats records. */
function warnNotCommitted(lane: string, error: Error, log: Logger | undefined): void {
  log?.warn({ lane, error: error.message }, 'the source could not commit its position')
}
