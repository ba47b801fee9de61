/**
 * One connected client: its position in the ring and its subscription. It has no queue of its own, so a slow client costs no memory beyond
 * the data in transit.
 */
import type { WebSocket } from 'ws'
import { parseRequest, type Subscribe } from './protocol.ts'
import type { Ring, RingEntry } from './ring.ts'

export interface ClientHost {
  readonly ring: Ring
  /** Identifies this run of the server: ids of another run are not valid here. */
  readonly session: string
  /** Maximum number of bytes in transit. */
  readonly buffer: number
  readonly disconnectSlow: boolean
  sent(): void
  dropped(): void
  tooSlow(): void
  /** Disconnected because it does not read responses. */
  unread(): void
}

/** Close code for `on_slow_client: disconnect`; 4000 to 4999 are reserved for applications. */
const TOO_SLOW = 4008
/** Bytes of responses that may wait beside the messages. */
const MAX_ANSWERS = 256 * 1024

export class Client {
  /** The client has answered the last ping. */
  alive = true
  private readonly socket: WebSocket
  private readonly host: ClientHost
  private wants: Subscribe | undefined
  /** Number of the next message to examine. */
  private next = 0
  private missed = 0
  private onTheWay = 0
  /** Messages on their way, oldest first. */
  private readonly flight: RingEntry[] = []
  private blocked = false
  private gone = false

  constructor(socket: WebSocket, host: ClientHost) {
    this.socket = socket
    this.host = host
    this.notify({ type: 'hello', session: host.session, last_id: this.id(host.ring.last) })
  }

  hear(text: string): void {
    if (this.gone) return
    try {
      const request = parseRequest(text)
      if (request.type === 'ping') this.notify({ type: 'pong' })
      else if (request.type === 'unsubscribe') this.wants = undefined
      else this.subscribe(request)
    } catch (error) {
      this.notify({ type: 'error', message: (error as Error).message })
    }
  }

  /** Sends the new messages, as far as the client accepts them. */
  sendNext(): void {
    const { ring, buffer } = this.host
    while (this.wants && this.next <= ring.last) {
      if (this.onTheWay >= buffer) {
        this.blocked = true
        return
      }
      if (this.missed > 0) {
        this.notify({ type: 'gap', reason: 'slow', missed: this.missed })
        this.missed = 0
      }
      const entry = ring.get(this.next++)
      if (this.matches(entry)) {
        this.send(entry)
        this.host.sent()
      }
    }
  }

  /** The entry is about to leave the ring. */
  leaving(entry: RingEntry): void {
    if (!this.wants || this.next > entry.n) return
    this.next = entry.n + 1
    if (!this.matches(entry)) return
    this.missed++
    this.host.dropped()
    if (!this.host.disconnectSlow) return
    this.wants = undefined
    this.host.tooSlow()
    this.socket.close(TOO_SLOW, 'too slow')
    // Does not wait for data in transit: the client does not read it.
    setTimeout(() => this.socket.terminate(), 1000).unref()
  }

  /** Closes the connection if a message up to number `n` is still on its way. */
  cut(n: number): void {
    if (this.gone || this.flight.length === 0 || this.flight[0].n > n) return
    this.gone = true
    this.wants = undefined
    this.host.tooSlow()
    this.socket.terminate()
  }

  private subscribe(request: Subscribe): void {
    const { ring } = this.host
    this.wants = request
    this.missed = 0
    this.next = ring.last + 1
    let gap: object | undefined
    if (request.lastId !== undefined) {
      const seen = this.number(request.lastId)
      this.next = Math.max(ring.first, (seen ?? 0) + 1)
      if (seen === undefined) gap = { type: 'gap', reason: 'restart' }
      // Counts all topics: for messages that have left the ring, the topic is unknown.
      else if (seen + 1 < ring.first) gap = { type: 'gap', reason: 'too_old', missed: ring.first - seen - 1 }
    } else if (request.last !== undefined) {
      let wanted = request.last
      while (wanted > 0 && this.next > ring.first) if (this.matches(ring.get(--this.next))) wanted--
    }
    this.notify({ type: 'subscribed', topics: list(request.topics), keys: list(request.keys), last_id: this.id(ring.last) })
    if (gap) this.notify(gap)
    this.sendNext()
  }

  private matches({ topic, key }: RingEntry): boolean {
    const { topics, keys } = this.wants!
    return (!topics || topics.has(topic)) && (!keys || (key !== null && keys.has(key)))
  }

  pong(data: Buffer): void {
    if (this.reads()) this.socket.pong(data)
  }

  private notify(what: object): void {
    if (!this.reads()) return
    const data = Buffer.from(JSON.stringify(what))
    this.onTheWay += data.length
    this.socket.send(data, { binary: false }, () => this.taken(data.length))
  }

  /** A client that sends requests and does not read the responses is disconnected, because its pending data must not grow. */
  private reads(): boolean {
    if (this.gone || this.socket.bufferedAmount <= this.host.buffer + MAX_ANSWERS) return !this.gone
    this.gone = true
    this.wants = undefined
    this.host.unread()
    this.socket.terminate()
    return false
  }

  private send(entry: RingEntry): void {
    const { ring } = this.host
    const { length } = entry.data
    this.onTheWay += length
    this.flight.push(entry)
    entry.holders++
    this.socket.send(entry.data, { binary: false }, () => {
      this.flight.shift()
      ring.release(entry)
      this.taken(length)
    })
  }

  private taken(bytes: number): void {
    this.onTheWay -= bytes
    if (!this.blocked || this.onTheWay > this.host.buffer / 2) return
    this.blocked = false
    this.sendNext()
  }

  private id(n: number): string | null {
    return n === 0 ? null : `${this.host.session}-${n}`
  }

  /** Undefined: the id does not belong to this run. */
  private number(id: string): number | undefined {
    const [session, n] = id.split('-')
    return session === this.host.session && /^\d{1,15}$/.test(n ?? '') && Number(n) <= this.host.ring.last ? Number(n) : undefined
  }
}

const list = (names: ReadonlySet<string> | undefined): string[] | null => (names ? [...names] : null)
