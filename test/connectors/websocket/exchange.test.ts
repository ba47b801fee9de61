/** The source with the settings of the real flow, against local exchanges with injected faults; a book rebuilt from the messages is compared with that of the exchange. */
import { afterEach, describe, expect, test } from 'vitest'
import { Book, randomOf } from '../../../examples/exchange/book.ts'
import { checksum } from '../../../examples/exchange/checksum.ts'
import { Exchange } from '../../../examples/exchange/exchange.ts'
import type { WebsocketSourceConfig } from '../../../src/generated/config-types.ts'
import type { Message } from '../../../src/contract/plugin.ts'
import { loadPipeline } from '../../../src/config/load.ts'
import { readFormat } from '../../../src/transforms/normalize/exchange-format.ts'
import { exchangeReader } from '../../../src/transforms/normalize/exchange-reader.ts'
import { type BookMessage, FeedBook, sides } from '../../support/feed-book.ts'
import { closeAll, configOf, type CountingContext, open } from './peer.ts'
import { eventually } from '../../support/eventually.ts'

type Name = 'binance' | 'coinbase' | 'kraken' | 'okx'
const exchanges: Exchange[] = []
afterEach(async () => {
  await closeAll()
  for (const e of exchanges.splice(0)) await e.stop()
})

async function flowConfig(name: Name, exchange: Exchange): Promise<WebsocketSourceConfig> {
  const upper = name.toUpperCase()
  const env = {
    BINANCE_ENABLED: 'false',
    [`${upper}_ENABLED`]: 'true',
    [`${upper}_WS_URL`]: exchange.ws,
    [`${upper}_REST_URL`]: exchange.http,
    [`${upper}_SYMBOLS`]: [...exchange.markets.keys()].join(),
  }
  const { pipeline, problems } = await loadPipeline('pipelines/exchange-feed.yaml', { env })
  expect(problems).toEqual([])
  return pipeline!.sources[0].config as WebsocketSourceConfig
}

interface ExchangeTest {
  readonly exchange: Exchange
  readonly ctx: CountingContext
  readonly symbols: readonly string[]
  readonly garbage: string[]
  readonly tickers: Message[]
  /** Reads until the rebuilt books are the exchange's. */
  agree(): Promise<void>
  refuse(message: Message): void
  readonly books: Map<string, FeedBook>
}

async function setUp(name: Name, seed = 1): Promise<ExchangeTest> {
  const exchange = await new Exchange(name, seed).start()
  exchanges.push(exchange)
  const flow = await flowConfig(name, exchange)
  const { queue, reconnect } = configOf('')
  const { source, ctx } = await open(exchange.ws, {
    ...flow,
    queue,
    reconnect,
    ...(flow.sequence && { sequence: { ...flow.sequence, min_interval: 1 } }),
  })
  const symbols = [...exchange.markets.keys()]
  const reader = exchangeReader(readFormat(`pipelines/exchanges/${name}.format.yaml`).format!)
  const books = new Map<string, FeedBook>()
  const garbage: string[] = []
  const tickers: Message[] = []
  const consume = (m: Message): void => {
    let made
    try {
      made = reader.read(m.value, m)
    } catch {
      garbage.push(m.payload!.toString('latin1'))
      return
    }
    for (const value of made ?? []) {
      if (value.type === 'ticker') tickers.push(m)
      else {
        const book = books.get(value.symbol) ?? new FeedBook()
        books.set(value.symbol, book)
        book.add(value as BookMessage)
      }
    }
  }
  const stop = new AbortController()
  const reading = (async () => {
    for (;;) {
      const batch = await source.read(stop.signal).catch(() => null)
      if (batch === null) return
      batch.messages.forEach(consume)
      await source.commit!(batch.lane, batch.position)
    }
  })()
  exchanges.push({ stop: async () => (stop.abort(), await reading) } as never)
  await eventually(() => expect(symbols.every(symbol => exchange.subscribed({ channel: 'book', symbol }))).toBe(true))
  return {
    exchange,
    ctx,
    symbols,
    garbage,
    tickers,
    books,
    refuse: message => source.onRejected!([{ message, error: new Error('no'), step: 'x' }]),
    async agree() {
      await eventually(
        () => {
          for (const symbol of symbols) {
            const found = books.get(symbol.replaceAll(/[-/]/g, ''))
            expect(found && sides(found)).toEqual(sides(exchange.markets.get(symbol)!.book))
          }
        },
        { interval: 5 },
      )
    },
  }
}

const turn = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 3))
const nudge = async ({ exchange, symbols }: ExchangeTest, n = 3): Promise<void> => {
  for (let i = 0; i < n; i++) {
    for (const s of symbols) exchange.change(s)
    await turn()
  }
}

describe.each(['binance', 'coinbase', 'okx', 'kraken'] as const)('%s', name => {
  test('books and tickers pass unchanged without faults', async () => {
    const r = await setUp(name)
    await nudge(r, 20)
    r.exchange.trade(r.symbols[0])
    await r.agree()
    await eventually(() => expect(r.tickers).toHaveLength(1))
    expect(String(r.tickers[0].payload)).toContain(r.exchange.tickers[0].slice(0, 20))
    expect(r.garbage).toEqual([])
    for (const what of ['gaps/sequence', 'duplicates', 'reconnects/gap', 'snapshots/error'])
      expect([what, r.ctx.counts[what]]).toEqual([what, 0])
  })

  test('after a lost connection the book is correct again', async () => {
    const r = await setUp(name)
    await nudge(r)
    await r.agree()
    r.exchange.drop()
    for (const s of r.symbols) r.exchange.change(s)
    await eventually(() => expect(r.exchange.connections).toBe(2))
    await eventually(() => expect(r.symbols.every(symbol => r.exchange.subscribed({ channel: 'book', symbol }))).toBe(true))
    await nudge(r)
    await r.agree()
    expect(r.ctx.counts['reconnects/closed']).toBe(1)
  })

  test('invalid messages pass with their bytes and do not affect the book', async () => {
    const r = await setUp(name)
    await nudge(r)
    for (const text of ['{"e":"depthUpdate"', '\u00ff\u00fe{', '[]', '12', '{"channel":"nothing we know"}']) {
      r.exchange.garbage(Buffer.from(text, 'latin1'))
      await nudge(r, 1)
    }
    await r.agree()
    expect(r.garbage).toEqual(['{"e":"depthUpdate"', '\u00ff\u00fe{', '[]', '12', '{"channel":"nothing we know"}'])
  })
})

describe.each(['binance', 'coinbase', 'okx'] as const)('%s: sequence numbers', name => {
  test('missing messages are a gap, which is counted and recovered; repeated ones are dropped', async () => {
    const r = await setUp(name)
    await nudge(r)
    await r.agree()
    r.exchange.skip(1)
    await nudge(r)
    if (name === 'coinbase') await eventually(() => expect(r.exchange.connections).toBe(2))
    await eventually(() => expect(r.symbols.every(symbol => r.exchange.subscribed({ channel: 'book', symbol }))).toBe(true))
    await nudge(r)
    await r.agree()
    expect(r.ctx.counts['gaps/sequence']).toBe(1)
    const before = r.ctx.counts.duplicates
    r.exchange.repeat()
    r.exchange.repeat()
    await nudge(r)
    await r.agree()
    expect(r.ctx.counts.duplicates).toBe(before + 2)
    expect(r.ctx.counts['gaps/sequence']).toBe(1)
  })

  test('the book is correct after any mix of faults, from many seeds', async () => {
    for (let seed = 1; seed <= Number(process.env.EXCHANGE_SEEDS ?? 3); seed++) {
      const r = await setUp(name, seed * 100)
      const random = randomOf(seed)
      for (let i = 0; i < 150; i++) {
        for (const s of r.symbols) if (random() < 0.7) r.exchange.change(s)
        const chance = random() * 60
        if (chance < 2) r.exchange.skip(1 + Math.floor(random() * 3))
        else if (chance < 4) r.exchange.repeat()
        else if (chance < 6) r.exchange.garbage(Buffer.from('{'))
        else if (chance < 7) r.exchange.drop()
        if (random() < 0.3) await turn()
      }
      // A skipped message is detected with the next one; a silent feed hides it.
      r.exchange.skip(-Infinity)
      for (let i = 0; i < 3; i++) {
        await eventually(() => expect(r.symbols.every(symbol => r.exchange.subscribed({ channel: 'book', symbol }))).toBe(true))
        await nudge(r, 2)
      }
      await r.agree()
    }
  })
})

describe('kraken: checksum', () => {
  test('matches the documentation', () => {
    const book = new Book(1)
    const put = (side: Map<string, string>, text: string) => {
      side.clear()
      for (const level of text.split(' ')) side.set(...(level.split(':') as [string, string]))
    }
    put(
      book.bids,
      '45283.5:0.10000000 45283.4:1.54582015 45282.1:0.10000000 45281.0:0.10000000 45280.3:1.54592586 45279.0:0.07990000 45277.6:0.03310103 45277.5:0.30000000 45277.3:1.54602737 45276.6:0.15445238',
    )
    put(
      book.asks,
      '45285.2:0.00100000 45286.4:1.54571953 45286.6:1.54571109 45289.6:1.54560911 45290.2:0.15890660 45291.8:1.54553491 45294.7:0.04454749 45296.1:0.35380000 45297.5:0.09945542 45299.5:0.18772827',
    )
    expect(checksum(book)).toBe(3310070434)
  })

  test('a lost change of the best levels is a gap, and the book is correct again', async () => {
    const r = await setUp('kraken')
    await nudge(r)
    await r.agree()
    // One that only touched deeper levels does not show.
    await eventually(async () => {
      r.exchange.skip(1)
      await nudge(r, 2)
      expect(r.ctx.counts['gaps/checksum']).toBeGreaterThan(0)
    })
    r.exchange.skip(-Infinity)
    await eventually(async () => {
      await nudge(r, 1)
      expect(r.ctx.counts['snapshots/ok']).toBeGreaterThan(0)
    })
    const wrong = r.symbols.filter(s => r.books.get(s.replace('/', ''))!.snapshots < 2)
    // The other symbol may have lost a deep change.
    for (const s of wrong) r.refuse({ payload: null, keyBytes: Buffer.from(s) } as never)
    await nudge(r)
    await r.agree()
    expect(r.ctx.counts['reconnects/gap']).toBe(0)
    expect(r.exchange.connections).toBe(1)
  })
})

describe('binance: snapshots over HTTP', () => {
  test('rejected and failing snapshots are retried while the messages wait', async () => {
    const r = await setUp('binance')
    r.exchange.snapshotStatus = 429
    await nudge(r)
    await eventually(() => expect(r.ctx.counts['snapshots/error']).toBeGreaterThan(1))
    expect(r.books.size).toBe(0)
    r.exchange.snapshotStatus = 200
    await nudge(r)
    await r.agree()
    expect(r.ctx.counts['snapshots/ok']).toBe(2)
  })

  test('a symbol without messages after a lost connection is also updated', async () => {
    const r = await setUp('binance')
    await nudge(r)
    await r.agree()
    r.exchange.drop()
    for (const s of r.symbols) r.exchange.change(s)
    await r.agree()
    expect(r.ctx.counts).toMatchObject({ 'gaps/reconnect': 2, 'gaps/sequence': 0, 'snapshots/ok': 4 })
  })

  test('a message rejected by a later step is also a gap', async () => {
    const r = await setUp('binance')
    await nudge(r)
    await r.agree()
    r.books.get('BTCUSDT')!.bids.clear()
    r.refuse({ payload: Buffer.from('{}'), keyBytes: Buffer.from('BTCUSDT') } as never)
    await r.agree()
    expect(r.ctx.counts['gaps/refused']).toBe(1)
    expect(r.books.get('BTCUSDT')!.snapshots).toBe(2)
  })
})
