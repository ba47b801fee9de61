/**
 * The thread that reads a Pub/Sub connection. It takes bytes off the socket (through TLS, if need be) and hands them over
 * unread: whatever the main thread is busy with, Redis gets rid of what it has.
 */
import type { Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { Redis } from 'ioredis'
import { DEAD_AFTER, singleOptions } from '../options.ts'
import { type Attempt, FULL, MAX_WAITING, type ThreadData, type ToThread, WAITING } from './protocol.ts'

/** Handed over at once when there are so many bytes, else when the other side has nothing to do, at the latest after so many ms. */
const BATCH = 256 * 1024
const LINGER = 2
/** A silent connection is asked so often whether it lives, ms. */
const PING_EVERY = 5000

const { options, patterns } = workerData as ThreadData

parentPort!.on('message', ({ port, state, turn }: Attempt) => {
  // It logs in and is asked for nothing else; from then on the socket is ours.
  const client = new Redis({ ...singleOptions(options, turn), retryStrategy: () => null, autoResubscribe: false })
  let socket: Socket | undefined
  let cause: Error | undefined
  let ended = false
  let paused = false
  let full = false
  let ping: NodeJS.Timeout | undefined
  let held: Buffer[] = []
  let bytes = 0
  let timer: NodeJS.Timeout | NodeJS.Immediate | undefined

  const flow = (): void => void (paused || full ? socket?.pause() : socket?.resume())
  const handOver = (): void => {
    timer = undefined
    if (bytes === 0) return
    const all = new Uint8Array(bytes)
    let at = 0
    for (const chunk of held) {
      all.set(chunk, at)
      at += chunk.length
    }
    held = []
    bytes = 0
    const waiting = Atomics.add(state, WAITING, all.length) + all.length
    port.postMessage(all, [all.buffer])
    if (waiting <= MAX_WAITING) return
    full = true
    Atomics.store(state, FULL, 1)
    // It may have caught up before it could see that we wait.
    if (Atomics.load(state, WAITING) <= MAX_WAITING / 2) more()
    flow()
  }
  const more = (): void => {
    full = false
    Atomics.store(state, FULL, 0)
    flow()
  }
  const take = (chunk: Buffer): void => {
    held.push(chunk)
    bytes += chunk.length
    if (bytes >= BATCH) handOver()
    else timer ??= Atomics.load(state, WAITING) === 0 ? setImmediate(handOver) : setTimeout(handOver, LINGER)
  }
  const end = (error: Error): void => {
    if (ended) return
    ended = true
    clearInterval(ping)
    handOver()
    const { name, message, code } = error as NodeJS.ErrnoException
    port.postMessage({ name, message, code })
  }

  port.on('message', (what: ToThread) => {
    if (what === 'close') client.disconnect()
    else if (what === 'more') more()
    else {
      paused = what === 'pause'
      flow()
    }
  })
  port.on('close', () => client.disconnect())
  client.on('error', (error: Error) => void (cause = error))
  client.on('end', () => end(cause ?? new Error('the server closed the connection')))

  const start = async (): Promise<void> => {
    await client.connect()
    // Answered in order: after it nothing of the client's own is on its way.
    await client.ping()
    socket = (client as unknown as { stream: Socket }).stream
    socket.removeAllListeners('data')
    socket.on('data', take)
    socket.write(command(['PSUBSCRIBE', ...patterns]))
    ping = watch(socket, () => paused || full)
  }
  start().catch((error: Error) => {
    client.disconnect()
    end(cause ?? error)
  })
})

const command = (args: readonly string[]): string => `*${args.length}\r\n${args.map(a => `$${Buffer.byteLength(a)}\r\n${a}\r\n`).join('')}`

/** Without it a peer that has vanished without a word would be waited for for hours. */
function watch(socket: Socket, waits: () => boolean): NodeJS.Timeout {
  let bytes = socket.bytesRead
  let heard = performance.now()
  return setInterval(() => {
    const now = performance.now()
    if (socket.bytesRead !== bytes || waits()) {
      bytes = socket.bytesRead
      heard = now
    }
    if (now - heard > DEAD_AFTER) socket.destroy(new Error(`no answer for ${DEAD_AFTER / 1000} s`))
    else socket.write(command(['PING']))
  }, PING_EVERY)
}
