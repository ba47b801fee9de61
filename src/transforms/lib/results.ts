/** Assigns identities to results that aggregate many records. A result that is produced again after a crash has the same identity. */
import type { Json, Message, State } from '../../contract/plugin.ts'

const KEY = 'generation'

export class Results {
  private readonly step: string
  private readonly meta: State<Json>
  private generation: string | undefined

  /** @param meta state that stores the generation, for results after a restart that no record precedes */
  constructor(step: string, meta: State<Json>) {
    this.step = step
    this.meta = meta
    this.generation = (meta.get(KEY) as string | null | undefined) ?? undefined
  }

  /** Call before processing a batch. A batch has one generation; after a link each record has its own, and the lane has none. */
  readFrom(messages: readonly Message[]): void {
    const origin = messages[0]?.origin
    if (origin === undefined || origin.at !== undefined || origin.generation === this.generation) return
    this.generation = origin.generation
    this.meta.set(KEY, this.generation ?? null)
  }

  name(message: Message, key: string | null, start: number, end: number, pane?: number): Message {
    const { step, generation } = this
    message.result = { step, key, start, end, pane, generation }
    return message
  }
}
