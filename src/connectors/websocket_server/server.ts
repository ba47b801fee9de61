/** The HTTP side: who may connect, and the page. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { WebsocketServerSinkConfig } from '../../config.gen.ts'
import { EnvironmentError } from '../../plugin.ts'

export interface Admission {
  /** A client that may come in. */
  accept(socket: WebSocket): void
  /** Undefined: there is room. */
  full(): boolean
  refused(reason: 'origin' | 'token' | 'path' | 'full'): void
}

/** A client has little to say. */
const MAX_REQUEST = 64 * 1024

/** @throws {EnvironmentError} the port is taken */
export async function listen(config: WebsocketServerSinkConfig, admission: Admission): Promise<Server> {
  const { WebSocketServer } = await import('ws')
  const { host, port } = config
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_REQUEST, clientTracking: false })
  const server = createServer((request, response) => void page(config, request, response))
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    const refusal = refuse(config, request) ?? (admission.full() ? FULL : undefined)
    if (refusal) {
      admission.refused(refusal.reason)
      socket.end(`HTTP/1.1 ${refusal.status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
      return
    }
    sockets.handleUpgrade(request, socket, head, client => admission.accept(client))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', error =>
      reject(
        new EnvironmentError(`cannot listen on ${host}:${port}: ${(error as NodeJS.ErrnoException).code}. Set port to a free one`, error),
      ),
    )
    server.listen(port, host, resolve)
  })
  return server
}

const FULL = { status: '503 Service Unavailable', reason: 'full' } as const

function refuse(
  config: WebsocketServerSinkConfig,
  request: IncomingMessage,
): { status: string; reason: 'origin' | 'token' | 'path' } | undefined {
  const url = urlOf(request)
  if (url?.pathname !== config.path) return { status: '404 Not Found', reason: 'path' }
  if (!allowedOrigin(config.origins, request)) return { status: '403 Forbidden', reason: 'origin' }
  if (config.token !== '' && !sameSecret(shown(url, request), config.token)) return { status: '401 Unauthorized', reason: 'token' }
  return undefined
}

/** Browsers send the origin of the page, and pages cannot forge it. */
function allowedOrigin(origins: readonly string[], { headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  if (origin === undefined || origins.includes('*') || origins.includes(origin)) return true
  return origins.length === 0 && URL.parse(origin)?.host === host
}

function shown(url: URL, { headers }: IncomingMessage): string {
  const [, bearer] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? []
  return bearer ?? url.searchParams.get('token') ?? ''
}

/** Compared as hashes, which are equally long: the time tells nothing. */
function sameSecret(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}

const urlOf = (request: IncomingMessage): URL | null => URL.parse(request.url ?? '/', 'http://x')

async function page(config: WebsocketServerSinkConfig, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (config.page === undefined || urlOf(request)?.pathname !== '/' || (request.method !== 'GET' && request.method !== 'HEAD')) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end(`the WebSocket is at ${config.path}\n`)
    return
  }
  try {
    const html = await readFile(config.page)
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
