/** TLS settings of the sink, on servers with a private CA that require client certificates. */
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import http from '../../../src/connectors/http/sink.ts'
import { encryptKey, makeCa, makeCertificate } from '../../support/certificates.ts'
import { runRunner, tempDir } from '../../support/runner.ts'

const dir = tempDir()
const file = (name: string): string => join(dir, name)
/** The received body, and the name in the client certificate. */
const got: [body: string, client: string | undefined][] = []
let server: Server
let url: string
/** Of the next answers; then 200. */
const answers: { status: number; headers?: Record<string, string>; body?: string }[] = []

beforeAll(async () => {
  makeCa(dir)
  makeCertificate(dir, 'server', 'subjectAltName=IP:127.0.0.1')
  makeCertificate(dir, 'client', 'subjectAltName=DNS:client')
  encryptKey(dir, 'client', 'secret-of-key')
  const pem = (name: string): Buffer => readFileSync(file(name))
  const options = { cert: pem('server.pem'), key: pem('server.key'), ca: pem('ca.pem'), requestCert: true, rejectUnauthorized: false }
  server = createServer(options, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    request.on('end', () => {
      got.push([body, (request.socket as TLSSocket).getPeerCertificate().subject?.CN as string | undefined])
      const answer = answers.shift()
      response.writeHead(answer?.status ?? 200, answer?.headers).end(answer?.body)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/x`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

async function run(settings: string, stdin = '{"n":1}\n'): Promise<{ code: number | null; stderr: string }> {
  got.length = 0
  const cwd = tempDir({
    'p.yaml': `name: p
sources: [{ stdin: {} }]
sinks: [{ http: { url: "${url}", ${settings} } }]
dlq: { file: dead.jsonl }
retry: { initial_delay: 1ms }
`,
  })
  return await runRunner(['run', 'p.yaml'], { cwd, stdin })
}

describe('http sink', () => {
  test('a private CA and a client certificate with an encrypted key work; so do a 503, a 204 and a dead letter', async () => {
    answers.push({ status: 503 }, { status: 204 }, { status: 400, body: 'no' })
    const settings = `tls_ca: ${file('ca.pem')}, tls_cert: ${file('client.pem')}, tls_key: ${file('client.encrypted.key')}, tls_key_password: secret-of-key, concurrency: 1`
    const { code, stderr } = await run(settings, '{"n":1}\n{"n":2}\n')
    expect({ code, got }).toEqual({
      code: 0,
      got: [
        ['{"n":1}', 'client'],
        ['{"n":1}', 'client'],
        ['{"n":2}', 'client'],
      ],
    })
    expect(stderr).toContain('"dead":1')
  })

  test('without the CA: exit code 3, with the setting to change; tls_insecure_skip_verify connects', async () => {
    const { code, stderr } = await run('method: POST')
    expect({ code, got }).toEqual({ code: 3, got: [] })
    expect(stderr).toContain('set tls_ca to a PEM file with the certificate of that CA')
    expect(await run('tls_insecure_skip_verify: true')).toMatchObject({ code: 0 })
    expect(got).toEqual([['{"n":1}', undefined]])
  })

  test('a missing file stops the start', async () => {
    const { code, stderr } = await run('tls_ca: /missing.pem')
    expect({ code, got }).toEqual({ code: 3, got: [] })
    expect(stderr).toContain('cannot read tls_ca')
  })

  test.each([
    [{ url: 'http://x/', tls_ca: 'ca.pem' }, ['url']],
    [{ url: 'https://x/', tls_cert: 'c.pem' }, ['tls_key']],
    [{ url: 'https://x/', tls_cert: 'c.pem', tls_key: 'c.key' }, []],
  ])('validate: %j', (config, paths) => {
    const whole = {
      bearer: '',
      username: '',
      password: '',
      headers: {},
      tls_ca: '',
      tls_cert: '',
      tls_key: '',
      tls_key_password: '',
      ...config,
    }
    expect(http.validateConfig!(whole as never).map(p => p.path.join('.'))).toEqual(paths)
  })
})
