/** Finds the one message that makes a transform throw, by running message by message over the stretch in which it must be. */
import { EnvironmentError, type Message, laneOffset } from '../contract/plugin.ts'
import type { Chain } from './chain.ts'
import type { Cycle } from './cycle.ts'
import { type Failure, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'

/** A batch is given back unprocessed: it lies behind the lane's position, and whoever reads on from there gets it again. */
export class GivenBack extends Error {}

export class PoisonHunt {
  /** Offset of the last message to be careful with; -1: not hunting. */
  private until = -1
  /** Found so far, by offset. */
  private readonly found = new Map<number, Failure>()

  get active(): boolean {
    return this.until >= 0
  }

  /** From the next rewind on, be careful up to this offset. */
  start(until: number): void {
    this.until = Math.max(this.until, until)
  }

  /** Rejects at a poison message not met before; the lane is then rewound, and the next pass kills it without running it. */
  async run(messages: readonly Message[], chain: Chain, kill: (message: Message, failure: Failure) => void): Promise<void> {
    for (const m of messages) {
      const known = this.found.get(laneOffset(m))
      if (known) kill(m, known)
      else {
        try {
          await chain.run([m])
        } catch (error) {
          if (!(error instanceof UnhandledRecord)) this.found.set(laneOffset(m), culprit(chain, error as Error))
          throw error
        }
      }
      if (laneOffset(m) >= this.until) {
        this.until = -1
        this.found.clear()
      }
    }
  }
}

/**
 * Runs again, message by message, what threw as a batch: for chains without state, in which nothing needs to be undone.
 * @throws what says nothing about a message: a `GivenBack`, an `EnvironmentError`, what `kill` throws.
 */
export async function oneByOne(
  messages: readonly Message[],
  chain: Chain,
  cycle: Cycle,
  kill: (message: Message, failure: Failure) => void,
): Promise<void> {
  for (const m of messages) {
    const mark = cycle.mark()
    try {
      await chain.run([m])
    } catch (error) {
      cycle.undo(mark)
      if (error instanceof GivenBack || error instanceof EnvironmentError) throw error
      const failure = culprit(chain, error as Error)
      chain.discard()
      kill(m, failure)
    }
  }
}

/** The stage that threw. */
function culprit(chain: Chain, error: Error): Failure {
  const stage = chain.active!
  return { step: stage.name, at: stage.at, error }
}
