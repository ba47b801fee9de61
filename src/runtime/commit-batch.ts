/** What one lane has produced and not yet written. Filled by the chain and its router, written by `batch-writer.ts`. */
import type { Message, Position, Rejection } from '../contract/plugin.ts'
import type { Failure } from '../kit/dead-letter/dead-letters.ts'
import type { StepMeter } from './telemetry/meters.ts'

/** What is to be counted once its checkpoint is durable, so that a record which is read again after a restore counts once. */
export class Tally {
  /** Source messages. */
  inputs = 0
  /** By the step that each message failed at. */
  readonly failed: string[] = []
  /** By sink: messages that a transaction holds. */
  readonly written: [meter: StepMeter, messages: number][] = []

  add({ inputs, failed, written }: Tally): void {
    this.inputs += inputs
    for (const step of failed) this.failed.push(step)
    this.written.push(...written)
  }
}

/** Written, committed and discarded as a unit. */
export class CommitBatch {
  /** Per sink, in the order of the pipeline's sinks. */
  readonly outputs: Message[][]
  readonly dead: Message[] = []
  /** For a source that reports rejections to its senders. */
  readonly rejected: (Rejection & Failure)[] = []
  /** Where the source reads on after this batch; undefined: nothing was read. */
  position: Position | undefined
  readonly tally = new Tally()
  /** Source bytes that the held messages keep in memory, as of the last `weigh`. */
  bytes = 0
  /** How much of each list has been weighed. */
  private readonly weighed: number[]

  constructor(sinks: number) {
    this.outputs = Array.from({ length: sinks }, () => [])
    this.weighed = Array.from({ length: sinks + 1 }, () => 0)
  }

  /** Adds what has come since the last time. Neighbors made of one record hold its bytes once. */
  weigh(): void {
    let last: Buffer | null = null
    for (let i = 0; i < this.weighed.length; i++) {
      const list = this.outputs[i] ?? this.dead
      for (let n = this.weighed[i]; n < list.length; n++) {
        const { payload } = list[n]
        if (payload !== last && payload !== null) this.bytes += payload.length
        last = payload
      }
      this.weighed[i] = list.length
    }
  }

  /**
   * What back-pressure looks at: messages held. Inputs that produced nothing hold no memory, but are to be read again after a crash, so they
   * count a tenth.
   */
  get size(): number {
    let n = this.tally.inputs / 10
    for (const list of this.outputs) n += list.length
    return n + this.dead.length
  }

  get empty(): boolean {
    return this.position === undefined && !this.hasOutput
  }

  /** Something has to be written, not only a position moved. */
  get hasOutput(): boolean {
    return this.dead.length + this.rejected.length > 0 || this.outputs.some(list => list.length > 0)
  }

  /** Lengths to go back to when a batch has to be undone. */
  mark(): number[] {
    return [...this.outputs.map(list => list.length), this.dead.length, this.rejected.length, this.tally.failed.length]
  }

  undo(mark: number[]): void {
    this.outputs.forEach((list, i) => (list.length = mark[i]))
    this.dead.length = mark[this.outputs.length]
    this.rejected.length = mark[this.outputs.length + 1]
    this.tally.failed.length = mark[this.outputs.length + 2]
  }
}
