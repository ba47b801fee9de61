/**
 * Follows the sequence numbers of each stream, such as the order book of a symbol: drops repeats, detects gaps, and inserts snapshots where
 * they belong. Uses no socket and no clock.
 * With snapshots over HTTP, the procedure is the one that exchanges prescribe: messages after the gap are held back, the snapshot is
 * fetched, the messages that it covers are dropped, and the first remaining message must follow it. If it does not, the snapshot is too old
 * and another one is fetched.
 */
import type { Message } from '../../contract/plugin.ts'
import { getter } from '../../kit/values/fields.ts'
import { type Match, matcher } from '../../kit/values/match.ts'
import type { Counters, GapReason } from './counters.ts'
import { bridges, type SequencedMessage, NumbersReader, wholeNumber } from './sequence-numbers.ts'

export interface SequenceOptions {
  readonly match?: Match
  readonly key?: string
  readonly last: string
  readonly first?: string
  readonly previous?: string
  readonly restart?: Match
  readonly on_gap: 'snapshot' | 'resubscribe' | 'reconnect' | 'count'
  readonly max_buffered: number
  readonly snapshot?: { readonly last: string }
}

export interface SequenceActions {
  /** @param problem why the message cannot be used */
  emit(message: Message, problem?: string): void
  /** Fetches a snapshot; `snapshot` is called with the result later. */
  fetch(key: string): void
  resubscribe(key: string): void
  reconnect(reason: 'gap' | 'buffer_full'): void
}

/** Follows the streams of a connection. */
export interface Streams {
  /** The stream of a message; undefined: it belongs to none. */
  keyOf(value: unknown): string | undefined
  /** @param key the result of `keyOf` */
  accept(message: Message, key: string): void
  /** A message of the stream was lost after the source; without a key: of an unknown stream. */
  lost(reason: 'refused' | 'dropped', key?: string): void
  /** The connection is lost, and an unknown number of messages with it. */
  reset(): void
  /** Updates also the streams that have been silent since the connection was restored. */
  catchUp(): void
  /** @returns whether the stream waits for a snapshot. */
  waits(key: string): boolean
}

class Stream {
  /** Sequence number of the last message passed on; undefined: none yet. */
  last: number | undefined
  /** Nothing is passed on before a snapshot. */
  waiting = false
  /**
   * The stream is known from the previous connection, and its snapshot has not been requested yet: its first message does, or `catchUp`.
   */
  left = false
  /** The last message passed on was a snapshot, whose number may be inside the range of a message. */
  fresh = false
  held: SequencedMessage[] = []
}

export class Sequences implements Streams {
  private readonly streams = new Map<string, Stream>()
  private readonly options: SequenceOptions
  private readonly actions: SequenceActions
  private readonly counters: Counters
  private readonly applies: (value: unknown) => boolean
  private readonly restarts: (value: unknown) => boolean
  private readonly key
  private readonly numbers: NumbersReader
  private readonly snapshotLast

  constructor(options: SequenceOptions, actions: SequenceActions, counters: Counters) {
    this.options = options
    this.actions = actions
    this.counters = counters
    this.applies = matcher(options.match ?? {})
    this.restarts = options.restart ? matcher(options.restart) : () => false
    this.key = options.key === undefined ? () => '' : getter(options.key)
    this.numbers = new NumbersReader(options)
    this.snapshotLast = options.snapshot && getter(options.snapshot.last)
  }

  keyOf(value: unknown): string | undefined {
    if (!this.applies(value)) return undefined
    const key = this.key(value)
    return typeof key === 'string' || typeof key === 'number' ? String(key) : undefined
  }

  accept(message: Message, key: string): void {
    const { value } = message
    const entry = this.numbers.read(message)
    if (typeof entry === 'string') {
      // The next message will show the gap.
      this.actions.emit(message, entry)
      return
    }
    const stream = this.stream(key)
    if (this.restarts(value)) this.begin(stream, entry)
    else this.follow(stream, key, entry)
  }

  lost(reason: 'refused' | 'dropped', key?: string): void {
    for (const [name, stream] of this.streams) {
      if ((key === undefined || name === key) && stream.last !== undefined && !stream.waiting) this.gap(stream, name, reason)
    }
  }

  /** The result of `fetch`. @returns why it cannot be used; undefined: it was used, or another one has been requested. */
  snapshot(key: string, message: Message): string | undefined {
    const stream = this.streams.get(key)
    if (!stream?.waiting) return undefined
    let last: number | undefined
    try {
      last = wholeNumber(this.snapshotLast!(message.value))
    } catch (error) {
      return (error as Error).message
    }
    if (last === undefined) return `the snapshot has no whole number at ${this.options.snapshot!.last}`
    const rest = stream.held.filter(e => e.last > last)
    if (rest.length > 0 && !bridges(rest[0], last)) {
      this.counters.snapshot('old')
      this.actions.fetch(key)
      return undefined
    }
    this.counters.snapshot('ok')
    this.counters.drop('superseded', stream.held.length - rest.length)
    Object.assign(stream, { held: [], waiting: false, fresh: true, last })
    this.actions.emit(message)
    for (const entry of rest) this.follow(stream, key, entry)
    return undefined
  }

  reset(): void {
    for (const [key, stream] of this.streams) {
      this.counters.drop('superseded', stream.held.length)
      if (stream.last !== undefined) this.counters.gap('reconnect')
      if (this.options.on_gap !== 'snapshot') this.streams.delete(key)
      else this.streams.set(key, Object.assign(new Stream(), { waiting: true, left: true }))
    }
  }

  catchUp(): void {
    for (const [key, stream] of this.streams) if (stream.left) this.fetch(stream, key)
  }

  waits(key: string): boolean {
    return this.streams.get(key)?.waiting === true
  }

  private stream(key: string): Stream {
    let stream = this.streams.get(key)
    if (!stream) this.streams.set(key, (stream = new Stream()))
    return stream
  }

  /** A snapshot sent by the peer. */
  private begin(stream: Stream, entry: SequencedMessage): void {
    if (stream.waiting) this.counters.snapshot('ok')
    this.counters.drop('superseded', stream.held.length)
    Object.assign(stream, { held: [], waiting: false, fresh: true })
    this.pass(stream, entry)
    stream.fresh = true
  }

  private follow(stream: Stream, key: string, entry: SequencedMessage): void {
    if (stream.waiting) {
      this.hold(stream, entry)
      if (stream.left) this.fetch(stream, key)
    } else if (stream.last === undefined) {
      if (this.options.on_gap === 'snapshot') {
        stream.waiting = true
        this.hold(stream, entry)
        this.fetch(stream, key)
      } else if (this.options.restart) this.counters.drop('superseded')
      else this.pass(stream, entry)
    } else if (this.continues(stream, entry)) {
      if (entry.last === stream.last && entry.previous === entry.last) this.counters.drop('keepalive')
      else this.pass(stream, entry)
    } else if (entry.last <= stream.last) this.counters.duplicates.inc()
    else this.gap(stream, key, 'sequence', entry)
  }

  private continues(stream: Stream, entry: SequencedMessage): boolean {
    const last = stream.last!
    // With the previous number in each message, the peer may even restart its numbering.
    if (entry.previous !== undefined && !(stream.fresh && entry.first !== undefined)) return entry.previous === last
    return entry.last > last && bridges(entry, last)
  }

  private gap(stream: Stream, key: string, reason: GapReason, entry?: SequencedMessage): void {
    this.counters.gap(reason)
    const { on_gap } = this.options
    if (on_gap === 'count') {
      if (entry) this.pass(stream, entry)
      return
    }
    stream.waiting = true
    if (entry) this.hold(stream, entry)
    if (on_gap === 'snapshot') this.fetch(stream, key)
    else if (on_gap === 'resubscribe') this.actions.resubscribe(key)
    else this.actions.reconnect('gap')
  }

  private fetch(stream: Stream, key: string): void {
    stream.left = false
    this.actions.fetch(key)
  }

  private hold(stream: Stream, entry: SequencedMessage): void {
    if (this.options.on_gap !== 'snapshot') this.counters.drop('superseded')
    else if (stream.held.length < this.options.max_buffered) stream.held.push(entry)
    else {
      this.counters.drop('superseded')
      this.actions.reconnect('buffer_full')
    }
  }

  private pass(stream: Stream, entry: SequencedMessage): void {
    stream.last = entry.last
    stream.fresh = false
    this.actions.emit(entry.message)
  }
}
