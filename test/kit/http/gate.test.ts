import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import type { Access } from '../../../src/kit/http/gate.ts'
import { rejectionOf } from '../../../src/kit/http/gate.ts'
import { attach, type Attachment } from '../../../src/kit/http/listener.ts'
import { freePorts } from '../../support/servers/ports.ts'

const verdict = (bound: string, access: Access, headers: Record<string, string>, method = 'POST'): string | undefined =>
  rejectionOf(bound, access, { method, headers, rawHeaders: Object.entries(headers).flat() } as never)?.reason

describe('Host', () => {
  const LOOPBACK = ['localhost', 'localhost:8080', '127.0.0.1:1', '127.9.9.9', '[::1]:80', 'LOCALHOST', 'app.localhost:80', 'localhost.']
  const FOREIGN = ['evil.example', 'evil.example:80', '127.0.0.1.nip.io', 'localhost.evil.example', '', 'x@localhost', 'localhost/x', 'a b']
  const NETWORK = ['10.0.0.7:8000', '[fe80::1]:80', 'market-data:8000', 'runner.internal', 'p.ns.svc:80']

  test.each(LOOPBACK)('%s is a name of a loopback address', host => expect(verdict('127.0.0.1', {}, { host })).toBeUndefined())
  test.each([...FOREIGN, ...NETWORK])('%j is not a name of a loopback address', host =>
    expect(verdict('127.0.0.1', {}, { host })).toBe('host'),
  )
  test.each([...LOOPBACK, ...NETWORK])('%s is a name on this network', host => expect(verdict('0.0.0.0', {}, { host })).toBeUndefined())
  test.each(FOREIGN)('%j can be the name of a website', host => expect(verdict('0.0.0.0', {}, { host })).toBe('host'))

  test('hosts adds names; with authentication any name is accepted', () => {
    const host = 'hooks.example.com:8443'
    expect(verdict('127.0.0.1', { hosts: ['hooks.example.com'] }, { host })).toBeUndefined()
    expect(verdict('127.0.0.1', { hosts: ['hooks.example.com:8443'] }, { host })).toBeUndefined()
    expect(verdict('127.0.0.1', { hosts: ['*'] }, { host })).toBeUndefined()
    expect(verdict('127.0.0.1', { hosts: ['example.com'] }, { host })).toBe('host')
    expect(verdict('127.0.0.1', { authenticated: true }, { host })).toBeUndefined()
    expect(verdict('127.0.0.1', { token: 's' }, { host, authorization: 'Bearer s' })).toBeUndefined()
    expect(verdict('127.0.0.1', { token: 's' }, { host, authorization: 'Bearer t' })).toBe('token')
  })
})

test.each([{}, { authenticated: true }, { token: 's' }, { hosts: ['*'] }])('two Host headers are rejected with %j', access => {
  const headers = { host: 'localhost', authorization: 'Bearer s' }
  const rawHeaders = ['Host', 'localhost', 'Authorization', 'Bearer s', 'hOST', 'localhost']
  expect(rejectionOf('127.0.0.1', access, { method: 'POST', headers, rawHeaders } as never)?.status).toBe(400)
  expect(rejectionOf('127.0.0.1', access, { method: 'POST', headers, rawHeaders: rawHeaders.slice(0, 4) } as never)).toBeUndefined()
})

describe('browsers', () => {
  const host = 'localhost:80'
  test.each([
    ['curl', {}, undefined],
    ['a page of this server', { origin: 'http://localhost:80', 'sec-fetch-site': 'same-origin' }, undefined],
    ['a form of another site', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, 'origin'],
    ['a sandboxed page', { origin: 'null', 'sec-fetch-site': 'cross-site' }, 'origin'],
    ['another port of this machine', { origin: 'http://localhost:81', 'sec-fetch-site': 'same-site' }, 'origin'],
    ['a browser that sends no origin', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }, 'origin'],
    ['an older browser', { origin: 'https://evil.example' }, 'origin'],
  ])('a POST of %s', (_, headers, expected) => expect(verdict('127.0.0.1', {}, { host, ...headers })).toBe(expected))

  test.each([
    ['a link', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }, undefined],
    ['a frame', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }, 'origin'],
    ['an image', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }, 'origin'],
  ])('a page of another site with %s', (_, headers, expected) =>
    expect(verdict('127.0.0.1', {}, { host, ...headers }, 'GET')).toBe(expected),
  )

  test('a listed site is accepted', () => {
    const headers = { host, origin: 'https://desk.example', 'sec-fetch-site': 'cross-site' }
    expect(verdict('127.0.0.1', { origins: ['https://desk.example'] }, headers)).toBeUndefined()
    expect(verdict('127.0.0.1', { origins: ['*'] }, headers)).toBeUndefined()
    expect(verdict('127.0.0.1', { origins: ['https://other.example'] }, headers)).toBe('origin')
  })
})

describe('a listener', () => {
  const attached: Attachment[] = []
  afterEach(async () => {
    for (const a of attached.splice(0)) await a.detach()
  })
  const send = (
    port: number,
    method: string,
    path: string,
    headers: Record<string, string>,
  ): Promise<{ status: number; headers: IncomingHttpHeaders }> =>
    new Promise((resolve, reject) => {
      const r = httpRequest({ port, host: '127.0.0.1', method, path, headers }, response => {
        response.resume()
        resolve({ status: response.statusCode!, headers: response.headers })
      })
      r.on('error', reject).end()
    })

  test('rejects requests before their handler, and answers preflights of listed sites only', async () => {
    const [port] = await freePorts(1)
    const seen: string[] = []
    const rejected: string[] = []
    const route = {
      methods: ['POST'],
      path: '/in',
      owner: 'test',
      access: { origins: ['https://desk.example'] },
      rejected: ({ reason }: { reason: string }) => void rejected.push(reason),
      handle: (request: { url?: string }, response: { end(): void }) => {
        seen.push(request.url!)
        response.end()
      },
    }
    attached.push(await attach('127.0.0.1', port, [route as never], { what: 'test', advice: '' }))
    const post = (headers: Record<string, string>): ReturnType<typeof send> => send(port, 'POST', '/in', headers)
    expect((await post({})).status).toBe(200)
    expect((await post({ host: 'evil.example' })).status).toBe(421)
    expect((await post({ origin: 'https://evil.example' })).status).toBe(403)
    const desk = await post({ origin: 'https://desk.example' })
    expect([desk.status, desk.headers['access-control-allow-origin'], desk.headers.vary]).toEqual([200, 'https://desk.example', 'origin'])
    const ask = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' }
    const yes = await send(port, 'OPTIONS', '/in', { ...ask, origin: 'https://desk.example' })
    expect([yes.status, yes.headers['access-control-allow-headers']]).toEqual([204, 'content-type'])
    const no = await send(port, 'OPTIONS', '/in', { ...ask, origin: 'https://evil.example' })
    expect([no.status, no.headers['access-control-allow-origin']]).toEqual([405, undefined])
    expect((await send(port, 'GET', '/paths', { host: 'evil.example' })).status).toBe(421)
    expect([seen.length, rejected]).toEqual([2, ['host', 'origin', 'method']])
  })
})
