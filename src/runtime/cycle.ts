/** What one lane has produced and not yet written: the unit that is written, committed, and forgotten together. */
import type { Message, Position } from '../plugin.ts'

export class Cycle {
  /** Per sink, in the order of the pipeline's sinks. */
  readonly outputs: Message[][]
  readonly dead: Message[] = []
  /** Where the source goes on after this cycle; undefined: nothing was read. */
  position: Position | undefined
  /** Source messages read into it. */
  inputs = 0

  constructor(sinks: number) {
    this.outputs = Array.from({ length: sinks }, () => [])
  }

  /**
   * What back-pressure looks at: messages held. Inputs that produced nothing hold no memory, but are to be read again after a crash, so they
   * count a tenth.
   */
  get size(): number {
    let n = this.inputs / 10
    for (const list of this.outputs) n += list.length
    return n + this.dead.length
  }

  get empty(): boolean {
    return this.position === undefined && !this.hasOutput
  }

  /** Something has to be written, not only a position moved. */
  get hasOutput(): boolean {
    return this.dead.length > 0 || this.outputs.some(list => list.length > 0)
  }

  /** Lengths to go back to when a batch has to be undone. */
  mark(): number[] {
    return [...this.outputs.map(list => list.length), this.dead.length]
  }

  undo(mark: number[]): void {
    this.outputs.forEach((list, i) => (list.length = mark[i]))
    this.dead.length = mark[this.outputs.length]
  }
}
