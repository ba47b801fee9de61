/** The proxy of the environment: used if Node.js is set to use it, and `runner check` prints which. */
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, test, vi } from 'vitest'
import { checkHost } from '../../../src/connectors/http/sink/check.ts'
import type { CheckContext } from '../../../src/contract/plugin.ts'
import type { HttpSinkConfig } from '../../../src/generated/config-types.ts'
import { runRunner, tempDir } from '../../support/runner.ts'

test('a request goes through HTTP_PROXY with NODE_USE_ENV_PROXY=1', async () => {
  const bodies: string[] = []
  const service = createServer((request, response) => {
    let body = ''
    request.on('data', chunk => (body += String(chunk)))
    request.on('end', () => {
      bodies.push(body)
      response.end()
    })
  })
  const tunnels: string[] = []
  const proxy = createServer().on('connect', (request, socket) => {
    tunnels.push(request.url!)
    const upstream = connect((service.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      upstream.pipe(socket).pipe(upstream)
    })
    for (const end of [socket, upstream]) end.on('error', () => {})
  })
  for (const server of [service, proxy]) await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const cwd = tempDir({
    'p.yaml':
      'name: proxied\nsources: [{ stdin: {} }]\nsinks: [{ http: { url: "http://service.invalid/x" } }]\ndlq: { file: dead.jsonl }\nmetrics: { port: 0 }\n',
  })
  const env = { NODE_USE_ENV_PROXY: '1', HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` }
  const { code, stderr } = await runRunner(['run', 'p.yaml'], { cwd, env, stdin: '{"n":1}\n' })
  proxy.closeAllConnections()
  for (const server of [service, proxy]) server.close()
  expect(stderr).not.toContain('ENOTFOUND')
  expect({ code, bodies, tunnels }).toEqual({ code: 0, bodies: ['{"n":1}'], tunnels: ['service.invalid:80'] })
})

test('runner check: a proxy in use is not bypassed, and an unused one is named', async () => {
  const check = async () =>
    (await checkHost({ url: 'http://127.0.0.1:1/x' } as HttpSinkConfig, { signal: AbortSignal.timeout(5000) } as CheckContext))[0]
  vi.stubEnv('http_proxy', '')
  vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:2')
  try {
    vi.stubEnv('NODE_USE_ENV_PROXY', '')
    expect(await check()).toMatchObject({
      ok: false,
      fix: expect.stringContaining('HTTP_PROXY is set but not used: to use it, set NODE_USE_ENV_PROXY=1'),
    })
    vi.stubEnv('NODE_USE_ENV_PROXY', '1')
    expect(await check()).toMatchObject({ ok: true, detail: 'not checked: requests go through HTTP_PROXY' })
  } finally {
    vi.unstubAllEnvs()
  }
})
