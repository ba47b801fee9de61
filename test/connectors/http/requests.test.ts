/** The pause that a service requests. */
import { expect, test } from 'vitest'
import { Requests } from '../../../src/connectors/http/requests.ts'
import { VirtualClock } from '../../../src/kit/clock.ts'

const paused = (...headers: (string | null)[]) => {
  const clock = new VirtualClock(Date.UTC(2026, 0, 1))
  const config = { headers: {}, bearer: '', username: '', password: '', timeout: 1000, concurrency: 1 }
  const tls = { tls_ca: '', tls_cert: '', tls_key: '', tls_key_password: '', tls_insecure_skip_verify: false }
  const requests = new Requests({ ...config, ...tls }, 'http://127.0.0.1:1', {}, { clock }, () => {})
  for (const after of headers) expect(() => requests.later({ after, problem: 'busy' })).toThrow('busy')
  return { requests, clock }
}

test.each<[(string | null)[], number]>([
  [[null], 0],
  [['7'], 7000],
  [['Thu, 01 Jan 2026 00:00:07 GMT'], 7000],
  [['Wed, 31 Dec 2025 00:00:00 GMT'], 0],
  [['soon'], 0],
  [['-1'], 0],
  [['86400'], 300_000],
  [['9'.repeat(400)], 300_000],
  [['Fri, 01 Jan 2100 00:00:00 GMT'], 300_000],
  // Concurrent requests.
  [['7', null], 7000],
  [['7', '2'], 7000],
  [['2', '7'], 7000],
])('Retry-After %j', (headers, ms) => {
  expect(paused(...headers).requests.pause).toBe(ms)
})

test.each(['86400', 'Fri, 01 Jan 2100 00:00:00 GMT'])('the service is tried again after 5 minutes: %s', after => {
  const { requests, clock } = paused(after)
  clock.step(clock.now() + 300_000)
  expect(requests.pause).toBe(0)
})
