/**
 * Explains why a TLS connection failed, and which setting fixes it: one table from the codes of Node.js and OpenSSL to sentences, for all
 * connectors. The text of OpenSSL (`error:0A000410:SSL routines:…`) is not shown.
 */
import { ConnectionError, EnvironmentError, type PipelineError } from '../contract/plugin.ts'

/** The fixes in the terms of one connector, each an imperative. */
export interface TlsAdvice {
  /** `set tls_ca to a PEM file with the certificate of that CA` */
  readonly ca: string
  /** `set tls_cert and tls_key to…` */
  readonly clientCertificate: string
  /** The setting that contains the host name. */
  readonly host: string
  /** To connect without TLS. */
  readonly plain: string
  /** To connect with TLS. */
  readonly tls: string
}

/** Why a TLS connection failed, in two parts of one sentence. */
export interface TlsFailure {
  readonly what: string
  /** What to set. */
  readonly fix: string
  /** A retry does not help. */
  readonly lasting: boolean
}

/** For the shared TLS keys of src/kit/keys/tls.schema.json. */
export const TLS_KEYS = {
  ca: 'set tls_ca to a PEM file with the certificate of that CA',
  clientCertificate: 'set tls_cert and tls_key to a client certificate that the server accepts',
}

/** @returns undefined for an error that is not a TLS error. A failure is lasting if only a change here or on the server fixes it. */
export function tlsFailure(error: unknown, advice: TlsAdvice): TlsFailure | undefined {
  for (const { code, message } of chain(error)) {
    const found = explain(code, message, advice)
    if (found !== undefined) return { lasting: true, ...found }
  }
  return undefined
}

/**
 * For a connection without any response. A server that expects TLS closes a plain connection; one that requires a client certificate closes
 * after the TLS 1.3 handshake, and its alert may be lost.
 * @param secure the connection uses TLS
 */
export function closedFailure(error: unknown, advice: TlsAdvice, secure: boolean): TlsFailure | undefined {
  const known = secure ? tlsFailure(error, advice) : undefined
  if (known !== undefined) return known
  for (const { code, message } of chain(error)) {
    const text = `${code} ${message}`
    if (!CLOSED.test(text) && (secure || !/HPE_INVALID/.test(text))) continue
    const what = `the server closed the connection without a valid response (${message.trim() || code})`
    const fix = secure ? `if it requires a client certificate, ${advice.clientCertificate}` : `if the port expects TLS, ${advice.tls}`
    return { what, fix, lasting: false }
  }
  return undefined
}

const failures = new WeakMap<object, TlsFailure>()

/** @param place `redis:host:6379/0`, or `cannot connect to…` */
export function tlsError(place: string, failure: TlsFailure, cause: unknown): PipelineError {
  const error = new (failure.lasting ? EnvironmentError : ConnectionError)(`${place}: ${failure.what}; ${failure.fix}`, cause)
  failures.set(error, failure)
  return error
}

/** Of an error that `tlsError` created: for checks, which show the problem and the fix separately. */
export const failureOf = (error: unknown): TlsFailure | undefined => failures.get(error as object)

const CLOSED = /ECONNRESET|UND_ERR_SOCKET|socket hang up|connection is closed|closed connection|terminated unexpectedly|other side closed/i
const UNKNOWN_CA =
  /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT|CERT_UNTRUSTED|INVALID_CA|unable to verify the first|self[- ]signed certificate|unable to get (local )?issuer/
/** Alerts 42 to 46 and 48: the server's verdict on the certificate that it received. */
const REJECTED = /alert number (4[2-68])\b|ALERT_(BAD_CERT|UNSUPPORTED_CERT|CERTIFICATE_(REVOKED|EXPIRED|UNKNOWN)|UNKNOWN_CA)/i
const OLD = /alert number 70\b|ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE|UNSUPPORTED_VERSION_OF|VERSION_TOO_LOW/i
const NOT_TLS =
  /wrong.version.number|packet.length.too.long|ERR_SSL_HTTP_REQUEST|unknown.protocol|does not support SSL|error establishing an SSL connection/i
const REQUIRED = /alert number 116\b|ALERT_CERTIFICATE_REQUIRED/i
const REFUSED = /alert number 40\b|ALERT_HANDSHAKE_FAILURE/i
const ANY = /EPROTO|ERR_SSL_|ERR_TLS_|SSL routines|certificate/

function explain(code: string, message: string, advice: TlsAdvice): Omit<TlsFailure, 'lasting'> | TlsFailure | undefined {
  const text = `${code} ${message}`
  // A proxy in front of a server that restarts does the same.
  if (/disconnected before secure TLS connection/.test(message)) {
    const what = 'the server closed the connection during the TLS handshake'
    return { what, fix: `if the port does not speak TLS, ${advice.plain}`, lasting: false }
  }
  if (REQUIRED.test(text)) return { what: 'the server requires a client certificate', fix: advice.clientCertificate }
  if (REJECTED.test(text))
    return { what: `the server rejects the client certificate, or requires one (${reasonOf(message)})`, fix: advice.clientCertificate }
  if (REFUSED.test(text))
    return {
      what: 'the server rejected the TLS handshake (alert 40)',
      fix: `if it requires a client certificate, ${advice.clientCertificate}; otherwise enable a cipher of TLS 1.2 or 1.3 on the server`,
    }
  if (OLD.test(text))
    return {
      what: 'client and server have no TLS version in common',
      fix: 'enable TLS 1.2 or 1.3 on the server; older versions are not used',
    }
  if (NOT_TLS.test(text))
    return { what: 'the server does not speak TLS on this port', fix: `correct the port in ${advice.host}, or ${advice.plain}` }
  if (UNKNOWN_CA.test(text)) {
    const shown = /^[A-Z_]+$/.test(code) ? ` (${code})` : ''
    return { what: `the server's certificate is not signed by a trusted CA${shown}`, fix: advice.ca }
  }
  if (/ERR_TLS_CERT_ALTNAME_INVALID|does not match certificate's altnames/.test(text)) {
    const reason = /altnames: (.*)/s.exec(message)?.[1].replace(/[:.\s]+$/, '')
    const what = `the server's certificate does not have the host name${reason === undefined ? '' : ` (${reason})`}`
    return { what, fix: `use a name of the certificate in ${advice.host}, or give the server a certificate with this name` }
  }
  if (/CERT_HAS_EXPIRED|certificate has expired/.test(text))
    return { what: "the server's certificate has expired", fix: 'renew it on the server, or correct the clock of this machine' }
  if (/CERT_NOT_YET_VALID|certificate is not yet valid/.test(text))
    return { what: "the server's certificate is not yet valid", fix: 'correct the clock of this machine, or the certificate of the server' }
  if (ANY.test(text)) return { what: `the TLS handshake failed (${reasonOf(message)})`, fix: `check the TLS settings and ${advice.host}` }
  return undefined
}

/** `error:0A000410:SSL routines:ssl3_read_bytes:REASON:file:line:…` */
const reasonOf = (message: string): string => /SSL routines:[^:]*:([^:]*)/.exec(message)?.[1] ?? message.trim()

/** fetch, kafkajs and a cluster's client wrap the error of the socket. */
function* chain(error: unknown): Generator<{ code: string; message: string }> {
  const seen = new Set<unknown>()
  const open = [error]
  while (open.length > 0) {
    const e = open.shift() as (Error & { code?: unknown; errors?: unknown[]; lastNodeError?: unknown }) | undefined
    if (e === undefined || e === null || seen.has(e)) continue
    seen.add(e)
    yield { code: typeof e.code === 'string' ? e.code : '', message: e.message ?? '' }
    open.push(e.cause, e.lastNodeError, ...(e.errors ?? []))
  }
}
