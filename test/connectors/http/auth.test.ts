import { describe, expect, test } from 'vitest'
import { type AuthOptions, validateAuth, createAuth, isOpen } from '../../../src/connectors/http/source/auth.ts'
import { AuthFailure } from '../../../src/connectors/http/source/signature.ts'

const none: AuthOptions = { bearer: [], webhook: [], hmac: [], hmac_header: 'X-Hub-Signature-256', tolerance: 300_000, replays: 'answer' }
const run = (options: Partial<AuthOptions>, headers: Record<string, string>, body: string, now = 0): string | undefined => {
  const auth = createAuth({ ...none, ...options })
  const result = auth.before(headers) ?? auth.after(headers, Buffer.from(body), now)
  return result instanceof AuthFailure ? result.message : undefined
}

describe('HMAC of the body', () => {
  // RFC 4231, test cases 1 and 2; the last is GitHub's documented example.
  test.each([
    ['\x0b'.repeat(20), 'Hi There', 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
    ['Jefe', 'what do ya want for nothing?', '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'],
    ["It's a Secret to Everybody", 'Hello, World!', '757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'],
  ])('known answers %#', (secret, body, hex) => {
    const options = { hmac: ['another', secret] }
    expect(run(options, { 'x-hub-signature-256': `sha256=${hex}` }, body)).toBeUndefined()
    expect(run(options, { 'x-hub-signature-256': `sha256=${hex.toUpperCase()}` }, body)).toBeUndefined()
    expect(run(options, { 'x-hub-signature-256': `sha256=${hex}` }, `${body} `)).toBe(
      'the signature does not match; check the secret, and that the body is signed unchanged',
    )
    // As other senders write the same: without a prefix, base64.
    expect(run(options, { 'x-hub-signature-256': hex }, body)).toBeUndefined()
    expect(run(options, { 'x-hub-signature-256': `sha256= ${hex}` }, body)).toBeUndefined()
    expect(run(options, { 'x-hub-signature-256': Buffer.from(hex, 'hex').toString('base64') }, body)).toBeUndefined()
    expect(run(options, { 'x-hub-signature-256': `sha1=${hex}` }, body)).toMatch(
      /must contain a signature of the form sha256=HEX or BASE64/,
    )
    expect(run(options, {}, body)).toBe('header x-hub-signature-256 is missing')
    expect(run({ hmac: ['another'] }, { 'x-hub-signature-256': `sha256=${hex}` }, body)).toBe(
      'the signature does not match; check the secret, and that the body is signed unchanged',
    )
  })
})

describe('Standard Webhooks', () => {
  // The example that the reference libraries test themselves with.
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const now = 1_614_265_330_000
  const body = '{"test": 2432232314}'
  const headers = {
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  }

  test('a valid signature is accepted, also among others and during secret rotation', () => {
    expect(run({ webhook: [secret] }, headers, body, now)).toBeUndefined()
    const several = { ...headers, 'webhook-signature': `v1a,xyz v1,AAAA ${headers['webhook-signature']}` }
    expect(run({ webhook: ['whsec_bmV3IHNlY3JldCBvZiAyNCBieXRlcw==', secret, ''] }, several, body, now)).toBeUndefined()
  })

  test.each<[string, Partial<typeof headers>, string]>([
    ['another id', { 'webhook-id': 'msg_other' }, 'the signature does not match; check the secret, and that the body is signed unchanged'],
    [
      'another time',
      { 'webhook-timestamp': '1614265331' },
      'the signature does not match; check the secret, and that the body is signed unchanged',
    ],
    [
      'another version',
      { 'webhook-signature': headers['webhook-signature'].replace('v1', 'v2') },
      'header webhook-signature must contain a signature of the form v1,BASE64 of 32 bytes',
    ],
    ['no time', { 'webhook-timestamp': '' }, 'header webhook-timestamp is missing'],
    ['no number', { 'webhook-timestamp': '16142e5' }, 'webhook-timestamp must be whole seconds since 1970 (Unix time)'],
  ])('%s is rejected', (_, over, message) => {
    expect(run({ webhook: [secret] }, { ...headers, ...over }, body, now)).toBe(message)
  })

  test('a replayed old request is rejected, and one from the future', () => {
    for (const off of [300_001, -300_001])
      expect(run({ webhook: [secret] }, headers, body, now + off)).toMatch(
        off > 0 ? /more than 300 s old/ : /more than 300 s in the future/,
      )
    for (const off of [300_000, -300_000]) expect(run({ webhook: [secret] }, headers, body, now + off)).toBeUndefined()
  })
})

test('bearer tokens', () => {
  const options = { bearer: ['', 'old', 'new'] }
  for (const token of ['old', 'new']) expect(run(options, { authorization: `bearer ${token}` }, '')).toBeUndefined()
  for (const token of ['ol', 'oldd', 'undefined'])
    expect(run(options, { authorization: `Bearer ${token}` }, '')).toBe('the bearer token is wrong')
  for (const authorization of ['', 'Bearer', 'Bearer ', 'Basic old'])
    expect(run(options, { authorization }, '')).toBe('send a bearer token')
})

test('an empty secret counts as not set; two methods at once are an error', () => {
  expect(isOpen({ ...none, bearer: [''], webhook: [''] })).toBe(true)
  expect(isOpen({ ...none, hmac: ['x'] })).toBe(false)
  expect(validateAuth({ ...none, bearer: ['x'], hmac: ['y'] })[0].message).toMatch(/set only one authentication method/)
  expect(validateAuth({ ...none, webhook: ['whsec_c2hvcnQ='] })[0].message).toMatch(/at least 16 bytes/)
})
