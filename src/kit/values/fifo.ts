/**
 * A queue of texts or objects, first in first out, whose memory is proportional to its content: a plain array keeps the removed items, or
 * moves all the rest.
 */
export class Fifo<T> {
  /** From `head` on. */
  private items: T[]
  private head = 0

  /** @param items oldest first; not copied, the queue takes ownership */
  constructor(items: T[] = []) {
    this.items = items
  }

  get length(): number {
    return this.items.length - this.head
  }

  /** Entries in memory, including removed ones: at most twice `length`, or 501 more. */
  get capacity(): number {
    return this.items.length
  }

  /** The oldest item; undefined: the queue is empty. */
  peek(): T | undefined {
    return this.items[this.head]
  }

  push(item: T): void {
    this.items.push(item)
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined
    const item = this.items[this.head++]
    if (this.head > 500 && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head)
      this.head = 0
    }
    return item
  }
}
