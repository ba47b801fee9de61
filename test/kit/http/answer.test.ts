/** Every client of HTTP stops reading an answer that does not end. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { Client } from '../../../src/connectors/http/sink/client.ts'
import { sheetsClient } from '../../../src/connectors/google_sheets/client.ts'
import { saslOptions } from '../../../src/connectors/kafka/client/sasl.ts'
import type { ConnectionConfig } from '../../../src/connectors/kafka/connect.ts'
import status from '../../../src/connectors/runner_status/source.ts'
import { httpGet } from '../../../src/connectors/websocket/http-get.ts'
import { Message } from '../../../src/contract/plugin.ts'
import type { HttpSinkConfig, RunnerStatusSourceConfig } from '../../../src/generated/config-types.ts'
import { readJson, readUpTo } from '../../../src/kit/http/answer.ts'
import { useLimits } from '../../../src/kit/limits.ts'
import { fakeContext, fakeSourceContext } from '../../../src/testing/conformance/context.ts'

const MiB = 1024 * 1024
const CHUNK = Buffer.alloc(64 * 1024, ' ')

let sent = 0
let closed: Promise<void>
/** Answers without an end, as fast as the client reads. `/html` and `/json` answer that. */
const server = createServer((request, response) => {
  if (request.url === '/html') return void response.end('<html>')
  if (request.url === '/json') return void response.end('{"a":1}')
  closed = new Promise(resolve => response.once('close', resolve))
  response.writeHead(200, { 'content-type': 'application/json' })
  const more = (): void => {
    while (!response.destroyed) {
      sent += CHUNK.length
      if (!response.write(CHUNK)) return void response.once('drain', more)
    }
  }
  more()
})
let url = ''

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  sent = 0
})

/** The answer was not read to the end, and the connection is closed. Buffers of sockets hold some megabytes. */
async function stopped(): Promise<void> {
  await closed
  expect(sent).toBeLessThan(64 * MiB)
}

test('readUpTo: all bytes, or none if there are more', async () => {
  const parts = async function* () {
    yield Buffer.from('ab')
    yield Buffer.from('c')
  }
  expect(String(await readUpTo(parts(), 3))).toBe('abc')
  expect(await readUpTo(parts(), 2)).toBeUndefined()
  expect(String(await readUpTo(null, 2))).toBe('')
})

test('readJson: undefined for an answer that is not JSON', async () => {
  expect(await readJson(await fetch(`${url}/json`))).toEqual({ a: 1 })
  expect(await readJson(await fetch(`${url}/html`))).toBeUndefined()
  await expect(readJson(await fetch(`${url}/json`), 6)).rejects.toThrow(/is larger than 6 bytes/)
})

const authenticate = (path: string): Promise<void> => {
  const { authenticationProvider } = saslOptions({
    sasl_mechanism: 'OAUTHBEARER',
    sasl_username: 'a',
    sasl_password: 'b',
    sasl_oauth_token: '',
    sasl_oauth_token_url: url + path,
    sasl_oauth_scope: '',
  } as ConnectionConfig) as { authenticationProvider(exchange: object): { authenticate(): Promise<void> } }
  return authenticationProvider({ saslAuthenticate: async () => {} }).authenticate()
}

test('the token URL of OAUTHBEARER', async () => {
  await expect(authenticate('/token')).rejects.toMatchObject({
    code: 'PIPE_CONNECTION',
    message: expect.stringContaining('is larger than 1048576 bytes'),
  })
  await stopped()
  await expect(authenticate('/html')).rejects.toMatchObject({
    code: 'PIPE_ENVIRONMENT',
    message: `${url}/html returned no access_token`,
  })
})

test('runner_status', async () => {
  const ask = async (urls: string) => {
    const config = { every: 60_000, urls, timeout: 30_000, rounds: 1 } as unknown as RunnerStatusSourceConfig
    const source = status.create(config, fakeSourceContext('status'))
    await source.open!(AbortSignal.timeout(30_000))
    return (await source.read(AbortSignal.timeout(30_000)))!.messages.map(m => m.value as { status: string; problems: string[] })
  }
  expect(await ask(url)).toMatchObject([{ status: 'unreachable', problems: [expect.stringContaining('is larger than 1048576 bytes')] }])
  await stopped()
})

test('sequence.snapshot of websocket', async () => {
  const signal = AbortSignal.timeout(30_000)
  await expect(httpGet(url, { headers: {}, tls: {}, timeout: 30_000, maxSize: MiB, signal })).rejects.toThrow(
    `the response is larger than ${MiB} bytes`,
  )
  await stopped()
})

test('the http sink: the response counts by its status', async () => {
  const config = { url, method: 'POST', batch: 'one', headers: {}, bearer: '', username: '', password: '' } as unknown as HttpSinkConfig
  const client = new Client({ ...config, idempotency_header: '', timeout: 30_000, concurrency: 1 }, fakeContext('sink'))
  const items = [{ message: new Message({}), body: Buffer.from('{}') }] as never
  expect(await client.send({ url, items } as never, AbortSignal.timeout(30_000))).toEqual({ ok: true, rejected: [] })
  await stopped()
})

test('google_sheets: limits.input', async () => {
  const release = useLimits({ input: MiB })
  try {
    const client = await sheetsClient({ endpoint: `${url}/`, credentials: '', accessToken: 't', requestsPerMinute: 100, timeout: 30_000 })
    await expect(client.column('book', 'tab', 0)).rejects.toMatchObject({
      code: 'PIPE_ENVIRONMENT',
      message: expect.stringContaining('over limit: 1048576 bytes; raise limits.input'),
    })
    await stopped()
  } finally {
    release()
  }
})
