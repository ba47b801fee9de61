/** What becomes of the messages of a lane that cannot be processed: one that a step refuses, and one somewhere in a batch that made a step throw. */
import { EnvironmentError, type Message, laneOffset } from '../contract/plugin.ts'
import { isOutside } from './backfill.ts'
import type { Chain } from './chain.ts'
import { type Failure, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'
import type { LaneHost } from './lane-host.ts'
import { GivenBack, oneByOne, PoisonHunt } from './poison.ts'
import type { Settler } from './settler.ts'

export interface FailingLane {
  /** That of the last claim. */
  chain(): Chain
  /** Its transforms keep state: when one throws, half a batch is in it. */
  stateful(): boolean
  /** Back to the checkpoint, unless the lane is on its way there or taken away. */
  rewind(cause: Error): Promise<void>
  /** A batch is left unprocessed, for the run is ending. */
  giveBack(): Promise<void>
}

export class Failures {
  private readonly host: LaneHost
  private readonly settler: Settler
  private readonly lane: FailingLane
  private readonly hunt = new PoisonHunt()
  /** Kept beside the throw, in case a plugin swallows it. */
  private unhandled: UnhandledRecord | undefined

  constructor(host: LaneHost, settler: Settler, lane: FailingLane) {
    this.host = host
    this.settler = settler
    this.lane = lane
  }

  /** Runs a batch through the chain, message by message where one of them is known to be poison. */
  run(messages: Message[]): void | Promise<void> {
    const chain = this.lane.chain()
    return this.hunt.active ? this.hunt.run(messages, chain, (m, f) => this.kill(m, f)) : chain.run(messages)
  }

  /** @throws {UnhandledRecord} when there is no place for a message that cannot be processed. */
  kill(message: Message, failure: Failure): void {
    if (this.host.bounds && isOutside(message, this.host.bounds)) return
    if (!this.settler.bury(this.settler.cycle, message, failure)) throw (this.unhandled ??= new UnhandledRecord(message, failure))
  }

  /** @throws {UnhandledRecord} what `kill` has thrown. */
  check(): void {
    if (this.unhandled) throw this.unhandled
  }

  /** A transform threw. True: the batch has been dealt with all the same, message by message. */
  async survive(messages: readonly Message[], error: Error, stale: () => boolean): Promise<boolean> {
    const end = messages.at(-1)
    const last = end ? laneOffset(end) : -1
    const stateful = this.lane.stateful()
    const hopeless =
      error instanceof UnhandledRecord ||
      error instanceof EnvironmentError ||
      !this.settler.buries ||
      (stateful && (!this.host.source.seek || last < 0))
    if (hopeless) {
      this.host.fatal(error)
      return false
    }
    if (stateful || this.hunt.active) {
      this.hunt.start(last)
      await this.settler.flushing
      await this.lane.rewind(error)
      return false
    }
    // Without state nothing needs to be undone: the batch runs again, message by message.
    try {
      await oneByOne(messages, this.lane.chain(), this.settler.cycle, (message, failure) => stale() || this.kill(message, failure))
      return true
    } catch (cause) {
      if (cause instanceof UnhandledRecord) throw cause
      this.lane.chain().discard()
      if (cause instanceof GivenBack) await this.lane.giveBack()
      else this.host.fatal(cause as Error)
      return false
    }
  }
}
