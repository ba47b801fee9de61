import type { Change, Level } from '../book.ts'
import { checksum } from '../checksum.ts'
import type { Dialect, Market, Subscription } from '../dialect.ts'

const CHANNELS: Record<string, Subscription['channel']> = { book: 'book', ticker: 'ticker', trade: 'trade' }

export const kraken: Dialect = {
  name: 'kraken',
  symbols: ['BTC/USD', 'ETH/USD'],
  heartbeat: { every: 1000, message: () => '{"channel":"heartbeat"}' },

  request(text) {
    const { method, params, req_id } = JSON.parse(text) as {
      method?: string
      params?: { channel: string; symbol: string[] }
      req_id?: number
    }
    if (method === 'ping') return { replies: [JSON.stringify({ method: 'pong', req_id })] }
    if (!params || !CHANNELS[params.channel]) return undefined
    const streams = params.symbol.map(symbol => ({ channel: CHANNELS[params.channel], symbol }))
    const replies = params.symbol.map(symbol =>
      JSON.stringify({ method, result: { channel: params.channel, symbol }, success: true, req_id }),
    )
    if (method === 'subscribe') return { add: streams, replies }
    return method === 'unsubscribe' ? { remove: streams, replies } : undefined
  },

  snapshot: (market, now) => book(market, 'snapshot', market.book.levels(), now),
  diff: (market, change, _, now) => book(market, 'update', change, now),

  ticker: ({ symbol, book: b, volume }, { price }, now) =>
    `{"channel":"ticker","type":"update","data":[{"symbol":"${symbol}","bid":${b.bestBid},"ask":${b.bestAsk},"last":${price},"volume":${volume},"timestamp":"${iso(now)}"}]}`,

  trade: ({ symbol, sequence }, { price, size }, now) =>
    `{"channel":"trade","type":"update","data":[{"symbol":"${symbol}","side":"buy","price":${price},"qty":${size},"ord_type":"market","trade_id":${sequence},"timestamp":"${iso(now)}"}]}`,
}

/** Numbers, printed with their trailing zeros. */
function book(market: Market, type: string, { bids, asks }: Change, now: number): string {
  const side = (levels: readonly Level[]): string => `[${levels.map(([price, qty]) => `{"price":${price},"qty":${qty}}`).join()}]`
  return `{"channel":"book","type":"${type}","data":[{"symbol":"${market.symbol}","bids":${side(bids)},"asks":${side(asks)},"checksum":${checksum(market.book)},"timestamp":"${iso(now)}"}]}`
}

const iso = (now: number): string => new Date(now).toISOString().replace('Z', '295Z')
