/** Converts messages of an exchange to tickers and order books according to its format. */
import { DataError, ExactNumber, type Message } from '../../contract/plugin.ts'
import { jsonDecimal, readDecimal } from '../../kit/values/decimal.ts'
import { otherUnit, parseTime, wrong } from '../../kit/values/event-time.ts'
import type { BookFormat, ExchangeFormat, Levels, MessageFormat, TickerFormat } from './exchange-format.ts'
import { getter, show } from '../../kit/values/fields.ts'
import { anyOf, type Match, matcher } from '../../kit/values/match.ts'

export interface Ticker {
  readonly type: 'ticker'
  readonly exchange: string
  readonly symbol: string
  readonly price: string
  readonly volume: string
  readonly bid: string | null
  readonly ask: string | null
  readonly ts: number
}
export interface OrderBook {
  readonly type: 'orderbook'
  readonly exchange: string
  readonly symbol: string
  readonly bids: [price: string, size: string][]
  readonly asks: [price: string, size: string][]
  readonly sequence: number | ExactNumber | null
  readonly snapshot: boolean
  readonly ts: number
}
export type Normalized = Ticker | OrderBook

/** One item of a message and the whole message. */
interface Context {
  readonly root: unknown
  readonly item: unknown
  readonly message: Message
}
type Read = (context: Context) => unknown

export interface ExchangeReader {
  /** @returns all items of a message; undefined: no data. @throws {DataError} if the format has no such message, or any part is wrong */
  read(value: unknown, message: Message): Normalized[] | undefined
}

export function exchangeReader(format: ExchangeFormat): ExchangeReader {
  const isControl = anyOf(format.drop)
  const symbolOf = symbols(format.aliases)
  const kinds = format.messages.map(m => ({ matches: matcher(m.match), items: itemsOf(m.each), make: maker(m, format.exchange, symbolOf) }))
  return {
    read(value, message) {
      if (isControl(value)) return undefined
      for (const { matches, items, make } of kinds) {
        if (matches(value)) return items(value).map(item => make({ root: value, item, message }))
      }
      throw new DataError(`not a message of ${format.exchange} in its format: ${show(value)}`)
    },
  }
}

function maker(m: MessageFormat, exchange: string, symbolOf: (raw: unknown, path: string) => string): (c: Context) => Normalized {
  const symbol = reader(m.symbol)
  const time = timeReader(m.ts)
  return m.type === 'ticker'
    ? tickerMaker(m, c => ({ type: m.type, exchange, symbol: symbolOf(symbol(c), m.symbol) }), time)
    : bookMaker(m, c => ({ type: m.type, exchange, symbol: symbolOf(symbol(c), m.symbol) }), time)
}

type Head<T> = (c: Context) => { type: T; exchange: string; symbol: string }

function tickerMaker(m: TickerFormat, head: Head<'ticker'>, time: (c: Context) => number): (c: Context) => Ticker {
  const [price, volume] = [reader(m.price), reader(m.volume)]
  const [bid, ask] = [m.bid, m.ask].map(p => (p === undefined ? () => undefined : reader(p)))
  return c => ({
    ...head(c),
    price: decimal(price(c), m.price, true),
    volume: decimal(volume(c), m.volume, false),
    bid: optional(bid(c), m.bid),
    ask: optional(ask(c), m.ask),
    ts: time(c),
  })
}

function bookMaker(m: BookFormat, head: Head<'orderbook'>, time: (c: Context) => number): (c: Context) => OrderBook {
  const [bids, asks] = [levels(m.bids), levels(m.asks)]
  const sequence = m.sequence === undefined ? () => null : reader(m.sequence)
  const snapshot = typeof m.snapshot === 'boolean' ? () => m.snapshot as boolean : condition(m.snapshot)
  return c => ({ ...head(c), bids: bids(c), asks: asks(c), sequence: number(sequence(c), m.sequence), snapshot: snapshot(c), ts: time(c) })
}

/** A condition on the item; paths with `$.` are those of the whole message. */
function condition(match: Match): (c: Context) => boolean {
  const [whole, own]: [Record<string, Match[string]>, Record<string, Match[string]>] = [{}, {}]
  for (const [path, wanted] of Object.entries(match)) (path.startsWith('$.') ? whole : own)[path.replace(/^\$\./, '')] = wanted
  const [ofWhole, ofItem] = [matcher(whole), matcher(own)]
  return ({ root, item }) => ofWhole(root) && ofItem(item)
}

function reader(path: string): Read {
  if (path === '$key') return c => c.message.key
  if (path === '$time') return c => c.message.time
  const get = getter(path.replace(/^\$\./, ''))
  return path.startsWith('$.') ? c => get(c.root) : c => get(c.item)
}

function itemsOf(path: string | undefined): (value: unknown) => unknown[] {
  if (path === undefined) return value => [value]
  const steps = path.split('.').map(getter)
  return value => {
    let at = [value]
    for (const step of steps) {
      at = at.flatMap(v => {
        const next = step(v)
        if (next === undefined) throw new DataError(`${path} is missing`)
        return next
      })
    }
    return at
  }
}

function levels(from: Levels): (c: Context) => [string, string][] {
  const path = typeof from === 'string' ? from : from.list
  const list = reader(path)
  const [priceAt, sizeAt] = typeof from === 'string' ? ['0', '1'] : [from.price, from.size]
  const [price, size] = [getter(priceAt), getter(sizeAt)]
  const wanted = typeof from === 'string' || !from.where ? undefined : matcher(from.where)
  return c => {
    const found = list(c)
    if (!Array.isArray(found)) throw wrong(path, found, 'a list of prices and sizes')
    const out: [string, string][] = []
    for (const level of found) {
      if (wanted && !wanted(level)) continue
      out.push([decimal(price(level), `${path}: price`, true), decimal(size(level), `${path}: size`, false)])
    }
    return out
  }
}

/** A decimal number in the notation of the exchange. */
function decimal(raw: unknown, path: string, positive: boolean): string {
  const text = typeof raw === 'number' || raw instanceof ExactNumber ? String(raw) : raw
  const value = typeof text === 'string' ? readDecimal(text) : undefined
  const isWrong = value === undefined || (typeof value === 'number' ? value < 0 || (positive && value === 0) : value.startsWith('-'))
  if (isWrong) throw wrong(path, raw, `a decimal number ${positive ? '> 0' : '>= 0'}`)
  return text as string
}

/** Null for a side without orders: exchanges omit the field or leave it empty. */
function optional(raw: unknown, path: string | undefined): string | null {
  if (raw === undefined || raw === null || raw === '') return null
  return decimal(raw, path!, false)
}

/** Always a number: with a type that depends on its size, no reader could compare two of them. */
function number(raw: unknown, path: string | undefined): number | ExactNumber | null {
  if (raw === null && path === undefined) return null
  if (typeof raw === 'number' && Number.isSafeInteger(raw)) return raw
  if (raw instanceof ExactNumber && /^-?\d{1,40}$/.test(raw.text)) return raw
  if (typeof raw === 'string' && /^-?\d{1,40}$/.test(raw)) return jsonDecimal(readDecimal(raw)!, false) as number | ExactNumber
  throw wrong(path!, raw, 'a whole number')
}

/** ISO 8601 with a zone. Digits after milliseconds are ignored. */
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

function timeReader(paths: string | readonly string[]): (c: Context) => number {
  const path = String(paths)
  const reads = [paths].flat().map(p => reader(p))
  return c => {
    let raw: unknown
    for (const read of reads) if ((raw = read(c)) !== undefined) break
    const time = typeof raw === 'string' && ISO.test(raw) ? Date.parse(raw.replace(/(\.\d{3})\d+/, '$1')) : parseTime(raw)
    if (Number.isNaN(time) || otherUnit(raw) !== undefined) throw wrong(path, raw, 'a time: epoch milliseconds, or ISO 8601 with its zone')
    return time
  }
}

/** Limits the symbol cache, so invalid input cannot fill the memory. */
const MAX_SYMBOLS = 10_000

/** `BTC-USDT`, `BTC/USDT`, `btcusdt` -> `BTCUSDT`; `XBT/USD` -> `BTCUSD` with the alias. */
function symbols(aliases: Readonly<Record<string, string>>): (raw: unknown, path: string) => string {
  const known = new Map<string, string>()
  const assets = new Map(Object.entries(aliases).map(([from, to]) => [from.toUpperCase(), to.toUpperCase()]))
  return (raw, path) => {
    if (typeof raw !== 'string' || raw === '') throw wrong(path, raw, 'the name of a symbol')
    let symbol = known.get(raw)
    if (symbol === undefined) {
      const parts = raw.toUpperCase().split(/[-/_:.\s]+/)
      symbol = parts.map(p => assets.get(p) ?? p).join('')
      if (!/^[A-Z0-9]+$/.test(symbol)) throw wrong(path, raw, 'the name of a symbol, such as BTC-USDT')
      if (known.size < MAX_SYMBOLS) known.set(raw, symbol)
    }
    return symbol
  }
}
