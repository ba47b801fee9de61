/**
 * Signed webhooks. Every scheme is an HMAC-SHA256 over a text made of the body and some headers; they differ in where the signature is, its
 * prefix, and what is signed. Each scheme is a row of the table below; `hmac` is a row that the pipeline file defines.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

export const SCHEMES = ['github', 'stripe', 'slack', 'shopify', 'standard-webhooks', 'svix', 'linear', 'hmac'] as const
export type SchemeName = (typeof SCHEMES)[number]

export interface SignatureOptions {
  readonly scheme: SchemeName
  readonly secrets: readonly string[]
  /** Allowed deviation of a signed time in either direction, ms. */
  readonly tolerance: number
  readonly header?: string
  readonly prefix?: string
  readonly signed?: string
  readonly timestamp_header?: string
}

export interface Scheme {
  /** Lower case, as are all headers here. */
  readonly header: string
  /** Prefix of each signature. */
  readonly prefix: string
  /** A signature without the prefix is also valid, as for `auth.hmac`. */
  readonly prefixOptional?: boolean
  /** `{body}`, `{timestamp}` and headers by name in braces; the rest is signed literally. */
  readonly signed: string
  readonly timestampHeader?: string
  /** Field of the JSON body with the sending time, ms. */
  readonly timestampField?: string
  /** The header is a list `t=…,v1=…`, with the timestamp under `t` and signatures under `v1`. */
  readonly pairs?: boolean
  /** Signed header that identifies the event: the same in every delivery attempt. */
  readonly idHeader?: string
  /** Secrets are base64, after `whsec_`. */
  readonly base64Secret?: boolean
}

const BODY = '{body}'

const TABLE: Readonly<Record<Exclude<SchemeName, 'hmac'>, Scheme>> = {
  github: { header: 'x-hub-signature-256', prefix: 'sha256=', signed: BODY },
  stripe: { header: 'stripe-signature', prefix: '', signed: `{timestamp}.${BODY}`, pairs: true },
  slack: {
    header: 'x-slack-signature',
    prefix: 'v0=',
    signed: `v0:{timestamp}:${BODY}`,
    timestampHeader: 'x-slack-request-timestamp',
  },
  shopify: { header: 'x-shopify-hmac-sha256', prefix: '', signed: BODY },
  'standard-webhooks': standard('webhook'),
  svix: standard('svix'),
  linear: { header: 'linear-signature', prefix: '', signed: BODY, timestampField: 'webhookTimestamp' },
}

function standard(name: string): Scheme {
  return {
    header: `${name}-signature`,
    prefix: 'v1,',
    signed: `{${name}-id}.{timestamp}.${BODY}`,
    timestampHeader: `${name}-timestamp`,
    idHeader: `${name}-id`,
    base64Secret: true,
  }
}

export function schemeOf({ scheme, header, prefix = '', signed = BODY, timestamp_header }: SignatureOptions): Scheme {
  if (scheme !== 'hmac') return { ...TABLE[scheme], ...(header !== undefined && { header: header.toLowerCase() }) }
  return { header: header!.toLowerCase(), prefix, signed, timestampHeader: timestamp_header?.toLowerCase() }
}

/** @returns whether the sending time is part of the signed text. */
export const isTimed = (s: Scheme): boolean => (s.timestampHeader ?? s.timestampField) !== undefined || s.pairs === true

export const secretKey = (scheme: Scheme, secret: string): Buffer =>
  scheme.base64Secret ? Buffer.from(secret.replace(/^whsec_/, ''), 'base64') : Buffer.from(secret)

/** Names in braces of a signed text, in order. */
export const placeholders = (signed: string): string[] => Array.from(signed.matchAll(/\{([^{}]*)\}/g), m => m[1])

export type Reason =
  | 'missing_token'
  | 'wrong_token'
  | 'missing_header'
  | 'malformed_signature'
  | 'malformed_timestamp'
  | 'wrong_signature'
  | 'too_old'
  | 'in_the_future'

/** Why a request is rejected. The text never contains a secret, a signature or a value of the request. */
export class AuthFailure {
  readonly reason: Reason
  readonly message: string

  constructor(reason: Reason, message: string) {
    this.reason = reason
    this.message = message
  }
}

const SIZE = 32

export class SignatureVerifier {
  readonly scheme: Scheme
  private readonly keys: readonly Buffer[]
  private readonly tolerance: number
  private readonly parts: readonly string[]
  private readonly needed: readonly string[]

  constructor(scheme: Scheme, secrets: readonly string[], tolerance: number) {
    this.scheme = scheme
    this.keys = secrets.map(secret => secretKey(scheme, secret))
    this.tolerance = tolerance
    // Alternating literals and placeholders.
    this.parts = scheme.signed.split(/(\{[^{}]*\})/)
    const named = placeholders(scheme.signed).filter(name => name !== 'body' && name !== 'timestamp')
    this.needed = [
      ...new Set([...named.map(n => n.toLowerCase()), ...(scheme.timestampHeader ? [scheme.timestampHeader] : []), scheme.header]),
    ]
  }

  /** The checks that are possible before the body is read. */
  missing(headers: IncomingHttpHeaders): AuthFailure | undefined {
    const name = this.needed.find(n => one(headers[n]) === undefined)
    return name === undefined ? undefined : new AuthFailure('missing_header', `header ${name} is missing`)
  }

  /** Identifies the signed content, equal for each copy of the request, so that replays are detected. */
  verify(headers: IncomingHttpHeaders, body: Buffer, now: number): AuthFailure | string {
    const { scheme } = this
    const missing = this.missing(headers)
    if (missing) return missing
    const given = one(headers[scheme.header])!
    const pairs = scheme.pairs ? pairsOf(given) : undefined
    const stamp = pairs ? pairs.timestamp : scheme.timestampHeader && one(headers[scheme.timestampHeader])
    if (pairs && stamp === undefined)
      return new AuthFailure('malformed_signature', `header ${scheme.header} must have the form t=TIME,v1=SIGNATURE, with one t`)
    if (stamp !== undefined && !/^\d{1,14}$/.test(stamp))
      return new AuthFailure(
        'malformed_timestamp',
        `${pairs ? `t in ${scheme.header}` : scheme.timestampHeader} must be whole seconds since 1970 (Unix time)`,
      )

    const candidates = pairs ? pairs.signatures.map(decode) : this.signaturesIn(given)
    const signatures = candidates.filter(s => s !== undefined)
    if (signatures.length === 0)
      return new AuthFailure(
        'malformed_signature',
        `header ${scheme.header} must contain a signature of the form ${pairs ? 'v1=' : scheme.prefix}${scheme.base64Secret ? 'BASE64' : 'HEX or BASE64'} of ${SIZE} bytes`,
      )
    const content = this.content(headers, stamp ?? '', body)
    let right = false
    for (const key of this.keys) {
      const hmac = createHmac('sha256', key)
      for (const part of content) hmac.update(part)
      const expected = hmac.digest()
      for (const signature of signatures) if (timingSafeEqual(signature, expected)) right = true
    }
    if (!right)
      return new AuthFailure('wrong_signature', 'the signature does not match; check the secret, and that the body is signed unchanged')
    const untimely = this.untimely(stamp, body, now)
    if (untimely) return untimely
    const id = scheme.idHeader && one(headers[scheme.idHeader])
    if (id) return id
    const digest = createHash('sha256').update(body).digest('base64')
    return content.map(part => (part === body ? digest : part.toString())).join('')
  }

  private untimely(stamp: string | undefined, body: Buffer, now: number): AuthFailure | undefined {
    const { scheme, tolerance } = this
    let time: number | undefined
    let what = scheme.timestampHeader ?? 't'
    if (stamp !== undefined) time = toMillis(Number(stamp))
    else if (scheme.timestampField !== undefined) {
      what = scheme.timestampField
      time = numberIn(body, what)
      if (time === undefined) return new AuthFailure('malformed_timestamp', `the body must have a number at ${what}`)
    }
    if (time === undefined || Math.abs(now - time) <= tolerance) return undefined
    const old = time < now
    return new AuthFailure(
      old ? 'too_old' : 'in_the_future',
      `${what} is more than ${tolerance / 1000} s ${old ? 'old: the request is a replay, or a clock is wrong' : 'in the future: a clock is wrong'}`,
    )
  }

  private signaturesIn(header: string): (Buffer | undefined)[] {
    const whole = this.signature(header)
    if (whole) return [whole]
    return header.split(this.scheme.prefix.includes(',') ? /\s+/ : /[\s,]+/).map(s => this.signature(s))
  }

  private signature(text: string): Buffer | undefined {
    const { prefix, prefixOptional } = this.scheme
    if (text.slice(0, prefix.length).toLowerCase() === prefix.toLowerCase()) return decode(text.slice(prefix.length).trim())
    return prefixOptional ? decode(text.trim()) : undefined
  }

  private content(headers: IncomingHttpHeaders, stamp: string, body: Buffer): (string | Buffer)[] {
    return this.parts.map(part => {
      if (part === BODY) return body
      if (part === '{timestamp}') return stamp
      // Node.js decodes each byte of a header as one character.
      return part.startsWith('{') ? Buffer.from(one(headers[part.slice(1, -1).toLowerCase()])!, 'latin1') : part
    })
  }
}

/** 64 hexadecimal digits or 43 base64 characters encode the same bytes; any other form is not a signature. */
function decode(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined
}

/** `t=…,v1=…,v1=…`: unknown versions are skipped; a second `t` makes it unclear what was signed. */
function pairsOf(header: string): { timestamp: string | undefined; signatures: string[] } {
  const items = header.split(',').map(item => item.trim())
  const valuesOf = (name: string): string[] => items.filter(i => i.startsWith(`${name}=`)).map(i => i.slice(name.length + 1))
  const times = valuesOf('t')
  return { timestamp: times.length === 1 ? times[0] : undefined, signatures: valuesOf('v1') }
}

/** Seconds have at most 11 digits until the year 5138; milliseconds have had more since 1973. */
const toMillis = (stamp: number): number => (stamp >= 1e11 ? stamp : stamp * 1000)

function numberIn(body: Buffer, field: string): number | undefined {
  try {
    const value = (JSON.parse(body.toString()) as Record<string, unknown> | null)?.[field]
    return typeof value === 'number' ? value : undefined
  } catch {
    return undefined
  }
}

/** An empty header counts as missing. */
const one = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' && header !== '' ? header : undefined
