/** What differs between exchanges: how clients subscribe, and how books and tickers are put into messages. */
import type { Book, Change } from './book.ts'

export interface Market {
  /** As this exchange writes it. */
  readonly symbol: string
  readonly book: Book
  /** Number of the last change. */
  sequence: number
  /** Sum of what was traded, printed. */
  volume: string
}

export interface Subscription {
  readonly channel: 'book' | 'ticker' | 'trade'
  readonly symbol: string
}

/** What a message of a client asks for. */
export interface Request {
  readonly add?: readonly Subscription[]
  readonly remove?: readonly Subscription[]
  /** Sent before anything else. */
  readonly replies?: readonly string[]
}

export interface Trade {
  readonly price: string
  readonly size: string
}

export interface Dialect {
  readonly name: 'binance' | 'coinbase' | 'kraken' | 'okx'
  readonly symbols: readonly string[]
  /** ms */
  readonly heartbeat?: { readonly every: number; message(now: number): string }
  /** Undefined: the client makes no sense. */
  request(text: string): Request | undefined
  /** Sent after a subscription to a book; undefined: snapshots come over HTTP only. */
  snapshot?(market: Market, now: number): string
  /** `first`, `last`: numbers of the changes in it; `before`: the number before them. */
  diff(market: Market, change: Change, numbers: { first: number; last: number; before: number }, now: number): string
  ticker(market: Market, trade: Trade, now: number): string
  trade(market: Market, trade: Trade, now: number): string
  /** Answer to `GET` of a snapshot. */
  http?(market: Market): string
}

/** The text of a message with a number that counts everything on one connection, where the exchange has one. */
export const CONNECTION_SEQUENCE = '"sequence_num":0'
