/** The dlq as a source: returns the selected, unprocessed dead letters as original records, up to the end at the start of the run. */
import type { Batch, DeadLetterReader, DeadLetterLane, Message, Source, SourceContext } from '../contract/plugin.ts'
import type { ReplayEntries } from './replay-entry.ts'
import type { DeadLetter } from '../kit/dead-letter/read.ts'
import type { Marks } from './marks.ts'
import { markLane } from './mark-store.ts'
import { scan, type Scanned } from './scan.ts'

export interface DeadLetterSourceOptions {
  readonly box: DeadLetterReader
  readonly entries: ReplayEntries
  readonly select: (letter: DeadLetter) => boolean
  /** Marks by lane, created again at each claim of the lane. */
  readonly marks: ReadonlyMap<string, Marks>
  /** Records per second. */
  readonly rate?: number
  readonly max?: number
}

/** Records per batch: small, so that a rate is even and a crash repeats little work. */
const BATCH = 500

interface Lane {
  readonly info: DeadLetterLane
  pages: AsyncGenerator<Scanned[]> | undefined
  rest: readonly Scanned[]
  ended: boolean
  /** Skipped dead letters are counted up to this offset. */
  counted: number
}

export class DeadLetterSource implements Source {
  /** Number of selected dead letters that are not replayed, by reason. */
  readonly left = new Map<string, number>()
  private readonly options: DeadLetterSourceOptions
  private readonly ctx: SourceContext
  private lanes: Lane[] = []
  private turn = 0
  /** No record is returned before this clock time. */
  private notBefore = 0
  private readonly chosen = new Set<string>()

  constructor(options: DeadLetterSourceOptions, ctx: SourceContext) {
    this.options = options
    this.ctx = ctx
  }

  async open(): Promise<void> {
    const infos = await this.options.box.lanes()
    await this.ctx.assign(infos.map(({ id }) => markLane(id, this.ctx.step)))
    for (const { id, to } of infos) this.options.marks.get(id)!.fit(to)
    this.lanes = infos.map(info => ({ info, pages: undefined, rest: [], ended: false, counted: -1 }))
  }

  async read(signal: AbortSignal): Promise<Batch | null> {
    for (;;) {
      signal.throwIfAborted()
      await this.pace(signal)
      const open = this.lanes.filter(l => !l.ended)
      if (open.length === 0) return null
      const lane = open[this.turn++ % open.length]
      const batch = await this.next(lane)
      if (batch) return batch
    }
  }

  /** Reading continues at the marks, not at the position. */
  async seek(id: string): Promise<void> {
    const lane = this.lanes.find(l => l.info.id === id)
    if (!lane) return
    lane.pages = undefined
    lane.rest = []
    lane.ended = false
  }

  caughtUp(id: string): boolean {
    return this.lanes.find(l => l.info.id === id)?.ended ?? true
  }

  private async next(lane: Lane): Promise<Batch | undefined> {
    const { info } = lane
    if (lane.rest.length === 0) {
      const pages = (lane.pages ??= scan(this.options.box, info, this.options.marks.get(info.id)!.low))
      const page = await pages.next().catch((error: Error) => {
        // A generator that threw has ended; the next one starts at the marks.
        if (lane.pages === pages) lane.pages = undefined
        throw error
      })
      // A seek happened in between.
      if (lane.pages !== pages) return undefined
      if (page.done) {
        lane.ended = true
        return undefined
      }
      lane.rest = page.value
    }
    const { rate = Number.POSITIVE_INFINITY } = this.options
    const size = Math.max(1, Math.min(BATCH, Math.floor(rate / 10)))
    const piece = lane.rest.slice(0, size)
    lane.rest = lane.rest.slice(size)
    const messages = piece.flatMap(scanned => this.message(lane, scanned))
    if (messages.length === 0) return undefined
    this.notBefore = this.ctx.clock.monotonic() + (messages.length * 1000) / rate
    return { lane: info.id, messages, position: piece.at(-1)!.letter.offset + 1 }
  }

  private message(lane: Lane, { letter, gap }: Scanned): Message[] {
    const { select, entries, marks, max = Number.POSITIVE_INFINITY } = this.options
    const done = marks.get(lane.info.id)!
    if (done.has(letter.offset) || !select(letter)) return []
    const entry = entries.find(letter)
    if (typeof entry === 'string') {
      if (letter.offset > lane.counted) this.left.set(entry, (this.left.get(entry) ?? 0) + 1)
      lane.counted = Math.max(lane.counted, letter.offset)
      return []
    }
    if (!this.chosen.has(letter.id) && this.chosen.size >= max) return []
    if (max !== Number.POSITIVE_INFINITY) this.chosen.add(letter.id)
    const taken = (): void => marks.get(lane.info.id)!.mark(letter.offset, gap, 'replayed')
    return [entries.message(letter, entry, gap, taken)]
  }

  private async pace(signal: AbortSignal): Promise<void> {
    const wait = this.notBefore - this.ctx.clock.monotonic()
    if (!(wait > 0)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, wait)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    clearTimeout(timer)
    signal.throwIfAborted()
  }
}
