/**
 * Parses the data of a subscribed connection, a little at a time, so that writing gets its turn too: parsing one second of a server's
 * output takes longer than a second.
 */
import { MAX_WAITING } from './protocol.ts'

export interface PushHandlers {
  message(channel: Buffer, payload: Buffer, pattern: string): void
  /** A pattern is subscribed to. */
  subscribed(): void
  /** A reply to another command; with the server's error, such as `NOPERM …`. */
  answered(rejection: string | undefined): void
  /** The data is not the Redis protocol; the rest is ignored. */
  failed(error: Error): void
  /** Called with the number of bytes parsed. */
  parsed(bytes: number): void
}

/** Parsing continues for this long, ms; and for longer when this many bytes wait. */
const SLICE = 4
const LONG_SLICE = 20
const MANY = 16 * 1024 * 1024
const [STAR, DOLLAR, COLON, MINUS, PLUS, CR] = [0x2a, 0x24, 0x3a, 0x2d, 0x2b, 0x0d]

export class PushReader {
  private readonly handlers: PushHandlers
  private chunks: Buffer[] = []
  private waiting = 0
  /** Number of bytes needed before parsing can continue. */
  private need = 1
  private scheduled = false
  private paused = false
  private broken = false
  /** Set by `integer`: the byte after the line. */
  private behind = 0
  /** Start and end of the parts of the message being parsed. */
  private readonly parts = new Int32Array(8)
  private pattern: Buffer = Buffer.alloc(0)
  private patternText = ''

  constructor(handlers: PushHandlers) {
    this.handlers = handlers
  }

  take(chunk: Buffer): void {
    if (this.broken) return this.handlers.parsed(chunk.length)
    this.chunks.push(chunk)
    this.waiting += chunk.length
    this.schedule()
  }

  /** There is something to parse: without it, the rest of a message must be read first. */
  get ready(): boolean {
    return !this.paused && this.waiting > 0 && this.waiting >= this.need
  }

  pause(paused: boolean): void {
    this.paused = paused
    this.schedule()
  }

  /** Parses all data received: the connection has ended, and data of the next one comes later. */
  finish(): void {
    this.drain(Number.POSITIVE_INFINITY)
  }

  private schedule(): void {
    if (this.scheduled || this.paused || this.waiting < this.need || this.waiting === 0) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      if (!this.paused) this.drain(performance.now() + (this.waiting > MANY ? LONG_SLICE : SLICE))
      this.schedule()
    })
  }

  private drain(until: number): void {
    try {
      this.parse(until)
    } catch (error) {
      this.broken = true
      this.handlers.parsed(this.waiting)
      this.chunks = []
      this.waiting = 0
      this.handlers.failed(error as Error)
    }
  }

  private parse(until: number): void {
    while (this.waiting >= this.need && this.waiting > 0 && performance.now() < until) {
      // Usually one chunk, and the beginning of a message that ended the previous chunk.
      let count = 1
      for (let bytes = this.chunks[0].length; bytes < this.need; count++) bytes += this.chunks[count].length
      const buf = count === 1 ? this.chunks[0] : Buffer.concat(this.chunks.slice(0, count))
      this.need = 1
      let at = 0
      for (let next = this.one(buf, at); next !== -1; next = this.one(buf, at)) at = next
      const rest = buf.subarray(at)
      this.chunks.splice(0, count, ...(rest.length > 0 ? [rest] : []))
      this.waiting -= at
      // The rest is incomplete: at least one more byte is needed.
      if (rest.length > 0) this.need = Math.max(this.need, rest.length + 1)
      this.handlers.parsed(at)
      // Reading waits until bytes are parsed, so a longer message would block it forever.
      if (this.need > MAX_WAITING)
        throw new Error(
          `a published message has more than ${MAX_WAITING / 1024 / 1024} MiB and is not read; it is lost, with all messages published until the connection is restored`,
        )
    }
  }

  /** Parses one reply or message from byte `at`. @returns the byte after it; -1 when it is incomplete */
  private one(buf: Buffer, at: number): number {
    if (at >= buf.length) return -1
    const kind = buf[at]
    const line = this.integer(buf, at + 1)
    if (this.behind === -1) return -1
    if (kind === MINUS || kind === PLUS) {
      this.handlers.answered(kind === MINUS ? buf.toString('utf8', at + 1, this.behind - 2) : undefined)
      return this.behind
    }
    if (kind !== STAR || line > 4) throw new Error('the server does not speak the Redis protocol')
    const next = this.array(buf, this.behind, line, at)
    if (next !== -1) this.deliver(buf, line)
    return next
  }

  private array(buf: Buffer, from: number, count: number, start: number): number {
    let at = from
    for (let i = 0; i < count; i++) {
      if (at >= buf.length) return -1
      const kind = buf[at]
      const size = this.integer(buf, at + 1)
      if (this.behind === -1) return -1
      at = this.behind
      this.parts[2 * i] = at
      if (kind === COLON || size < 0) this.parts[2 * i + 1] = at
      else {
        if (kind !== DOLLAR) throw new Error('the server does not speak the Redis protocol')
        this.parts[2 * i + 1] = at + size
        at += size + 2
        if (at > buf.length) {
          this.need = at - start
          return -1
        }
      }
    }
    return at
  }

  private deliver(buf: Buffer, count: number): void {
    const { parts } = this
    const kind = buf.toString('latin1', parts[0], parts[1])
    if (kind === 'psubscribe') this.handlers.subscribed()
    else if (kind === 'pmessage' && count === 4) {
      const pattern = buf.subarray(parts[2], parts[3])
      if (!pattern.equals(this.pattern)) {
        this.pattern = Buffer.from(pattern)
        this.patternText = pattern.toString()
      }
      this.handlers.message(buf.subarray(parts[4], parts[5]), buf.subarray(parts[6], parts[7]), this.patternText)
    }
  }

  /** The whole number up to the end of the line; `behind` is the byte after the line, -1 when it is incomplete. */
  private integer(buf: Buffer, from: number): number {
    let n = 0
    let at = from
    const negative = buf[at] === MINUS
    if (negative) at++
    for (; at < buf.length && buf[at] !== CR; at++) n = n * 10 + (buf[at] - 0x30)
    this.behind = at + 1 < buf.length ? at + 2 : -1
    return negative ? -n : n
  }
}
