/**
 * One lane: the unit of order in its source (a Kafka partition, a file, a socket). It owns its transforms, their state, and a
 * `BatchWriter`, which writes and commits what they emit. Only lane, batch writer and sink writer wait.
 *
 * The chain fills one commit batch while at most one earlier batch is being written, so batches commit in order, and committed positions
 * need no further tracking. Every recovery *restores the checkpoint*: it discards everything in memory, claims the checkpoint again, and
 * continues reading from its position. The states and their transitions form one state machine, so this file stays whole.
 *
 * Three races, each resolved by `status` and `generation`:
 *
 * 1. *A batch arrives during a restore.* The source read it before the seek, so it belongs to the old reading. `accept` compares the
 *    generation before its waits with the current one and drops the batch; after the seek, the source delivers the records again.
 * 2. *A transform still waits for its peer when the lane restores its checkpoint.* Its chain belongs to an old generation. `exit` is bound
 *    to the generation of its claim, so the later output of the old chain is dropped.
 * 3. *Another instance has claimed the lane, and this one has not detected it yet.* Its write or commit is fenced before the next heartbeat
 *    of its group reports the loss. It must not fence the new owner in turn, so a fenced lane waits `FENCED_GRACE` to be revoked before it
 *    claims again.
 */
import {
  type Batch,
  ConnectionError,
  EnvironmentError,
  FencedError,
  type LaneInfo,
  type LaneOrigin,
  laneOffset,
  LiveConflictError,
  type Logger,
  Message,
  type Position,
  StateError,
} from '../contract/plugin.ts'
import { isReplayable, sharesWork } from '../config/traits.ts'
import type { Clock } from '../kit/clock.ts'
import { type Failure, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'
import { pause } from '../kit/pause.ts'
import { PluginError } from '../kit/plugin-error.ts'
import { isOutside } from './backfill.ts'
import { BatchWriter } from './batch-writer.ts'
import type { Built, BuiltSource } from './build.ts'
import { Chain, type Exit, type Stage } from './chain.ts'
import type { Admission } from './identity.ts'
import { BatchAbandoned, PoisonSearch, processOneByOne } from './poison.ts'
import { type Finding, STALL, Trouble } from './readiness.ts'
import { LaneState } from './state.ts'
import { delayOf } from './writer.ts'

/** The parts of a run that all its lanes share. */
export interface LaneRun {
  readonly built: Built
  readonly clock: Clock
  readonly log: Logger
  readonly random: () => number
  /** Aborted when nothing more may be written. */
  readonly signal: AbortSignal
  /** Aborted when nothing more may be read. */
  readonly stopping: AbortSignal
  /** Maximum source bytes of a commit batch: the lane's share of the limit of the pipeline. */
  maxBytes(): number
  /** Stops the pipeline with the error. */
  fatal(error: Error): void
}

/** Time for which a fenced lane waits to be revoked before it claims again, ms. */
const FENCED_GRACE = 10_000
/** Ticks come every 250 ms. After this long without a tick, the process was not running, ms. */
const FROZEN = 1000

export class Lane {
  readonly info: LaneInfo & { lanes?: number }
  /** The first position of a lane before a link, if it has no checkpoint and the source reports one. */
  private beginning: Position | undefined
  /** Number of seeks. After each of them, the source has records to read again. */
  seeks = 0
  private readonly entry: BuiltSource
  private readonly run: LaneRun
  /** Returns what the source can report about the records of the lane. */
  private readonly originOf: ((lane: LaneInfo) => Promise<LaneOrigin>) | undefined
  private readonly writer: BatchWriter
  private readonly poison = new PoisonSearch()
  /** Empty until a checkpoint is claimed. */
  private chain: Chain
  private state = new LaneState()
  private status: 'running' | 'restoring' | 'dropped' = 'restoring'
  /** `clock.monotonic()` since when the lane has been restoring. */
  private restoringSince: number
  private busySince = 0
  /** The transform whose peer is unreachable, and its failures. Set by `hold`, cleared when the batch is done. */
  private held: { readonly step: string; readonly trouble: Trouble } | undefined
  /**
   * Resolves when the chain has processed its batch. Until then no commit batch is cut, because a part of a source batch has no position.
   */
  private busy: Promise<void> | undefined
  /** Number of restores. Batches that were read before a restore are void after it. */
  private generation = 0
  /** The running restore. */
  private restoring: Promise<void> | undefined
  /** Consecutive restores without an accepted batch. From the second on, they wait first. */
  private restores = 0
  /** Why the lane restores its checkpoint: what it had read is not committed. After a `FencedError` the new owner reads it. */
  private restoreCause: Error | undefined
  /** As JSON: the position that the lane had read to when it began to restore, and the position of the restored checkpoint. */
  private givenBack: string | undefined
  private restoredTo: string | undefined
  /** `clock.monotonic()` of the beginning and the end of the time in which the lane is known to be silent and caught up. */
  private silentSince: number
  private silentUntil: number
  private lastTick: number
  /** `clock.monotonic()` of the last time the lane was fenced. */
  private fencedAt: number | undefined
  /** The source has reported the lane as its own. */
  private leased = false
  /** Aborted by `drop`: ends the wait for the peer of a transform. */
  private readonly dropped = new AbortController()

  constructor(info: LaneInfo, entry: BuiltSource, run: LaneRun, originOf?: (lane: LaneInfo) => Promise<LaneOrigin>) {
    this.info = { ...info }
    this.entry = entry
    this.run = run
    this.originOf = originOf
    this.writer = new BatchWriter(this.info, entry, run, error => this.recover(error))
    this.chain = this.chainOf([])
    this.silentSince = this.silentUntil = this.lastTick = this.restoringSince = run.clock.monotonic()
  }

  /** Why the lane is not ready. */
  *findings(): Generator<Finding> {
    if (this.status === 'dropped') return
    const now = this.run.clock.monotonic()
    const about = { kind: 'lane', name: this.info.id } as const
    const { held, restoringSince, busySince } = this
    yield* this.writer.findings()
    for (const [name, reason] of this.chain.problems()) yield { kind: 'transform', name, aspect: 'peer', reason }
    if (this.status === 'restoring' && now - restoringSince >= STALL)
      yield { ...about, aspect: 'restore', reason: 'its checkpoint is not restored yet', since: restoringSince }
    if (held?.trouble.lasts)
      yield { kind: 'transform', name: held.step, aspect: 'hold', reason: held.trouble.text, since: held.trouble.since }
    else if (this.busy && now - busySince >= STALL)
      yield { ...about, aspect: 'batch', reason: 'the transforms have not finished a batch', since: busySince }
  }

  /** Claims the lane. @returns the position to read from; undefined: never checkpointed */
  async open(): Promise<Position | undefined> {
    // The lane was lost since the last attempt; a claim would fence its new owner.
    if (this.status === 'dropped') return undefined
    const position = await this.claim()
    if (this.status === 'restoring') this.status = 'running'
    return position
  }

  /** Runs a batch through the chain. Waits while the commit batch is full. */
  async accept(batch: Batch): Promise<void> {
    const generation = this.generation
    const stale = (): boolean => this.status !== 'running' || generation !== this.generation
    while (!stale() && this.writer.full) await this.writer.room()
    if (stale()) return
    const mark = this.writer.batch.mark()
    const remake = this.state.opened ? undefined : Message.keep(batch.messages)
    const { known } = this.poison
    let closes = false
    const done = this.begin()
    try {
      this.poison.watch(this.chain)
      if (batch.gap) {
        this.run.built.identity.missing(this.info, batch.gap, this.state.size)
        await this.chain.onGap(batch.gap)
        if (stale()) return
      }
      const wait = this.process(batch.messages)
      if (wait) await wait
      // Race 2: the chain may have been replaced during the wait.
      if (stale()) return
      closes = true
      const closing = this.chain.advance()
      if (closing) await closing
      this.writer.throwUnhandled()
      if (stale()) return
      this.poison.settle('batch')
    } catch (error) {
      if (stale()) return
      this.writer.batch.undo(mark)
      this.chain.discard()
      if (error instanceof BatchAbandoned) return await this.stopBeforeBatch()
      if (closes && !this.poison.canFind(known)) return this.run.fatal(error as Error)
      if (!(await this.recoverBatch(batch.messages, remake, error as Error, stale)) || stale()) return
    } finally {
      done()
    }
    if (batch.messages.length > 0) this.silentSince = this.silentUntil = this.run.clock.monotonic()
    this.restores = 0
    this.writer.advance(batch.position, batch.messages.length)
  }

  /**
   * Updates the silence of the lane. It counts only up to the time at which the source was caught up. A source that receives pushed data
   * cannot report the time in which this process was frozen or busy: data that arrived meanwhile may still be in a socket.
   */
  async tick(caughtUp: boolean | number): Promise<void> {
    const now = this.run.clock.monotonic()
    const frozen = now - this.lastTick > FROZEN
    this.lastTick = now
    if (caughtUp === false || (caughtUp === true && frozen) || this.status !== 'running') {
      this.silentSince = this.silentUntil = now
      return
    }
    this.silentUntil = caughtUp === true ? now : caughtUp
    if (this.busy || !this.chain.wantsIdle || this.silence <= 0 || this.chain.expectsMore) return
    await this.lifecycle(() => this.chain.onIdle(this.silence))
  }

  /** ms of silence while caught up. */
  get silence(): number {
    return Math.max(0, this.silentUntil - this.silentSince)
  }

  /** Everything that was read is committed. */
  get flushed(): boolean {
    return this.writer.flushed && !this.busy
  }

  /** Why this process will not commit what the lane has read; undefined: it is committed, or another instance owns the lane. */
  get notCommitted(): Error | undefined {
    if (this.status === 'dropped') return undefined
    // After a restore nothing is in memory, but the records are still not committed; the next commit clears the failure. A commit of
    // unknown outcome may have succeeded: then the restored position equals the position that was read.
    const cause = this.status === 'restoring' ? this.restoreCause : this.givenBack === this.restoredTo ? undefined : this.writer.lastFailure
    return cause instanceof FencedError ? undefined : cause
  }

  /** Nothing is in progress: the lane waits for input or for the clock. Tests on a virtual clock continue then. */
  get quiet(): boolean {
    return this.status === 'dropped' || (this.status === 'running' && !this.writer.flushing && !this.busy)
  }

  /** Estimated memory of the state, by store. */
  stateBytes(): Iterable<readonly [store: string, bytes: number, keys: number]> {
    return this.state.bytes()
  }

  get load(): { inFlight: number; stateKeys: number } {
    return { inFlight: this.writer.load, stateKeys: this.state.size }
  }

  /** Called at the end of the input: closes windows up to `until` and commits everything. */
  async end(until: number): Promise<void> {
    if (this.status === 'running') await this.lifecycle(() => this.chain.onEnd(until))
    await this.drain()
    if (this.status !== 'running' || !this.entry.source.endsForGood || this.state.size === 0) return
    this.state.clear()
    this.writer.touch()
    await this.drain()
  }

  /** Writes and commits what is in memory. Has no effect on a lane that is restoring its checkpoint. */
  async drain(): Promise<void> {
    while (this.status === 'running' && !this.flushed) {
      await this.busy
      if (this.status === 'running') await this.writer.drain()
    }
  }

  /** Resolves at the end of a running restore. */
  async restored(): Promise<void> {
    await this.restoring
  }

  async release(): Promise<void> {
    this.drop()
    await this.chain.close()
    await this.entry.committer.release(this.info)
  }

  /** Drops a lane that another instance already owns, at once, and closes its transforms. */
  abandon(): void {
    this.drop()
    void Promise.resolve(this.busy)
      .then(() => this.chain.close())
      .catch((error: Error) => this.run.log.warn({ lane: this.info.id, error: error.message }, 'closing the steps of a lost lane failed'))
  }

  /** Drops the lane at once: nothing more is written or committed for it. */
  drop(): void {
    this.status = 'dropped'
    this.writer.stop()
    this.dropped.abort()
  }

  private process(messages: Message[]): void | Promise<void> {
    if (!this.poison.active) return this.chain.run(messages)
    return this.poison.run(messages, this.chain, (message, failure) => this.deadLetter(message, failure))
  }

  /** @throws {UnhandledRecord} when there is no place for the message */
  private deadLetter(message: Message, failure: Failure): void {
    const { bounds } = this.run.built
    if (bounds && isOutside(message, bounds)) return
    this.writer.deadLetter(this.writer.batch, message, failure)
  }

  /** Recovers from an error of a transform. True: the batch was processed after all, message by message. */
  private async recoverBatch(
    messages: readonly Message[],
    remake: (() => Message[]) | undefined,
    error: Error,
    stale: () => boolean,
  ): Promise<boolean> {
    const end = messages.at(-1)
    const last = end ? laneOffset(end) : -1
    const stateful = this.state.opened
    const hopeless =
      error instanceof UnhandledRecord || error instanceof EnvironmentError || (stateful && (!this.entry.source.seek || last < 0))
    if (hopeless) {
      this.run.fatal(error)
      return false
    }
    if (stateful || this.poison.active || !remake) {
      // The state contains a part of the batch: restore the checkpoint, then run message by message up to the end of this batch.
      this.poison.start(last)
      await this.backToCheckpoint(error)
      return false
    }
    // Without state nothing must be undone: the batch runs again, message by message.
    try {
      await processOneByOne(remake(), this.chain, this.writer.batch, (message, failure) => {
        if (!stale()) this.deadLetter(message, failure)
      })
      return true
    } catch (cause) {
      if (cause instanceof UnhandledRecord) throw cause
      this.chain.discard()
      if (cause instanceof BatchAbandoned) await this.stopBeforeBatch()
      else this.run.fatal(cause as Error)
      return false
    }
  }

  private async backToCheckpoint(cause: Error): Promise<void> {
    const { generation } = this
    await this.writer.flushing
    this.restores = 0
    // The flush may have failed and the lane may already have been restored.
    if (this.status === 'running' && generation === this.generation) await this.restore(cause)
  }

  /**
   * Whether a search can find the failing result: a step threw on the output of a window that closed after silence or at the end. After a
   * restore the window emits it again.
   */
  private canSearch(error: unknown, known: number): boolean {
    const { chain, poison, entry } = this
    const isBehind = error instanceof PluginError && error.call.method === 'process' && chain.behindHook
    return isBehind && this.status === 'running' && entry.source.seek !== undefined && poison.canFind(known)
  }

  /**
   * Called when a batch was abandoned because the run ends. Without state, the output of earlier batches is still committed. With state,
   * which contains a part of the batch, the lane is dropped.
   */
  private async stopBeforeBatch(): Promise<void> {
    if (!this.state.opened) return
    await this.writer.flushing
    this.drop()
  }

  private begin(): () => void {
    let resolve!: () => void
    const busy = new Promise<void>(r => (resolve = r))
    this.busy = busy
    this.busySince = this.run.clock.monotonic()
    this.writer.held = true
    return () => {
      if (this.busy === busy) {
        this.busy = undefined
        this.held = undefined
        this.writer.held = false
      }
      resolve()
    }
  }

  private async lifecycle(hook: () => void | Promise<void>): Promise<void> {
    const before = this.writer.batch.size
    const mark = this.writer.batch.mark()
    const { known } = this.poison
    const done = this.begin()
    try {
      this.poison.watch(this.chain)
      await hook()
      this.writer.throwUnhandled()
      this.poison.settle('hook')
    } catch (error) {
      if (error instanceof BatchAbandoned) this.drop()
      else if (this.canSearch(error, known)) {
        this.writer.batch.undo(mark)
        this.chain.discard()
        this.poison.startHook()
        await this.backToCheckpoint(error as Error)
      } else this.run.fatal(error as Error)
      return
    } finally {
      done()
    }
    if (this.writer.batch.size !== before) this.writer.touch()
  }

  private async claim(): Promise<Position | undefined> {
    // The old state is void. It is released first, because together with the checkpoint it would take twice the memory.
    const { chain } = this
    this.chain = this.chainOf([])
    this.state = new LaneState()
    await chain.close()
    const { checkpoint, changes, gap } = await this.admitted()
    await this.fenceSinks()
    this.state = new LaneState(checkpoint, changes)
    const entries = this.state.size
    if (this.generation === 0 && entries > 0 && !isReplayable(this.entry.step))
      this.run.log.info(
        { lane: this.info.id, entries },
        'continuing with the state of the last run, which did not end by itself; to start without it, use --fresh',
      )
    const stages = this.run.built.stages(this.info, this.state, this.entry.part)
    this.chain = this.chainOf([this.entry.inlet, ...stages])
    const opening = this.chain.open()
    if (opening) await opening
    // A lane without records marks itself as idle in a link, which is committed with a position, too.
    const position = checkpoint?.position ?? this.beginning
    this.restoredTo = JSON.stringify(position)
    this.writer.reset(this.state, position, this.givenBack === this.restoredTo)
    if (gap) await this.chain.onGap(gap)
    this.silentSince = this.silentUntil = this.run.clock.monotonic()
    return checkpoint?.position
  }

  private chainOf(stages: readonly Stage[]): Chain {
    return new Chain(stages, this.exit(this.generation))
  }

  /**
   * Makes sinks outside of the transactions of the lane reject writes of a former owner, if they can. Only a lane with a lease has one
   * owner.
   */
  private async fenceSinks(): Promise<void> {
    const { committer, source } = this.entry
    const { writers, dlq } = this.run.built
    if (!source.holds) return
    const apart = writers.concat(dlq ?? []).filter(w => !committer.atomic || !w.joins(committer.scope))
    await Promise.all(apart.map(async w => w.sink.claim?.(this.info)))
  }

  /** The checkpoint that the lane continues from. @throws {EnvironmentError} when it does not belong to this pipeline */
  private async admitted(): Promise<Admission> {
    try {
      return await this.admit()
    } catch (error) {
      if (!(error instanceof StateError)) throw error
      // Another instance may have claimed the lane and committed since the claim: the checkpoint was then compared with a newer origin. If
      // the lane is lost, the difference does not matter. Otherwise, a second claim returns the matching checkpoint.
      this.assertOwned()
      return await this.admit()
    }
  }

  /**
   * Called before a claim, which fences the owner, and before the lane starts over. This process may have been frozen, and the lane may
   * belong to another instance. The lease is then renewed, or the lane is lost. @throws {ConnectionError}
   */
  private assertOwned(): void {
    const holds = this.entry.source.holds?.(this.info.id)
    // An external source may report a lane as its own only when it is assigned; built-in ones do so from the assignment on.
    this.leased ||= holds === true || this.entry.step.foreign !== true
    if (this.status === 'dropped' || (this.leased && holds === false))
      throw new ConnectionError(`lane ${this.info.id} may belong to another instance: this one could not renew its ownership in time`)
  }

  private async admit(): Promise<Admission> {
    const { committer } = this.entry
    const { identity } = this.run.built
    this.assertOwned()
    const found = await committer.claim(this.info)
    const origin = async (): Promise<LaneOrigin> => {
      const known = (await this.originOf?.(this.info)) ?? {}
      this.info.lanes = known.lanes
      if (this.entry.part < this.run.built.routers.length - 1) this.beginning = known.remembered?.position ?? known.initial
      return known
    }
    if (!committer.save) return { checkpoint: identity.fresh ? identity.begin(this.info, await origin()) : found, changes: [] }
    const admission = await identity.admit(this.info, found, await origin(), committer.former)
    if (admission.restart) {
      this.assertOwned()
      await committer.save(this.info, admission.restart)
    }
    return admission
  }

  /** Puts the output of the chain of this generation into the commit batch. See race 2. */
  private exit(generation: number): Exit {
    const router = this.run.built.routers[this.entry.part]
    const open = (): boolean => generation === this.generation && this.status === 'running'
    const fail = (message: Message, failure: Failure): void => {
      if (open()) this.deadLetter(message, failure)
    }
    return {
      emit: messages => {
        if (open()) router.route(messages, this.writer.batch, fail)
      },
      emitTo: (stage, port, message) => {
        if (open()) router.routePort(stage, port, message, this.writer.batch, fail)
      },
      fail,
      mark: () => {
        if (!open()) return () => {}
        const { batch } = this.writer
        const mark = batch.mark()
        return () => batch.undo(mark)
      },
      mistake: error => {
        error.reported = true
        if (open()) this.run.fatal(error)
        else this.run.log.error({ step: error.call.step, lane: this.info.id }, error.message)
      },
      hold: (stage, error, attempt) => this.hold(stage, error, attempt, open),
    }
  }

  /** Called when the peer of a transform is unreachable. Nothing is dropped: the batch waits, and so does the source. */
  private async hold(stage: Stage, error: Error, attempt: number, open: () => boolean): Promise<void> {
    const { built, clock, log, stopping, random } = this.run
    stage.meter.retries++
    if (this.held?.step !== stage.name) this.held = { step: stage.name, trouble: new Trouble(clock) }
    this.held.trouble.failed(error)
    log.warn({ step: stage.name, lane: this.info.id, error: error.message }, 'transform failed, trying again')
    // A batch that can be read again does not delay the end of the run. Other batches are retried until the deadline.
    const leaves = (): boolean => stopping.aborted && this.entry.source.seek !== undefined
    if (open() && !leaves()) {
      const signals = stopping.aborted ? [this.dropped.signal] : [stopping, this.dropped.signal]
      await pause(clock, delayOf(built.pipeline.retry, attempt + 1, attempt, random), ...signals)
    }
    if (!open() || leaves()) throw new BatchAbandoned(`abandoned while ${stage.name} waited: ${error.message}`)
  }

  /** Called when a write or a commit failed. */
  private async recover(error: Error): Promise<void> {
    if (this.status === 'dropped') return
    if (this.run.signal.aborted) return this.drop()
    if (!this.entry.committer.retryable(error)) return this.run.fatal(error)
    if (error instanceof FencedError && this.fencedInTurn()) return this.run.fatal(takenInTurn(this.info.id, this.entry.step.name))
    this.run.log.warn({ lane: this.info.id, error: error.message }, 'restoring the lane from its checkpoint')
    await this.restore(error)
  }

  /**
   * True if the lane is fenced repeatedly although it belongs to no group, which would revoke it: a second process on another machine
   * claims it, and the two would claim it alternately forever. A single time can have another cause, such as a transaction that timed out.
   */
  private fencedInTurn(): boolean {
    if (sharesWork(this.entry.step)) return false
    const now = this.run.clock.monotonic()
    const again = this.fencedAt !== undefined && now - this.fencedAt < 3 * FENCED_GRACE
    this.fencedAt = now
    return again
  }

  private restore(cause: Error): Promise<void> {
    this.status = 'restoring'
    this.restoringSince = this.run.clock.monotonic()
    this.restoreCause = cause
    const read = JSON.stringify(this.writer.readTo)
    if (this.givenBack === undefined || read !== this.restoredTo) this.givenBack = read
    this.generation++
    this.restoring = this.restoreCheckpoint(cause).finally(() => (this.restoring = undefined))
    return this.restoring
  }

  /** Discards, claims and seeks, with back-off until it succeeds or the lane is dropped. */
  private async restoreCheckpoint(first: Error): Promise<void> {
    const { clock, log, random, signal, built } = this.run
    const { committer, source } = this.entry
    // A function, because the status changes during the awaits.
    const restoring = (): boolean => this.status === 'restoring'
    let cause = first
    while (restoring()) {
      const tries = this.restores++
      const growing = tries === 0 ? 0 : delayOf(built.pipeline.retry, tries, tries, random)
      // Race 3: the group has time to revoke the lane before it is claimed again.
      const delay = cause instanceof FencedError ? FENCED_GRACE : growing
      if (delay > 0) await pause(clock, delay, this.dropped.signal)
      if (signal.aborted) return this.drop()
      if (!restoring()) return
      try {
        const position = await this.claim()
        if (!restoring()) return
        await source.seek!(this.info.id, position)
        this.seeks++
        // Race 1: `accept` dropped the batches that arrived before the seek.
        if (restoring()) this.status = 'running'
      } catch (error) {
        cause = error as Error
        if (!committer.retryable(cause)) return this.run.fatal(cause)
        log.warn({ lane: this.info.id, error: cause.message }, 'restore failed, trying again')
      }
    }
  }
}

const takenInTurn = (lane: string, source: string): LiveConflictError =>
  new LiveConflictError(
    `another process takes lane ${lane} alternately with this one: the pipeline runs twice, and source ${source} cannot share its records\n` +
      `  - stop one of the processes (on another machine, or with another state directory)\n` +
      `  - give one of them another name or version: it then reads and writes everything independently`,
  )
