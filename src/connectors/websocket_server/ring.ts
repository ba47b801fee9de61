/** The latest messages, numbered consecutively. Limited by number and bytes. */

export interface RingEntry {
  readonly n: number
  readonly topic: string
  readonly key: string | null
  /** The frame that clients receive. */
  readonly text: string
}

export class Ring {
  private readonly limit: number
  private readonly maxBytes: number
  /** Called with each entry before it is removed. */
  private readonly evict: (entry: RingEntry) => void
  private entries: RingEntry[] = []
  private head = 0
  private bytes = 0
  /** Number of the newest message; 0: none yet. */
  last = 0

  constructor(limit: number, maxBytes: number, evict: (entry: RingEntry) => void) {
    this.limit = limit
    this.maxBytes = maxBytes
    this.evict = evict
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
    while (this.size > 0 && (this.size >= this.limit || this.bytes + entry.text.length > this.maxBytes)) this.drop()
    this.entries.push(entry)
    this.bytes += entry.text.length
    this.last = entry.n
  }

  private drop(): void {
    const entry = this.entries[this.head]
    this.evict(entry)
    this.head++
    this.bytes -= entry.text.length
    if (this.head > 1000 && this.head * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.head)
      this.head = 0
    }
  }
}
