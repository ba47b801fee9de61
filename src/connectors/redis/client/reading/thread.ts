/**
 * The thread that reads a Pub/Sub connection. It reads bytes from the socket (through TLS, if configured) and hands them over unparsed:
 * whatever the main thread is busy with, Redis can send its data. Every ms of CPU counts here: on a loaded machine the thread gets few of
 * them, and data that it cannot read in time accumulates in Redis.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type MessagePort, parentPort } from 'node:worker_threads'
import { type Attempt, command, CONNECT_TIMEOUT, DEAD_AFTER, FULL, MAX_WAITING, type ToThread, WAITING } from './protocol.ts'

/** Number of bytes taken from the kernel at once, always into the same buffer. */
const READ = 1024 * 1024
/** Handed over at once from this many bytes on, else when the other side is idle, at the latest after this many ms. */
const BATCH = 64 * 1024
const LINGER = 2
/** Interval of the pings on a silent connection, ms. */
const PING_EVERY = 5000

parentPort!.on('message', (attempt: Attempt) => new Reading(attempt))

class Reading {
  private readonly port: MessagePort
  private readonly state: Int32Array
  private readonly socket: Socket
  private cause: Error | undefined
  private paused = false
  private full = false
  private held: Buffer[] = []
  private bytes = 0
  private timer: NodeJS.Timeout | NodeJS.Immediate | undefined

  constructor({ port, state, address, tls, greeting }: Attempt) {
    this.port = port
    this.state = state
    const onread = { buffer: Buffer.allocUnsafeSlow(READ), callback: (n: number, buf: Uint8Array) => this.take(n, buf) }
    const options = { ...address, noDelay: true, onread }
    const socket = (this.socket = tls === undefined ? connect(options) : connectTls({ ...options, ...tls }))
    let watching: NodeJS.Timeout | undefined
    const tooLong = setTimeout(() => socket.destroy(new Error('connect ETIMEDOUT')), CONNECT_TIMEOUT)
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(tooLong)
      socket.write(greeting)
      watching = this.watch()
    })
    socket.on('error', (error: Error) => void (this.cause = error))
    socket.on('close', () => {
      clearTimeout(tooLong)
      clearInterval(watching)
      this.handOver()
      const { message, code } = (this.cause ?? new Error('the server closed the connection')) as NodeJS.ErrnoException
      port.postMessage({ message, code })
    })
    port.on('message', (what: ToThread) => this.obey(what))
    port.on('close', () => socket.destroy())
  }

  private obey(what: ToThread): void {
    if (what === 'close') this.socket.destroy()
    else {
      if (what === 'more') this.goOn()
      else this.paused = what === 'pause'
      this.flow()
    }
  }

  private take(n: number, buf: Uint8Array): boolean {
    const chunk = Buffer.allocUnsafeSlow(n)
    chunk.set(n === buf.length ? buf : buf.subarray(0, n))
    this.held.push(chunk)
    this.bytes += n
    if (this.bytes >= BATCH) this.handOver()
    else
      this.timer ??=
        Atomics.load(this.state, WAITING) === 0 ? setImmediate(() => this.handOver()) : setTimeout(() => this.handOver(), LINGER)
    return true
  }

  private handOver(): void {
    this.timer = undefined
    if (this.bytes === 0) return
    const all = this.held.length === 1 ? this.held[0] : join(this.held, this.bytes)
    this.held = []
    this.bytes = 0
    const waiting = Atomics.add(this.state, WAITING, all.length) + all.length
    this.port.postMessage(all, [all.buffer as ArrayBuffer])
    if (waiting <= MAX_WAITING) return
    this.full = true
    Atomics.store(this.state, FULL, 1)
    // The other side may have caught up before it could see that this thread waits.
    if (Atomics.load(this.state, WAITING) <= MAX_WAITING / 2) this.goOn()
    this.flow()
  }

  private goOn(): void {
    this.full = false
    Atomics.store(this.state, FULL, 0)
  }

  private flow(): void {
    if (this.paused || this.full) this.socket.pause()
    else this.socket.resume()
  }

  /** Otherwise the runner would wait for hours for a peer that has vanished. */
  private watch(): NodeJS.Timeout {
    const { socket } = this
    let bytes = socket.bytesRead
    let heard = performance.now()
    return setInterval(() => {
      const now = performance.now()
      if (socket.bytesRead !== bytes || this.paused || this.full) {
        bytes = socket.bytesRead
        heard = now
      }
      if (now - heard > DEAD_AFTER) socket.destroy(new Error(`no answer for ${DEAD_AFTER / 1000} s`))
      else socket.write(command(['PING']))
    }, PING_EVERY)
  }
}

/** Like `Buffer.concat`, but in separate memory that can be transferred. */
function join(chunks: readonly Buffer[], bytes: number): Buffer {
  const all = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}
