/**
 * Who may reach a route, before it sees the request. A browser sends requests for any page that it shows, also to this machine and into
 * its own network; a name of somebody else that leads here (DNS rebinding) makes such a page look like one of ours. So a route without
 * authentication is for the names of its own address, and for pages of its own origin.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { isLoopback } from './loopback.ts'

/** What a route asks of those who call it. */
export interface Access {
  /** The route asks for a secret itself: what a browser can do without it does no harm. */
  readonly authenticated?: boolean
  /** `Authorization: Bearer` that is asked for here; empty: none. */
  readonly token?: string
  /** Further names under which it may be called; `*`: any. */
  readonly hosts?: readonly string[]
  /** Web sites whose pages may call it; `*`: any. Empty: pages of its own origin. */
  readonly origins?: readonly string[]
}

/** Why a request is turned away, and the status that it gets. */
export interface GateRejection {
  readonly status: 401 | 403 | 421
  readonly reason: 'host' | 'origin' | 'token'
  readonly message: string
}

/** Ends of names that nobody can own outside of a network. */
const PRIVATE = ['.localhost', '.local', '.internal', '.lan', '.home.arpa', '.svc', '.test']

/** @param bound the address that is listened on. @returns why the request is turned away; undefined: it is not */
export function rejectionOf(bound: string, access: Access, request: IncomingMessage): GateRejection | undefined {
  const { headers } = request
  const token = access.token ?? ''
  const open = access.authenticated !== true && token === ''
  if (open && !isOwnName(bound, access, headers.host)) {
    const message = `the Host ${printable(headers.host)} is not a name of this server; add it to hosts`
    return { status: 421, reason: 'host', message }
  }
  if (open && !isOwnPage(bound, access, request))
    return {
      status: 403,
      reason: 'origin',
      message: `pages of ${printable(headers.origin ?? 'another site')} may not call this; add the site to origins`,
    }
  if (token !== '' && !sameSecret(bearerOf(request) ?? '', token))
    return { status: 401, reason: 'token', message: 'a bearer token is needed' }
  return undefined
}

/** A page of this origin, of one that is listed, or no page at all. */
export function allowedOrigin(bound: string, access: Access, { headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  const { origins = [] } = access
  if (origin === undefined || origins.includes('*') || origins.includes(origin)) return true
  if (origins.length > 0 || URL.parse(origin)?.host !== URL.parse(`http://${host}`)?.host) return false
  return !isLoopback(bound) || isOwnName(bound, access, host)
}

/** Headers that let a page of a listed site read the answer. */
export function corsHeaders({ origins = [] }: Access, { headers }: IncomingMessage): Record<string, string> {
  const { origin } = headers
  if (origin === undefined || !(origins.includes('*') || origins.includes(origin))) return {}
  return { 'access-control-allow-origin': origin, vary: 'origin' }
}

/** The answer to a preflight; undefined: the page may not call the route. */
export function preflightHeaders(access: Access, methods: readonly string[], request: IncomingMessage): Record<string, string> | undefined {
  const allowed = corsHeaders(access, request)
  if (allowed['access-control-allow-origin'] === undefined) return undefined
  const wanted = request.headers['access-control-request-headers']
  return {
    ...allowed,
    'access-control-allow-methods': methods.join(', '),
    ...(typeof wanted === 'string' && { 'access-control-allow-headers': wanted }),
    ...(request.headers['access-control-request-private-network'] === 'true' && { 'access-control-allow-private-network': 'true' }),
    'access-control-max-age': '600',
  }
}

/** The token of an `Authorization: Bearer` header. */
export function bearerOf({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
}

/** Compared as hashes, which are equally long: the time reveals nothing. */
export function sameSecret(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}

/** An address cannot be somebody else's name, and a name without a dot, or of a private zone, is one of this network. */
function isOwnName(bound: string, { hosts = [] }: Access, header: string | undefined): boolean {
  // HTTP/1.0; browsers always send one.
  if (header === undefined || hosts.includes('*')) return true
  const url = URL.parse(`http://${header}`)
  if (url === null || url.username !== '' || url.pathname !== '/' || url.search !== '') return false
  const name = url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
  if (isLoopback(name) || name.endsWith('.localhost')) return true
  if (hosts.some(h => h.toLowerCase() === name || h.toLowerCase() === url.host)) return true
  if (isLoopback(bound)) return false
  return isIP(name) !== 0 || !name.includes('.') || name === hostname().toLowerCase() || PRIVATE.some(zone => name.endsWith(zone))
}

function isOwnPage(bound: string, access: Access, request: IncomingMessage): boolean {
  const { headers, method } = request
  if (!allowedOrigin(bound, access, request)) return false
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none' || corsHeaders(access, request).vary !== undefined) return true
  // Who follows a link looks at the page himself; the page that has the link does not.
  return (method === 'GET' || method === 'HEAD') && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
}

const printable = (text: string | undefined): string => JSON.stringify(text?.slice(0, 200) ?? '')
