/** A TCP proxy between a client and a server that simulates network failures. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** `127.0.0.1:PORT`. */
  readonly address: string
  /** Connections open now. */
  readonly connections: number
  /** The bytes that `freeze` holds now, in both directions. */
  readonly held: Buffer
  /** Resets every connection and rejects new ones until `restore`. */
  cut(): void
  /** Half-open: connections stay, and are accepted, but no byte moves in either direction until `restore`. */
  freeze(): void
  /** As `freeze`, of the connections that are open now; new ones work. With a text: of those that send it from now on. */
  stall(at?: string): void
  /**
   * Once, of the next chunk of a client that has the text: it is lost (`request`), or the server gets it and its answer is lost (`answer`). The
   * connection breaks with it. Resolves when that has happened.
   */
  lose(text: string, what: 'request' | 'answer'): Promise<void>
  /** Resets the client's side of stalled connections. The bytes they hold for the server reach it after `restore`. */
  abandon(): void
  /** Ends `cut`, `freeze` and `stall`; bytes held by `freeze` move on. */
  restore(): void
  /** Delays each chunk by this much in each direction, order kept; 0 turns it off. */
  latency(ms: number): void
  /** Bytes per second and direction of each connection; 0: no limit. */
  bandwidth(bytesPerSecond: number): void
  stop(): Promise<void>
}

/** Listens on a free port of 127.0.0.1 unless `port` is given; `target` is `host:port` and need not be up yet. */
export async function startProxy(target: string, port = 0): Promise<TcpProxy> {
  const proxy = new Proxy(target)
  await proxy.listen(port)
  return proxy
}

/** The conditions that all connections of one proxy share. */
interface Weather {
  frozen: boolean
  stallAt?: string
  latencyMs: number
  bytesPerSecond: number
}

class Proxy implements TcpProxy {
  port = 0
  private readonly server: Server
  private readonly pairs = new Set<readonly [Socket, Socket]>()
  private readonly pipes = new Set<Pipe>()
  private readonly weather: Weather = { frozen: false, latencyMs: 0, bytesPerSecond: 0 }
  private refusing = false
  private toLose: { readonly text: string; readonly what: 'request' | 'answer'; lost(): void } | undefined
  private readonly abandoned = new WeakSet<readonly [Socket, Socket]>()

  constructor(target: string) {
    const colon = target.lastIndexOf(':')
    const host = target.slice(0, colon)
    const port = Number(target.slice(colon + 1))
    this.server = createServer({ allowHalfOpen: true }, near => {
      if (this.refusing) near.resetAndDestroy()
      else this.join(near, connect({ host, port, allowHalfOpen: true }))
    })
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  get connections(): number {
    return this.pairs.size
  }

  get held(): Buffer {
    return Buffer.concat([...this.pipes].flatMap(pipe => pipe.waiting))
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => this.server.once('error', reject).listen(port, '127.0.0.1', resolve))
    this.port = (this.server.address() as AddressInfo).port
  }

  cut(): void {
    this.refusing = true
    for (const pair of this.pairs) for (const socket of pair) socket.resetAndDestroy()
  }

  freeze(): void {
    this.weather.frozen = true
  }

  stall(at?: string): void {
    this.weather.stallAt = at
    if (at === undefined) for (const pipe of this.pipes) pipe.stalled = true
  }

  lose(text: string, what: 'request' | 'answer'): Promise<void> {
    return new Promise(resolve => (this.toLose = { text, what, lost: resolve }))
  }

  abandon(): void {
    this.weather.stallAt = undefined
    for (const pair of this.pairs) {
      const [near, far] = pair
      if (![...this.pipes].some(pipe => pipe.stalled && pipe.to === far)) continue
      this.abandoned.add(pair)
      near.resetAndDestroy()
    }
  }

  restore(): void {
    this.weather.stallAt = undefined
    for (const pipe of this.pipes) pipe.stalled = false
    this.refusing = false
    this.weather.frozen = false
    for (const pipe of this.pipes) pipe.wake()
  }

  latency(ms: number): void {
    this.weather.latencyMs = ms
  }

  bandwidth(bytesPerSecond: number): void {
    this.weather.bytesPerSecond = bytesPerSecond
  }

  async stop(): Promise<void> {
    this.cut()
    await new Promise(resolve => this.server.close(resolve))
  }

  private join(near: Socket, far: Socket): void {
    const pair = [near, far] as const
    const pipes = [new Pipe(near, far, this.weather), new Pipe(far, near, this.weather)]
    this.pairs.add(pair)
    for (const pipe of pipes) this.pipes.add(pipe)
    pipes[0].intercept = chunk => {
      const { toLose } = this
      if (!toLose || !chunk.includes(toLose.text)) return false
      this.toLose = undefined
      const lose = (): true => {
        for (const socket of pair) socket.resetAndDestroy()
        toLose.lost()
        return true
      }
      if (toLose.what === 'request') return lose()
      pipes[1].intercept = lose
      return false
    }
    for (const socket of pair) {
      socket.setNoDelay(true)
      // One side broken breaks the other: a proxy must not turn a reset into a timeout.
      socket.on('error', () => {})
      socket.once('close', hadError => {
        if (socket === near && !far.destroyed && this.abandoned.has(pair)) {
          pipes[0].end()
          pipes[1].discard()
          return
        }
        this.pairs.delete(pair)
        for (const pipe of pipes) {
          this.pipes.delete(pipe)
          pipe.stop()
        }
        for (const other of pair) {
          if (other === socket || other.destroyed) continue
          if (hadError) other.resetAndDestroy()
          else other.destroy()
        }
      })
    }
  }
}

/** One direction of one connection: takes chunks in order, each when its time has come. */
class Pipe {
  readonly to: Socket
  private readonly from: Socket
  private readonly weather: Weather
  private readonly queue: { chunk: Buffer | null; due: number }[] = []
  private timer: NodeJS.Timeout | undefined
  private busyUntil = 0
  private blocked = false
  stalled = false
  /** True: the chunk does not get here. */
  intercept: ((chunk: Buffer) => boolean) | undefined

  constructor(from: Socket, to: Socket, weather: Weather) {
    this.from = from
    this.to = to
    this.weather = weather
    from.on('data', (chunk: Buffer) => this.take(chunk))
    from.once('end', () => this.take(null))
    to.on('drain', () => {
      this.blocked = false
      this.wake()
    })
  }

  get waiting(): Buffer[] {
    return this.queue.flatMap(({ chunk }) => chunk ?? [])
  }

  stop(): void {
    clearTimeout(this.timer)
    this.queue.length = 0
  }

  /** End of input: held bytes are forwarded, then the end. */
  end(): void {
    this.take(null)
  }

  /** Incoming bytes are dropped. */
  discard(): void {
    this.stop()
    this.from.removeAllListeners('data').removeAllListeners('end').resume()
  }

  wake(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    while (!this.weather.frozen && !this.stalled && !this.blocked && this.queue.length > 0) {
      const wait = this.queue[0].due - performance.now()
      if (wait > 0) {
        this.timer = setTimeout(() => this.wake(), wait)
        return
      }
      const { chunk } = this.queue.shift()!
      if (chunk === null) this.to.end()
      else this.blocked = !this.to.write(chunk)
    }
    // Memory stays bounded, and the sender feels the slow path as back-pressure.
    if (this.queue.length === 0 && !this.blocked) this.from.resume()
  }

  private take(chunk: Buffer | null): void {
    if (chunk !== null && this.intercept?.(chunk)) return
    const { latencyMs, bytesPerSecond, stallAt } = this.weather
    if (stallAt !== undefined && chunk?.includes(stallAt)) this.stalled = true
    const now = performance.now()
    this.busyUntil = Math.max(now, this.busyUntil) + (bytesPerSecond > 0 && chunk !== null ? (chunk.length * 1000) / bytesPerSecond : 0)
    this.queue.push({ chunk, due: this.busyUntil + latencyMs })
    if (bytesPerSecond > 0 || this.weather.frozen || this.stalled || this.blocked) this.from.pause()
    if (this.timer === undefined) this.wake()
  }
}
