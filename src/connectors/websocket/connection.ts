/** One connection from its handshake to its end: pings, the watchdog for silence, and the reason for its end. */
import type { ClientOptions, WebSocket } from 'ws'
import { closedFailure, type TlsAdvice, TLS_KEYS, type TlsFailure } from '../../kit/tls-failure.ts'
import type { ReconnectReason } from './counters.ts'
import { systemReason } from '../../kit/system-error.ts'

/** Bytes of pongs that the peer has not read. */
const MAX_UNREAD = 1024 * 1024
/** ms; a process that has not run for twice this time was frozen. */
const ATTENTION = 500

export interface ConnectionOptions {
  readonly url: string
  readonly client: ClientOptions
  /** Sent once connected. */
  readonly hello: readonly string[]
  /** ms; 0: none. */
  readonly pingInterval: number
  /** The feed counts as dead after this time without data, ms; 0: never. */
  readonly staleAfter: number
  readonly ping?: { readonly interval: number; readonly message: string; readonly answered: boolean }
}

export interface ConnectionEvents {
  opened(): void
  frame(data: Buffer): void
  /** Called exactly once. `clean`: the peer closed with code 1000. */
  ended(reason: ReconnectReason, detail: string, clean: boolean): void
}

export class Connection {
  /** Set when TLS is the reason for the end. */
  failure: TlsFailure | undefined
  private hasOpened = false
  private readonly socket: WebSocket
  private readonly options: ConnectionOptions
  private readonly events: ConnectionEvents
  private readonly timers: NodeJS.Timeout[] = []
  private watchdog: NodeJS.Timeout | undefined
  /** When the process last ran, and when it ran again after it had been frozen, by the monotonic clock. */
  private ranAt = 0
  private thawedAt = Number.NEGATIVE_INFINITY
  private over = false
  private paused = false
  /** A ping was sent and has not been answered yet. */
  private pinged = false
  private appPinged = false

  constructor(Client: typeof WebSocket, options: ConnectionOptions, events: ConnectionEvents) {
    this.options = options
    this.events = events
    const socket = (this.socket = new Client(options.url, { ...options.client, autoPong: false }))
    socket.on('open', () => this.opened())
    socket.on('message', (data: Buffer) => {
      if (!this.over) events.frame(data)
    })
    socket.on('ping', (data: Buffer) => this.pong(data))
    socket.on('pong', () => (this.pinged = false))
    socket.on('error', (error: Error & { code?: string }) => {
      this.failure = this.hasOpened ? undefined : closedFailure(error, TLS_ADVICE, options.url.startsWith('wss:'))
      const detail = this.failure === undefined ? explain(error) : `${this.failure.what}; ${this.failure.fix}`
      this.end(error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' ? 'too_large' : 'error', detail)
    })
    socket.on('close', (code, reason) =>
      this.end('closed', `closed by the peer (${code}${reason.length > 0 ? ` ${reason.toString()}` : ''})`, code === 1000),
    )
  }

  get isOpen(): boolean {
    return !this.over && this.socket.readyState === this.socket.OPEN
  }

  send(text: string): void {
    if (this.isOpen) this.socket.send(text)
  }

  /** Data has arrived, so the feed is alive. */
  alive(): void {
    this.watchdog?.refresh()
  }

  /** The response to an application-level ping has arrived. */
  answered(): void {
    this.appPinged = false
  }

  /** Stops reading: the data accumulates at the peer. */
  pause(): void {
    if (this.paused || !this.isOpen) return
    this.paused = true
    this.socket.pause()
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.pinged = this.appPinged = false
    this.watchdog?.refresh()
    if (this.isOpen) this.socket.resume()
  }

  /** Ends the connection because of a problem. */
  end(reason: ReconnectReason, detail: string, clean = false): void {
    if (this.over) return
    this.shut()
    // Errors of `terminate` are ignored.
    this.socket.on('error', () => {})
    this.socket.terminate()
    this.events.ended(reason, detail, clean)
  }

  /** Closes the connection normally; `ended` is not called. */
  close(): void {
    if (this.over) return
    this.shut()
    this.socket.on('error', () => {})
    if (this.socket.readyState === this.socket.OPEN) {
      this.socket.close(1000)
      // A peer that does not answer the close frame must not keep the process running.
      setTimeout(() => this.socket.terminate(), 500).unref()
    } else this.socket.terminate()
  }

  /** A peer that sends pings and does not read the pongs must not fill the memory. */
  private pong(data: Buffer): void {
    if (this.socket.bufferedAmount > MAX_UNREAD) this.end('error', 'the peer sends pings but does not read the pongs')
    else if (this.isOpen) this.socket.pong(data)
  }

  private shut(): void {
    this.over = true
    for (const timer of this.timers) clearInterval(timer)
    clearTimeout(this.watchdog)
  }

  private opened(): void {
    if (this.over) return
    this.hasOpened = true
    const { hello, pingInterval, staleAfter, ping } = this.options
    for (const message of hello) this.socket.send(message)
    this.ranAt = performance.now()
    this.timers.push(setInterval(() => this.run(), ATTENTION))
    if (pingInterval > 0) this.timers.push(setInterval(() => this.ping(), pingInterval))
    if (ping) this.timers.push(setInterval(() => this.appPing(ping), ping.interval))
    if (staleAfter > 0) this.watch(staleAfter)
    this.events.opened()
  }

  private watch(staleAfter: number): void {
    this.watchdog = setTimeout(() => {
      if (this.paused || this.wasFrozen()) this.watch(staleAfter)
      else this.end('stale', `no data for ${staleAfter} ms`)
    }, staleAfter)
  }

  private run(): number {
    const now = performance.now()
    if (now - this.ranAt > 2 * ATTENTION) this.thawedAt = now
    return (this.ranAt = now)
  }

  /**
   * The process did not run for a while, and runs again since less than `ATTENTION`. What the peer has sent meanwhile, such as the answer to a
   * ping, is still to be read: timers expire before input is read. The peer gets one more interval.
   */
  private wasFrozen(): boolean {
    return this.run() - this.thawedAt < ATTENTION
  }

  private ping(): void {
    if (this.paused) return
    if (this.pinged && this.wasFrozen()) return
    if (this.pinged) return this.end('ping_timeout', 'the peer did not answer a ping')
    this.pinged = true
    this.socket.ping()
  }

  private appPing(ping: NonNullable<ConnectionOptions['ping']>): void {
    if (this.paused) return
    if (this.appPinged && this.wasFrozen()) return
    if (this.appPinged) return this.end('ping_timeout', 'the peer did not answer a ping message')
    this.appPinged = ping.answered
    this.send(ping.message)
  }
}

const TLS_ADVICE: TlsAdvice = { ...TLS_KEYS, host: 'url', plain: 'write ws:// in url', tls: 'write wss:// in url' }

/** When a host has several addresses, the combined error has no message of its own. */
function explain(error: Error & { code?: string }): string {
  const first = error instanceof AggregateError ? (error.errors[0] as Error | undefined) : undefined
  return systemReason(error) ?? (error.message || first?.message || error.code || error.name)
}
