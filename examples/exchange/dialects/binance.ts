import type { Dialect, Subscription } from '../dialect.ts'

export const binance: Dialect = {
  name: 'binance',
  symbols: ['BTCUSDT', 'ETHUSDT'],

  request(text) {
    const { method, params, id } = JSON.parse(text) as { method?: string; params?: string[]; id?: number }
    const streams = (params ?? []).flatMap((p): Subscription[] => {
      const [symbol, stream] = p.split('@')
      const channel = stream === 'depth' ? 'book' : stream === 'ticker' ? 'ticker' : stream === 'trade' ? 'trade' : undefined
      return channel ? [{ channel, symbol: symbol.toUpperCase() }] : []
    })
    const replies = [JSON.stringify({ result: null, id })]
    if (method === 'SUBSCRIBE') return { add: streams, replies }
    return method === 'UNSUBSCRIBE' ? { remove: streams, replies } : undefined
  },

  diff: ({ symbol }, { bids, asks }, { first, last }, now) =>
    JSON.stringify({ e: 'depthUpdate', E: now, s: symbol, U: first, u: last, b: bids, a: asks }),

  ticker: ({ symbol, book, volume }, { price, size }, now) =>
    JSON.stringify({ e: '24hrTicker', E: now, s: symbol, c: price, Q: size, b: book.bestBid, a: book.bestAsk, v: volume }),

  trade: ({ symbol, sequence }, { price, size }, now) =>
    JSON.stringify({ e: 'trade', E: now, s: symbol, t: sequence, p: price, q: size, T: now, m: true }),

  http: ({ book, sequence }) => JSON.stringify({ lastUpdateId: sequence, ...book.levels() }),
}
