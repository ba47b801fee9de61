/** The HTTP side: who may connect, and the page. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { WebSocket } from 'ws'
import type { WebsocketServerSinkConfig } from '../../generated/config-types.ts'
import type { Route } from '../../kit/http/listener.ts'
import { isLoopback } from '../../kit/http/loopback.ts'

export interface Admission {
  /** A client that may come in. */
  accept(socket: WebSocket): void
  full(): boolean
  rejected(reason: HandshakeRejection['reason']): void
}

interface HandshakeRejection {
  readonly status: string
  readonly reason: 'origin' | 'token' | 'full'
}

/** A client has little to say. */
const MAX_REQUEST = 64 * 1024

export async function routes(config: WebsocketServerSinkConfig, owner: string, admission: Admission): Promise<Route[]> {
  const { WebSocketServer } = await import('ws')
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_REQUEST, maxFragments: 16, clientTracking: false, autoPong: false })
  const socket: Route = {
    methods: ['GET'],
    path: config.path,
    owner,
    listed: true,
    handle: (_, response) => void response.writeHead(426, { upgrade: 'websocket', 'content-type': 'text/plain' }).end('a WebSocket\n'),
    upgrade(request, connection, head) {
      const rejection = rejectionFor(config, request) ?? (admission.full() ? FULL : undefined)
      if (!rejection) return sockets.handleUpgrade(request, connection, head, client => admission.accept(client))
      admission.rejected(rejection.reason)
      connection.end(`HTTP/1.1 ${rejection.status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
    },
  }
  if (config.page === undefined) return [socket]
  const file = config.page
  return [socket, { methods: ['GET'], path: '/', owner, listed: true, handle: (_, response) => page(file, response) }]
}

const FULL: HandshakeRejection = { status: '503 Service Unavailable', reason: 'full' }

function rejectionFor(config: WebsocketServerSinkConfig, request: IncomingMessage): HandshakeRejection | undefined {
  if (!allowedOrigin(config, request)) return { status: '403 Forbidden', reason: 'origin' }
  if (config.token !== '' && !sameSecret(shown(request), config.token)) return { status: '401 Unauthorized', reason: 'token' }
  return undefined
}

/** Browsers send the origin of the page, and pages cannot forge it. */
function allowedOrigin({ origins, host: own }: WebsocketServerSinkConfig, { headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  if (origin === undefined || origins.includes('*') || origins.includes(origin)) return true
  const url = URL.parse(origin)
  if (origins.length > 0 || url === null || url.host !== host) return false
  // A name of somebody else that leads here (DNS rebinding) makes his page look like ours.
  return !isLoopback(own) || isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'))
}

function shown({ headers, url }: IncomingMessage): string {
  const [, bearer] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? []
  return bearer ?? URL.parse(url ?? '/', 'http://x')?.searchParams.get('token') ?? ''
}

/** Compared as hashes, which are equally long: the time tells nothing. */
function sameSecret(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}

/** Read each time: whoever works on the page sees it at once. */
async function page(file: string, response: ServerResponse): Promise<void> {
  try {
    const html = await readFile(file)
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
    })
    response.end(html)
  } catch {
    response.writeHead(500, { 'content-type': 'text/plain' }).end('the page cannot be read\n')
  }
}
