/** The result of a reader of normalized order books. */
import { apply, type Level } from '../../examples/exchange/book.ts'

export interface BookMessage {
  readonly type: 'orderbook'
  readonly exchange: string
  readonly symbol: string
  readonly bids: Level[]
  readonly asks: Level[]
  readonly sequence: number | null
  readonly snapshot: boolean
  readonly ts: number
}

export class FeedBook {
  readonly bids = new Map<string, string>()
  readonly asks = new Map<string, string>()
  snapshots = 0
  sequence: number | null = null

  add(message: BookMessage): void {
    if (message.snapshot) {
      this.bids.clear()
      this.asks.clear()
      this.snapshots++
    }
    apply(this.bids, message.bids)
    apply(this.asks, message.asks)
    this.sequence = message.sequence
  }
}

/** For comparing two of them: price -> size, sorted. */
export const sides = (book: { bids: ReadonlyMap<string, string>; asks: ReadonlyMap<string, string> }) => ({
  bids: Object.fromEntries([...book.bids].toSorted()),
  asks: Object.fromEntries([...book.asks].toSorted()),
})
