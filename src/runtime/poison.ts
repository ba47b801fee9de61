/**
 * Finds the one message that makes a transform throw: runs the affected range message by message.
 *
 * If the message was made from many records, such as the result of a window, the result itself fails. The record that closes the window is
 * not the cause: without it, the next record would close the window.
 */
import { EnvironmentError, type Message, laneOffset } from '../contract/plugin.ts'
import type { Chain, Stage, Suspects } from './chain.ts'
import type { CommitBatch } from './commit-batch.ts'
import { type Failure, UnhandledRecord } from '../kit/dead-letter/dead-letters.ts'

/** A batch was abandoned unprocessed. It is after the committed position of the lane, so it is read again. */
export class BatchAbandoned extends Error {}

/** Maximum number of remembered results. Without a limit, a search for a result that is different each time would never end. */
const MAX_RESULTS = 1000

export class PoisonSearch {
  /** Messages up to this offset run one by one; -1: no search. */
  private until = -1
  /** Failures found so far, by offset. */
  private readonly found = new Map<number, Failure>()
  /** Failures of results found so far, by stage and result. */
  private readonly results = new Map<string, Failure>()
  /** Where a result made a step throw: in a batch, or in a hook without messages. */
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

  /** Number of results that are known to make a step throw. */
  get known(): number {
    return this.results.size
  }

  /** Whether another search can find more: not if a search is running and has found nothing since `known`. */
  canFind(known: number): boolean {
    return this.cause === undefined || this.known > known
  }

  /** Messages up to this offset run one by one after the next restore. */
  start(until: number): void {
    this.until = Math.max(this.until, until)
    this.cause ??= 'batch'
  }

  /** Results that windows emit after silence or at the end run one by one after the next restore. */
  startHook(): void {
    this.cause = 'hook'
  }

  /** Ends the search: the batch or hook that started it has succeeded. */
  settle(cause: 'batch' | 'hook'): void {
    if (this.cause !== cause || this.active) return
    this.cause = undefined
    this.results.clear()
  }

  /** Call it before the chain runs. */
  watch(chain: Chain): void {
    chain.suspects = this.cause === undefined ? undefined : this.suspects
  }

  /**
   * Rejects at a new poison message. The lane then restores its checkpoint, and the next pass dead-letters the message without running it.
   */
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

/** Several messages can be made from one result: copies of a `route`, or elements of a list. */
const idOf = (stage: Stage, { result, part }: Message): string => `${stage.name} ${JSON.stringify([result, part])}`

/**
 * Repeats a failed batch message by message: for chains without state, where nothing must be undone.
 * @param messages as the source made them, without the changes of the first run
 * @throws errors that do not concern a message: `BatchAbandoned`, `EnvironmentError`, and errors of `deadLetter`
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

/** The step that threw, with its error. */
function failedStep(chain: Chain, error: Error): Failure {
  const stage = chain.active!
  return { step: stage.name, at: stage.at, error }
}
