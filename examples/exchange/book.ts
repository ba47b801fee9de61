/** An order book that changes at random, the same way for the same seed. */

export type Level = readonly [price: string, size: string]
export interface Change {
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

const DEPTH = 40
const ZERO = '0.00000000'

export class Book {
  /** Price -> size, as they are printed. */
  readonly bids = new Map<string, string>()
  readonly asks = new Map<string, string>()
  private readonly random: () => number
  private middle = 5_000_000

  constructor(seed: number) {
    this.random = randomOf(seed)
    for (let i = 1; i <= DEPTH; i++) {
      this.bids.set(price(this.middle - i * 10), this.size())
      this.asks.set(price(this.middle + i * 10), this.size())
    }
  }

  get bestBid(): string {
    return [...this.bids.keys()].reduce((a, b) => (Number(a) > Number(b) ? a : b))
  }
  get bestAsk(): string {
    return [...this.asks.keys()].reduce((a, b) => (Number(a) < Number(b) ? a : b))
  }

  /** Best first. */
  levels(depth = Number.POSITIVE_INFINITY): Change {
    const sorted = (side: Map<string, string>, sign: number): Level[] =>
      [...side].toSorted(([a], [b]) => sign * (Number(a) - Number(b))).slice(0, depth)
    return { bids: sorted(this.bids, -1), asks: sorted(this.asks, 1) }
  }

  /** A few levels get another size; a size of 0 takes the level away. */
  change(): Change {
    this.middle += Math.round((this.random() - 0.5) * 4) * 10
    const bids = new Map<string, string>()
    const asks = new Map<string, string>()
    for (let n = 0; n < 1 + this.random() * 4; n++) {
      const away = (1 + Math.floor(this.random() * DEPTH)) * 10
      const side = this.random() < 0.5 ? bids : asks
      side.set(price(this.middle + (side === bids ? -away : away)), this.random() < 0.3 ? ZERO : this.size())
    }
    // No bid stays above an ask.
    for (const p of this.bids.keys()) if (Number(p) >= this.middle / 100) bids.set(p, ZERO)
    for (const p of this.asks.keys()) if (Number(p) <= this.middle / 100) asks.set(p, ZERO)
    apply(this.bids, bids)
    apply(this.asks, asks)
    return { bids: [...bids], asks: [...asks] }
  }

  private size(): string {
    return (0.001 + this.random() * 5).toFixed(8)
  }
}

export function apply(side: Map<string, string>, levels: Iterable<Level>): void {
  for (const [p, size] of levels) {
    if (Number(size) === 0) side.delete(p)
    else side.set(p, size)
  }
}

/** Cents, printed with trailing zeros, as exchanges do. */
const price = (cents: number): string => (cents / 100).toFixed(2)

/** mulberry32 */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
