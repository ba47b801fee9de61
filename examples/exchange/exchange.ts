/**
 * A local exchange: speaks the messages of a real one over real sockets, keeps its own books, and does on demand what real ones
 * do at the worst moment. For tests and for trying a feed without internet.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { Book, randomOf } from './book.ts'
import { CONNECTION_SEQUENCE, type Dialect, type Market, type Subscription } from './dialect.ts'
import { binance } from './dialects/binance.ts'
import { coinbase } from './dialects/coinbase.ts'
import { kraken } from './dialects/kraken.ts'
import { okx } from './dialects/okx.ts'

export const DIALECTS: Readonly<Record<Dialect['name'], Dialect>> = { binance, coinbase, kraken, okx }

interface Client {
  readonly socket: WebSocket
  readonly channels: Set<string>
  /** Messages sent. */
  sent: number
}

const idOf = ({ channel, symbol }: Subscription): string => `${channel} ${symbol}`

export class Exchange {
  readonly markets: ReadonlyMap<string, Market>
  /** Every ticker that was sent, as text. */
  readonly tickers: string[] = []
  /** Connections so far, and snapshots fetched over HTTP. */
  connections = 0
  snapshots = 0
  /** Nothing is sent any more, and the sockets stay open. */
  stalled = false
  /** Answer for snapshots instead of the snapshot. */
  snapshotStatus = 200
  private readonly dialect: Dialect
  private readonly clients = new Set<Client>()
  private readonly random: () => number
  private readonly server: Server
  private readonly sockets: WebSocketServer
  private heartbeat: NodeJS.Timeout | undefined
  /** Messages that the next change is not sent in. */
  private toSkip = 0
  private lastDiff: { readonly id: string; readonly text: string } | undefined

  constructor(name: Dialect['name'], seed = 1) {
    this.dialect = DIALECTS[name]
    this.random = randomOf(seed)
    this.markets = new Map(
      this.dialect.symbols.map((symbol, i) => [symbol, { symbol, book: new Book(seed + i + 1), sequence: 1000, volume: '1000.500' }]),
    )
    this.server = createServer((request, response) => this.answer(request, response))
    this.sockets = new WebSocketServer({ server: this.server })
    this.sockets.on('connection', socket => this.connected(socket))
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve, reject) => this.server.once('error', reject).listen(port, '127.0.0.1', resolve))
    const { heartbeat } = this.dialect
    if (heartbeat) this.heartbeat = setInterval(() => this.broadcast(undefined, heartbeat.message(Date.now())), heartbeat.every)
    return this
  }

  async stop(): Promise<void> {
    clearInterval(this.heartbeat)
    for (const { socket } of this.clients) socket.terminate()
    await new Promise(resolve => this.sockets.close(resolve))
    this.server.closeAllConnections()
    await new Promise(resolve => this.server.close(resolve))
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }
  get ws(): string {
    return `ws://127.0.0.1:${this.port}`
  }
  get http(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Is a client subscribed to this? */
  subscribed(subscription: Subscription): boolean {
    return [...this.clients].some(c => c.socket.readyState === c.socket.OPEN && c.channels.has(idOf(subscription)))
  }

  /** One change of a symbol's book, sent as one message of one or more numbers. */
  change(symbol: string): void {
    const market = this.markets.get(symbol)!
    const before = market.sequence
    market.sequence += 1 + Math.floor(this.random() * 3)
    const numbers = { first: before + 1, last: market.sequence, before }
    const text = this.dialect.diff(market, market.book.change(), numbers, Date.now())
    const id = idOf({ channel: 'book', symbol })
    if (this.toSkip > 0) {
      this.toSkip--
      // What is counted per connection is counted although it is lost.
      for (const client of this.clients) if (client.channels.has(id)) client.sent++
      return
    }
    this.lastDiff = { id, text }
    this.broadcast(id, text)
  }

  /** A trade, sent to subscribers of trades and of tickers. */
  trade(symbol: string): void {
    const market = this.markets.get(symbol)!
    const trade = { price: market.book.bestAsk, size: (0.001 + this.random()).toFixed(6) }
    market.volume = (Number(market.volume) + Number(trade.size)).toFixed(3)
    const now = Date.now()
    const ticker = this.dialect.ticker(market, trade, now)
    if (this.broadcast(idOf({ channel: 'ticker', symbol }), ticker) > 0) this.tickers.push(ticker)
    this.broadcast(idOf({ channel: 'trade', symbol }), this.dialect.trade(market, trade, now))
  }

  /** The next so many changes of books are made but not sent. */
  skip(messages: number): void {
    this.toSkip += messages
  }

  /** Sends the last change of a book again. */
  repeat(): void {
    if (this.lastDiff) this.broadcast(this.lastDiff.id, this.lastDiff.text, false)
  }

  /** Sends bytes that mean nothing, as a text message. */
  garbage(bytes: Buffer): void {
    this.broadcast(undefined, bytes, false)
  }

  /** Cuts all connections, without a word. */
  drop(): void {
    for (const { socket } of this.clients) socket.terminate()
  }

  /** @param id of a subscription; undefined: to all. @returns how many got it */
  private broadcast(id: string | undefined, message: string | Buffer, counted = true): number {
    let n = 0
    for (const client of this.clients) if (id === undefined || client.channels.has(id)) n += this.send(client, message, counted)
    return n
  }

  private send(client: Client, message: string | Buffer, counted = true): number {
    if (this.stalled || client.socket.readyState !== client.socket.OPEN) return 0
    if (typeof message !== 'string') client.socket.send(message, { binary: false })
    else {
      const number = counted ? client.sent++ : client.sent - 1
      client.socket.send(message.replace(CONNECTION_SEQUENCE, `"sequence_num":${number}`))
    }
    return 1
  }

  private connected(socket: WebSocket): void {
    this.connections++
    const client: Client = { socket, channels: new Set(), sent: 0 }
    this.clients.add(client)
    socket.on('close', () => this.clients.delete(client))
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => this.request(client, data.toString()))
  }

  private request(client: Client, text: string): void {
    let request
    try {
      request = this.dialect.request(text)
    } catch {
      // Not JSON: answered like everything else that makes no sense.
    }
    if (!request) {
      this.send(client, JSON.stringify({ event: 'error', error: `what is ${text.slice(0, 100)}?` }), false)
      return
    }
    for (const reply of request.replies ?? []) this.send(client, reply)
    for (const s of request.remove ?? []) client.channels.delete(idOf(s))
    for (const s of request.add ?? []) {
      const market = this.markets.get(s.symbol)
      if (!market) continue
      client.channels.add(idOf(s))
      if (s.channel === 'book' && this.dialect.snapshot) this.send(client, this.dialect.snapshot(market, Date.now()))
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const { searchParams } = new URL(request.url ?? '/', 'http://local')
    const market = this.markets.get(searchParams.get('symbol') ?? '')
    if (!this.dialect.http || !market) return void response.writeHead(404).end('no such symbol')
    this.snapshots++
    if (this.snapshotStatus !== 200) return void response.writeHead(this.snapshotStatus, { 'retry-after': '0' }).end('too many requests')
    response.setHeader('content-type', 'application/json')
    response.end(this.dialect.http(market))
  }
}
