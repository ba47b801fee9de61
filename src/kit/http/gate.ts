/**
 * Decides who may use a route, before the route sees the request. A browser sends requests for any page that it shows, also to this machine
 * and into its own network; a foreign name that resolves to this address (DNS rebinding) makes such a page look like one of ours. So a
 * route without authentication accepts only the names of its own address, and pages of its own origin.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { isLoopback } from './loopback.ts'

/** The requirements of a route for its callers. */
export interface Access {
  /** The route checks a secret itself: requests of a browser without it do no harm. */
  readonly authenticated?: boolean
  /** `Authorization: Bearer` token that is checked here; empty: none. */
  readonly token?: string
  /** Further names under which it may be called; `*`: any. */
  readonly hosts?: readonly string[]
  /** Web sites whose pages may call it; `*`: any. Empty: pages of its own origin. */
  readonly origins?: readonly string[]
}

/** Why a request is rejected, and the status of the response. */
export interface GateRejection {
  readonly status: 400 | 401 | 403 | 405 | 421
  readonly reason: 'host' | 'origin' | 'token' | 'method'
  readonly message: string
}

/** Suffixes of names that cannot be registered outside of a network. */
const PRIVATE = ['.localhost', '.local', '.internal', '.lan', '.home.arpa', '.svc', '.test']

/** @param bound the address of the listener. @returns why the request is rejected; undefined: it is accepted */
export function rejectionOf(bound: string, access: Access, request: IncomingMessage): GateRejection | undefined {
  const { headers } = request
  const token = access.token ?? ''
  const open = access.authenticated !== true && token === ''
  if (hostLines(request) > 1) return { status: 400, reason: 'host', message: 'send one Host header' }
  if (open && !isOwnName(bound, access, headers.host)) {
    const message = `the Host ${printable(headers.host)} is not a name of this server; add it to hosts`
    return { status: 421, reason: 'host', message }
  }
  if (open && !isOwnPage(bound, access, request))
    return {
      status: 403,
      reason: 'origin',
      message: `pages of ${printable(headers.origin ?? 'another site')} may not call this endpoint; add the site to origins`,
    }
  if (token !== '' && !sameSecret(bearerOf(request) ?? '', token)) return { status: 401, reason: 'token', message: 'send a bearer token' }
  return undefined
}

/** A proxy in front may decide by another one of them. */
function hostLines({ rawHeaders }: IncomingMessage): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i].length === 4 && rawHeaders[i].toLowerCase() === 'host') count++
  return count
}

/** A page of this origin, a page of a listed site, or no page. */
export function allowedOrigin(bound: string, access: Access, { headers }: IncomingMessage): boolean {
  const { origin, host } = headers
  const { origins = [] } = access
  if (origin === undefined || origins.includes('*') || origins.includes(origin)) return true
  if (origins.length > 0 || URL.parse(origin)?.host !== URL.parse(`http://${host}`)?.host) return false
  return !isLoopback(bound) || isOwnName(bound, access, host)
}

/** Headers that let a page of a listed site read the response. */
export function corsHeaders({ origins = [] }: Access, { headers }: IncomingMessage): Record<string, string> {
  const { origin } = headers
  if (origin === undefined || !(origins.includes('*') || origins.includes(origin))) return {}
  return { 'access-control-allow-origin': origin, vary: 'origin' }
}

/** The response to a preflight request; undefined: the page may not call the route. */
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

/** Compared as hashes of equal length, so that the time reveals nothing. */
export function sameSecret(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}

/** An address cannot be a foreign name, and a name without a dot, or in a private zone, belongs to this network. */
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
  // A user who follows a link sees the page; the page with the link does not.
  return (method === 'GET' || method === 'HEAD') && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
}

const printable = (text: string | undefined): string => JSON.stringify(text?.slice(0, 200) ?? '')
