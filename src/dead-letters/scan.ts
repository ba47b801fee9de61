/** Reads a dlq from front to back. */
import type { LetterLane, Letters } from '../contract/plugin.ts'
import { type Letter, readLetter } from '../kit/dead-letter/letter.ts'

export interface Scanned {
  readonly letter: Letter
  /** First of the offsets right before it that no record has (any more). */
  readonly gap: number
}

/** Page by page, from `low` on: everything before it is of no interest. */
export async function* scan(box: Letters, lane: LetterLane, low: number): AsyncGenerator<Scanned[]> {
  let gap = low
  let offset = Math.max(low, lane.from)
  for (;;) {
    const { messages, next, end } = await box.read(lane, offset)
    const page = messages
      .filter(m => m.offset >= offset)
      .map(m => {
        const scanned = { letter: readLetter(m, lane.partition), gap }
        gap = m.offset + 1
        return scanned
      })
    if (page.length > 0) yield page
    if (end) return
    offset = next
  }
}
