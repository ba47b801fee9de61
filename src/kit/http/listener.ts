/**
 * HTTP listeners of this process: one server per address, shared by all routes on it (metrics, `http` sources, status endpoints of any
 * pipeline). Routes are added and removed while it listens; removing the last one closes it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { EnvironmentError } from '../../contract/plugin.ts'
import { type Access, corsHeaders, type GateRejection, preflightHeaders, rejectionOf } from './gate.ts'

/** Answers one request. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

/** A method and a path of a shared listener. */
export interface Route {
  /** GET answers HEAD as well. */
  readonly methods: readonly string[]
  /** Exact, without a query. */
  readonly path: string
  /** The owner, for the error when two routes conflict. */
  readonly owner: string
  /** Lists it in 404 responses: for paths that are not secret. */
  readonly listed?: boolean
  readonly handle: Handler
  /** Default: only for names and pages of this address. */
  readonly access?: Access
  /** Called for each request that `access` rejects, and for one whose method is not one of the path. */
  readonly rejected?: (rejection: GateRejection, request: IncomingMessage) => void
  /** For WebSockets: takes ownership of the connection. The owner must end it before it detaches. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

/** The result of `attach`; `detach` resolves when the route accepts no more requests, and closes the listener with its last route. */
export interface Attachment {
  /** The assigned port when port 0 was requested. */
  readonly port: number
  /** Removes the routes; the address is free again when no other routes use it. */
  detach(): Promise<void>
}

/** ms. A slower peer is disconnected with a 408: slow senders must not hold connections. */
export interface Limits {
  readonly headers: number
  readonly request: number
  readonly keepAlive: number
  /** Interval of the checks of these limits. */
  readonly check: number
}

const LIMITS: Limits = { headers: 10_000, request: 60_000, keepAlive: 10_000, check: 1000 }
/** Time for responses in progress when a listener closes, ms. */
const CLOSE_GRACE = 1000

const PLAIN = { 'content-type': 'text/plain', 'x-content-type-options': 'nosniff' }

const listeners = new Map<string, Promise<Listener>>()
let anonymous = 0

/**
 * Adds routes to an address, and listens there if this process does not yet.
 * @param trouble the context and the fix for a taken port: `metrics` and `Set metrics.port to a free port.`
 * @throws {EnvironmentError} when the address or a route is taken.
 */
export async function attach(
  host: string,
  port: number,
  routes: readonly Route[],
  trouble: { readonly what: string; readonly advice: string },
  limits: Limits = LIMITS,
): Promise<Attachment> {
  const address = `${host === 'localhost' ? '127.0.0.1' : host}:${port}`
  // A free port is not shared.
  const key = port === 0 ? `${address} #${++anonymous}` : address
  let opening = listeners.get(key)
  if (!opening) {
    opening = Listener.open(host, port, limits, () => listeners.delete(key))
    listeners.set(key, opening)
  }
  let listener: Listener
  try {
    listener = await opening
  } catch (error) {
    listeners.delete(key)
    const { code } = error as NodeJS.ErrnoException
    throw new EnvironmentError(`${trouble.what}: cannot listen on ${host}:${port}: ${code}. ${trouble.advice}`, error)
  }
  // Closed by its last user meanwhile.
  if (listener.closed) return attach(host, port, routes, trouble, limits)
  listener.add(routes, trouble)
  return { port: listener.port, detach: () => listener.remove(routes) }
}

class Listener {
  closed = false
  private readonly server: Server
  private readonly routes = new Map<string, Map<string, Route>>()
  private readonly host: string
  private readonly onClose: () => void

  private constructor(host: string, server: Server, onClose: () => void) {
    this.host = host
    this.server = server
    this.onClose = onClose
    const handle = (request: IncomingMessage, response: ServerResponse): void => this.handle(request, response)
    server.on('request', handle)
    // The handler decides whether it needs the body; only reading it sends "100 Continue".
    server.on('checkContinue', handle)
  }

  static async open(host: string, port: number, limits: Limits, onClose: () => void): Promise<Listener> {
    const server = createServer({
      headersTimeout: limits.headers,
      requestTimeout: limits.request,
      keepAliveTimeout: limits.keepAlive,
      connectionsCheckingInterval: limits.check,
      // Node 24.9 and later call this for each request; older versions check for a listener for upgrades.
      shouldUpgradeCallback: request => isWebSocket(request) && listener.routeOf(request)?.upgrade !== undefined,
    })
    const listener = new Listener(host, server, onClose)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      // A thousand simultaneous callers must not overflow the queue of the kernel.
      server.listen({ port, host, backlog: 2048 }, resolve)
    })
    // A running pipeline keeps the process alive; its listeners alone do not.
    server.unref()
    return listener
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  add(routes: readonly Route[], { what, advice }: { readonly what: string; readonly advice: string }): void {
    for (const { path, methods } of routes) {
      for (const method of methods) {
        const taken = this.routes.get(path)?.get(method)
        if (taken)
          throw new EnvironmentError(`${what}: ${method} ${path} on port ${this.port} is already used by ${taken.owner}. ${advice}`)
      }
    }
    for (const route of routes) {
      const methods = this.routes.get(route.path) ?? new Map<string, Route>()
      for (const method of route.methods) methods.set(method, route)
      this.routes.set(route.path, methods)
    }
    this.offerUpgrade()
  }

  private routeOf({ url = '/', method = '' }: IncomingMessage): Route | undefined {
    return this.routes.get(url.split('?', 1)[0])?.get(method)
  }

  /**
   * A request that offers an upgrade which its route does not take (`h2c` of Java's HttpClient and `curl --http2`, `websocket` elsewhere) is
   * an ordinary request.
   */
  private offerUpgrade(): void {
    this.server.removeAllListeners('upgrade')
    const offered = [...this.routes.values()].some(methods => [...methods.values()].some(r => r.upgrade))
    if (offered) this.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => this.upgrade(request, socket, head))
  }

  async remove(routes: readonly Route[]): Promise<void> {
    for (const route of routes) {
      const methods = this.routes.get(route.path)
      for (const [method, r] of methods ?? []) if (r === route) methods!.delete(method)
      if (methods?.size === 0) this.routes.delete(route.path)
    }
    this.offerUpgrade()
    if (this.routes.size > 0 || this.closed) return
    this.closed = true
    this.onClose()
    await new Promise<void>(resolve => {
      const cut = setTimeout(() => this.server.closeAllConnections(), CLOSE_GRACE)
      this.server.close(() => {
        clearTimeout(cut)
        resolve()
      })
      this.server.closeIdleConnections()
    })
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '/').split('?', 1)[0]
    const methods = this.routes.get(path)
    const method = request.method === 'HEAD' ? 'GET' : request.method!
    const route = methods?.get(request.method!) ?? methods?.get(method)
    if (!route && request.method === 'OPTIONS' && methods) return this.preflight(request, response, methods)
    const rejection = rejectionOf(this.host, route ? (route.access ?? {}) : this.anyHost(), request)
    if (rejection) {
      route?.rejected?.(rejection, request)
      request.resume()
      const challenge = rejection.status === 401 ? { 'www-authenticate': 'Bearer' } : {}
      return void response.writeHead(rejection.status, { ...PLAIN, ...challenge, connection: 'close' }).end(`${rejection.message}\n`)
    }
    if (!route) return this.miss(request, response, methods)
    for (const [name, value] of Object.entries(corsHeaders(route.access ?? {}, request))) response.setHeader(name, value)
    try {
      Promise.resolve(route.handle(request, response)).catch(error => crash(response, error as Error))
    } catch (error) {
      crash(response, error as Error)
    }
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const route = this.routeOf(request)
    if (!route?.upgrade) return void socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
    const rejection = rejectionOf(this.host, route.access ?? {}, request)
    if (!rejection) return route.upgrade(request, socket, head)
    route.rejected?.(rejection, request)
    socket.end(`HTTP/1.1 ${rejection.status} ${STATUS_CODES[rejection.status]}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
  }

  /** A missing path has no list of allowed names: it may be requested under any name. */
  private anyHost(): Access {
    return {
      hosts: [...this.routes.values()].flatMap(m =>
        [...m.values()].flatMap(r => (r.access?.authenticated ? ['*'] : (r.access?.hosts ?? []))),
      ),
    }
  }

  private preflight(request: IncomingMessage, response: ServerResponse, methods: ReadonlyMap<string, Route>): void {
    const route = methods.get(request.headers['access-control-request-method'] ?? '')
    const headers = route && preflightHeaders(route.access ?? {}, [...methods.keys()], request)
    if (headers) response.writeHead(204, headers).end()
    else this.miss(request, response, methods)
  }

  private miss(request: IncomingMessage, response: ServerResponse, methods: ReadonlyMap<string, Route> | undefined): void {
    request.resume()
    if (methods) {
      const allowed = [...methods.keys()].toSorted().join(', ')
      const message = `${request.method} is not a method of this path: send ${allowed}`
      // Routes of several users share the path: the first one reports the request, so that it is counted once.
      const [route] = methods.values()
      route?.rejected?.({ status: 405, reason: 'method', message }, request)
      response.writeHead(405, { ...PLAIN, allow: allowed }).end(`allowed: ${allowed}\n`)
      return
    }
    const paths = [...new Set([...this.routes.values()].flatMap(m => [...m.values()].filter(r => r.listed).map(r => r.path)))]
    const last = paths.pop()
    const text = paths.length > 0 ? `${paths.join(', ')} or ${last}` : last
    response.writeHead(404, PLAIN).end(text ? `try ${text}\n` : 'not found\n')
  }
}

const isWebSocket = ({ headers }: IncomingMessage): boolean => headers.upgrade?.trim().toLowerCase() === 'websocket'

function crash(response: ServerResponse, error: Error): void {
  if (response.headersSent) response.destroy()
  else response.writeHead(500, PLAIN).end(error.message)
}
