/** A bare WebSocket server whose behavior each test defines. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import type { WebsocketSourceConfig } from '../../../src/generated/config-types.ts'
import websocket, { websocketSource } from '../../../src/connectors/websocket/source.ts'
import type { Message, Source } from '../../../src/contract/plugin.ts'
import { fakeSourceContext, type FakeSourceContext } from '../../../src/testing/conformance/context.ts'

export interface Peer {
  readonly url: string
  readonly http: string
  /** Connections so far, the closed ones too. */
  readonly sockets: WebSocket[]
  /** Texts received, over all connections. */
  readonly received: string[]
  close(): Promise<void>
}

export async function startPeer(
  connected: (socket: WebSocket, n: number) => void = () => {},
  handle: (request: IncomingMessage, response: ServerResponse) => void = (_, r) => void r.writeHead(404).end(),
): Promise<Peer> {
  const http: Server = createServer(handle)
  const server = new WebSocketServer({ server: http, maxPayload: 1 << 26 })
  const sockets: WebSocket[] = []
  const received: string[] = []
  server.on('connection', socket => {
    sockets.push(socket)
    socket.on('message', (data: Buffer) => received.push(data.toString()))
    socket.on('error', () => {})
    connected(socket, sockets.length)
  })
  await new Promise<void>(resolve => http.listen(0, '127.0.0.1', resolve))
  const { port } = http.address() as AddressInfo
  return {
    url: `ws://127.0.0.1:${port}`,
    http: `http://127.0.0.1:${port}`,
    sockets,
    received,
    async close() {
      for (const socket of sockets) socket.terminate()
      await new Promise(resolve => server.close(resolve))
      http.closeAllConnections()
      await new Promise(resolve => http.close(resolve))
    },
  }
}

export const configOf = (url: string, o: Partial<WebsocketSourceConfig> = {}): WebsocketSourceConfig => ({
  url,
  headers: {},
  symbols: [],
  subscribe: [],
  format: 'json',
  ping_interval: 0,
  stale_after: 0,
  control: [],
  reconnect: { initial_delay: 1, max_delay: 20 },
  on_close: 'reconnect',
  connect_timeout: 30_000,
  max_message_size: 1 << 24,
  // Uncommitted messages must not appear in the next test.
  queue: { max_bytes: 1 << 24, on_full: 'block', max_spill: 1 << 24, on_spill_full: 'drop_oldest' },
  tls_ca: '',
  tls_cert: '',
  tls_key: '',
  tls_key_password: '',
  tls_insecure_skip_verify: false,
  ...o,
})

export type CountingContext = FakeSourceContext & { readonly counts: Record<string, number> }

/** Counters by name and their distinguishing label: `gaps/sequence`. */
export function countingContext(depth?: number): CountingContext {
  const counts: Record<string, number> = {}
  const ctx = fakeSourceContext(websocket.type)
  return {
    ...ctx,
    ...(depth !== undefined && { depth }),
    counts,
    metrics: {
      counter(name, _help, labels = {}) {
        const label = labels.reason ?? labels.result
        const id = name.replace(/^websocket_(.*)_total$/, '$1') + (label ? `/${label}` : '')
        counts[id] ??= 0
        return { inc: (n = 1) => void (counts[id] = (counts[id] ?? 0) + n) }
      },
      gauge: () => ({ set() {} }),
    },
  }
}

export interface Open {
  readonly source: Source
  readonly ctx: CountingContext
  /** Reads until so many messages have come. */
  take(n: number): Promise<Message[]>
}

const opened: Source[] = []

export async function open(url: string, o: Partial<WebsocketSourceConfig> = {}, depth?: number): Promise<Open> {
  const ctx = countingContext(depth)
  const source = websocketSource(configOf(url, o), ctx, () => 0)
  opened.push(source)
  await source.open!(new AbortController().signal)
  let left: Message[] = []
  return {
    source,
    ctx,
    async take(n) {
      const all: Message[] = left
      while (all.length < n) {
        const batch = await source.read(AbortSignal.timeout(10_000))
        if (batch === null) throw new Error(`the input ended after ${all.length} of ${n} messages`)
        all.push(...batch.messages)
        await source.commit!(batch.lane, batch.position)
      }
      left = all.slice(n)
      return all.slice(0, n)
    },
  }
}

/** For `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const source of opened.splice(0)) await source.close!()
}

export const texts = (messages: readonly Message[]): string[] => messages.map(m => String(m.payload))
