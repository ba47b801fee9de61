/** The unwritten output of a lane. The chain and its router fill it; `batch-writer.ts` writes it. */
import type { Message, Position, Rejection } from '../contract/plugin.ts'
import type { Failure } from '../kit/dead-letter/dead-letters.ts'
import type { StepMeter } from './telemetry/meters.ts'

/** Counts that become final when the checkpoint is durable, so that a record that is read again after a restore counts once. */
export class Tally {
  /** Source messages. */
  inputs = 0
  /** The failed step of each message that failed. */
  readonly failed: string[] = []
  /** Messages per sink that are part of a transaction. */
  readonly written: [meter: StepMeter, messages: number][] = []

  add({ inputs, failed, written }: Tally): void {
    this.inputs += inputs
    for (const step of failed) this.failed.push(step)
    this.written.push(...written)
  }
}

/** Outputs, dead letters and rejections that are written, committed and discarded as a unit. */
export class CommitBatch {
  /** By sink, in the order of the sinks of the pipeline. */
  readonly outputs: Message[][]
  readonly dead: Message[] = []
  /** For a source that reports rejections to its senders. */
  readonly rejected: (Rejection & Failure)[] = []
  /** Position after this batch; undefined: nothing was read. */
  position: Position | undefined
  readonly tally = new Tally()
  /** Source bytes that the messages keep in memory, as of the last `weigh`. */
  bytes = 0
  /** Number of weighed messages in each list. */
  private readonly weighed: number[]

  constructor(sinks: number) {
    this.outputs = Array.from({ length: sinks }, () => [])
    this.weighed = Array.from({ length: sinks + 1 }, () => 0)
  }

  /** Adds the messages since the last call. Consecutive messages made from one record count its bytes once. */
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
   * The size for backpressure: the number of messages. Inputs without output occupy no memory, but are read again after a crash, so each
   * counts a tenth.
   */
  get size(): number {
    let n = this.tally.inputs / 10
    for (const list of this.outputs) n += list.length
    return n + this.dead.length
  }

  get empty(): boolean {
    return this.position === undefined && !this.hasOutput
  }

  /** There is something to write besides the position. */
  get hasOutput(): boolean {
    return this.dead.length + this.rejected.length > 0 || this.outputs.some(list => list.length > 0)
  }

  /** The lengths of the lists, for `undo`. */
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
