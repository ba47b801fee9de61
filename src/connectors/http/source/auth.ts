/** Who may post: a bearer token, or a signature over the body. All comparisons take the same time, whatever differs. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { ConfigProblem } from '../../../contract/plugin.ts'

export interface AuthOptions {
  readonly bearer: readonly string[]
  /** `whsec_` and base64, or plain base64. */
  readonly webhook: readonly string[]
  readonly hmac: readonly string[]
  readonly hmac_header: string
  /** ms that a signed time may be off. */
  readonly tolerance: number
}

/** Empty secrets are unset variables. */
const given = (secrets: readonly string[]): string[] => secrets.filter(s => s !== '')

export function isOpen(auth: AuthOptions): boolean {
  return given([...auth.bearer, ...auth.webhook, ...auth.hmac]).length === 0
}

export function validateAuth(auth: AuthOptions): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const used = (['bearer', 'webhook', 'hmac'] as const).filter(kind => given(auth[kind]).length > 0)
  if (used.length > 1) problems.push({ path: ['auth', used[1]], message: `one way of signing in at a time: ${used[0]} is set already` })
  given(auth.webhook).forEach((secret, i) => {
    if (webhookKey(secret).length < 16)
      problems.push({
        path: ['auth', 'webhook', i],
        message: 'must be base64 of at least 16 bytes, as in whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      })
  })
  return problems
}

/** Both return what is wrong; undefined: nothing. */
export interface Auth {
  /** What can be said before the body is read. */
  before(headers: IncomingHttpHeaders): string | undefined
  after(headers: IncomingHttpHeaders, body: Buffer, now: number): string | undefined
}

export function createAuth(options: AuthOptions): Auth {
  const bearer = given(options.bearer)
  const webhook = given(options.webhook).map(webhookKey)
  const hmac = given(options.hmac)
  const name = options.hmac_header.toLowerCase()
  return {
    before(headers) {
      if (bearer.length > 0) {
        const [, token] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
        if (token === undefined) return 'a bearer token is needed'
        return bearer.some(secret => same(token, secret)) ? undefined : 'the bearer token is wrong'
      }
      if (webhook.length > 0) {
        for (const needed of ['webhook-id', 'webhook-timestamp', 'webhook-signature'])
          if (one(headers[needed]) === undefined) return `the header ${needed} is missing`
      }
      if (hmac.length > 0 && one(headers[name]) === undefined) return `the header ${name} is missing`
      return undefined
    },

    after(headers, body, now) {
      if (webhook.length > 0) {
        const [id, stamp, signature] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map(h => one(headers[h])!)
        if (!/^\d{1,12}$/.test(stamp)) return 'webhook-timestamp must be whole seconds since 1970'
        if (Math.abs(now - Number(stamp) * 1000) > options.tolerance)
          return `webhook-timestamp is more than ${options.tolerance / 1000} s off: a repeat of an old request, or a wrong clock`
        const signatures = signature.split(' ').filter(s => s.startsWith('v1,'))
        const expected = webhook.map(key => createHmac('sha256', key).update(`${id}.${stamp}.`).update(body).digest('base64'))
        return expected.some(e => signatures.some(s => same(s.slice(3), e))) ? undefined : 'the signature is wrong'
      }
      if (hmac.length > 0) {
        const signature = one(headers[name])!
        const expected = hmac.map(key => `sha256=${createHmac('sha256', key).update(body).digest('hex')}`)
        return expected.some(e => same(signature.toLowerCase(), e)) ? undefined : 'the signature is wrong'
      }
      return undefined
    },
  }
}

const webhookKey = (secret: string): Buffer => Buffer.from(secret.replace(/^whsec_/, ''), 'base64')

const one = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' && header !== '' ? header : undefined

/** Lengths of tokens and signatures are no secret. */
function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
