/** Reads a dlq from front to back. */
import type { DeadLetterLane, DeadLetterReader } from '../contract/plugin.ts'
import { type DeadLetter, readDeadLetter } from '../kit/dead-letter/read.ts'

export interface Scanned {
  readonly letter: DeadLetter
  /** First of the offsets right before it that no record has (any more). */
  readonly gap: number
}

/** Page by page, from `low` on: everything before it is of no interest. */
export async function* scan(box: DeadLetterReader, lane: DeadLetterLane, low: number): AsyncGenerator<Scanned[]> {
  let gap = low
  let offset = Math.max(low, lane.from)
  for (;;) {
    const { messages, next, end } = await box.read(lane, offset)
    const page = messages
      .filter(m => m.offset >= offset)
      .map(m => {
        const scanned = { letter: readDeadLetter(m, lane.partition), gap }
        gap = m.offset + 1
        return scanned
      })
    if (page.length > 0) yield page
    if (end) return
    offset = next
  }
}
