/**
 * One lane: what its source keeps in order. It owns its transforms and their state; its `settler` writes what they emit, its
 * `failures` say what becomes of what they cannot process. Lane and settler, with `writer`, are where the runtime waits.
 *
 * The chain fills one cycle while at most one earlier cycle is being written, so cycles settle in order and the settled prefix
 * needs no tracking. Every recovery is the same: rewind, that is forget everything in memory, claim the checkpoint again
 * and read on from its position.
 */
import type { Batch, LaneInfo, Position } from '../contract/plugin.ts'
import { Chain } from './chain.ts'
import { exitInto } from './exit.ts'
import { Failures } from './failures.ts'
import type { LaneHost } from './lane-host.ts'
import { GivenBack } from './poison.ts'
import { Rewinder } from './rewinder.ts'
import { Settler } from './settler.ts'
import { LaneState } from './state.ts'

/** Ticks come every 250 ms; after so long without one the process did not run, ms. */
const FROZEN = 1000

export class Lane {
  readonly info: LaneInfo
  /** How often the source was sent back: after that it has something to read again. */
  seeks = 0
  private readonly host: LaneHost
  private readonly settler: Settler
  private readonly rewinder: Rewinder
  private readonly failures: Failures
  private chain!: Chain
  private state = new LaneState()
  private status: 'running' | 'rewinding' | 'dropped' = 'rewinding'
  /** Resolves when the chain has done with what it is running. While it runs no cycle is cut: half a batch's state is nobody's. */
  private busy: Promise<void> | undefined
  /** What was read before a rewind is void after it. */
  private generation = 0
  /** `clock.monotonic()` from and until when the lane is known to have been silent and caught up. */
  private silentSince: number
  private silentUntil: number
  private lastTick: number
  /** Ends the wait for a transform's peer. */
  private readonly dropped = new AbortController()

  constructor(info: LaneInfo, host: LaneHost) {
    this.info = info
    this.host = host
    this.settler = new Settler(info, host, error => this.recover(error))
    this.rewinder = new Rewinder(info, host, {
      rewinding: () => this.status === 'rewinding',
      claim: () => this.claim(),
      resume: () => {
        this.seeks++
        // Batches that arrived before the seek belonged to the old reading and were dropped by `accept`.
        if (this.status === 'rewinding') this.status = 'running'
      },
      drop: () => this.drop(),
    })
    this.failures = new Failures(host, this.settler, {
      chain: () => this.chain,
      stateful: () => this.state.opened,
      rewind: async cause => {
        this.rewinder.succeeded()
        if (this.status === 'running') await this.rewind(cause)
      },
      giveBack: () => this.giveBack(),
    })
    this.silentSince = this.silentUntil = this.lastTick = host.clock.monotonic()
  }

  /** Takes the lane over. @returns where to read from; undefined: never checkpointed. */
  async open(): Promise<Position | undefined> {
    // Lost since the last try: a claim would shut out whoever has it now.
    if (this.status === 'dropped') return undefined
    const position = await this.claim()
    if (this.status === 'rewinding') this.status = 'running'
    return position
  }

  /** Runs a batch through the chain; waits while the lane has too much on its way. */
  async accept(batch: Batch): Promise<void> {
    const generation = this.generation
    const stale = (): boolean => this.status !== 'running' || generation !== this.generation
    while (!stale() && this.settler.full) await this.settler.room()
    if (stale()) return
    const mark = this.settler.cycle.mark()
    const done = this.begin()
    try {
      const wait = this.failures.run(batch.messages)
      if (wait) await wait
      this.failures.check()
      if (stale()) return
    } catch (error) {
      if (stale()) return
      this.settler.cycle.undo(mark)
      this.chain.discard()
      if (error instanceof GivenBack) return await this.giveBack()
      if (!(await this.failures.survive(batch.messages, error as Error, stale)) || stale()) return
    } finally {
      done()
    }
    if (batch.messages.length > 0) this.silentSince = this.silentUntil = this.host.clock.monotonic()
    this.rewinder.succeeded()
    this.settler.advance(batch.position, batch.messages.length)
  }

  /**
   * Silence counts only as far as the source knows that there is nothing more to read. Of a time in which this process was stopped
   * or busy a source that is pushed to knows nothing: what came meanwhile still waits in a socket.
   */
  async tick(caughtUp: boolean | number): Promise<void> {
    const now = this.host.clock.monotonic()
    const frozen = now - this.lastTick > FROZEN
    this.lastTick = now
    if (caughtUp === false || (caughtUp === true && frozen) || this.status !== 'running') {
      this.silentSince = this.silentUntil = now
      return
    }
    this.silentUntil = caughtUp === true ? now : caughtUp
    if (this.busy || !this.chain.wantsIdle || this.silence <= 0) return
    await this.lifecycle(() => this.chain.onIdle(this.silence))
  }

  /** ms of caught-up silence. */
  get silence(): number {
    return Math.max(0, this.silentUntil - this.silentSince)
  }

  /** Nothing read and not yet settled. */
  get settled(): boolean {
    return this.settler.settled && !this.busy
  }

  /** Nothing is on the move: what is left waits for input or for the clock. Tests on a virtual clock go on from here. */
  get quiet(): boolean {
    return this.status === 'dropped' || (this.status === 'running' && !this.settler.flushing && !this.busy)
  }

  get load(): { inFlight: number; stateKeys: number } {
    return { inFlight: this.settler.load, stateKeys: this.state.size }
  }

  /** The input has ended: closes windows up to `until` and settles everything. */
  async end(until: number): Promise<void> {
    if (this.status === 'running') await this.lifecycle(() => this.chain.onEnd(until))
    await this.drain()
  }

  /** Writes and commits what is in memory; a lane that is being rewound has nothing that counts. */
  async drain(): Promise<void> {
    while (this.status === 'running' && !this.settled) {
      await this.busy
      if (this.status === 'running') await this.settler.drain()
    }
  }

  /** Resolves when a rewind that is under way is done. */
  async recovered(): Promise<void> {
    await this.rewinder.done()
  }

  async release(): Promise<void> {
    this.drop()
    await this.chain?.close()
    await this.host.committer.release(this.info)
  }

  /** The lane is somebody else's already: it is forgotten at once, and its transforms let go of what they hold. */
  abandon(): void {
    this.drop()
    void Promise.resolve(this.busy)
      .then(() => this.chain?.close())
      .catch((error: Error) => this.host.log.warn({ lane: this.info.id, error: error.message }, 'closing the steps of a lost lane failed'))
  }

  /** Forgets the lane at once: nothing more is written or committed for it. */
  drop(): void {
    this.status = 'dropped'
    this.settler.stop()
    this.dropped.abort()
  }

  /** The run is ending. Without state what came before the batch is still settled; with state half a batch is in it. */
  private async giveBack(): Promise<void> {
    if (!this.state.opened) return
    await this.settler.flushing
    this.drop()
  }

  private begin(): () => void {
    let resolve!: () => void
    const busy = new Promise<void>(r => (resolve = r))
    this.busy = busy
    this.settler.held = true
    return () => {
      if (this.busy === busy) {
        this.busy = undefined
        this.settler.held = false
      }
      resolve()
    }
  }

  private async lifecycle(hook: () => void | Promise<void>): Promise<void> {
    const before = this.settler.cycle.size
    const done = this.begin()
    try {
      await hook()
      this.failures.check()
    } catch (error) {
      if (error instanceof GivenBack) this.drop()
      else this.host.fatal(error as Error)
      return
    } finally {
      done()
    }
    if (this.settler.cycle.size !== before) this.settler.touch()
  }

  private async claim(): Promise<Position | undefined> {
    const checkpoint = await this.host.committer.claim(this.info)
    await this.chain?.close()
    this.state = new LaneState(checkpoint)
    const stages = this.host.stages(this.info, this.state)
    const { generation } = this
    const cycle = () => (generation === this.generation && this.status === 'running' ? this.settler.cycle : undefined)
    const exit = exitInto(cycle, this.info, this.host, this.dropped.signal, (message, failure) => this.failures.kill(message, failure))
    this.chain = new Chain([this.host.inlet, ...stages], exit)
    this.settler.reset(this.state, checkpoint?.position)
    this.silentSince = this.silentUntil = this.host.clock.monotonic()
    return checkpoint?.position
  }

  /** A write or a commit failed. */
  private async recover(error: Error): Promise<void> {
    if (this.status === 'dropped') return
    if (this.host.signal.aborted) return this.drop()
    if (!this.host.committer.retryable(error)) return this.host.fatal(error)
    this.host.log.warn({ lane: this.info.id, error: error.message }, 'rewinding the lane to its checkpoint')
    await this.rewind(error)
  }

  private rewind(cause: Error): Promise<void> {
    this.status = 'rewinding'
    this.generation++
    return this.rewinder.run(cause)
  }
}
