/**
 * The writing half of a lane: holds the cycle that the chain fills, writes one cycle at a time, and commits. It decides when:
 * in a transaction at every commit interval, otherwise as soon as the writer is free.
 */
import {
  EnvironmentError,
  type LaneInfo,
  type Message,
  laneOffset,
  type Position,
  type Transaction,
  type WriteContext,
} from '../contract/plugin.ts'
import { Cycle } from './cycle.ts'
import { deadLetter, type Failure, replayOf, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'
import type { LaneHost } from './lane-host.ts'
import type { LaneState } from './state.ts'
import type { Writer } from './writer.ts'

export class Settler {
  cycle: Cycle
  /** Resolves when the cycle being written is settled, or its failure dealt with. */
  flushing: Promise<void> | undefined
  private readonly info: LaneInfo
  private readonly host: LaneHost
  /** Called with what made a write or commit fail; resolves when it is dealt with. */
  private readonly onFailure: (error: Error) => Promise<void>
  private state!: LaneState
  private position: Position | undefined
  /** Position moved or state changed since the last durable checkpoint. */
  private unsaved = false
  private lastCommit: number
  private inFlight = 0
  private cancelTimer: (() => void) | undefined
  private wake: (() => void) | undefined
  private draining = false
  /** The chain is in the middle of a batch: the cycle must not be cut. */
  held = false
  private stopped = false
  /** What was flushed before a reset is void after it. */
  private generation = 0

  constructor(info: LaneInfo, host: LaneHost, onFailure: (error: Error) => Promise<void>) {
    this.info = info
    this.host = host
    this.onFailure = onFailure
    this.cycle = new Cycle(host.writers.length)
    this.lastCommit = host.clock.monotonic()
  }

  /** Starts over from a checkpoint: everything in memory is forgotten. */
  reset(state: LaneState, position: Position | undefined): void {
    this.generation++
    this.state = state
    this.position = position
    this.cycle = new Cycle(this.host.writers.length)
    this.unsaved = false
    this.lastCommit = this.host.clock.monotonic()
  }

  /** Nothing more is written or committed; waiters go on. */
  stop(): void {
    this.stopped = true
    this.cycle = new Cycle(this.host.writers.length)
    this.cancelTimer?.()
    this.wake?.()
  }

  /** A batch went through the chain. */
  advance(position: Position, inputs: number): void {
    this.cycle.inputs += inputs
    this.position = this.cycle.position = position
    this.cycle.weigh()
    this.unsaved = true
    this.schedule()
  }

  /** Something was emitted without input: it belongs to the checkpoint at the position the lane already has. */
  touch(): void {
    this.unsaved = true
    this.cycle.position = this.position
    this.cycle.weigh()
    this.schedule()
  }

  get full(): boolean {
    return this.fill >= 1
  }

  /** Part of what a lane may hold that the cycle takes up, by messages or by bytes. */
  private get fill(): number {
    return Math.max(this.cycle.size / this.host.maxInFlight, this.cycle.bytes / this.host.maxBytes())
  }

  get settled(): boolean {
    return this.cycle.empty && !this.flushing && !this.unsaved
  }

  get load(): number {
    return this.inFlight + this.cycle.size
  }

  /** Waits until a cycle has been settled, or the lane stopped. */
  room(): Promise<void> {
    return new Promise(resolve => {
      this.wake = () => {
        this.wake = undefined
        resolve()
      }
      this.schedule()
    })
  }

  /** Writes and commits all that is held. Ends early when the lane stops or is rewound. */
  async drain(): Promise<void> {
    const generation = this.generation
    this.draining = true
    while (!this.stopped && !this.held && generation === this.generation && !this.settled) {
      if (!this.flushing) this.flush()
      await this.flushing
    }
    this.draining = false
  }

  private schedule(): void {
    if (this.flushing || this.stopped || this.held || (this.cycle.empty && !this.unsaved)) return
    const wait = this.lastCommit + this.host.commitInterval - this.host.clock.monotonic()
    const pressing = this.fill >= 0.5
    if (wait <= 0 || pressing || this.draining || (!this.host.committer.atomic && this.cycle.hasOutput)) {
      this.flush()
    } else if (!this.cancelTimer) {
      this.cancelTimer = this.host.clock.after(wait, () => {
        this.cancelTimer = undefined
        this.schedule()
      })
    }
  }

  private flush(): void {
    const { committer, clock, commitInterval } = this.host
    const generation = this.generation
    const cycle = this.cycle
    this.cycle = new Cycle(this.host.writers.length)
    this.inFlight = cycle.size
    const due = committer.atomic || this.draining || clock.monotonic() - this.lastCommit >= commitInterval
    const delta = due && this.position !== undefined ? { position: this.position, state: this.state.takeChanges() } : undefined
    if (due) {
      this.lastCommit = clock.monotonic()
      this.unsaved = false
    }
    this.flushing = committer
      .write(this.info, delta, transaction => this.writeAll(cycle, transaction))
      .catch((error: Error) => (this.stopped || generation !== this.generation ? undefined : this.onFailure(error)))
      .finally(() => {
        this.flushing = undefined
        this.inFlight = 0
        this.wake?.()
        this.schedule()
      })
  }

  /** A message that cannot be processed stops nothing: there is a dlq, or a source that tells its sender, or the file says to drop it. */
  get buries(): boolean {
    return this.host.dlq !== undefined || this.host.source.reject !== undefined || this.host.dropsDead
  }

  /** @returns false when there is no such place. */
  bury(cycle: Cycle, message: Message, failure: Failure): boolean {
    const { dlq, source, pipeline, clock } = this.host
    replayOf(message)?.taken(message)
    if (dlq) cycle.dead.push(deadLetter(message, failure, pipeline, clock.now()))
    if (source.reject) cycle.refused.push({ message, ...failure })
    return this.buries
  }

  private async writeAll(cycle: Cycle, transaction?: Transaction): Promise<void> {
    const { writers, dlq, committer, source } = this.host
    const alone = { signal: this.host.signal, lane: this.info }
    const together = { ...alone, transaction }
    const contextOf = (writer: Writer): WriteContext => (writer.joins(committer.scope) ? together : alone)
    const refusals = await Promise.all(writers.map((writer, i) => writer.write(cycle.outputs[i], contextOf(writer))))
    refusals.forEach((refused, i) => {
      const { name, at } = writers[i].step
      for (const { message, error } of refused) {
        const failure = { step: name, at, error }
        if (!this.bury(cycle, message, failure)) throw new UnhandledRecord(message, failure)
      }
    })
    if (cycle.dead.length > 0) {
      // Steps fail one after the other; a replay wants them as they were read. What no record stands behind comes last.
      cycle.dead.sort((a, b) => rank(a) - rank(b))
      const [lost] = await dlq!.write(cycle.dead, contextOf(dlq!))
      if (lost) throw new EnvironmentError(`the dead-letter queue refused a record: ${lost.error.message}`, lost.error)
    }
    if (cycle.refused.length === 0) return
    const [untold] = source.reject!(cycle.refused) ?? []
    if (!untold || dlq || this.host.dropsDead) return
    throw new UnhandledRecord(untold.message, cycle.refused.find(r => r.message === untold.message)!)
  }
}

const rank = (m: Message): number => (laneOffset(m) < 0 ? Number.MAX_SAFE_INTEGER : laneOffset(m))
