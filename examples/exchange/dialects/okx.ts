import type { Change, Level } from '../book.ts'
import type { Dialect, Subscription } from '../dialect.ts'

const CHANNELS: Record<string, Subscription['channel']> = { books: 'book', tickers: 'ticker', trades: 'trade' }

export const okx: Dialect = {
  name: 'okx',
  symbols: ['BTC-USDT', 'ETH-USDT'],

  request(text) {
    if (text === 'ping') return { replies: ['pong'] }
    const { op, args = [] } = JSON.parse(text) as { op?: string; args?: { channel: string; instId: string }[] }
    const streams = args.flatMap((a): Subscription[] => (CHANNELS[a.channel] ? [{ channel: CHANNELS[a.channel], symbol: a.instId }] : []))
    const replies = args.map(arg => JSON.stringify({ event: op, arg, connId: 'a4d3ae55' }))
    if (op === 'subscribe') return { add: streams, replies }
    return op === 'unsubscribe' ? { remove: streams, replies } : undefined
  },

  snapshot: ({ symbol, book, sequence }, now) => books(symbol, 'snapshot', book.levels(), -1, sequence, now),
  diff: ({ symbol }, change, { last, before }, now) => books(symbol, 'update', change, before, last, now),

  ticker: ({ symbol, book, volume }, { price, size }, now) =>
    JSON.stringify({
      arg: { channel: 'tickers', instId: symbol },
      data: [
        {
          instType: 'SPOT',
          instId: symbol,
          last: price,
          lastSz: size,
          askPx: book.bestAsk,
          bidPx: book.bestBid,
          vol24h: volume,
          ts: `${now}`,
        },
      ],
    }),

  trade: ({ symbol, sequence }, { price, size }, now) =>
    JSON.stringify({
      arg: { channel: 'trades', instId: symbol },
      data: [{ instId: symbol, tradeId: `${sequence}`, px: price, sz: size, side: 'buy', ts: `${now}` }],
    }),
}

function books(symbol: string, action: string, { bids, asks }: Change, prevSeqId: number, seqId: number, now: number): string {
  const side = (levels: readonly Level[]): string[][] => levels.map(([price, size]) => [price, size, '0', '1'])
  return JSON.stringify({
    arg: { channel: 'books', instId: symbol },
    action,
    data: [{ asks: side(asks), bids: side(bids), ts: `${now}`, checksum: 0, prevSeqId, seqId }],
  })
}
