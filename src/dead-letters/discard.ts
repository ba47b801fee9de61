/** Marks dead letters as processed without replaying them. */
import type { DeadLetterReader, Logger } from '../contract/plugin.ts'
import { LaneState } from '../runtime/state.ts'
import type { DeadLetter } from '../kit/dead-letter/read.ts'
import { Marks, readMarks, STORE } from './marks.ts'
import { markLane, openMarkStore, quietContext, type WithDlq } from './mark-store.ts'
import { scan } from './scan.ts'

/** @returns the number of dead letters; `dry` only counts them. @throws {FencedError} if a replay or another discard has started */
export async function discard(options: {
  readonly pipeline: WithDlq
  readonly box: DeadLetterReader
  readonly select: (letter: DeadLetter) => boolean
  readonly dry: boolean
  readonly log: Logger
}): Promise<number> {
  const { pipeline, box, select, dry, log } = options
  const { store } = openMarkStore(pipeline, quietContext(log))
  let count = 0
  try {
    for (const lane of await box.lanes()) {
      const info = markLane(lane.id, pipeline.dlq.name)
      const checkpoint = dry ? await store.peek?.(info) : await store.claim(info)
      const state = new LaneState(checkpoint)
      const marks = dry ? readMarks(checkpoint) : new Marks(state.open(STORE))
      marks.fit(lane.to)
      for await (const page of scan(box, lane, marks.low)) {
        let changed = false
        for (const { letter, gap } of page) {
          if (marks.has(letter.offset) || !select(letter)) continue
          count++
          if (dry) continue
          marks.mark(letter.offset, gap, 'discarded')
          changed = true
        }
        if (changed) await store.save(info, { position: page.at(-1)!.letter.offset + 1, state: state.takeChanges() })
      }
      if (!dry) await store.release(info)
    }
  } finally {
    await store.close()
  }
  return count
}
