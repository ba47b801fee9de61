/** Order books whose messages contain a checksum instead of a number: maintains the books and compares the checksums. */
import { crc32 } from 'node:zlib'
import type { Message } from '../../contract/plugin.ts'
import { getter } from '../../kit/values/fields.ts'
import { type Match, matcher } from '../../kit/values/match.ts'
import type { Counters, GapReason } from './counters.ts'
import type { SequenceActions, Streams } from './sequence.ts'

export interface ChecksumOptions {
  readonly match?: Match
  readonly key: string
  readonly value: string
  readonly bids: string
  readonly asks: string
  readonly price: string
  readonly size: string
  readonly restart: Match
  /** Levels of a side that the feed sends. */
  readonly depth: number
  readonly on_gap: 'resubscribe' | 'reconnect'
}

/** Levels that the checksum covers. */
const COVERED = 10

class Side {
  private readonly sizes = new Map<string, string>()
  private readonly sign: number

  /** @param sign 1: the lowest price is the best */
  constructor(sign: number) {
    this.sign = sign
  }

  apply(price: string, size: string): void {
    if (Number(size) === 0) this.sizes.delete(price)
    else this.sizes.set(price, size)
  }

  /** Removes levels beyond `depth`, which the feed no longer sends. @returns the digits of the best levels */
  trim(depth: number): string {
    const sorted = [...this.sizes].toSorted(([a], [b]) => this.sign * (Number(a) - Number(b)))
    for (const [price] of sorted.slice(depth)) this.sizes.delete(price)
    let text = ''
    for (const [price, size] of sorted.slice(0, COVERED)) text += digits(price) + digits(size)
    return text
  }
}

class Book {
  bids = new Side(-1)
  asks = new Side(1)
  waiting = false
  /** Even its snapshot did not match its checksum, so further comparisons are pointless. */
  incomparable = false
}

export class OrderBookChecksum implements Streams {
  private readonly books = new Map<string, Book>()
  private readonly options: ChecksumOptions
  private readonly actions: Omit<SequenceActions, 'fetch'>
  private readonly counters: Counters
  private readonly applies
  private readonly restarts
  private readonly key
  private readonly checksum
  private readonly price
  private readonly size

  constructor(options: ChecksumOptions, actions: Omit<SequenceActions, 'fetch'>, counters: Counters) {
    this.options = options
    this.actions = actions
    this.counters = counters
    this.applies = matcher(options.match ?? {})
    this.restarts = matcher(options.restart)
    this.key = getter(options.key)
    this.checksum = getter(options.value)
    this.price = getter(options.price)
    this.size = getter(options.size)
  }

  keyOf(value: unknown): string | undefined {
    const key = this.applies(value) ? this.key(value) : undefined
    return typeof key === 'string' ? key : undefined
  }

  accept(message: Message, key: string): void {
    const { value } = message
    const restart = this.restarts(value)
    let book = this.books.get(key)
    if (restart) {
      if (book?.waiting) this.counters.snapshot('ok')
      this.books.set(key, (book = new Book()))
    } else if (book === undefined || book.waiting) return this.counters.drop('superseded')
    if (this.fits(book, value)) this.actions.emit(message)
    else if (restart) {
      book.incomparable = true
      this.counters.gap('checksum')
      this.actions.emit(message)
    } else {
      this.counters.drop('superseded')
      this.gap(book, key, 'checksum')
    }
  }

  lost(reason: 'refused' | 'dropped', key?: string): void {
    for (const [name, book] of this.books) if ((key === undefined || name === key) && !book.waiting) this.gap(book, name, reason)
  }

  reset(): void {
    for (let n = this.books.size; n > 0; n--) this.counters.gap('reconnect')
    this.books.clear()
  }

  catchUp(): void {
    // The peer sends the snapshots of a new connection itself.
  }

  waits(key: string): boolean {
    return this.books.get(key)?.waiting === true
  }

  private fits(book: Book, value: unknown): boolean {
    if (book.incomparable) return true
    this.apply(book.bids, getter(this.options.bids)(value))
    this.apply(book.asks, getter(this.options.asks)(value))
    const asks = book.asks.trim(this.options.depth)
    return crc32(asks + book.bids.trim(this.options.depth)) === Number(this.checksum(value))
  }

  private apply(side: Side, levels: unknown): void {
    if (!Array.isArray(levels)) return
    for (const level of levels) side.apply(String(this.price(level)), String(this.size(level)))
  }

  private gap(book: Book, key: string, reason: GapReason): void {
    this.counters.gap(reason)
    book.waiting = true
    if (this.options.on_gap === 'resubscribe') this.actions.resubscribe(key)
    else this.actions.reconnect('gap')
  }
}

/** `0.00100000` -> `100000` */
const digits = (number: string): string => number.replace('.', '').replace(/^0+/, '')
