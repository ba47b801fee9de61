/** The HTTP routes: access control for clients, and the page. */
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { WebSocket } from 'ws'
import type { WebsocketServerSinkConfig } from '../../generated/config-types.ts'
import type { Route } from '../../kit/http/listener.ts'
import { type Access, allowedOrigin, bearerOf, sameSecret } from '../../kit/http/gate.ts'

export interface Admission {
  /** Called for each admitted client. */
  accept(socket: WebSocket): void
  full(): boolean
  rejected(reason: HandshakeRejection['reason']): void
}

interface HandshakeRejection {
  readonly status: string
  readonly reason: 'host' | 'origin' | 'token' | 'method' | 'full'
}

/** Messages of clients are short. */
const MAX_REQUEST = 64 * 1024

export async function routes(config: WebsocketServerSinkConfig, owner: string, admission: Admission): Promise<Route[]> {
  const { WebSocketServer } = await import('ws')
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_REQUEST, maxFragments: 16, clientTracking: false, autoPong: false })
  const { hosts, origins, token } = config
  const access: Access = { hosts, origins, authenticated: token !== '' }
  const socket: Route = {
    methods: ['GET'],
    path: config.path,
    owner,
    listed: true,
    access,
    rejected: ({ reason }) => admission.rejected(reason),
    handle: (_, response) =>
      void response
        .writeHead(426, { upgrade: 'websocket', 'content-type': 'text/plain' })
        .end('this endpoint needs a WebSocket connection\n'),
    upgrade(request, connection, head) {
      const rejection = rejectionFor(config, request) ?? (admission.full() ? FULL : undefined)
      if (!rejection) return sockets.handleUpgrade(request, connection, head, client => admission.accept(client))
      admission.rejected(rejection.reason)
      connection.end(`HTTP/1.1 ${rejection.status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
    },
  }
  if (config.page === undefined) return [socket]
  const file = config.page
  return [
    socket,
    { methods: ['GET'], path: '/', owner, listed: true, access: { ...access, origins: [] }, handle: (_, response) => page(file, response) },
  ]
}

const FULL: HandshakeRejection = { status: '503 Service Unavailable', reason: 'full' }

function rejectionFor(config: WebsocketServerSinkConfig, request: IncomingMessage): HandshakeRejection | undefined {
  if (!allowedOrigin(config.host, config, request)) return { status: '403 Forbidden', reason: 'origin' }
  if (config.token !== '' && !sameSecret(shown(request), config.token)) return { status: '401 Unauthorized', reason: 'token' }
  return undefined
}

function shown(request: IncomingMessage): string {
  return bearerOf(request) ?? URL.parse(request.url ?? '/', 'http://x')?.searchParams.get('token') ?? ''
}

/** Reads the file for each request, so that changes of the page are visible immediately. */
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
