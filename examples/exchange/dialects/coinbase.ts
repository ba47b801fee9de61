import type { Change } from '../book.ts'
import { CONNECTION_SEQUENCE, type Dialect } from '../dialect.ts'

const CHANNELS: Record<string, 'book' | 'ticker' | 'trade'> = { level2: 'book', ticker: 'ticker', market_trades: 'trade' }

export const coinbase: Dialect = {
  name: 'coinbase',
  symbols: ['BTC-USD', 'ETH-USD'],
  heartbeat: {
    every: 1000,
    message: now => message('heartbeats', now, [{ current_time: new Date(now).toISOString(), heartbeat_counter: '1' }]),
  },

  request(text) {
    const { type, channel = '', product_ids = [] } = JSON.parse(text) as { type?: string; channel?: string; product_ids?: string[] }
    const streams = CHANNELS[channel] ? product_ids.map(symbol => ({ channel: CHANNELS[channel], symbol })) : []
    const replies = [message('subscriptions', 0, [{ subscriptions: { [channel]: product_ids } }])]
    if (type === 'subscribe') return { add: streams, replies }
    return type === 'unsubscribe' ? { remove: streams, replies } : undefined
  },

  snapshot: ({ symbol, book }, now) =>
    message('l2_data', now, [{ type: 'snapshot', product_id: symbol, updates: updates(book.levels(), now) }]),

  diff: ({ symbol }, change, _, now) => message('l2_data', now, [{ type: 'update', product_id: symbol, updates: updates(change, now) }]),

  ticker: ({ symbol, book, volume }, { price }, now) =>
    message('ticker', now, [
      {
        type: 'update',
        tickers: [{ type: 'ticker', product_id: symbol, price, volume_24_h: volume, best_bid: book.bestBid, best_ask: book.bestAsk }],
      },
    ]),

  trade: ({ symbol, sequence }, { price, size }, now) =>
    message('market_trades', now, [
      {
        type: 'update',
        trades: [{ trade_id: `${sequence}`, product_id: symbol, price, size, side: 'BUY', time: new Date(now).toISOString() }],
      },
    ]),
}

/** The number is put in by the connection. */
const message = (channel: string, now: number, events: unknown[]): string =>
  `{"channel":"${channel}","client_id":"","timestamp":"${new Date(now).toISOString().replace('Z', '964855Z')}",${CONNECTION_SEQUENCE},"events":${JSON.stringify(events)}}`

function updates({ bids, asks }: Change, now: number): object[] {
  const event_time = new Date(now).toISOString()
  const of = (side: string, levels: Change['bids']): object[] =>
    levels.map(([price_level, new_quantity]) => ({ side, event_time, price_level, new_quantity }))
  return [...of('bid', bids), ...of('offer', asks)]
}
