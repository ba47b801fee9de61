import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { HttpSinkConfig } from '../../../src/generated/config-types.ts'
import http from '../../../src/connectors/http/sink.ts'
import { BatchError, ConnectionError, DataError, EnvironmentError, Message, type Sink } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { hook } from './make.ts'

interface Got {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}
type Reply = { readonly status?: number; readonly body?: string; readonly headers?: Record<string, string> } | 'hang' | 'cut'

const servers: Server[] = []
afterEach(async () => {
  for (const s of servers.splice(0)) {
    s.closeAllConnections()
    await new Promise(resolve => s.close(resolve))
  }
})

async function service(
  reply: (got: Got, n: number) => Reply = () => ({}),
  port = 0,
): Promise<{ url: string; got: Got[]; sockets: Set<unknown> }> {
  const got: Got[] = []
  const sockets = new Set<unknown>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    sockets.add(request.socket)
    request.on('data', (c: Buffer) => chunks.push(c))
    request.on('end', () => {
      const one = { method: request.method!, url: request.url!, headers: request.headers, body: Buffer.concat(chunks).toString() }
      const r = reply(one, got.length)
      got.push(one)
      if (r === 'cut') request.socket.destroy()
      else if (r !== 'hang') response.writeHead(r.status ?? 200, r.headers).end(r.body)
    })
  })
  servers.push(server)
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, got, sockets }
}

const configOf = (config: Partial<HttpSinkConfig> & { url: string }): HttpSinkConfig => ({
  method: 'POST',
  batch: 'one',
  max_batch: 500,
  max_batch_bytes: 1024 * 1024,
  concurrency: 1,
  headers: {},
  bearer: '',
  username: '',
  password: '',
  idempotency_header: 'idempotency-key',
  timeout: 30_000,
  tls_ca: '',
  tls_cert: '',
  tls_key: '',
  tls_key_password: '',
  tls_insecure_skip_verify: false,
  ...config,
})
const sinkTo = (config: Partial<HttpSinkConfig> & { url: string }): Sink => http.create(configOf(config), fakeContext('http'))
const origin = { lane: 'in/0', source: 'in', format: 'json' } as const
const record = (json: string, offset: number): Message => Message.fromRecord(Buffer.from(json), null, 1, undefined, offset, origin)
const hashOf = (body: string): string => createHash('sha256').update(body).digest('base64url').slice(0, 16)
async function failed(write: Promise<void>): Promise<[number, string][]> {
  const error = await write.then(
    () => undefined,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(BatchError)
  return [...(error as BatchError).failed].map(([i, e]) => {
    expect(e).toBeInstanceOf(DataError)
    return [i, e.message]
  })
}

for (const batch of ['one', 'array', 'ndjson'] as const) {
  sinkConformance<HttpSinkConfig>(`http, ${batch}`, {
    plugin: http,
    async prepare() {
      const { url, got } = await service()
      const texts = ({ body }: Got): string[] => {
        if (batch === 'one') return [body]
        if (batch === 'ndjson') return body.trimEnd().split('\n')
        // The elements unchanged: the bytes of the conformance suite contain no `},{`.
        return body.slice(1, -1).replaceAll('},{', '}\0{').split('\0')
      }
      return { config: configOf({ url, batch }), read: async () => got.flatMap(texts) }
    },
  })
}

describe('requests', () => {
  test('are sent one by one, with bytes, headers, credentials and key, over persistent connections', async () => {
    const s = await service()
    const sink = sinkTo({ url: `${s.url}/hook?x=1`, method: 'PUT', username: 'me', password: 'pä', headers: { 'X-Tenant': 'acme' } })
    await sink.write([record('{"p": 1.10}', 7), record('{"p":2}', 8), record('{"p":3}', 8), new Message({ p: 4 })], writeContext('a b/0'))
    expect(s.got.map(g => [g.method, g.url, g.body, g.headers['idempotency-key']])).toEqual([
      ['PUT', '/hook?x=1', '{"p": 1.10}', `test/http/a%20b%2F0/7:${hashOf('{"p": 1.10}')}`],
      ['PUT', '/hook?x=1', '{"p":2}', `test/http/a%20b%2F0/8:${hashOf('{"p":2}')}`],
      ['PUT', '/hook?x=1', '{"p":3}', `test/http/a%20b%2F0/8.1:${hashOf('{"p":3}')}`],
      ['PUT', '/hook?x=1', '{"p":4}', undefined],
    ])
    expect(s.got[0].headers).toMatchObject({
      'x-tenant': 'acme',
      'content-type': 'application/json',
      authorization: `Basic ${Buffer.from('me:pä').toString('base64')}`,
    })
    expect(s.sockets.size).toBeLessThanOrEqual(2)
  })

  test('encode fields in the path; values that could change the path are rejected', async () => {
    const s = await service()
    const sink = sinkTo({ url: `${s.url}/a/{id}/b/{x.y}`, bearer: 't' })
    const rows = [
      '{"id":"k/../?#é","x":{"y":7}}',
      '{"id":"..","x":{"y":7}}',
      '{"x":{"y":7}}',
      '{"id":"","x":{"y":1}}',
      '{"id":{},"x":{"y":1}}',
      '{"id":"\\ud800","x":{"y":1}}',
      '{"id":9007199254740993,"x":{"y":1.10}}',
    ]
    const refused = await failed(sink.write(rows.map(record), writeContext()))
    expect(refused.map(([i]) => i)).toEqual([1, 2, 3, 4, 5])
    for (const [, error] of refused) expect(error).toMatch(/is part of the URL and must be text or a number, not|not valid Unicode/)
    expect(s.got.map(g => g.url).toSorted()).toEqual(['/a/9007199254740993/b/1.10', '/a/k%2F..%2F%3F%23%C3%A9/b/7'])
    expect(s.got[0].headers.authorization).toBe('Bearer t')
  })

  test('are split into arrays and lines by count, by size and by URL', async () => {
    const s = await service()
    const sink = sinkTo({ url: `${s.url}/{c}`, batch: 'array', max_batch: 2, max_batch_bytes: 40 })
    await sink.write(
      ['a', 'b', 'a', 'a', 'b'].map((c, i) => record(`{"c":"${c}","n":${i}}`, i)),
      writeContext(),
    )
    expect(s.got.map(g => [g.url, g.body, String(g.headers['idempotency-key']).replace(/:.{16}$/, '')])).toEqual([
      ['/a', '[{"c":"a","n":0},{"c":"a","n":2}]', 'test/http/in%2F0/0..in%2F0/2'],
      ['/b', '[{"c":"b","n":1},{"c":"b","n":4}]', 'test/http/in%2F0/1..in%2F0/4'],
      ['/a', '[{"c":"a","n":3}]', 'test/http/in%2F0/3'],
    ])
    const lines = sinkTo({ url: s.url, batch: 'ndjson' })
    await lines.write([record('{\n "a":1\r\n}', 0), new Message('text')], writeContext())
    expect(s.got.at(-1)!.body).toBe('{  "a":1  }\n"text"\n')
    const text = Message.fromRecord(Buffer.from('a"b'), null, 1, undefined, 0, { ...origin, format: 'text' })
    const bytes = Message.fromRecord(Buffer.from('x'), null, 1, undefined, 0, { ...origin, format: 'bytes' })
    expect(await failed(lines.write([text, bytes, new Message(null)], writeContext()))).toEqual([
      [1, 'bytes cannot be sent as JSON'],
      [2, 'a tombstone has no body to send'],
    ])
    expect(s.got.at(-1)!.body).toBe('"a\\"b"\n')
  })
})

describe('idempotency keys', () => {
  const keyOf = async (change: {
    pipeline?: string
    step?: string
    lane?: string
    generation?: string
    part?: string
    body?: string
    offset?: number
  }) => {
    const { pipeline = 'p', step = 's', lane = 'l', generation = 'g', part, body = '{}', offset = 1 } = change
    const s = await service()
    const sink = http.create(configOf({ url: s.url }), { ...fakeContext(step), pipeline })
    const message = Message.fromRecord(Buffer.from(body), null, 1, undefined, offset, { ...origin, generation })
    message.part = part
    await sink.write([message], writeContext(lane))
    return String(s.got[0].headers['idempotency-key'])
  }

  test('include pipeline, step, lane, generation, position, part and body: a difference in any of them changes the key', async () => {
    const changes = [
      {},
      { pipeline: 'q' },
      { step: 't' },
      { lane: 'm' },
      { generation: 'h' },
      { part: 'rows[1]' },
      { body: '[]' },
      { offset: 2 },
    ]
    const keys = await Promise.all(changes.map(keyOf))
    expect(new Set(keys).size).toBe(changes.length)
    expect(await Promise.all(changes.map(keyOf))).toEqual(keys)
  })

  test('keep their parts distinct, and no key is too long for a header', async () => {
    expect(await keyOf({ pipeline: 'a/b', step: 'c' })).not.toBe(await keyOf({ pipeline: 'a', step: 'b/c' }))
    for (const lane of ['é\n"☃', 'x'.repeat(5000)]) {
      const key = await keyOf({ lane })
      expect(key).toMatch(/^[!-~]{20,255}$/)
      expect(key).not.toBe(await keyOf({ lane: `${lane}2` }))
    }
  })

  test('an http source with idempotency_key accepts both contents of a file that is rewritten under one name', async () => {
    const h = await hook({ config: { idempotency_key: { header: 'idempotency-key', required: true, ttl: 60_000, max: 100 } } })
    for (const day of [1, 2]) await sinkTo({ url: h.url }).write([record(`{"day":${day}}`, 1)], writeContext())
    await sinkTo({ url: h.url }).write([record('{"day":2}', 1)], writeContext())
    expect(h.rows.map(r => r.value)).toEqual(['{"day":1}', '{"day":2}'])
    await h.close()
  })
})

describe('responses', () => {
  test.each([400, 409, 410, 413, 422])('%i rejects only that message, with the response of the service', async status => {
    const s = await service(({ body }) => (body === '2' ? { status, body: 'no twos '.repeat(100) } : {}))
    const refused = await failed(sinkTo({ url: s.url }).write(['1', '2', '3'].map(record), writeContext()))
    expect(refused).toEqual([[1, expect.stringMatching(new RegExp(`^127.0.0.1:\\d+ answered ${status}: no twos`))]])
    expect(refused[0][1].length).toBeLessThan(400)
    expect(s.got.map(g => g.body)).toEqual(['1', '2', '3'])
  })

  test.each<[Reply]>([[{ status: 408 }], [{ status: 429 }], [{ status: 500 }], [{ status: 503 }], ['cut'], ['hang']])(
    '%j is tried again, and what is through is not sent twice',
    async reply => {
      const s = await service((_, n) => (n === 1 ? reply : {}))
      const sink = sinkTo({ url: s.url, timeout: reply === 'hang' ? 1000 : 30_000 })
      const messages = ['1', '2', '3'].map(record)
      await expect(sink.write(messages, writeContext())).rejects.toBeInstanceOf(ConnectionError)
      await sink.write(messages, writeContext())
      expect(s.got.map(g => g.body)).toEqual(['1', '2', '2', '3'])
      expect(s.got[1].headers['idempotency-key']).toBe(s.got[2].headers['idempotency-key'])
      expect(sink.healthy!()).toBe(true)
    },
  )

  test('an address without a listener is an error', async () => {
    const [port] = await freePorts(1)
    const sink = sinkTo({ url: `http://127.0.0.1:${port}` })
    await expect(sink.write([record('1', 1)], writeContext())).rejects.toThrow(
      `127.0.0.1:${port}: nothing listens on 127.0.0.1:${port} (ECONNREFUSED)`,
    )
    expect(sink.healthy!()).not.toBe(true)
    await service(undefined, port)
    await sink.write([record('1', 1)], writeContext())
    expect(sink.healthy!()).toBe(true)
  })

  test('Retry-After is respected, unless the pipeline ends', async () => {
    const s = await service((_, n) => (n === 0 ? { status: 429, headers: { 'retry-after': '60' } } : {}))
    const ctx = fakeContext('http')
    const sink = http.create(configOf({ url: s.url }), ctx)
    await expect(sink.write([record('1', 1)], writeContext())).rejects.toBeInstanceOf(ConnectionError)
    const abort = new AbortController()
    const waiting = sink.write([record('1', 1)], { ...writeContext(), signal: abort.signal })
    await new Promise(resolve => setTimeout(resolve, 100))
    expect(s.got, 'it asked again at once').toHaveLength(1)
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    while (ctx.clock.step(ctx.clock.now() + 60_000));
    await sink.write([record('1', 1)], writeContext())
    expect(s.got).toHaveLength(2)
  })

  test.each([401, 403, 404, 405, 406, 411, 414, 415, 426, 501])(
    '%i stops the pipeline, because it concerns every message',
    async status => {
      const s = await service(() => ({ status }))
      const stopped = sinkTo({ url: `${s.url}/typo?x=secret` }).write(['1', '2'].map(record), writeContext())
      await expect(stopped).rejects.toBeInstanceOf(EnvironmentError)
      await expect(stopped).rejects.toThrow(new RegExp(`answered ${status}[^]*Check [^]*add ${status} to reject`))
      await expect(stopped).rejects.not.toThrow('secret')
      expect(s.got).toHaveLength(1)
    },
  )

  test.each([404, 414, 431])('%i rejects the record if the url contains a field of the record', async status => {
    const s = await service(({ url }) => (url === '/a/2' ? { status } : {}))
    const rows = ['{"id":1}', '{"id":2}', '{"id":3}']
    expect((await failed(sinkTo({ url: `${s.url}/a/{id}` }).write(rows.map(record), writeContext()))).map(([i]) => i)).toEqual([1])
    const strict = sinkTo({ url: `${s.url}/a/{id}`, reject: [410] })
    await expect(strict.write(rows.map(record), writeContext())).rejects.toBeInstanceOf(EnvironmentError)
  })

  test.each([404, 429, 500])('reject: [%i] makes that status reject the record', async status => {
    const s = await service(({ body }) => (body === '2' ? { status } : {}))
    const refused = await failed(sinkTo({ url: s.url, reject: [status] }).write(['1', '2', '3'].map(record), writeContext()))
    expect(refused.map(([i]) => i)).toEqual([1])
    const others = await service(() => ({ status: 422 }))
    await expect(sinkTo({ url: others.url, reject: [status] }).write([record('1', 1)], writeContext())).rejects.toBeInstanceOf(
      EnvironmentError,
    )
  })

  test('a redirect is not followed, because the request must not reach another host', async () => {
    const other = await service()
    const s = await service(() => ({ status: 307, headers: { location: other.url } }))
    await expect(sinkTo({ url: s.url, bearer: 't' }).write([record('1', 1)], writeContext())).rejects.toThrow(
      /redirects \(30\d\) to .*set url/,
    )
    expect(other.got).toEqual([])
  })

  test('only the rows that the service names are rejected', async () => {
    const body = JSON.stringify({ accepted: 2, rejected: [{ index: 1, step: 'x', code: 'data', message: 'not this' }] })
    const s = await service(() => ({ status: 422, body }))
    const refused = await failed(sinkTo({ url: s.url, batch: 'array' }).write(['1', '2', '3'].map(record), writeContext()))
    expect(refused).toEqual([[1, expect.stringMatching(/not this$/)]])
    expect(s.got).toHaveLength(1)
  })

  test.each(['', '{}', '{"accepted":1,"rejected":[{"index":9}]}', '{"accepted":0,"rejected":[]}', 'null'])(
    'a 422 that does not name them (%s): halves find the bad one',
    async body => {
      const s = await service(g => (g.body.includes('66') ? { status: 422, body } : {}))
      const messages = Array.from({ length: 100 }, (_, i) => record(String(i), i))
      expect((await failed(sinkTo({ url: s.url, batch: 'array' }).write(messages, writeContext()))).map(([i]) => i)).toEqual([66])
      expect(s.got.length).toBeLessThan(20)
      const taken = s.got.filter(g => !g.body.includes('66')).flatMap(g => JSON.parse(g.body) as number[])
      expect(taken).toEqual(Array.from({ length: 100 }, (_, i) => i).filter(i => i !== 66))
    },
  )

  test('an http source as the service: rows that it rejects are dead-lettered here', async () => {
    const h = await hook({ config: { key: 'id' } })
    const rows = ['{"id":"a"}', '{"no":1}', '{"id":"b"}']
    const refused = await failed(sinkTo({ url: h.url, batch: 'array' }).write(rows.map(record), writeContext()))
    expect(refused).toEqual([[1, expect.stringMatching(/id is the key: it must be/)]])
    expect(h.rows.map(r => r.value)).toEqual(['{"id":"a"}', '{"id":"b"}'])
    await h.close()
  })

  test('several requests run in parallel', async () => {
    const s = await service()
    await sinkTo({ url: s.url, concurrency: 8 }).write(
      Array.from({ length: 50 }, (_, i) => record(String(i), i)),
      writeContext(),
    )
    expect(s.got.map(g => Number(g.body)).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i))
    expect(s.sockets.size).toBeGreaterThan(1)
  })
})
