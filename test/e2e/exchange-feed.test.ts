/** `exchange-feed.yaml` and `ticks-consumer.yaml` as they are, on a real broker, against local exchanges that misbehave. */
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { Exchange } from '../../examples/exchange/exchange.ts'
import type { ConsumedRecord } from '../support/kcat.ts'
import { type BookMessage, FeedBook, sides } from '../support/feed-book.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type Backend, kafkaBackend } from './lib/backend.ts'
import { header } from './lib/bars-run.ts'
import { get, metric } from './lib/http.ts'
import { eventually } from '../support/eventually.ts'

const FEED = fileURLToPath(new URL('../../pipelines/exchange-feed.yaml', import.meta.url))
const CONSUMER = fileURLToPath(new URL('../../pipelines/ticks-consumer.yaml', import.meta.url))
const NAMES = ['binance', 'coinbase', 'kraken', 'okx'] as const

const exchanges: Exchange[] = []
afterEach(async () => {
  for (const e of exchanges.splice(0)) await e.stop()
})

async function startExchanges(): Promise<Record<string, string>> {
  const env: Record<string, string> = {}
  for (const [i, name] of NAMES.entries()) {
    const exchange = await new Exchange(name, 7 + i).start()
    exchanges.push(exchange)
    const upper = name.toUpperCase()
    Object.assign(env, {
      [`${upper}_ENABLED`]: 'true',
      [`${upper}_WS_URL`]: exchange.ws,
      [`${upper}_REST_URL`]: exchange.http,
      [`${upper}_SYMBOLS`]: [...exchange.markets.keys()].join(),
    })
  }
  return env
}

const normal = (symbol: string): string => symbol.replaceAll(/[-/]/g, '')
const parse = (r: ConsumedRecord): BookMessage => JSON.parse(String(r.value)) as BookMessage

/** Waits until every exchange has a reader of every book. */
const subscribed = (): Promise<void> =>
  eventually(
    () => {
      for (const e of exchanges)
        for (const symbol of e.markets.keys())
          expect(e.subscribed({ channel: 'book', symbol }) && e.subscribed({ channel: 'ticker', symbol })).toBe(true)
    },
    { interval: 20 },
  )

async function changes(n: number): Promise<void> {
  for (let i = 0; i < n; i++) {
    for (const e of exchanges) for (const symbol of e.markets.keys()) e.change(symbol)
    await sleep(5)
  }
}

/** Waits until the books rebuilt from the topic are the exchanges' own, exchange by exchange and symbol by symbol. */
async function booksAgree(backend: Backend, topic: string, seen: FeedBook[] = []): Promise<void> {
  await eventually(
    async () => {
      const books = new Map<string, FeedBook>()
      for (const r of await backend.readAll(topic)) {
        const message = parse(r)
        expect(String(r.key)).toBe(`${message.exchange}|${message.symbol}`)
        const book = books.get(String(r.key)) ?? new FeedBook()
        books.set(String(r.key), book)
        book.add(message)
      }
      seen.splice(0, seen.length, ...books.values())
      exchanges.forEach((e, i) => {
        for (const [symbol, market] of e.markets) {
          const key = `${NAMES[i]}|${normal(symbol)}`
          expect([key, sides(books.get(key)!)]).toEqual([key, sides(market.book)])
        }
      })
    },
    { interval: 300 },
  )
}

test('order books equal those of the exchanges after every gap, garbage is dead-lettered byte for byte, and no ticker is missing', {
  timeout: 120_000,
}, async () => {
  const backend = await kafkaBackend()
  const [tickers, orderbooks, dead] = [await backend.topic('ticks', 3), await backend.topic('orderbook', 3), await backend.topic('dlq')]
  const [port] = await freePorts(1)
  const env = {
    ...(await startExchanges()),
    ...backend.env,
    KAFKA_ENABLED: 'true',
    KAFKA_DLQ_ENABLED: 'true',
    KAFKA_TICKER_TOPIC: tickers,
    KAFKA_ORDERBOOK_TOPIC: orderbooks,
    KAFKA_DLQ_TOPIC: dead,
  }
  const cwd = tempDir()
  const metrics = { KAFKA_METRICS_ENABLED: 'true', KAFKA_METRICS_PORT: String(port) }
  let runner: Runner = startRunner(['run', FEED], { cwd, env: { ...env, ...metrics } })
  await subscribed()
  await changes(2)
  await booksAgree(backend, orderbooks)

  // No accident but garbage and repeats: everything must be there.
  const garbage = [Buffer.from('{"e":"depthUpdate",'), Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), Buffer.from('"just text"')]
  for (let i = 0; i < 30; i++) {
    await changes(1)
    for (const e of exchanges) {
      for (const symbol of e.markets.keys()) e.trade(symbol)
      if (i % 10 === 5) e.garbage(garbage[(i - 5) / 10])
      if (i % 7 === 3) e.repeat()
    }
  }
  const sent = exchanges.reduce((n, e) => n + e.tickers.length, 0)
  expect(sent).toBe(30 * 8)
  await backend.waitFor(tickers, sent)
  await booksAgree(backend, orderbooks)
  const published = (await backend.readAll(tickers)).map(
    r => [String(r.key), JSON.parse(String(r.value)) as { price: string; volume: string; ts: number }] as const,
  )
  expect(published).toHaveLength(sent)
  exchanges.forEach((e, i) => {
    const own = published.filter(([key]) => key.startsWith(`${NAMES[i]}|`))
    // Each with its digits as they were printed, in the order they were sent, symbol by symbol.
    for (const symbol of e.markets.keys()) {
      const volumes = own.filter(([key]) => key.endsWith(`|${normal(symbol)}`)).map(([, t]) => t.volume)
      const texts = e.tickers.filter(t => t.includes(`"${symbol}"`))
      expect(volumes).toHaveLength(texts.length)
      volumes.forEach((volume, n) => expect(texts[n]).toContain(volume))
    }
  })
  const letters = await backend.readAll(dead, { headers: true })
  for (const name of NAMES) {
    const own = letters.filter(r => header(r, 'source_topic') === name)
    expect(own.map(r => r.value!.toString('latin1')).toSorted()).toEqual(garbage.map(g => g.toString('latin1')).toSorted())
    expect(own.map(r => header(r, 'error_type')).toSorted()).toEqual(['data', 'decode', 'decode'])
  }
  expect(letters).toHaveLength(garbage.length * NAMES.length)
  const { body } = await get(port, '/metrics')
  for (const exchange of NAMES)
    expect(metric(body, 'kafka_messages_published_total', { topic: tickers, type: 'ticker', exchange })).toBe(60)
  // Kraken has no numbers that identify a repeat; an absolute size that is set twice is the same size.
  expect(metric(body, 'websocket_duplicates_total')).toBe(4 * 3)

  // Gaps.
  for (const e of exchanges) if (e !== exchanges[2]) e.skip(2)
  await changes(4)
  await subscribed()
  await changes(4)
  await booksAgree(backend, orderbooks)

  // Lost connections, and a runner that is killed.
  for (const e of exchanges) e.drop()
  await changes(4)
  await subscribed()
  await changes(4)
  await booksAgree(backend, orderbooks)
  runner.kill('SIGKILL')
  await runner.exited
  await changes(4)
  runner = startRunner(['run', FEED], { cwd, env })
  await subscribed()
  await changes(4)
  const books: FeedBook[] = []
  await booksAgree(backend, orderbooks, books)
  expect(books.every(b => b.snapshots >= 3)).toBe(true)
  runner.kill('SIGTERM')
  await runner.exit(0)

  // What was published is read by the other flow: all of it, once.
  const poison = { value: Buffer.from('poison'), key: Buffer.from('k') }
  await backend.produce(tickers, [{ partition: 0, ...poison }])
  const consumer = startRunner(['run', CONSUMER, '--until-idle', '2s'], {
    cwd: tempDir(),
    env: { ...env, KAFKA_GROUP: tickers },
  })
  await consumer.exit(0, 60_000)
  const wanted = [...(await backend.readAll(tickers)), ...(await backend.readAll(orderbooks))]
    .map(r => String(r.value))
    .filter(v => v !== 'poison')
  expect(consumer.stdout.split('\n').filter(Boolean).toSorted()).toEqual(wanted.toSorted())
  expect((await backend.readAll(dead)).at(-1)).toMatchObject(poison)
  const ends = await backend.readAll(tickers)
  const committed = await backend.committed(tickers, tickers)
  for (const [partition, offset] of committed) expect(offset).toBe(ends.filter(r => r.partition === partition).length)
  await backend.close()
})

test('without KAFKA_ENABLED, it runs, publishes nothing, contacts no broker, and garbage does not stop it', async () => {
  const env = await startExchanges()
  const [port] = await freePorts(1)
  const [nobody] = await freePorts(1)
  const runner = startRunner(['run', FEED], {
    cwd: tempDir(),
    env: { ...env, KAFKA_BROKERS: `127.0.0.1:${nobody}`, KAFKA_METRICS_ENABLED: 'true', KAFKA_METRICS_PORT: String(port) },
  })
  await subscribed()
  for (const e of exchanges) e.garbage(Buffer.from('{'))
  await changes(5)
  await eventually(
    async () => {
      const { body } = await get(port, '/metrics')
      expect(metric(body, 'websocket_refused_total')).toBe(4)
      for (const exchange of NAMES)
        expect(metric(body, 'runner_normalized_total', { exchange, type: 'orderbook' })).toBeGreaterThanOrEqual(2)
    },
    { interval: 100 },
  )
  expect((await get(port, '/ready')).status).toBe(200)
  runner.kill('SIGTERM')
  await runner.exit(0)
  expect(runner.stderr).toContain('messages rejected')
  expect(runner.stderr).not.toContain(String(nobody))
})
