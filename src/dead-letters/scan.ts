/** Reads a dlq in order. */
import type { DeadLetterLane, DeadLetterReader } from '../contract/plugin.ts'
import { type DeadLetter, readDeadLetter } from '../kit/dead-letter/read.ts'

export interface Scanned {
  readonly letter: DeadLetter
  /** Start of the offsets without records directly before the dead letter. */
  readonly gap: number
}

/** Reads pages from `low`: all earlier offsets are done. */
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
