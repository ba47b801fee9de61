/** A WebSocket feed, a client of the WebSocket server, and spreadsheets, each behind or in front of a proxy. */
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { type SheetsServer, startSheets } from '../../support/sheets.ts'
import { startProxy } from '../../support/tcp-proxy.ts'
import { freePorts } from '../../support/servers/ports.ts'
import type { Peer } from './peers.ts'
import type { Received } from './receivers.ts'
import type { Seen } from './records.ts'

export interface FeedPeer extends Peer {
  /** The newest open connection of the path; undefined: none. */
  connection(path: string): string | undefined
  /** Into that connection. */
  send(path: string, text: string): void
}

export async function feedPeer(): Promise<FeedPeer> {
  const [port] = await freePorts(1)
  const open = new Map<string, { id: string; socket: WebSocket }[]>()
  const sockets = new WebSocketServer({ noServer: true })
  let count = 0
  /** Handshakes that wait while the feed does not answer. */
  let held: (() => void)[] | undefined
  const server = createServer()
  const tcp = new Set<Socket>()
  server.on('connection', socket => {
    tcp.add(socket)
    socket.once('close', () => tcp.delete(socket))
  })
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {})
    const accept = (): void => {
      if (socket.destroyed) return
      sockets.handleUpgrade(request, socket, head, made => {
        const path = request.url ?? '/'
        const one = { id: String(++count), socket: made }
        open.set(path, [...(open.get(path) ?? []), one])
        made.on('error', () => {})
        made.once('close', () =>
          open.set(
            path,
            open.get(path)!.filter(other => other !== one),
          ),
        )
      })
    }
    if (held) held.push(accept)
    else accept()
  })
  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => void server.once('error', reject).listen(port, '127.0.0.1', () => resolve()))
  const close = async (): Promise<void> => {
    for (const socket of tcp) socket.resetAndDestroy()
    await new Promise(resolve => server.close(resolve))
    // The connections are gone for those who ask now.
    for (const path of open.keys()) open.set(path, [])
  }
  await listen()
  const proxy = await startProxy(`127.0.0.1:${port}`)
  return {
    address: proxy.address,
    port: proxy.port,
    direct: `127.0.0.1:${port}`,
    proxy,
    connection: path => open.get(path)?.at(-1)?.id,
    send: (path, text) => open.get(path)?.at(-1)?.socket.send(text),
    kill: close,
    async restart() {
      if (server.listening) await close()
      await listen()
    },
    // What it sends stays on its side.
    pause() {
      held = []
      for (const socket of tcp) {
        socket.pause()
        socket.cork()
      }
    },
    resume() {
      for (const socket of tcp) {
        socket.resume()
        socket.uncork()
      }
      const waiting = held ?? []
      held = undefined
      for (const accept of waiting) accept()
    },
    stop: close,
  }
}

export interface ClientPeer extends Peer {
  /** Where the sink listens; the client reaches it through the proxy. */
  readonly serverPort: number
  /** What the client has received on this path, from its beginning on. */
  readonly log: readonly Received[]
  follow(path: string): void
}

/** ms without a ping of the server, which sends one each second, after which the client connects again. */
const SILENCE = 4_000
const AGAIN = 200

/** A client as the guide describes it: it continues after the last message that it has. */
export async function clientPeer(): Promise<ClientPeer> {
  const [serverPort] = await freePorts(1)
  const proxy = await startProxy(`127.0.0.1:${serverPort}`)
  let log: Received[] = []
  let path: string | undefined
  let last: string | undefined
  let socket: WebSocket | undefined
  let away = false
  let stopped = false

  const connect = (): void => {
    if (stopped || away || path === undefined || socket) return
    const mine = (socket = new WebSocket(`ws://${proxy.address}/${path}`, { handshakeTimeout: SILENCE }))
    const silence = setTimeout(() => mine.terminate(), 2 * SILENCE)
    const alive = (): void => void silence.refresh()
    mine.on('open', () =>
      mine.send(JSON.stringify({ type: 'subscribe', ...(last === undefined ? { last: 1_000_000 } : { last_id: last }) })),
    )
    mine.on('ping', alive)
    mine.on('error', () => {})
    mine.on('message', (data: Buffer) => {
      alive()
      const message = JSON.parse(data.toString()) as { type: string; id: string; key: string; data: unknown }
      if (message.type === 'gap') log.push('gap')
      if (message.type !== 'message') return
      last = message.id
      log.push({ text: JSON.stringify(message.data), key: message.key } satisfies Seen)
    })
    mine.once('close', () => {
      clearTimeout(silence)
      if (socket === mine) socket = undefined
      setTimeout(connect, AGAIN)
    })
  }
  return {
    address: proxy.address,
    port: proxy.port,
    direct: `127.0.0.1:${serverPort}`,
    proxy,
    serverPort,
    get log() {
      return log
    },
    follow(next) {
      path = next
      log = []
      last = undefined
      socket?.terminate()
      connect()
    },
    async kill() {
      away = true
      socket?.terminate()
    },
    async restart() {
      away = false
      connect()
    },
    pause: () => socket?.pause(),
    resume: () => socket?.resume(),
    async stop() {
      stopped = true
      socket?.terminate()
    },
  }
}

export interface SheetsPeer extends Peer {
  readonly server: SheetsServer
}

export async function sheetsPeer(): Promise<SheetsPeer> {
  const server = await startSheets()
  const { host } = new URL(server.endpoint)
  const proxy = await startProxy(host)
  return {
    address: proxy.address,
    port: proxy.port,
    direct: host,
    proxy,
    server,
    // Google loses nothing.
    kill: async () => proxy.cut(),
    restart: async () => proxy.restore(),
    pause: () => proxy.freeze(),
    resume: () => proxy.restore(),
    stop: () => server.close(),
  }
}
