/** Finds the one message that makes a transform throw, by running message by message over the stretch in which it must be. */
import { EnvironmentError, type Message, laneOffset } from '../contract/plugin.ts'
import type { Chain } from './chain.ts'
import type { CommitBatch } from './commit-batch.ts'
import { type Failure, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'

/** A batch is abandoned unprocessed: it lies behind the lane's committed position, so the next reader gets it again. */
export class BatchAbandoned extends Error {}

export class PoisonSearch {
  /** Messages up to this offset run one by one; -1: no search. */
  private until = -1
  /** Found so far, by offset. */
  private readonly found = new Map<number, Failure>()

  get active(): boolean {
    return this.until >= 0
  }

  /** After the next restore, run one by one up to this offset. */
  start(until: number): void {
    this.until = Math.max(this.until, until)
  }

  /** Rejects at a poison message not met before; the lane then restores its checkpoint, and the next pass dead-letters the message without running it. */
  async run(messages: readonly Message[], chain: Chain, deadLetter: (message: Message, failure: Failure) => void): Promise<void> {
    for (const m of messages) {
      const known = this.found.get(laneOffset(m))
      if (known) deadLetter(m, known)
      else {
        try {
          await chain.run([m])
        } catch (error) {
          if (!(error instanceof UnhandledRecord)) this.found.set(laneOffset(m), failedStep(chain, error as Error))
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
 * @throws what says nothing about a message: `BatchAbandoned`, `EnvironmentError`, what `deadLetter` throws.
 */
export async function processOneByOne(
  messages: readonly Message[],
  chain: Chain,
  batch: CommitBatch,
  deadLetter: (message: Message, failure: Failure) => void,
): Promise<void> {
  for (const m of messages) {
    const mark = batch.mark()
    try {
      await chain.run([m])
    } catch (error) {
      batch.undo(mark)
      if (error instanceof BatchAbandoned || error instanceof EnvironmentError) throw error
      const failure = failedStep(chain, error as Error)
      chain.discard()
      deadLetter(m, failure)
    }
  }
}

/** The step that threw, with what it threw. */
function failedStep(chain: Chain, error: Error): Failure {
  const stage = chain.active!
  return { step: stage.name, at: stage.at, error }
}
