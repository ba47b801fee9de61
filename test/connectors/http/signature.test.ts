/** Signatures of each provider, made by its own library or taken from its documentation: the reference is never ours. */
import { sign as githubSign } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { createAuth, validateAuth } from '../../../src/connectors/http/source/auth.ts'
import { AuthFailure, type SignatureOptions } from '../../../src/connectors/http/source/signature.ts'

const NOW = 1_700_000_000_000
const BODY = '{"id":"evt_1","object":"event","amount":1.10}'
const STANDARD = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

interface Signed {
  readonly options: Omit<SignatureOptions, 'tolerance'>
  readonly headers: Record<string, string>
  readonly body: string
  readonly now: number
  /** The same signature in the header, another secret's beside it. */
  readonly several?: string
}

const auth = (options: Omit<SignatureOptions, 'tolerance'>, tolerance = 300_000) => ({
  bearer: [],
  webhook: [],
  hmac: [],
  hmac_header: 'x',
  tolerance: 1,
  replays: 'answer' as const,
  signature: { tolerance, ...options },
})

const reason = ({ options, headers, body, now }: Signed): string | undefined => {
  const checker = createAuth(auth(options))
  const result = checker.before(headers) ?? checker.after(headers, Buffer.from(body), now)
  return result instanceof AuthFailure ? result.reason : undefined
}
const identity = ({ options, headers, body, now }: Signed): unknown => createAuth(auth(options)).after(headers, Buffer.from(body), now)

const hexOf = async (secret: string, body: string): Promise<string> => (await githubSign(secret, body)).slice('sha256='.length)
const base64Of = async (secret: string, body: string): Promise<string> => Buffer.from(await hexOf(secret, body), 'hex').toString('base64')

// Written by stripe 23.1.0, webhooks.generateTestHeaderString, for two secrets.
const STRIPE = '53b446a3a2fc287866e4e848e5d6d4579fedfee3f61f9ce8133e4a0ca7869737'
const STRIPE_OTHER = 'a5daba8dfde3b3c13c4ce87b50df2e39399347afe4d83f2714a71e27de870a80'
// The example of Slack's documentation, "Verifying requests from Slack".
const SLACK_BODY =
  'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c'
const LINEAR_BODY = '{"type":"Issue","webhookTimestamp":1700000000000}'

const signed: Record<string, () => Signed | Promise<Signed>> = {
  github: async () => ({
    options: { scheme: 'github', secrets: ['s3cret'] },
    headers: { 'x-hub-signature-256': await githubSign('s3cret', BODY) },
    body: BODY,
    now: NOW,
  }),
  stripe: () => ({
    options: { scheme: 'stripe', secrets: ['whsec_test_secret'] },
    headers: { 'stripe-signature': `t=1700000000,v1=${STRIPE}` },
    body: BODY,
    now: NOW,
    several: `t=1700000000,v1=${STRIPE_OTHER},v1=${STRIPE},v0=${STRIPE_OTHER}`,
  }),
  slack: () => ({
    options: { scheme: 'slack', secrets: ['8f742231b10e8888abcd99yyyzzz85a5'] },
    headers: {
      'x-slack-request-timestamp': '1531420618',
      'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
    },
    body: SLACK_BODY,
    now: 1_531_420_618_000,
  }),
  shopify: async () => ({
    options: { scheme: 'shopify', secrets: ['hush'] },
    headers: { 'x-shopify-hmac-sha256': await base64Of('hush', BODY) },
    body: BODY,
    now: NOW,
  }),
  'standard-webhooks': () => {
    const signature = new Webhook(STANDARD).sign('msg_1', new Date(NOW), BODY)
    return {
      options: { scheme: 'standard-webhooks', secrets: [STANDARD] },
      headers: { 'webhook-id': 'msg_1', 'webhook-timestamp': '1700000000', 'webhook-signature': signature },
      body: BODY,
      now: NOW,
      several: `v1a,AAAA v1,${'A'.repeat(43)}= ${signature}`,
    }
  },
  // The signature was created with svix 2.5.0.
  svix: () => ({
    options: { scheme: 'svix', secrets: [STANDARD] },
    headers: {
      'svix-id': 'msg_1',
      'svix-timestamp': '1700000000',
      'svix-signature': 'v1,bauXvyL3ZDH5Umbcr0LlC1Lkf+wA6tW2fS6+TkJ0y+0=',
    },
    body: BODY,
    now: NOW,
  }),
  linear: async () => ({
    options: { scheme: 'linear', secrets: ['lin'] },
    headers: { 'linear-signature': await hexOf('lin', LINEAR_BODY) },
    body: LINEAR_BODY,
    now: NOW,
  }),
  'hmac, hex of the body': async () => ({
    options: { scheme: 'hmac', secrets: ['k'], header: 'X-Sig', prefix: 'v2=' },
    headers: { 'x-sig': `v2=${await hexOf('k', BODY)}` },
    body: BODY,
    now: NOW,
    several: `v2=${'0'.repeat(64)}, v2=${await hexOf('k', BODY)}`,
  }),
  'hmac, base64 with time and a header': async () => ({
    options: {
      scheme: 'hmac',
      secrets: ['k'],
      header: 'x-sig',
      signed: '{X-Request-Id}|{timestamp}|{body}|end',
      timestamp_header: 'X-Time',
    },
    headers: { 'x-sig': await base64Of('k', `r1|1700000000123|${BODY}|end`), 'x-time': '1700000000123', 'x-request-id': 'r1' },
    body: BODY,
    now: NOW,
    several: `${'A'.repeat(43)}= ${await base64Of('k', `r1|1700000000123|${BODY}|end`)}`,
  }),
  'stripe, another header': () => ({
    options: { scheme: 'stripe', secrets: ['whsec_test_secret'], header: 'Calendly-Webhook-Signature' },
    headers: { 'calendly-webhook-signature': `t=1700000000,v1=${STRIPE}` },
    body: BODY,
    now: NOW,
  }),
}

describe.each(Object.entries(signed))('%s', (_, make) => {
  test('accepts requests signed by the provider, with any of several secrets', async () => {
    const s = await make()
    expect(validateAuth(auth(s.options))).toEqual([])
    expect(reason(s)).toBeUndefined()
    const other = s.options.scheme === 'standard-webhooks' || s.options.scheme === 'svix' ? 'whsec_bmV3IHNlY3JldCBvZiAyNCBieXRlcw==' : 'new'
    expect(reason({ ...s, options: { ...s.options, secrets: ['', other, ...s.options.secrets] } })).toBeUndefined()
    expect(reason({ ...s, options: { ...s.options, secrets: [other] } })).toBe('wrong_signature')
  })

  test('a header may have several signatures', async () => {
    const s = await make()
    if (s.several === undefined) return
    const [name] = Object.keys(s.headers).filter(n => n.includes('sig'))
    expect(reason({ ...s, headers: { ...s.headers, [name]: s.several } })).toBeUndefined()
  })

  test('rejects another body, and a missing, empty or malformed header, with the reason', async () => {
    const s = await make()
    expect(reason({ ...s, body: `${s.body} ` })).toBe('wrong_signature')
    for (const name of Object.keys(s.headers)) {
      const { [name]: _, ...rest } = s.headers
      expect(reason({ ...s, headers: rest })).toBe('missing_header')
      expect(reason({ ...s, headers: { ...s.headers, [name]: '' } })).toBe('missing_header')
      const value = s.headers[name]
      // Two headers of one name come as one, joined with a comma; the other forms are cut, doubled or of another kind.
      for (const bad of [value.slice(1) || 'x', `${value}0`, ',', 'v1=', 't=1', `\u{1}`, '0'.repeat(10_000), `${'v1=,'.repeat(3000)}`]) {
        const got = reason({ ...s, headers: { ...s.headers, [name]: bad } })
        expect(got, `${name}: ${bad.slice(0, 80)}`).toMatch(
          /^(malformed_signature|malformed_timestamp|wrong_signature|too_old|in_the_future)$/,
        )
      }
    }
  })

  test('the signed time may differ by the tolerance in either direction', async () => {
    const s = await make()
    const timed =
      !['github', 'shopify'].includes(s.options.scheme) && (s.options.scheme !== 'hmac' || s.options.timestamp_header !== undefined)
    expect(reason({ ...s, now: s.now + 299_000 })).toBeUndefined()
    expect(reason({ ...s, now: s.now - 299_000 })).toBeUndefined()
    expect(reason({ ...s, now: s.now + 301_000 })).toBe(timed ? 'too_old' : undefined)
    expect(reason({ ...s, now: s.now - 301_000 })).toBe(timed ? 'in_the_future' : undefined)
  })

  test('copies of a request are recognized, however their headers differ', async () => {
    const s = await make()
    const upper = Object.fromEntries(Object.entries(s.headers).map(([k, v]) => [k, /^[0-9a-f]{64}$/.test(v) ? v.toUpperCase() : v]))
    const [name] = Object.keys(s.headers).filter(n => n.includes('sig'))
    const copies = [
      s,
      { ...s, headers: { ...upper, 'idempotency-key': 'x', 'x-github-delivery': 'y' } },
      { ...s, options: { ...s.options, secrets: [...s.options.secrets, ''] } },
      ...(s.several === undefined ? [] : [{ ...s, headers: { ...s.headers, [name]: s.several } }]),
    ]
    expect(new Set(copies.map(identity)).size).toBe(1)
    expect(typeof identity(s)).toBe('string')
  })
})

test('a second t does not change which time was signed', () => {
  const s = signed.stripe() as Signed
  for (const header of [`t=1600000000,${s.headers['stripe-signature']}`, `${s.headers['stripe-signature']}, t=1700000000,v1=${STRIPE}`])
    expect(reason({ ...s, headers: { 'stripe-signature': header } })).toBe('malformed_signature')
})

test('linear: a body without its time is rejected', async () => {
  for (const body of ['{"type":"Issue"}', '{"webhookTimestamp":"1700000000000"}', 'null', '[', '{"webhookTimestamp":1e999}']) {
    const headers = { 'linear-signature': await hexOf('lin', body) }
    expect(reason({ options: { scheme: 'linear', secrets: ['lin'] }, headers, body, now: NOW })).toMatch(
      /^(malformed_timestamp|in_the_future)$/,
    )
  }
})

test('headers are signed with the bytes received', async () => {
  // Node reads a header byte by byte.
  const id = Buffer.from('é').toString('latin1')
  const headers = { 'x-sig': await hexOf('k', `é.${BODY}`), 'x-id': id }
  expect(
    reason({ options: { scheme: 'hmac', secrets: ['k'], header: 'x-sig', signed: '{x-id}.{body}' }, headers, body: BODY, now: NOW }),
  ).toBeUndefined()
})

test.each<[string, Omit<SignatureOptions, 'tolerance'>, string, RegExp]>([
  ['no secret', { scheme: 'github', secrets: ['', ''] }, 'secrets', /all secrets are empty/],
  ['a weak secret', { scheme: 'svix', secrets: ['whsec_c2hvcnQ='] }, '0', /at least 16 bytes/],
  ['no header', { scheme: 'hmac', secrets: ['k'] }, 'header', /needs the name of the signature header/],
  ['a prefix together with a named scheme', { scheme: 'slack', secrets: ['k'], prefix: 'v1=' }, 'prefix', /is defined by scheme: slack/],
  [
    'a time that is not signed',
    { scheme: 'hmac', secrets: ['k'], header: 'x', timestamp_header: 't' },
    'timestamp_header',
    /not signed can be forged: include it in signed/,
  ],
  [
    'a time outside the signed text',
    { scheme: 'hmac', secrets: ['k'], header: 'x', timestamp_header: 't', signed: '{body}' },
    'signed',
    /is not signed and could be forged/,
  ],
  [
    'a time without a source',
    { scheme: 'hmac', secrets: ['k'], header: 'x', signed: '{timestamp}{body}' },
    'signed',
    /needs timestamp_header/,
  ],
  ['no body', { scheme: 'hmac', secrets: ['k'], header: 'x', signed: 'body' }, 'signed', /\{body\} exactly once/],
  ['unknown braces', { scheme: 'hmac', secrets: ['k'], header: 'x', signed: '{body}{a b}' }, 'signed', /is not a header/],
])('validate: %s', (_, options, key, message) => {
  const problems = validateAuth(auth(options))
  expect(problems).toMatchObject([{ message: expect.stringMatching(message) as string }])
  expect(String(problems[0].path.at(-1))).toBe(key)
})
