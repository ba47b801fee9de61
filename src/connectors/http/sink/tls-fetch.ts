/** `fetch` with TLS settings of its own, which that of Node.js does not have: the same answers and errors, through node:https. */
import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import type { HttpSinkConfig } from '../../../generated/config-types.ts'
import { usesProxy } from '../../../kit/http/proxy.ts'
import { readTlsFiles } from '../../../kit/keys/tls.ts'

export interface FetchInit {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: Buffer
  readonly redirect: 'manual'
  readonly signal: AbortSignal
}
export type Fetch = (url: string, init: FetchInit) => Promise<Response>

/** The TLS settings of a connector. */
export type TlsKeys = Pick<HttpSinkConfig, 'tls_ca' | 'tls_cert' | 'tls_key' | 'tls_key_password' | 'tls_insecure_skip_verify'>

export const hasTls = (c: TlsKeys): boolean => Boolean(c.tls_ca || c.tls_cert || c.tls_key || c.tls_insecure_skip_verify)

/** For `tls.connect`. @throws {EnvironmentError} for a file that cannot be read or used */
export const tlsOptions = (c: TlsKeys) => ({ ...readTlsFiles(c), ...(c.tls_insecure_skip_verify && { rejectUnauthorized: false }) })

/** @param connections open ones that are kept. @throws {EnvironmentError} for a file that cannot be read or used */
export function tlsFetch(config: TlsKeys, connections: number): Fetch {
  // As fetch does.
  const proxyEnv = usesProxy() ? process.env : undefined
  const agent = new Agent({ ...tlsOptions(config), keepAlive: true, maxFreeSockets: connections, proxyEnv })
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const fail = (error: Error): void =>
        reject(signal.aborted ? (signal.reason as Error) : new TypeError('fetch failed', { cause: error }))
      const outgoing = httpsRequest(url, {
        method,
        headers: body ? { ...headers, 'content-length': String(body.length) } : headers,
        agent,
        signal,
      })
      outgoing.on('error', fail)
      outgoing.on('response', (incoming: IncomingMessage) => resolve(responseOf(incoming)))
      outgoing.end(body)
    })
}

/** Statuses whose responses have no body, which `Response` checks. */
const EMPTY = new Set([204, 205, 304])

function responseOf(incoming: IncomingMessage): Response {
  const status = incoming.statusCode!
  const headers = new Headers()
  for (const [name, values] of Object.entries(incoming.headersDistinct)) for (const value of values ?? []) headers.append(name, value)
  if (EMPTY.has(status)) {
    incoming.resume()
    return new Response(null, { status, headers })
  }
  return new Response(Readable.toWeb(incoming) as ReadableStream, { status, headers })
}
