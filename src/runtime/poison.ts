/** Finds the one message that makes a transform throw, by running message by message over the stretch in which it must be. */
import { type Message, placeOf } from '../plugin.ts'
import type { Chain } from './chain.ts'
import { type Failure, UnhandledRecord } from './dead-letters.ts'

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
      const known = this.found.get(placeOf(m))
      if (known) kill(m, known)
      else {
        try {
          await chain.run([m])
        } catch (error) {
          if (!(error instanceof UnhandledRecord)) this.found.set(placeOf(m), culprit(chain, error as Error))
          throw error
        }
      }
      if (placeOf(m) >= this.until) {
        this.until = -1
        this.found.clear()
      }
    }
  }
}

/** The stage that threw. */
export function culprit(chain: Chain, error: Error): Failure {
  const stage = chain.active!
  return { step: stage.name, at: stage.at, error }
}
