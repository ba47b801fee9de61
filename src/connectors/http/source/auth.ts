/** Authentication of requests: a bearer token, or a signature over the body. All comparisons take constant time. */
import type { IncomingHttpHeaders } from 'node:http'
import type { ConfigProblem } from '../../../contract/plugin.ts'
import { bearerOf, sameSecret } from '../../../kit/http/gate.ts'
import {
  AuthFailure,
  isTimed,
  placeholders,
  type Scheme,
  schemeOf,
  secretKey,
  type SignatureOptions,
  SignatureVerifier,
} from './signature.ts'

export interface AuthOptions {
  readonly bearer: readonly string[]
  readonly signature?: SignatureOptions
  /** Short for scheme `standard-webhooks`. */
  readonly webhook: readonly string[]
  /** Signatures of the body alone, with or without `sha256=`. */
  readonly hmac: readonly string[]
  readonly hmac_header: string
  /** Allowed deviation of a signed time, ms; of `webhook`. */
  readonly tolerance: number
  readonly replays: 'answer' | 'accept'
}

/** Empty secrets are unset variables. */
const given = (secrets: readonly string[]): string[] => secrets.filter(s => s !== '')

type Way = 'bearer' | 'signature' | 'webhook' | 'hmac'

const secretsOf = (auth: AuthOptions): Readonly<Record<Way, string[]>> => ({
  bearer: given(auth.bearer),
  signature: given(auth.signature?.secrets ?? []),
  webhook: given(auth.webhook),
  hmac: given(auth.hmac),
})

export function isOpen(auth: AuthOptions): boolean {
  return Object.values(secretsOf(auth)).every(secrets => secrets.length === 0)
}

export function validateAuth(auth: AuthOptions): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const used = (Object.entries(secretsOf(auth)) as [Way, string[]][]).filter(([, secrets]) => secrets.length > 0).map(([way]) => way)
  if (used.length > 1) problems.push({ path: ['auth', used[1]], message: `set only one authentication method; ${used[0]} is already set` })
  auth.webhook.forEach((secret, i) => problems.push(...weak(standardScheme, secret, ['auth', 'webhook', i])))
  if (auth.signature) problems.push(...validateSignature(auth.signature))
  return problems
}

function validateSignature(options: SignatureOptions): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const at = (key: string, message: string, suggestion?: string): void =>
    void problems.push({ path: ['auth', 'signature', key], message, suggestion })
  const { scheme, secrets, header, signed, timestamp_header } = options
  if (given(secrets).length === 0) at('secrets', 'all secrets are empty: set the variable, or remove signature')
  if (scheme !== 'hmac') {
    for (const key of ['prefix', 'signed', 'timestamp_header'] as const)
      if (options[key] !== undefined) at(key, `is defined by scheme: ${scheme}; remove it, or use scheme: hmac`)
    if (header !== undefined && schemeOf(options).idHeader !== undefined) at('header', `is defined by scheme: ${scheme}; remove it`)
    const known = schemeOf(options)
    secrets.forEach((secret, i) => problems.push(...weak(known, secret, ['auth', 'signature', 'secrets', i])))
    return problems
  }
  if (header === undefined) at('header', 'scheme: hmac needs the name of the signature header, for example header: x-signature')
  if (signed === undefined) {
    if (timestamp_header !== undefined)
      at('timestamp_header', 'a time that is not signed can be forged: include it in signed, for example signed: "{timestamp}.{body}"')
    return problems
  }
  const names = placeholders(signed)
  if (names.filter(name => name === 'body').length !== 1) at('signed', 'must contain {body} exactly once', '{timestamp}.{body}')
  if (names.includes('timestamp') && timestamp_header === undefined)
    at('signed', '{timestamp} needs timestamp_header, the header that contains it')
  if (!names.includes('timestamp') && timestamp_header !== undefined)
    at('signed', 'timestamp_header is set, but {timestamp} is not signed and could be forged', '{timestamp}.{body}')
  const odd = names.find(name => !/^[A-Za-z0-9_-]+$/.test(name))
  if (odd !== undefined) at('signed', `{${odd}} is not a header name: write {body}, {timestamp} or the name of a header in braces`)
  return problems
}

function weak(scheme: Scheme, secret: string, path: (string | number)[]): ConfigProblem[] {
  if (!scheme.base64Secret || secret === '' || secretKey(scheme, secret).length >= 16) return []
  return [{ path, message: 'must be the base64 of at least 16 bytes, for example whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' }]
}

const standardScheme = schemeOf({ scheme: 'standard-webhooks', secrets: [], tolerance: 0 })

export interface Auth {
  /** Undefined: requests are not signed. */
  readonly scheme: Scheme | undefined
  /** Allowed deviation of a signed time, ms; undefined: no time is signed. */
  readonly tolerance: number | undefined
  /** The checks that are possible before the body is read. */
  before(headers: IncomingHttpHeaders): AuthFailure | undefined
  /** A text: identifies the signed content. */
  after(headers: IncomingHttpHeaders, body: Buffer, now: number): AuthFailure | string | undefined
}

export function createAuth(options: AuthOptions): Auth {
  const { bearer, signature, webhook, hmac } = secretsOf(options)
  let verifier: SignatureVerifier | undefined
  if (signature.length > 0) verifier = new SignatureVerifier(schemeOf(options.signature!), signature, options.signature!.tolerance)
  else if (webhook.length > 0) verifier = new SignatureVerifier(standardScheme, webhook, options.tolerance)
  else if (hmac.length > 0) {
    const header = options.hmac_header.toLowerCase()
    verifier = new SignatureVerifier({ header, prefix: 'sha256=', prefixOptional: true, signed: '{body}' }, hmac, options.tolerance)
  }
  const timed = verifier && isTimed(verifier.scheme)
  return {
    scheme: verifier?.scheme,
    tolerance: timed ? (options.signature ?? options).tolerance : undefined,
    before(headers) {
      if (bearer.length === 0) return verifier?.missing(headers)
      const token = bearerOf({ headers })
      if (token === undefined) return new AuthFailure('missing_token', 'send a bearer token')
      return bearer.some(secret => sameSecret(token, secret)) ? undefined : new AuthFailure('wrong_token', 'the bearer token is wrong')
    },
    after: (headers, body, now) => verifier?.verify(headers, body, now),
  }
}
