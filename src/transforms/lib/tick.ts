/** Reads and checks one tick. One reader is reused for all messages, so the hot path allocates nothing. */
import { DataError, type Message } from '../../plugin.ts'
import { type Exact, readDecimal } from './decimal.ts'
import { getter, show } from './fields.ts'
import { formatDuration } from './time.ts'

export interface TickFields {
  readonly symbol: string
  readonly price: string
  readonly volume: string
  readonly ts: string
}

/** The last instant a JavaScript date can hold. */
const MAX_TIME = 8.64e15

export class TickReader {
  symbol = ''
  price: Exact = 0
  volume: Exact = 0
  /** Epoch ms. */
  ts = 0
  private readonly fields: TickFields
  private readonly maxFuture: number
  private readonly getSymbol
  private readonly getPrice
  private readonly getVolume
  private readonly getTs

  constructor(fields: TickFields, maxFuture: number) {
    this.fields = fields
    this.maxFuture = maxFuture
    this.getSymbol = getter(fields.symbol)
    this.getPrice = getter(fields.price)
    this.getVolume = getter(fields.volume)
    this.getTs = getter(fields.ts)
  }

  /** Fills the fields. @returns why the message is no tick; undefined: it is one. */
  read(message: Message): DataError | undefined {
    const value = message.value
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return new DataError(`a tick must be a JSON object, this is ${show(value)}`)

    const symbol = this.getSymbol(value)
    if (typeof symbol !== 'string' || symbol === '') return wrong(this.fields.symbol, symbol, 'a non-empty string')
    this.symbol = symbol

    const rawPrice = this.getPrice(value)
    const price = typeof rawPrice === 'string' ? readDecimal(rawPrice) : rawPrice
    if (typeof price === 'number' ? !(price > 0 && price < Number.POSITIVE_INFINITY) : typeof price !== 'string' || price.startsWith('-'))
      return wrong(this.fields.price, rawPrice, 'a finite number > 0, or one as a decimal string')
    this.price = price as Exact

    const rawVolume = this.getVolume(value)
    const volume = typeof rawVolume === 'string' ? readDecimal(rawVolume) : rawVolume
    if (
      typeof volume === 'number'
        ? !(volume >= 0 && volume < Number.POSITIVE_INFINITY)
        : typeof volume !== 'string' || volume.startsWith('-')
    )
      return wrong(this.fields.volume, rawVolume, 'a finite number >= 0, or one as a decimal string')
    this.volume = volume as Exact

    const raw = this.getTs(value)
    const ts = typeof raw === 'string' && /^\d{1,16}$/.test(raw) ? Number(raw) : raw
    if (typeof ts !== 'number' || !Number.isInteger(ts) || ts < 0 || ts > MAX_TIME)
      return wrong(this.fields.ts, raw, 'an integer, epoch milliseconds, or one as a string of digits')
    this.ts = ts

    const recordTime = message.time
    if (recordTime > 0 && ts > recordTime + this.maxFuture) {
      const ahead = formatDuration(ts - recordTime)
      return wrong(
        this.fields.ts,
        raw,
        `at most ${formatDuration(this.maxFuture)} after the record's own time ${recordTime}; this is ${ahead} after it`,
      )
    }
    return undefined
  }
}

function wrong(field: string, value: unknown, allowed: string): DataError {
  return new DataError(`${field} is ${show(value)}; allowed: ${allowed}`)
}
