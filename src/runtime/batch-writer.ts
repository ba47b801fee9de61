/**
 * The writing half of a lane: holds the commit batch that the chain fills, writes one commit batch at a time, and commits it. With
 * transactions it flushes at every commit interval or when the batch is half full, otherwise as soon as no write is in progress.
 */
import {
  EnvironmentError,
  FencedError,
  type LaneInfo,
  laneOffset,
  type Message,
  type Position,
  type Transaction,
  type WriteContext,
} from '../contract/plugin.ts'
import { deadLetter, type Failure, replayOf, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'
import { pause } from '../kit/pause.ts'
import type { BuiltSource } from './build.ts'
import { CommitBatch, Tally } from './commit-batch.ts'
import type { LaneRun } from './lane.ts'
import { type Finding, STALL, Trouble } from './readiness.ts'
import type { LaneState } from './state.ts'
import { delayOf, isRetryable, type Writer } from './writer.ts'

export class BatchWriter {
  /** The batch that the chain fills. */
  batch: CommitBatch
  /** Resolves when the batch that is being written is committed or its failure is handled. Set by `flush`, cleared at its end. */
  flushing: Promise<void> | undefined
  /** The chain is processing a source batch, so the commit batch must not be cut. Set by the lane. */
  held = false
  private readonly info: LaneInfo
  private readonly entry: BuiltSource
  private readonly run: LaneRun
  /** Aborted by `stop`. */
  private readonly lost = new AbortController()
  /** Aborted when nothing more may be written for the lane: the run has failed, or the lane was dropped. */
  private readonly signal: AbortSignal
  /** Called with the error of a failed write or commit; resolves when it is handled. */
  private readonly onFailure: (error: Error) => Promise<void>
  private readonly commitInterval: number
  private state!: LaneState
  private position: Position | undefined
  /** The position or the state changed since the last durable checkpoint. */
  private unsaved = false
  /** Restored after a failed commit, with nothing left to commit: only a commit shows that commits succeed again. */
  private unproven = false
  private lastCommit: number
  private inFlight = 0
  private cancelTimer: (() => void) | undefined
  private wake: (() => void) | undefined
  private draining = false
  private stopped = false
  /**
   * Counts of batches that are written but not covered by a durable checkpoint. They are read again after a restore, so they are counted
   * only with the checkpoint.
   */
  private uncounted = new Tally()
  /** Counts of a commit that failed. It may have succeeded, which the restored checkpoint shows. */
  private undecided: { readonly position: string; readonly tally: Tally } | undefined
  /** Number of resets. The result of a flush from before a reset is ignored. */
  private generation = 0
  /** Kept in addition to the throw, in case a plugin swallows the error. */
  private unhandled: UnhandledRecord | undefined
  /** The operation that the flush waits for, since `at`. Sinks report their own waits. */
  private step: { readonly waits: 'begin' | 'sinks' | 'commit'; readonly at: number } | undefined
  /** Consecutive failed flushes, across restores. */
  private readonly trouble: Trouble
  /** The sink whose transactions fail; undefined: there is no failure, or it is not in a sink. */
  private failing: Writer | undefined

  constructor(info: LaneInfo, entry: BuiltSource, run: LaneRun, onFailure: (error: Error) => Promise<void>) {
    this.info = info
    this.entry = entry
    this.run = run
    this.onFailure = onFailure
    this.commitInterval = entry.commitInterval
    this.signal = AbortSignal.any([run.signal, this.lost.signal])
    this.batch = this.newBatch()
    this.lastCommit = run.clock.monotonic()
    this.trouble = new Trouble(run.clock)
  }

  /** Why the lane is not ready, for writing and committing. */
  *findings(): Generator<Finding> {
    const { trouble, step, failing } = this
    const owner = failing ?? this.transactionOf()
    const about = owner ? { kind: owner.meter.kind, name: owner.step.name } : ({ kind: 'lane', name: this.info.id } as const)
    // A failing sink reports its own failure.
    if (!failing && trouble.lasts) yield { ...about, aspect: 'commit', reason: trouble.text, since: trouble.since }
    if (!step || step.waits === 'sinks' || this.run.clock.monotonic() - step.at < STALL) return
    const what = step.waits === 'begin' ? 'no transaction can be begun' : 'the checkpoint is not committed'
    yield { ...about, aspect: 'commit answer', reason: `no answer: ${what}`, since: step.at }
  }

  /** Starts again from a checkpoint: everything in memory is discarded. `whole`: no record after `position` was read. */
  reset(state: LaneState, position: Position | undefined, whole: boolean): void {
    this.generation++
    if (this.undecided && this.undecided.position === JSON.stringify(position)) this.count(this.undecided.tally)
    this.undecided = undefined
    this.uncounted = new Tally()
    this.state = state
    this.position = position
    this.batch = this.newBatch()
    this.unsaved = false
    this.unproven = whole && this.trouble.since !== undefined && position !== undefined
    this.unhandled = undefined
    this.lastCommit = this.run.clock.monotonic()
  }

  /** Ends writing and committing; waiting callers continue. */
  stop(): void {
    this.stopped = true
    // The new owner of the lane writes its records, so the failure no longer affects readiness.
    this.failing?.transactionCommitted()
    this.failing = undefined
    this.lost.abort(new FencedError(`lane ${this.info.id} no longer belongs to this instance; nothing more is written for it`))
    this.batch = this.newBatch()
    this.cancelTimer?.()
    this.wake?.()
  }

  /** Called when a source batch has passed the chain. */
  advance(position: Position, inputs: number): void {
    this.batch.tally.inputs += inputs
    this.position = this.batch.position = position
    this.batch.weigh()
    this.unsaved = true
    this.schedule()
  }

  /** Called when output was emitted without input: it belongs to the checkpoint at the current position. */
  touch(): void {
    this.unsaved = true
    this.batch.position = this.position
    this.batch.weigh()
    this.schedule()
  }

  get full(): boolean {
    return this.fill >= 1
  }

  /** The used part of the batch's limit, by messages or by bytes. */
  private get fill(): number {
    return Math.max(this.batch.size / this.run.built.pipeline.max_in_flight, this.batch.bytes / this.run.maxBytes())
  }

  /** Everything is written and committed. */
  get flushed(): boolean {
    return this.batch.empty && !this.flushing && !this.unsaved
  }

  /** Messages that were read and are not committed. */
  get load(): number {
    return this.inFlight + this.batch.size
  }

  /** Resolves at the end of a flush, or when the lane is stopped. */
  room(): Promise<void> {
    return new Promise(resolve => {
      this.wake = () => {
        this.wake = undefined
        resolve()
      }
      this.schedule()
    })
  }

  /** Writes and commits everything in memory. Ends early when the lane stops or restores its checkpoint. */
  async drain(): Promise<void> {
    const generation = this.generation
    this.draining = true
    while (!this.stopped && !this.held && generation === this.generation && !this.flushed) {
      if (!this.flushing) this.flush()
      await this.flushing
    }
    this.draining = false
  }

  /** Failed messages have a destination: a dlq, a source that reports rejections to its senders, or the setting that drops them. */
  get handlesFailures(): boolean {
    return this.run.built.dlq !== undefined || this.notesRejections || this.dropsFailures
  }

  /**
   * Adds a message that a step or a sink cannot process to the commit batch, which writes it to the dlq together with the outputs.
   * @throws {UnhandledRecord} when there is no destination for it
   */
  deadLetter(batch: CommitBatch, message: Message, failure: Failure): void {
    const { built, clock } = this.run
    replayOf(message)?.taken(message)
    batch.tally.failed.push(failure.step)
    if (built.dlq) batch.dead.push(deadLetter(message, failure, built.pipeline, clock.now()))
    if (this.notesRejections) batch.rejected.push({ message, ...failure })
    if (!this.handlesFailures) throw (this.unhandled ??= new UnhandledRecord(message, failure))
  }

  /** @throws {UnhandledRecord} that `deadLetter` has thrown before, even if it was caught */
  throwUnhandled(): void {
    if (this.unhandled) throw this.unhandled
  }

  /** The source receives rejected messages after the writes. Without a dlq, the pipeline stops if it cannot report one. */
  private get notesRejections(): boolean {
    return this.entry.source.reject !== undefined || this.entry.source.onRejected !== undefined
  }

  /** Without a dlq: messages that cannot be processed are counted and dropped. */
  private get dropsFailures(): boolean {
    return this.run.built.pipeline.drops_dead === true
  }

  private newBatch(): CommitBatch {
    return new CommitBatch(this.run.built.writers.length)
  }

  private schedule(): void {
    const pending = !this.batch.empty || this.unsaved
    if (this.flushing || this.stopped || this.held || !(pending || this.unproven)) return
    const wait = this.lastCommit + this.commitInterval - this.run.clock.monotonic()
    const pressing = this.fill >= 0.5
    if (wait <= 0 || pressing || (this.draining && pending) || (!this.entry.committer.atomic && this.batch.hasOutput)) {
      this.flush()
    } else if (!this.cancelTimer) {
      this.cancelTimer = this.run.clock.after(wait, () => {
        this.cancelTimer = undefined
        this.schedule()
      })
    }
  }

  /**
   * Writes the batch while the chain fills a new one. State changes are taken now and not at the end of the write, because later changes
   * belong to the next batch. If the lane stops or restores its checkpoint during the write, a failure of the write is ignored.
   */
  private flush(): void {
    const { committer } = this.entry
    const { clock } = this.run
    const generation = this.generation
    const batch = this.batch
    this.batch = this.newBatch()
    this.inFlight = batch.size
    const due = committer.atomic || this.draining || clock.monotonic() - this.lastCommit >= this.commitInterval
    const delta = due && this.position !== undefined ? { position: this.position, state: this.state.takeChanges() } : undefined
    if (due) {
      this.lastCommit = clock.monotonic()
      this.unsaved = this.unproven = false
    }
    this.step = { waits: 'begin', at: clock.monotonic() }
    this.flushing = committer
      .write(this.info, delta, async transaction => {
        this.step = { waits: 'sinks', at: clock.monotonic() }
        this.assertOwned()
        await this.writeAll(batch, transaction)
        this.step = { waits: 'commit', at: clock.monotonic() }
      })
      .then(
        notCommitted => {
          if (generation === this.generation) this.written(batch, due && !notCommitted)
          if (!notCommitted) return this.succeeded()
          this.failed(notCommitted)
          if (this.stopped || generation !== this.generation) return undefined
          // The outputs stay written. Only the position is committed again, even if nothing more is read.
          this.unsaved = true
          return this.draining
            ? pause(clock, delayOf(this.run.built.pipeline.retry, this.trouble.times, this.trouble.times - 1, this.run.random), this.signal)
            : undefined
        },
        (error: Error) => {
          if (this.stopped || generation !== this.generation) return undefined
          if (delta && batch.tally.inputs > 0) {
            this.uncounted.add(batch.tally)
            this.undecided = { position: JSON.stringify(delta.position), tally: this.uncounted }
          }
          this.failed(error)
          const handled = this.onFailure(error)
          // The batch of a lane that waits for room is void after the restore, so the source and its other lanes do not wait for the
          // restore.
          this.wake?.()
          return handled
        },
      )
      .finally(() => {
        this.step = undefined
        this.flushing = undefined
        this.inFlight = 0
        this.wake?.()
        this.schedule()
      })
  }

  /** Checks the ownership before a write, because a process can be frozen at any point. @throws {FencedError} */
  private assertOwned(): void {
    this.signal.throwIfAborted()
    if (this.entry.source.holds?.(this.info.id) === false)
      throw new FencedError(`lane ${this.info.id} may belong to another instance: this one could not renew its ownership in time`)
  }

  /** The position after everything that passed the chain. */
  get readTo(): Position | undefined {
    return this.position
  }

  /** The last of the consecutive failures; undefined: the last flush was committed, or there was none. */
  get lastFailure(): Error | undefined {
    return this.trouble.error
  }

  private succeeded(): void {
    this.trouble.over()
    this.failing?.transactionCommitted()
    this.failing = undefined
  }

  /** Counts a failure for the sink that threw, for the sink whose transactions the lane uses, or for the source with its own store. */
  private failed(error: Error): void {
    const fenced = error instanceof FencedError
    if (!isRetryable(error) && !fenced) return
    this.trouble.failed(error)
    // Another instance owns the lane: the failure is not in a sink.
    if (fenced) return
    const { writers, dlq } = this.run.built
    if (!this.entry.committer.atomic) return
    this.failing = [...writers, ...(dlq ? [dlq] : [])].find(w => w.threw === error) ?? this.transactionOf()
    if (this.failing) this.failing.transactionFailed(error)
    else this.entry.meter.retries++
  }

  /** The sink whose transactions the lane uses. */
  private transactionOf(): Writer | undefined {
    const { committer } = this.entry
    return committer.atomic ? this.run.built.writers.find(w => w.joins(committer.scope)) : undefined
  }

  /** @param durable the checkpoint is durable, so earlier writes without a checkpoint are counted, too */
  private written(batch: CommitBatch, durable: boolean): void {
    this.uncounted.add(batch.tally)
    if (!durable) return
    this.count(this.uncounted)
    this.uncounted = new Tally()
  }

  /** Adds the counts that a durable checkpoint covers to the meters of source, steps and sinks. */
  private count({ inputs, failed, written }: Tally): void {
    this.entry.meter.in += inputs
    for (const step of failed) this.run.built.meters.failed(step)
    for (const [meter, n] of written) meter.out += n
  }

  /**
   * Writes to all sinks in parallel, then to the dlq, including messages that the sinks rejected, then reports rejections to the source.
   * The checkpoint follows.
   */
  private async writeAll(batch: CommitBatch, transaction?: Transaction): Promise<void> {
    const { source, committer } = this.entry
    const { writers, dlq } = this.run.built
    const alone = { signal: this.signal, lane: this.info, assertOwned: () => this.assertOwned() }
    const together = { ...alone, transaction }
    const contextOf = (writer: Writer): WriteContext => (writer.joins(committer.scope) ? together : alone)
    // Writes into a transaction are counted when the transaction is committed.
    const counted = (writer: Writer, messages: number): void => {
      if (contextOf(writer).transaction) batch.tally.written.push([writer.meter, messages])
      else writer.meter.out += messages
    }
    const rejected = await Promise.all(writers.map((writer, i) => writer.write(batch.outputs[i], contextOf(writer))))
    rejected.forEach((messages, i) => {
      const { name, at } = writers[i].step
      counted(writers[i], batch.outputs[i].length - messages.length)
      for (const { message, error } of messages) this.deadLetter(batch, message, { step: name, at, error })
    })
    if (batch.dead.length > 0) {
      // Steps fail one after the other, but a replay needs the order of reading. Messages without a source record come last.
      batch.dead.sort((a, b) => rank(a) - rank(b))
      const [lost] = await dlq!.write(batch.dead, contextOf(dlq!))
      if (lost) throw new EnvironmentError(`the dead-letter queue rejected a record: ${lost.error.message}`, lost.error)
      counted(dlq!, batch.dead.length)
    }
    if (batch.rejected.length === 0) return
    source.onRejected?.(batch.rejected)
    const [unreported] = source.reject ? (source.reject(batch.rejected) ?? []) : batch.rejected
    if (!unreported || dlq || this.dropsFailures) return
    throw new UnhandledRecord(unreported.message, batch.rejected.find(r => r.message === unreported.message)!)
  }
}

const rank = (m: Message): number => (laneOffset(m) < 0 ? Number.MAX_SAFE_INTEGER : laneOffset(m))
