/**
 * Watches streams that must have no gaps, by their numbers or checksums, and repairs gaps: by a snapshot over HTTP, by subscribing again,
 * or by a new connection.
 */
import type { WebsocketSourceConfig } from '../../generated/config-types.ts'
import type { Json, Message, SourceContext } from '../../contract/plugin.ts'
import { OrderBookChecksum } from './order-book-checksum.ts'
import type { Counters } from './counters.ts'
import type { Feed } from './feed.ts'
import { type Got, httpGet } from './http-get.ts'
import { type SequenceActions, Sequences, type Streams } from './sequence.ts'
import { Snapshots } from './snapshots.ts'
import { expand, expandUrl } from './template.ts'
import type { TlsOptions } from './tls.ts'

export interface GapRecoveryOptions {
  readonly ctx: SourceContext
  readonly counters: Counters
  readonly random: () => number
  readonly feed: Pick<Feed, 'connection'>
  /** For snapshots; not known before the source is open. */
  tls(): TlsOptions
  /** @param time epoch ms */
  message(payload: Buffer, key: string, time: number): Message
  /** @param problem why the message cannot be used */
  emit(message: Message, problem?: string): void
}

export class GapRecovery {
  readonly streams: Streams
  private readonly config: WebsocketSourceConfig
  private readonly options: GapRecoveryOptions
  private readonly snapshots: Snapshots | undefined
  /** Deadlines for the snapshots of streams that were subscribed to again. */
  private readonly deadlines = new Map<string, NodeJS.Timeout>()
  private silence: NodeJS.Timeout | undefined

  /** @param config with `sequence` or `checksum` */
  constructor(config: WebsocketSourceConfig, options: GapRecoveryOptions) {
    this.config = config
    this.options = options
    const { ctx, counters, random, feed } = options
    const actions: SequenceActions = {
      emit: options.emit,
      fetch: key => this.snapshots!.request(key),
      resubscribe: key => this.resubscribe(key),
      reconnect: reason =>
        feed.connection?.end(reason, reason === 'gap' ? 'messages are missing' : 'max_buffered messages wait for a snapshot'),
    }
    if (config.sequence === undefined) {
      this.streams = new OrderBookChecksum(config.checksum as never, actions, counters)
      return
    }
    const sequences = new Sequences(config.sequence as never, actions, counters)
    this.streams = sequences
    if (config.sequence.snapshot === undefined) return
    this.snapshots = new Snapshots({
      interval: config.sequence.min_interval,
      backoff: config.reconnect,
      random,
      log: ctx.log,
      counters,
      wanted: key => sequences.waits(key),
      get: (key, signal) => this.fetch(key, signal),
      use: (key, { body, date }) => sequences.snapshot(key, options.message(body, key, date > 0 ? date : ctx.clock.now())),
    })
  }

  /**
   * A snapshot must not be older than the subscription. A stream with messages triggers its snapshot itself; the others are given a moment.
   */
  opened(): void {
    const { sequence } = this.config
    if (sequence?.snapshot) this.silence = setTimeout(() => this.streams.catchUp(), sequence.min_interval)
  }

  /** The connection is lost: the next one starts from scratch. */
  reset(): void {
    this.close()
    this.streams.reset()
  }

  /** Cancels all waits. */
  close(): void {
    clearTimeout(this.silence)
    this.snapshots?.cancel()
    for (const timer of this.deadlines.values()) clearTimeout(timer)
    this.deadlines.clear()
  }

  private fetch(key: string, signal: AbortSignal): Promise<Got> {
    const { url, headers, timeout, max_size } = this.config.sequence!.snapshot!
    return httpGet(expandUrl(url, key), { headers, tls: this.options.tls(), timeout, maxSize: max_size, signal })
  }

  private resubscribe(key: string): void {
    const { feed } = this.options
    const { resubscribe, restart_timeout } = (this.config.sequence ?? this.config.checksum)!
    for (const text of expand((resubscribe ?? this.config.subscribe) as Json[], [key])) feed.connection?.send(text)
    clearTimeout(this.deadlines.get(key))
    this.deadlines.set(
      key,
      setTimeout(() => {
        if (this.streams.waits(key)) feed.connection?.end('gap', `received no snapshot of ${key} after subscribing again`)
      }, restart_timeout),
    )
  }
}
