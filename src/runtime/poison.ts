/**
 * Finds the one message that makes a transform throw, by running message by message over the stretch in which it must be.
 *
 * A message that stands for many records, such as the result of a window, is to blame itself. The record that closes the window is not:
 * without it the next one would close it.
 */
import { EnvironmentError, type Message, laneOffset } from '../contract/plugin.ts'
import type { Chain, Stage, Suspects } from './chain.ts'
import type { CommitBatch } from './commit-batch.ts'
import { type Failure, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'

/** A batch is abandoned unprocessed: it lies behind the lane's committed position, so the next reader gets it again. */
export class BatchAbandoned extends Error {}

/** So many results are known at a time. With more, a result that is not the same each time it is made would be looked for forever. */
const MAX_RESULTS = 1000

export class PoisonSearch {
  /** Messages up to this offset run one by one; -1: no search. */
  private until = -1
  /** Found so far, by offset. */
  private readonly found = new Map<number, Failure>()
  /** Results found so far, by stage and identity. */
  private readonly results = new Map<string, Failure>()
  /** What a result made fail: a batch, or a call without messages. */
  private cause: 'batch' | 'hook' | undefined
  private readonly suspects: Suspects = {
    known: (stage, result) => this.results.get(idOf(stage, result)),
    found: (stage, result, failure) => {
      if (this.results.size < MAX_RESULTS) this.results.set(idOf(stage, result), failure)
    },
  }

  get active(): boolean {
    return this.until >= 0
  }

  /** How many results are known to make a step throw. */
  get known(): number {
    return this.results.size
  }

  /** May another search find more? Not where one is under way and has found nothing since `known`. */
  canFind(known: number): boolean {
    return this.cause === undefined || this.known > known
  }

  /** After the next restore, run one by one up to this offset. */
  start(until: number): void {
    this.until = Math.max(this.until, until)
    this.cause ??= 'batch'
  }

  /** After the next restore, run one by one what windows give out in silence or at the end. */
  startHook(): void {
    this.cause = 'hook'
  }

  /** What made the search necessary got through. */
  settle(cause: 'batch' | 'hook'): void {
    if (this.cause !== cause || this.active) return
    this.cause = undefined
    this.results.clear()
  }

  /** Before the chain is called. */
  watch(chain: Chain): void {
    chain.suspects = this.cause === undefined ? undefined : this.suspects
  }

  /** Rejects at a poison message not met before; the lane then restores its checkpoint, and the next pass dead-letters the message without running it. */
  async run(messages: readonly Message[], chain: Chain, deadLetter: (message: Message, failure: Failure) => void): Promise<void> {
    for (const m of messages) {
      const known = this.found.get(laneOffset(m))
      if (known) deadLetter(m, known)
      else {
        const results = this.known
        try {
          await chain.run([m])
        } catch (error) {
          const isRecord = this.known === results
          if (isRecord && !(error instanceof UnhandledRecord)) this.found.set(laneOffset(m), failedStep(chain, error as Error))
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

const idOf = (stage: Stage, { result }: Message): string => `${stage.name} ${JSON.stringify(result)}`

/**
 * Runs again, message by message, what threw as a batch: for chains without state, in which nothing needs to be undone.
 * @param messages as the source made them, for the first steps have changed those that ran
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
