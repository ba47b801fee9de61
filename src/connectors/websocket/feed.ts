/** The connection to a feed, restored whenever it is lost, until the feed has ended permanently. */
import type { WebSocket } from 'ws'
import type { WebsocketSourceConfig } from '../../generated/config-types.ts'
import type { Json, SourceContext } from '../../contract/plugin.ts'
import { backoff } from '../../kit/pause.ts'
import { Connection } from './connection.ts'
import type { Counters, ReconnectReason } from './counters.ts'
import { expand, symbolsOf } from './template.ts'
import type { TlsOptions } from './tls.ts'

export interface FeedEvents {
  /** Connected; the subscriptions are being sent. */
  opened(): void
  frame(data: Buffer): void
  /** The connection is lost; called before the next attempt. */
  lost(): void
}

export class Feed {
  /** Open, or being opened; undefined in between. */
  connection: Connection | undefined
  private readonly config: WebsocketSourceConfig
  private readonly ctx: SourceContext
  private readonly counters: Counters
  private readonly random: () => number
  private readonly events: FeedEvents
  private readonly hello: readonly string[]
  private readonly end = new AbortController()
  private Client!: typeof WebSocket
  private tls: TlsOptions = {}
  private retry: NodeJS.Timeout | undefined
  /** Consecutive connections that did not last. */
  private attempt = 0
  /** 0: not open. */
  private openedAt = 0
  private closed = false

  constructor(config: WebsocketSourceConfig, ctx: SourceContext, counters: Counters, random: () => number, events: FeedEvents) {
    this.config = config
    this.ctx = ctx
    this.counters = counters
    this.random = random
    this.events = events
    this.hello = expand(config.subscribe as Json[], symbolsOf(config.symbols))
  }

  /** Aborted when the feed has ended permanently: the peer closed it normally, and `on_close` is `end`. */
  get ended(): AbortSignal {
    return this.end.signal
  }

  /** Starts to connect; does not wait for the connection. */
  start(Client: typeof WebSocket, tls: TlsOptions): void {
    this.Client = Client
    this.tls = tls
    this.connect()
  }

  close(): void {
    this.closed = true
    clearTimeout(this.retry)
    this.connection?.close()
    this.connection = undefined
  }

  private connect(): void {
    const { config } = this
    this.connection = new Connection(
      this.Client,
      {
        url: config.url,
        client: {
          headers: config.headers,
          maxPayload: config.max_message_size,
          handshakeTimeout: config.connect_timeout,
          // Bytes that are not UTF-8 become a dead letter and do not end the connection.
          skipUTF8Validation: true,
          ...this.tls,
        },
        hello: this.hello,
        pingInterval: config.ping_interval,
        staleAfter: config.stale_after,
        ping: config.ping && {
          interval: config.ping.every,
          message: textOf(config.ping.message as Json),
          answered: config.ping.pong !== undefined,
        },
      },
      {
        opened: () => {
          this.openedAt = performance.now()
          this.events.opened()
        },
        frame: this.events.frame,
        ended: (reason, detail, clean) => this.lost(reason, detail, clean),
      },
    )
  }

  private lost(reason: ReconnectReason, detail: string, clean: boolean): void {
    const { config, ctx, counters } = this
    const lasted = this.openedAt === 0 ? 0 : performance.now() - this.openedAt
    this.openedAt = 0
    this.connection = undefined
    this.events.lost()
    if (clean && config.on_close === 'end') {
      this.end.abort()
      return
    }
    counters.reconnect(reason)
    if (reason === 'stale') counters.stale.inc()
    if (lasted > config.reconnect.max_delay) this.attempt = 0
    const delay = Math.round(backoff(config.reconnect, this.attempt++, this.random))
    ctx.log.warn({ step: ctx.step, reason, detail, delay }, 'feed lost, reconnecting')
    if (!this.closed) this.retry = setTimeout(() => this.connect(), delay)
  }
}

const textOf = (message: Json): string => (typeof message === 'string' ? message : JSON.stringify(message))
