/** Connector × TLS failure → message: real TLS servers with each kind of failure. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates, type TlsOptions, TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkHost } from '../../src/connectors/http/sink/check.ts'
import { Client } from '../../src/connectors/http/sink/client.ts'
import { sheetsClient } from '../../src/connectors/google_sheets/client.ts'
import { connect as connectKafka } from '../../src/connectors/kafka/connect.ts'
import { connect as connectRedis } from '../../src/connectors/redis/connect.ts'
import type { ConnectionConfig as RedisConfig } from '../../src/connectors/redis/url.ts'
import { checkFeed } from '../../src/connectors/websocket/check.ts'
import type { CheckContext, Message } from '../../src/contract/plugin.ts'
import type { HttpSinkConfig, WebsocketSourceConfig } from '../../src/generated/config-types.ts'
import { connect as connectPostgres } from '../../src/kit/postgres/connect.ts'
import { fakeContext } from '../../src/testing/conformance/context.ts'
import { makeCa, makeCertificate } from '../support/certificates.ts'
import { sourceConfig } from './kafka/config.ts'
import { settings } from './postgres/make.ts'

const dir = mkdtempSync(join(tmpdir(), 'tls-failures-'))
const pem = (name: string): Buffer => readFileSync(join(dir, name))
const { log } = fakeContext('x')
const CAS = getCACertificates('default')
const servers: Server[] = []
const ports: Record<string, number> = {}
const sockets = new Set<Socket>()

type Failure = 'CA' | 'name' | 'expired' | 'version' | 'client certificate' | 'client certificate, TLS 1.2' | 'plain text' | 'TLS'

async function listen(name: string, server: Server): Promise<void> {
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  servers.push(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  ports[name] = (server.address() as AddressInfo).port
}

/** PostgreSQL's way into TLS: a request in plain text, answered by S. */
const afterRequest = (options: TlsOptions): Server =>
  createServer(socket =>
    socket.once('data', () => {
      socket.write('S')
      new TLSSocket(socket, { isServer: true, rejectUnauthorized: true, ...options }).on('error', () => {}).resume()
    }),
  )

beforeAll(async () => {
  for (const ca of ['ca', 'other-ca']) makeCa(dir, ca)
  makeCertificate(dir, 'good', 'subjectAltName=IP:127.0.0.1')
  makeCertificate(dir, 'elsewhere', 'subjectAltName=DNS:elsewhere.test')
  makeCertificate(dir, 'expired', 'subjectAltName=IP:127.0.0.1', -1)
  const of = (name: string): TlsOptions => ({ cert: pem(`${name}.pem`), key: pem(`${name}.key`) })
  const kinds: Record<string, TlsOptions> = {
    good: of('good'),
    name: of('elsewhere'),
    expired: of('expired'),
    version: { ...of('good'), minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    'client certificate': { ...of('good'), requestCert: true, ca: pem('ca.pem') },
    'client certificate, TLS 1.2': { ...of('good'), requestCert: true, ca: pem('ca.pem'), maxVersion: 'TLSv1.2' },
  }
  for (const [name, options] of Object.entries(kinds)) {
    await listen(
      name,
      createTlsServer(options, socket => socket.on('error', () => {})).on('tlsClientError', () => {}),
    )
    await listen(`postgres ${name}`, afterRequest(options))
  }
  await listen(
    'plain text',
    createServer(socket => socket.on('data', () => socket.write('-ERR unknown\r\n'))),
  )
  await listen(
    'postgres plain text',
    createServer(socket => socket.once('data', () => socket.end('N'))),
  )
  // The response if pg_hba.conf has no entry for unencrypted connections.
  const fields = ['SFATAL', 'VFATAL', 'C28000', 'Mno pg_hba.conf entry for host "127.0.0.1", user "u", database "d", no encryption', '']
  const body = Buffer.from(fields.map(f => `${f}\0`).join(''))
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeInt32BE(body.length + 4, 1)
  await listen(
    'postgres TLS',
    createServer(socket => socket.once('data', () => socket.end(Buffer.concat([head, body])))),
  )
})

afterAll(() => {
  setDefaultCACertificates(CAS)
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
  rmSync(dir, { recursive: true, force: true })
})

const files = (failure: Failure) => ({
  tls_ca: failure === 'TLS' ? '' : join(dir, failure === 'CA' ? 'other-ca.pem' : 'ca.pem'),
  tls_cert: '',
  tls_key: '',
  tls_key_password: '',
})
const portOf = (failure: Failure, prefix = ''): number => ports[`${prefix}${failure}`] ?? ports[`${prefix}good`]
const context = (): CheckContext => ({ signal: AbortSignal.timeout(10_000) }) as CheckContext

const HTTP = {
  method: 'POST',
  headers: {},
  bearer: '',
  username: '',
  password: '',
  batch: 'one',
  idempotency_header: '',
  timeout: 5000,
  concurrency: 1,
}

/** Connects and returns the message: the error and the setting to change. */
const CONNECTORS: Record<string, (failure: Failure) => Promise<string>> = {
  kafka: failure =>
    said(
      connectKafka(
        sourceConfig({
          topics: ['t'],
          brokers: `127.0.0.1:${portOf(failure)}`,
          security_protocol: failure === 'TLS' ? 'PLAINTEXT' : 'SSL',
          ...files(failure),
        }),
        log,
      ),
    ),
  redis: failure => {
    const url = `${failure === 'TLS' ? 'redis' : 'rediss'}://127.0.0.1:${portOf(failure)}`
    const config: RedisConfig = { url, username: '', password: '', client_name: '', tls_insecure_skip_verify: false, ...files(failure) }
    return said(connectRedis(config))
  },
  postgres: failure => {
    const dsn = `postgres://u:p@127.0.0.1:${portOf(failure, 'postgres ')}/d`
    return said(connectPostgres(settings(dsn, { tls_mode: failure === 'TLS' ? 'disable' : 'verify-full', ...files(failure) }), log))
  },
  websocket: async failure => {
    const url = `${failure === 'TLS' ? 'ws' : 'wss'}://127.0.0.1:${portOf(failure)}`
    const own = { url, headers: {}, connect_timeout: 5000, max_message_size: 1000, symbols: [], tls_insecure_skip_verify: false }
    const [found] = await checkFeed({ ...own, ...files(failure) } as unknown as WebsocketSourceConfig, context())
    return `${found.detail}; ${found.fix}`
  },
  'http, TLS settings': failure => {
    const url = `${failure === 'TLS' ? 'http' : 'https'}://127.0.0.1:${portOf(failure)}/x`
    const client = new Client({ ...HTTP, url, ...files(failure) } as unknown as HttpSinkConfig, fakeContext('x'))
    return said(client.send({ url, items: [item] }, AbortSignal.timeout(10_000)))
  },
  http: failure => {
    // The effect of NODE_EXTRA_CA_CERTS on a process.
    setDefaultCACertificates(failure === 'CA' ? CAS : [...CAS, pem('ca.pem').toString()])
    const url = `${failure === 'TLS' ? 'http' : 'https'}://127.0.0.1:${portOf(failure)}/x`
    const client = new Client({ ...HTTP, url } as unknown as HttpSinkConfig, fakeContext('x'))
    return said(client.send({ url, items: [item] }, AbortSignal.timeout(10_000)))
  },
}

const item = { message: {} as Message, body: Buffer.from('{}'), position: undefined }

async function said(attempt: Promise<unknown>): Promise<string> {
  const error = await attempt.then(
    () => {
      throw new Error('it connected')
    },
    (e: Error) => e,
  )
  return error.message
}

const SAYS: Record<Failure, RegExp> = {
  CA: /certificate is not signed by a trusted CA \([A-Z_]+\); set tls_ca to a PEM file/,
  name: /certificate does not have the host name \(IP: 127\.0\.0\.1 is not .*\); use a name of the certificate in (brokers|url|dsn)/,
  expired: /certificate has expired; renew it on the server/,
  version: /no TLS version in common; enable TLS 1\.2 or 1\.3 on the server/,
  'client certificate': /server (requires a client certificate;|.*; if it requires a client certificate,) set tls_cert and tls_key/,
  'client certificate, TLS 1.2': /rejected the TLS handshake \(alert 40\); if it requires a client certificate, set tls_cert and tls_key/,
  'plain text': /does not speak TLS on this port; .*(security_protocol: PLAINTEXT|redis:\/\/|tls_mode: disable|ws:\/\/|http:\/\/)/,
  TLS: /(if the port expects TLS|the server requires TLS).*(security_protocol: SSL|rediss:\/\/|tls_mode: verify-full|wss:\/\/|https:\/\/)/,
}

test.each(['CA', 'name', 'expired', 'plain text'] as const)('google_sheets: %s', async failure => {
  setDefaultCACertificates(failure === 'CA' ? CAS : [...CAS, pem('ca.pem').toString()])
  const endpoint = `https://127.0.0.1:${portOf(failure)}/`
  const client = await sheetsClient({ endpoint, credentials: '', accessToken: 't', requestsPerMinute: 100, timeout: 5000 })
  const error = await client.column('book', 'tab', 0).catch((e: Error) => e)
  const says = {
    CA: /set the environment variable NODE_EXTRA_CA_CERTS/,
    name: SAYS.name.source.replace('(brokers|url|dsn)', 'endpoint'),
    expired: SAYS.expired,
    'plain text': /does not speak TLS on this port; correct the port in endpoint, or write http:/,
  }
  expect(error).toMatchObject({ code: 'PIPE_ENVIRONMENT', message: expect.stringMatching(says[failure]) })
})

describe.each(Object.keys(CONNECTORS))('%s', connector => {
  test.each(Object.keys(SAYS) as Failure[])('%s', async failure => {
    const message = await CONNECTORS[connector](failure)
    expect(message).toMatch(SAYS[failure])
    // OpenSSL's text, and Node's advice, which is for programs.
    expect(message).not.toMatch(/SSL routines|\.c:\d+|try running Node/)
  })
})

test('http: runner check performs the TLS handshake', async () => {
  const check = (failure: Failure) => checkHost({ url: `https://127.0.0.1:${portOf(failure)}/x` } as HttpSinkConfig, context())
  expect(await check('expired')).toMatchObject([
    { ok: false, detail: "the server's certificate has expired", fix: expect.stringContaining('renew') },
  ])
  setDefaultCACertificates(CAS)
  expect(await check('CA')).toMatchObject([{ ok: false, fix: expect.stringContaining('set tls_ca') }])
  const own = { tls_ca: join(dir, 'ca.pem'), tls_cert: '', tls_key: '' }
  const url = `https://127.0.0.1:${ports.good}/x`
  expect(await checkHost({ url, ...own } as HttpSinkConfig, context())).toMatchObject([{ ok: true }])
  expect(await checkHost({ url, ...own, tls_ca: '/missing.pem' } as HttpSinkConfig, context())).toMatchObject([
    { ok: false, detail: expect.stringContaining('cannot read tls_ca') },
  ])
})

test.each([
  'The plain HTTP request was sent to HTTPS port',
  'Client sent an HTTP request to an HTTPS server.',
  "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
])('http: a 400 with "%s" stops the pipeline and dead-letters no record', async text => {
  const body = `HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: ${text.length}\r\n\r\n${text}`
  await listen(
    text,
    createServer(socket => socket.once('data', () => socket.end(body))),
  )
  const url = `http://127.0.0.1:${ports[text]}/x`
  const client = new Client({ ...HTTP, url } as unknown as HttpSinkConfig, fakeContext('x'))
  await expect(client.send({ url, items: [item] }, AbortSignal.timeout(10_000))).rejects.toMatchObject({
    code: 'PIPE_ENVIRONMENT',
    message: expect.stringContaining('write https:// in url'),
  })
})
