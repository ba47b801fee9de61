/** Gives the results of a step over many records their identity, which is the same when they are made again after a crash. */
import type { Json, Message, State } from '../../contract/plugin.ts'

const KEY = 'generation'

export class Results {
  private readonly step: string
  private readonly meta: State<Json>
  private generation: string | undefined

  /** `meta`: a store of the step, which remembers the generation for a result that no record precedes after a restart. */
  constructor(step: string, meta: State<Json>) {
    this.step = step
    this.meta = meta
    this.generation = (meta.get(KEY) as string | null | undefined) ?? undefined
  }

  /** Before anything is made of a batch. A batch has one generation; behind a link each record has its own, and the link's lane none. */
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
