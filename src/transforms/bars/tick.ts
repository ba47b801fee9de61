/** Reads and checks one tick. One reader serves all messages, so the hot path allocates nothing. */
import { DataError, ExactNumber, type Message } from '../../contract/plugin.ts'
import { type Exact, exactOf, outOfRange, readDecimal } from '../../kit/values/decimal.ts'
import { Text } from './turnover.ts'
import { parseTime, timeProblem, type TimeUnit, wrong } from '../../kit/values/event-time.ts'
import { getter, show } from '../../kit/values/fields.ts'

export interface TickFields {
  readonly symbol: string
  readonly price: string
  readonly volume: string
  readonly ts: string
}

export class TickReader {
  symbol = ''
  /** For arithmetic. */
  price: Exact = 0
  /** The price for the bar: a JSON number keeps its text. */
  given: Exact | ExactNumber = 0
  /** Which of the values were text. */
  text: number = Text.none
  volume: Exact = 0
  /** Epoch ms. */
  ts = 0
  private readonly fields: TickFields
  private readonly maxFuture: number
  private readonly unit: TimeUnit | undefined
  private readonly anyPrice: boolean
  private readonly getSymbol
  private readonly getPrice
  private readonly getVolume
  private readonly getTs

  constructor(fields: TickFields, maxFuture: number, unit?: TimeUnit, prices: 'positive' | 'any' = 'positive') {
    this.fields = fields
    this.maxFuture = maxFuture
    this.unit = unit
    this.anyPrice = prices === 'any'
    this.getSymbol = getter(fields.symbol)
    this.getPrice = getter(fields.price)
    this.getVolume = getter(fields.volume)
    this.getTs = getter(fields.ts)
  }

  /** Sets the fields. @returns the error of a message that is not a tick, otherwise undefined */
  read(message: Message): DataError | undefined {
    const value = message.value
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return new DataError(`a tick must be a JSON object, is ${show(value)}`)

    const symbol = this.getSymbol(value)
    if (symbol !== this.symbol) {
      if (typeof symbol !== 'string' || symbol === '') return wrong(this.fields.symbol, symbol, 'a non-empty string')
      // It becomes the key of the bar.
      if (!symbol.isWellFormed()) return wrong(this.fields.symbol, symbol, 'valid Unicode')
      this.symbol = symbol
    } else if (symbol === '') return wrong(this.fields.symbol, symbol, 'a non-empty string')

    const rawPrice = this.getPrice(value)
    const price = decimal(rawPrice)
    if (typeof price === 'number' ? !(price > 0 && price < Number.POSITIVE_INFINITY) : typeof price !== 'string' || price.startsWith('-')) {
      const problem = this.priceProblem(rawPrice, price)
      if (problem) return problem
    }
    this.price = price as Exact
    this.given = rawPrice instanceof ExactNumber ? rawPrice : (price as Exact)

    const rawVolume = this.getVolume(value)
    const volume = decimal(rawVolume)
    if (
      typeof volume === 'number'
        ? !(volume >= 0 && volume < Number.POSITIVE_INFINITY)
        : typeof volume !== 'string' || volume.startsWith('-')
    )
      return (
        tooFar(this.fields.volume, rawVolume) ?? wrong(this.fields.volume, rawVolume, 'a finite number >= 0, or one as a decimal string')
      )
    this.volume = volume as Exact
    this.text = (typeof rawPrice === 'string' ? Text.price : 0) | (typeof rawVolume === 'string' ? Text.volume : 0)

    const raw = this.getTs(value)
    this.ts = parseTime(raw, this.unit)
    return timeProblem(this.fields.ts, raw, this.ts, message, this.maxFuture, this.unit)
  }

  /** The error for a price that is not above zero. */
  private priceProblem(raw: unknown, price: unknown): DataError | undefined {
    const far = tooFar(this.fields.price, raw)
    if (far) return far
    const isNumber = typeof price === 'string' || (typeof price === 'number' && Number.isFinite(price))
    if (isNumber && this.anyPrice) return undefined
    const allowed = this.anyPrice ? 'a finite number, or one as a decimal string' : 'a finite number > 0, or one as a decimal string'
    return wrong(this.fields.price, raw, isNumber ? `${allowed} (to accept zero and negative prices, set \`prices: any\`)` : allowed)
  }
}

/** The error for a number that is out of range for exact arithmetic. */
function tooFar(field: string, raw: unknown): DataError | undefined {
  const far = outOfRange(raw)
  return far === undefined ? undefined : new DataError(`${field} is ${show(raw)}; it is ${far}`)
}

const decimal = (raw: unknown): unknown =>
  typeof raw === 'number' ? raw : typeof raw === 'string' ? readDecimal(raw) : raw instanceof ExactNumber ? exactOf(raw) : raw
