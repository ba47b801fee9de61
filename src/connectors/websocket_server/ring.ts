/** The latest messages, numbered consecutively. Limited by number and bytes. */

export interface RingEntry {
  readonly n: number
  readonly topic: string
  readonly key: string | null
  /** The frame that clients receive; all of them receive the same bytes. */
  readonly data: Buffer
  /** Number of clients that it is on its way to. */
  holders: number
}

export class Ring {
  private readonly limit: number
  private readonly maxBytes: number
  /** Called with each entry before it is removed. */
  private readonly evict: (entry: RingEntry) => void
  /** Called when entries that left the ring exceed `maxBytes`: clients that hold an entry up to this number must release it. */
  private readonly cut: (n: number) => void
  private entries: RingEntry[] = []
  private head = 0
  private bytes = 0
  /** Entries that left the ring while they were on their way to clients, oldest first. */
  private held: RingEntry[] = []
  private heldBytes = 0
  /** Number of the newest message; 0: none yet. */
  last = 0

  constructor(limit: number, maxBytes: number, evict: (entry: RingEntry) => void, cut: (n: number) => void) {
    this.limit = limit
    this.maxBytes = maxBytes
    this.evict = evict
    this.cut = cut
  }

  /** Number of the oldest message in the ring; `last + 1` when it is empty. */
  get first(): number {
    return this.last - this.size + 1
  }

  get size(): number {
    return this.entries.length - this.head
  }

  get(n: number): RingEntry {
    return this.entries[this.head + n - this.first]
  }

  add(entry: RingEntry): void {
    while (this.size > 0 && (this.size >= this.limit || this.bytes + entry.data.length > this.maxBytes)) this.drop()
    this.entries.push(entry)
    this.bytes += entry.data.length
    this.last = entry.n
  }

  /** A client has taken it, or is gone. */
  release(entry: RingEntry): void {
    entry.holders--
    if (entry.holders === 0 && entry.n < this.first) this.heldBytes -= entry.data.length
  }

  private hold(entry: RingEntry): void {
    this.held = this.held.filter(e => e.holders > 0)
    this.held.push(entry)
    this.heldBytes += entry.data.length
    let excess = this.heldBytes - this.maxBytes
    for (let i = 0; excess > 0; i++) {
      this.cut(this.held[i].n)
      excess -= this.held[i].data.length
    }
  }

  private drop(): void {
    const entry = this.entries[this.head]
    this.evict(entry)
    this.head++
    this.bytes -= entry.data.length
    if (entry.holders > 0) this.hold(entry)
    if (this.head > 1000 && this.head * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.head)
      this.head = 0
    }
  }
}
