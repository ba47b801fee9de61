/**
 * One lane: what its source keeps in order. It owns its transforms, state, position and the cycle being filled, and
 * is, with `writer`, the only place in the runtime that waits.
 *
 * The chain fills one cycle while at most one earlier cycle is being written, so cycles settle in order and the settled prefix
 * needs no tracking. Every recovery is the same: rewind, that is forget everything in memory, claim the checkpoint again
 * and read on from its position.
 */
import {
  type Batch,
  EnvironmentError,
  FencedError,
  type LaneInfo,
  type Logger,
  type Message,
  type Position,
  type Source,
  type Transaction,
} from '../plugin.ts'
import { Chain, type Exit, type Stage } from './chain.ts'
import type { Clock } from './clock.ts'
import type { Committer } from './committer.ts'
import { Cycle } from './cycle.ts'
import { deadLetter, type Failure } from './dead-letters.ts'
import type { Router } from './router.ts'
import { LaneState } from './state.ts'
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
  readonly log: Logger
  readonly signal: AbortSignal
  readonly commitInterval: number
  readonly maxInFlight: number
  /** First and longest wait between rewinds, ms. */
  readonly backoff: { readonly initial: number; readonly max: number }
  readonly random: () => number
  /** Builds fresh transforms on this state. */
  stages(lane: LaneInfo, state: LaneState): Stage[]
  /** The pipeline can't go on. */
  fatal(error: Error): void
  /** In front of the chain when a step reads values. */
  readonly decodeStage: Stage | undefined
}

/** How long a fenced lane waits to be taken away before it asserts that it still owns the partition. */
const FENCED_GRACE = 10_000

export class Lane implements Exit {
  readonly info: LaneInfo
  private readonly host: LaneHost
  private chain!: Chain
  private state = new LaneState()
  private cycle: Cycle
  private position: Position | undefined
  /** Position moved or state changed since the last durable checkpoint. */
  private unsaved = false
  private lastCommit: number
  private flushing: Promise<void> | undefined
  private inFlight = 0
  private cancelTimer: (() => void) | undefined
  private wakeRoom: (() => void) | undefined
  private status: 'running' | 'rewinding' | 'dropped' = 'rewinding'
  private busy = false
  private failures = 0
  /** Generation: what was read or flushed before a rewind is void after it. */
  private rewinds = 0
  /** How often the source was sent back: after that it has something to read again. */
  seeks = 0
  /** Clock time since when the lane has been silent and caught up. */
  private silentSince: number
  /** Offsets found to make a transform throw. */
  private readonly poisoned = new Map<number, Failure>()
  /** Process one message at a time up to this offset, to find the one that throws. */
  private carefulUntil = -1
  private draining = false
  /** Kept beside the throw, in case a plugin swallows it. */
  private unhandled: UnhandledRecord | undefined

  constructor(info: LaneInfo, host: LaneHost) {
    this.info = info
    this.host = host
    this.cycle = new Cycle(host.writers.length)
    this.lastCommit = host.clock.now()
    this.silentSince = host.clock.now()
  }

  /** Takes the lane over. @returns where to read from; undefined: never checkpointed. */
  async open(): Promise<Position | undefined> {
    const position = await this.claim()
    if (this.status === 'rewinding') this.status = 'running'
    return position
  }

  private async claim(): Promise<Position | undefined> {
    const checkpoint = await this.host.committer.claim(this.info)
    await this.chain?.close()
    this.state = new LaneState(checkpoint)
    const stages = this.host.stages(this.info, this.state)
    this.chain = new Chain(this.host.decodeStage ? [this.host.decodeStage, ...stages] : stages, this)
    this.cycle = new Cycle(this.host.writers.length)
    this.position = checkpoint?.position
    this.unsaved = false
    this.lastCommit = this.host.clock.now()
    this.silentSince = this.host.clock.now()
    return checkpoint?.position
  }

  /** Runs a batch through the chain; waits while the lane has too much on its way. */
  async accept(batch: Batch): Promise<void> {
    if (this.status !== 'running') return
    const generation = this.rewinds
    const stale = (): boolean => this.status !== 'running' || generation !== this.rewinds
    while (!stale() && this.cycle.size >= this.host.maxInFlight) await this.room()
    if (stale()) return
    this.busy = true
    try {
      const mark = this.cycle.mark()
      try {
        const wait = this.carefulUntil >= 0 ? this.runOneByOne(batch.messages) : this.chain.run(batch.messages)
        if (wait) await wait
        if (this.unhandled) throw this.unhandled
      } catch (error) {
        if (stale()) return
        this.cycle.undo(mark)
        this.chain.discard()
        await this.onThrow(batch, error as Error)
        return
      }
    } finally {
      this.busy = false
    }
    if (stale()) return
    this.cycle.inputs += batch.messages.length
    this.advance(batch.position)
    if (batch.messages.length > 0) this.silentSince = this.host.clock.now()
    this.schedule()
  }

  /** Wall-clock tick. Silence counts only while the source says that there is nothing more to read. */
  async tick(caughtUp: boolean): Promise<void> {
    const now = this.host.clock.now()
    if (!caughtUp || this.status !== 'running') {
      this.silentSince = now
      return
    }
    if (this.busy || !this.chain.wantsIdle || now <= this.silentSince) return
    await this.lifecycle(() => this.chain.onIdle(now - this.silentSince))
  }

  /** ms of caught-up silence. */
  get silence(): number {
    return this.host.clock.now() - this.silentSince
  }

  /** Nothing read and not yet settled. */
  get settled(): boolean {
    return this.cycle.empty && !this.flushing && !this.unsaved && !this.busy
  }

  /** Nothing is on the move: what is left waits for input or for the clock. Tests on a virtual clock go on from here. */
  get quiet(): boolean {
    return this.status === 'dropped' || (this.status === 'running' && !this.flushing && !this.busy)
  }

  get load(): { inFlight: number; stateKeys: number } {
    return { inFlight: this.inFlight + this.cycle.size, stateKeys: this.state.size }
  }

  /** The input has ended: closes windows up to `until` and settles everything. */
  async end(until: number): Promise<void> {
    if (this.status === 'running') await this.lifecycle(() => this.chain.onEnd(until))
    await this.drain()
  }

  /** Writes and commits what is in memory. Resolves when all is settled, or when the lane is dropped. */
  async drain(): Promise<void> {
    this.draining = true
    while (this.status !== 'dropped' && !this.settled) {
      if (this.flushing) await this.flushing
      else if (this.busy || this.status === 'rewinding') await new Promise<void>(resolve => this.host.clock.after(5, resolve))
      else this.flush()
    }
    this.draining = false
  }

  async release(): Promise<void> {
    this.drop()
    await this.chain?.close()
    await this.host.committer.release(this.info)
  }

  /** Forgets the lane at once: nothing more is written or committed for it. */
  drop(): void {
    this.status = 'dropped'
    this.cycle = new Cycle(this.host.writers.length)
    this.cancelTimer?.()
    this.wakeRoom?.()
  }

  // Exit: what leaves the chain.

  emit(messages: Message[]): void {
    this.host.router.route(messages, this.cycle, (m, error, at) => this.kill(m, at, error))
  }

  emitTo(stage: string, port: string, message: Message): void {
    this.host.router.routePort(stage, port, message, this.cycle, (m, error, at) => this.kill(m, at, error))
  }

  fail(message: Message, stage: Stage, error: Error): void {
    this.kill(message, { step: stage.name, at: stage.at }, error)
  }

  private kill(message: Message, failure: Pick<Failure, 'step' | 'at'>, error: Error): void {
    if (!this.host.dlq) throw (this.unhandled ??= new UnhandledRecord(message, { ...failure, error }))
    this.cycle.dead.push(deadLetter(message, { ...failure, error }, this.host.pipeline))
  }

  private advance(position: Position): void {
    this.position = position
    this.cycle.position = position
    this.unsaved = true
  }

  private async lifecycle(hook: () => void | Promise<void>): Promise<void> {
    const before = this.cycle.size
    this.busy = true
    try {
      await hook()
    } catch (error) {
      this.host.fatal(error as Error)
      return
    } finally {
      this.busy = false
    }
    if (this.cycle.size === before) return
    // State changed with the output: both belong to the same checkpoint, at the position the lane already has.
    this.unsaved = true
    if (this.position !== undefined) this.cycle.position = this.position
    this.schedule()
  }

  /** Decides when the cycle is written: in a transaction at every commit interval, otherwise as soon as the writer is free. */
  private schedule(): void {
    if (this.flushing || this.status !== 'running' || (this.cycle.empty && !this.unsaved)) return
    const wait = this.lastCommit + this.host.commitInterval - this.host.clock.now()
    const pressing = this.cycle.size >= this.host.maxInFlight / 2
    if (wait <= 0 || pressing || this.draining || (!this.host.committer.atomic && !this.cycle.empty && this.cycle.hasOutput)) {
      this.flush()
    } else if (!this.cancelTimer) {
      this.cancelTimer = this.host.clock.after(wait, () => {
        this.cancelTimer = undefined
        this.schedule()
      })
    }
  }

  private flush(): void {
    const generation = this.rewinds
    const cycle = this.cycle
    this.cycle = new Cycle(this.host.writers.length)
    this.inFlight = cycle.size
    const due = this.host.committer.atomic || this.draining || this.host.clock.now() - this.lastCommit >= this.host.commitInterval
    const delta = due && this.position !== undefined ? { position: this.position, state: this.state.takeChanges() } : undefined
    if (due) {
      this.lastCommit = this.host.clock.now()
      this.unsaved = false
    }
    this.flushing = this.host.committer
      .write(this.info, delta, transaction => this.writeAll(cycle, transaction))
      .then(
        () => {
          this.failures = 0
        },
        error => this.recover(error as Error, generation),
      )
      .finally(() => {
        this.flushing = undefined
        this.inFlight = 0
        this.wakeRoom?.()
        this.schedule()
      })
  }

  private async writeAll(cycle: Cycle, transaction?: Transaction): Promise<void> {
    const context = { signal: this.host.signal, lane: this.info, transaction }
    const dead = cycle.dead
    const refusals = await Promise.all(this.host.writers.map((writer, i) => writer.write(cycle.outputs[i], context)))
    refusals.forEach((refused, i) => {
      const step = this.host.writers[i].step
      for (const { message, error } of refused) {
        if (!this.host.dlq) throw new UnhandledRecord(message, { step: step.name, at: step.at, error })
        dead.push(deadLetter(message, { step: step.name, at: step.at, error }, this.host.pipeline))
      }
    })
    if (dead.length === 0) return
    const lost = await this.host.dlq!.write(dead, context)
    if (lost.length > 0)
      throw new EnvironmentError(`the dead-letter queue refused ${lost.length} record(s): ${lost[0].error.message}`, lost[0].error)
  }

  private async recover(error: Error, generation: number): Promise<void> {
    if (this.status === 'dropped' || generation !== this.rewinds) return
    if (this.host.signal.aborted) {
      this.drop()
      return
    }
    if (error instanceof FencedError) {
      // A zombie learns of its replacement here first, and by the next heartbeat from the group. It must not fence the new owner in turn.
      this.host.log.warn({ lane: this.info.id, error: error.message }, 'lane fenced: another runner owns it, or its transaction timed out')
      this.status = 'rewinding'
      await new Promise<void>(resolve => this.host.clock.after(FENCED_GRACE, resolve))
      if ((this.status as string) === 'dropped') return
    } else if (!this.host.committer.retryable(error)) {
      this.host.fatal(error)
      return
    }
    this.host.log.warn({ lane: this.info.id, error: error.message }, 'rewinding the lane to its checkpoint')
    await this.rewind()
  }

  /** Back to the checkpoint: forget, claim, restore, seek; again with back-off until it works or the lane is taken away. */
  private async rewind(): Promise<void> {
    this.status = 'rewinding'
    this.rewinds++
    while ((this.status as string) === 'rewinding') {
      const delay = Math.min(this.host.backoff.max, this.host.backoff.initial * 2 ** Math.min(this.failures, 16))
      if (this.failures++ > 0) await new Promise<void>(resolve => this.host.clock.after(delay * (0.5 + this.host.random() / 2), resolve))
      if (this.host.signal.aborted) return this.drop()
      try {
        const position = await this.claim()
        if ((this.status as string) === 'dropped') return
        await this.host.source.seek!(this.info.id, position)
        this.seeks++
        // Batches that arrived before the seek belonged to the old reading and were dropped by `accept`.
        if (this.status === 'rewinding') this.status = 'running'
      } catch (error) {
        if (!this.host.committer.retryable(error as Error)) return this.host.fatal(error as Error)
        this.host.log.warn({ lane: this.info.id, error: (error as Error).message }, 'rewind failed, trying again')
      }
    }
  }

  private room(): Promise<void> {
    return new Promise(resolve => {
      this.wakeRoom = () => {
        this.wakeRoom = undefined
        resolve()
      }
      this.schedule()
    })
  }

  // Poison: a transform threw.

  private async onThrow(batch: Batch, error: Error): Promise<void> {
    if (error instanceof UnhandledRecord) return this.host.fatal(error)
    const stateful = this.state.opened
    if (stateful && !this.host.source.seek) return this.host.fatal(error)
    const last = batch.messages.at(-1)?.offset ?? -1
    if (stateful || this.carefulUntil >= 0) {
      if (last < 0 || !this.host.dlq) return this.host.fatal(error)
      this.carefulUntil = Math.max(this.carefulUntil, last)
      await this.flushing
      this.failures = 0
      return this.rewind()
    }
    // Without state nothing needs to be undone: the batch runs again, message by message.
    for (const m of batch.messages) {
      const mark = this.cycle.mark()
      try {
        await this.chain.run([m])
      } catch (cause) {
        if (cause instanceof UnhandledRecord) return this.host.fatal(cause)
        this.cycle.undo(mark)
        const culprit = this.culprit(cause as Error)
        this.chain.discard()
        try {
          this.kill(m, culprit, cause as Error)
        } catch (unhandled) {
          return this.host.fatal(unhandled as Error)
        }
      }
    }
    this.cycle.inputs += batch.messages.length
    this.advance(batch.position)
    this.schedule()
  }

  private async runOneByOne(messages: readonly Message[]): Promise<void> {
    for (const m of messages) {
      const known = this.poisoned.get(m.offset)
      if (known) {
        this.kill(m, known, known.error)
      } else {
        try {
          await this.chain.run([m])
        } catch (error) {
          if (!(error instanceof UnhandledRecord)) this.poisoned.set(m.offset, this.culprit(error as Error))
          throw error
        }
      }
      if (m.offset >= this.carefulUntil) {
        this.carefulUntil = -1
        this.poisoned.clear()
      }
    }
  }

  private culprit(error: Error): Failure {
    const stage = this.chain.active!
    return { step: stage.name, at: stage.at, error }
  }
}

/** A record that can neither be processed nor put aside: the pipeline stops in front of it. */
export class UnhandledRecord extends Error {
  constructor(message: Message, failure: Failure) {
    const cause = failure.error
    const where = message.origin ? `${message.origin.lane} offset ${message.offset}` : 'a record without a source position'
    super(
      `step '${failure.step}' (${failure.at.file}:${failure.at.line}) refused ${where}: ${cause.message}\n  There is no dlq to put it in, so the pipeline stops; nothing past this record is committed. Add a 'dlq:' section, or mend the record.`,
      { cause },
    )
    this.name = 'UnhandledRecord'
  }
}
