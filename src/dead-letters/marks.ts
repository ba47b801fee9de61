/**
 * The processed dead letters of one lane, as keyed state, which is committed with the outputs of their replay. All offsets below
 * `low` are done. Above it there is a bit per offset, in blocks, so the state of a partial replay stays small.
 */
import type { Checkpoint, State } from '../contract/plugin.ts'

/** State of a lane with the name `STORE`. */
export type MarkState = Pick<State<number | string>, 'get' | 'set' | 'delete' | 'entries'>
export const STORE = 'dlq.done'

const BLOCK = 1024
/** Longer ranges of offsets without records are not marked one by one. */
const MAX_GAP = 4096

export type Way = 'replayed' | 'discarded'

export class Marks {
  private readonly state: MarkState
  private readonly blocks = new Map<number, Buffer>()
  /** All earlier offsets are done. */
  low: number

  constructor(state: MarkState) {
    this.state = state
    this.low = Number(state.get('low') ?? 0)
    for (const [key, value] of state.entries())
      if (key.startsWith('b')) this.blocks.set(Number(key.slice(1)), Buffer.from(String(value), 'base64'))
  }

  /** Number of dead letters in all replays of this dlq. */
  count(way: Way): number {
    return Number(this.state.get(way) ?? 0)
  }

  has(offset: number): boolean {
    if (offset < this.low) return true
    const block = this.blocks.get(Math.floor(offset / BLOCK))
    const bit = offset % BLOCK
    return block !== undefined && (block[bit >> 3] & (1 << (bit & 7))) !== 0
  }

  /** @param gap start of the offsets without records directly before `offset`; they are marked too */
  mark(offset: number, gap: number, way: Way): void {
    if (this.has(offset)) return
    this.state.set(way, this.count(way) + 1)
    if (gap <= this.low) this.raise(offset + 1)
    else {
      const from = offset - gap > MAX_GAP ? offset : gap
      for (let o = from; o <= offset; o++) this.set(o)
    }
  }

  /** Resets marks beyond the end of the lane: its topic was deleted and created again. */
  fit(to: number): void {
    if (this.low <= to) return
    for (const n of this.blocks.keys()) this.state.delete(`b${n}`)
    this.blocks.clear()
    this.low = 0
    this.state.set('low', 0)
  }

  private set(offset: number): void {
    const n = Math.floor(offset / BLOCK)
    let block = this.blocks.get(n)
    if (!block) this.blocks.set(n, (block = Buffer.alloc(BLOCK / 8)))
    const bit = offset % BLOCK
    block[bit >> 3] |= 1 << (bit & 7)
    this.state.set(`b${n}`, block.toString('base64'))
  }

  private raise(to: number): void {
    let low = to
    while (this.has(low)) low++
    this.low = low
    this.state.set('low', low)
    for (const n of this.blocks.keys()) {
      if ((n + 1) * BLOCK > low) continue
      this.blocks.delete(n)
      this.state.delete(`b${n}`)
    }
  }
}

/** Read-only marks from a checkpoint that another instance may own. */
export function readMarks(checkpoint: Checkpoint | undefined): Marks {
  const map = new Map<string, number | string>()
  for (const [store, key, json] of checkpoint?.state ?? []) if (store === STORE) map.set(key, JSON.parse(json) as number | string)
  return new Marks(map as unknown as MarkState)
}
