/** The reading thread: its limit, its end, and a silent peer. */
import { createServer, type Server, type Socket } from 'node:net'
import type { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { type Connection, ReadingThread } from '../../../src/connectors/redis/client/reading/connection.ts'
import { MAX_WAITING } from '../../../src/connectors/redis/client/reading/protocol.ts'
import { subscribe } from '../../../src/connectors/redis/client/reading/subscribe.ts'
import { InputAccount, useLimits } from '../../../src/kit/limits.ts'
import { encode } from '../../support/redis.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { eventually } from '../../support/eventually.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

/** A peer whose behavior each test sets per connection. */
async function peer(serve: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer(socket => {
    socket.on('error', () => {})
    cleanups.push(() => socket.destroy())
    serve(socket)
  })
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => server.close())
  return (server.address() as { port: number }).port
}

function reading(thread: ReadingThread, port: number) {
  const seen = { bytes: 0, last: '', errors: [] as string[] }
  const connection: Connection = thread.connect({ host: '127.0.0.1', port }, undefined, 'hello\r\n', {
    data(bytes) {
      seen.bytes += bytes.length
      seen.last = bytes.toString('latin1', bytes.length - 7)
    },
    ended: error => seen.errors.push(error.message),
  })
  return { seen, connection }
}

function newThread(): ReadingThread {
  const thread = new ReadingThread()
  cleanups.push(() => thread.close())
  return thread
}
const workerOf = (thread: ReadingThread): Worker => (thread as unknown as { worker: Worker }).worker

test('reading stops at the limit and resumes when half of it is parsed', async () => {
  let sent = 0
  const chunk = Buffer.alloc(1024 * 1024)
  const port = await peer(socket => {
    const send = (): void => {
      while (sent < 2 * MAX_WAITING && (sent += chunk.length) && socket.write(chunk));
    }
    socket.on('drain', send)
    send()
  })
  const { seen, connection } = reading(newThread(), port)
  await eventually(() => expect(seen.bytes).toBeGreaterThan(MAX_WAITING))
  await new Promise(resolve => setTimeout(resolve, 200))
  expect(connection.waiting).toBe(seen.bytes)
  expect(seen.bytes).toBeLessThanOrEqual(MAX_WAITING + 2 * chunk.length)
  const before = seen.bytes
  connection.parsed(1024 * 1024)
  await new Promise(resolve => setTimeout(resolve, 50))
  expect(seen.bytes).toBe(before)
  connection.parsed(before - 1024 * 1024)
  await eventually(() => expect(seen.bytes).toBeGreaterThan(before))
  connection.pause(true)
  // The thread notices it later; records that it had read by then still arrive.
  let stopped: number
  do {
    stopped = seen.bytes
    await new Promise(resolve => setTimeout(resolve, 500))
  } while (seen.bytes !== stopped)
  connection.parsed(seen.bytes - before)
  await new Promise(resolve => setTimeout(resolve, 50))
  expect(seen.bytes).toBe(stopped)
  connection.pause(false)
  await eventually(() => expect(seen.bytes).toBe(2 * MAX_WAITING), { interval: 1 })
})

test('data received before the end is delivered before the end event', async () => {
  const port = await peer(socket => socket.once('data', data => socket.end(Buffer.concat([Buffer.alloc(3_000_000), data]))))
  const { seen } = reading(newThread(), port)
  await eventually(() => expect(seen.errors).toEqual(['the server closed the connection']))
  expect(seen.bytes).toBe(3_000_007)
  expect(seen.last).toBe('hello\r\n')
})

test('a worker thread that exits is a lost connection; the next connection gets a new thread', async () => {
  const port = await peer(socket => socket.write('x'))
  const thread = newThread()
  const first = reading(thread, port)
  await eventually(() => expect(first.seen.bytes).toBe(1))
  const worker = workerOf(thread)
  await worker.terminate()
  expect(first.seen.errors).toEqual([expect.stringContaining('the reading thread ended')])
  const second = reading(thread, port)
  await eventually(() => expect(second.seen.bytes).toBe(1))
  expect(workerOf(thread)).not.toBe(worker)
  expect(first.seen.errors).toHaveLength(1)
})

test('an address without a server and a connection closed by the client', async () => {
  const [port] = await freePorts(1)
  const thread = newThread()
  const nobody = reading(thread, port)
  await eventually(() => expect(nobody.seen.errors).toEqual([expect.stringContaining('ECONNREFUSED')]))
  const { seen, connection } = reading(thread, await peer(socket => socket.write('x')))
  await eventually(() => expect(seen.bytes).toBe(1))
  connection.close()
  await eventually(() => expect(seen.errors).toHaveLength(1))
})

describe('bytes that are not parsed count in limits.input', () => {
  const MiB = 1024 * 1024
  const SUBSCRIBED = '*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n'
  const other = new InputAccount()
  afterEach(() => other.add(-other.bytes))
  /** What other sources may hold beside it. */
  const room = (): number => [8, 7, 6, 5, 4, 3, 2].find(n => other.fits(n * MiB)) ?? 0

  async function subscription(port: number) {
    cleanups.push(useLimits({ input: 8 * MiB }))
    const seen = { messages: 0, down: 0 }
    const handlers = { message: () => void seen.messages++, down: () => void seen.down++, up() {}, fatal() {} }
    const found = await subscribe(
      { host: '127.0.0.1', port } as never,
      async () => ({ host: '127.0.0.1', port }),
      ['*'],
      handlers,
      e => e,
    )
    cleanups.push(() => found.close())
    return { seen, found }
  }

  test('a part of a message counts until it is complete, or the connection is lost', async () => {
    const message = encode(['pmessage', '*', 'c', Buffer.alloc(4 * MiB)])
    let socket!: Socket
    const port = await peer(s => {
      socket = s
      s.write(SUBSCRIBED)
    })
    const { seen } = await subscription(port)
    other.add(2 * MiB)
    expect(room()).toBe(6)
    socket.write(message.subarray(0, 3.5 * MiB))
    await eventually(() => expect(room()).toBe(2))
    socket.write(message.subarray(3.5 * MiB))
    await eventually(() => expect(seen.messages).toBe(1))
    expect(room()).toBe(6)
    socket.write(message.subarray(0, 3.5 * MiB))
    await eventually(() => expect(room()).toBe(2))
    socket.destroy()
    await eventually(() => expect(seen.down).toBe(1))
    expect(room()).toBe(6)
  })

  test('beyond the limit, messages are read as they are parsed, also one that is larger than the rest of the limit', async () => {
    const port = await peer(s => {
      s.write(SUBSCRIBED)
      for (let i = 0; i < 20; i++) s.write(encode(['pmessage', '*', 'c', Buffer.alloc(i % 5 === 0 ? 3 * MiB : MiB)]))
    })
    other.add(8 * MiB)
    const { seen } = await subscription(port)
    await eventually(() => expect(seen.messages).toBe(20))
    other.add(-8 * MiB)
    expect(room()).toBe(8)
  })
})
