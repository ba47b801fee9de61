/** `lookup_http`: requests by key and by lists of keys, failures, limits. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import lookup from '../../../../src/connectors/http/transforms/lookup_http.ts'
import { encodeJson, type Message, parseJson, type Transform } from '../../../../src/contract/plugin.ts'
import type { LookupHttpConfig } from '../../../../src/generated/config-types.ts'
import { systemClock } from '../../../../src/kit/clock.ts'
import { fakeContext } from '../../../../src/testing/conformance/context.ts'
import { messagesOf, runTransform } from '../../../conformance/transform.ts'

const open: { close(): void }[] = []
afterEach(() => {
  for (const server of open.splice(0)) server.close()
})

type Reply = { status?: number; headers?: Record<string, string>; body?: string } | 'hang' | 'cut'

/** A service that answers by path and query. */
async function service(reply: (path: string, n: number) => Reply) {
  const got: string[] = []
  let [now, most] = [0, 0]
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const path = request.url!
    most = Math.max(most, ++now)
    const r = reply(path, got.push(path) - 1)
    setImmediate(() => {
      now--
      if (r === 'cut') request.socket.destroy()
      else if (r !== 'hang')
        response.writeHead(r.status ?? 200, { 'content-type': 'application/json', connection: 'close', ...r.headers }).end(r.body ?? '')
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  open.push({
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, got, most: () => most }
}

const configFor = (config: Partial<LookupHttpConfig> & { url: string }): LookupHttpConfig => ({
  key: 'id',
  as: 'row',
  many: false,
  on_missing: 'fail',
  missing: [404, 410],
  max_batch: 50,
  concurrency: 4,
  timeout: 30_000,
  max_answer: 1024,
  max_bytes: 1024 * 1024,
  ttl: 60_000,
  max_entries: 10_000,
  headers: {},
  bearer: '',
  username: '',
  password: '',
  tls_ca: '',
  tls_cert: '',
  tls_key: '',
  tls_key_password: '',
  tls_insecure_skip_verify: false,
  ...config,
})
const of = (...texts: string[]): Message[] => messagesOf(texts.map(text => ({ value: parseJson(text) })))
const shown = (run: { readonly out: readonly Message[] }): string[] => run.out.map(m => encodeJson((m.value as { row: unknown }).row))
const failures = (run: { readonly failures: readonly { readonly error: Error }[] }): string[] => run.failures.map(f => f.error.message)
const making = (config: LookupHttpConfig): Transform =>
  lookup.create(config, {
    ...fakeContext('lookup'),
    clock: systemClock,
    lane: { id: 'a', source: 'in' },
    state: () => undefined as never,
    shared: (_name, make) => make(),
    watermark: () => {},
  })
async function rows(transform: Transform, ...texts: string[]): Promise<string[]> {
  const found: string[] = []
  await transform.process(of(...texts), {
    emit: m => void found.push(encodeJson((m.value as { row?: unknown }).row)),
    emitTo: () => {},
    fail: (_, error) => void found.push(error.message),
  })
  return found
}

describe('a request per key', () => {
  test('each key once, URL-encoded, with exact numbers; a key cannot lead to another path', async () => {
    const s = await service(path => ({ body: `{"data":{"path":${JSON.stringify(path)},"n":1.10}}` }))
    const run = await runTransform(lookup, configFor({ url: `${s.url}/c/{key}?x=1`, field: 'data' }), [
      of('{"id":"a/../b?c#d"}', '{"id":9007199254740993}', '{"id":1.10}', '{"id":".."}', '{"id":""}', '{"id":[]}', '{"id":1.10}'),
    ])
    expect(s.got.toSorted()).toEqual(['/c/1.10?x=1', '/c/9007199254740993?x=1', '/c/a%2F..%2Fb%3Fc%23d?x=1'])
    expect(shown(run)).toEqual([
      '{"path":"/c/a%2F..%2Fb%3Fc%23d?x=1","n":1.10}',
      '{"path":"/c/9007199254740993?x=1","n":1.10}',
      '{"path":"/c/1.10?x=1","n":1.10}',
      '{"path":"/c/1.10?x=1","n":1.10}',
    ])
    expect(failures(run)).toHaveLength(3)
  })

  test.each([
    [404, '', ['null'], []],
    [204, '', ['null'], []],
    [200, 'null', ['null'], []],
    [200, '', ['null'], []],
    [422, '{"why":"bad"}', [], [/answered 422: \{"why":"bad"\}/]],
    [414, '', [], [/answered 414/]],
    [431, '', [], [/answered 431/]],
    [200, '{', [], [/is not JSON/]],
    [200, `"${'x'.repeat(2000)}"`, [], [/larger than 1024 bytes \(max_answer\)/]],
  ])('%i %j concerns the key', async (status, body, out, failed) => {
    const s = await service(path => (path.endsWith('ok') ? { body: '1' } : { status, body }))
    const run = await runTransform(lookup, configFor({ url: `${s.url}/{key}`, on_missing: 'null' }), [of('{"id":"k"}', '{"id":"ok"}')])
    expect(shown(run)).toEqual([...out, '1'])
    expect(failures(run)).toEqual(failed.map(f => expect.stringMatching(f)))
  })

  test.each([
    [{ status: 503 }, 'PIPE_CONNECTION', /answered 503/],
    [{ status: 429 }, 'PIPE_CONNECTION', /answered 429/],
    ['cut', 'PIPE_CONNECTION', /127\.0\.0\.1/],
    [{ headers: { 'content-type': 'text/html' }, body: '<html>' }, 'PIPE_CONNECTION', /web page/],
    [{ status: 401 }, 'PIPE_ENVIRONMENT', /Check bearer/],
    [{ status: 302, headers: { location: '/x' } }, 'PIPE_ENVIRONMENT', /redirects/],
  ] as [Reply, string, RegExp][])('%j concerns the service', async (reply, code, message) => {
    const s = await service(() => reply)
    const wait = rows(making(configFor({ url: `${s.url}/{key}` })), '{"id":1}')
    await expect(wait).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  })

  test('a retry requests only what failed, and not before Retry-After', async () => {
    const s = await service((path, n) =>
      path === '/2' && n < 3 ? { status: 503, headers: { 'retry-after': '3600' } } : { body: JSON.stringify(path) },
    )
    const transform = making(configFor({ url: `${s.url}/{key}`, concurrency: 1 }))
    await expect(rows(transform, '{"id":1}', '{"id":2}')).rejects.toThrow(/503/)
    await expect(rows(transform, '{"id":1}', '{"id":2}')).rejects.toThrow(/accepts no requests for \d+ s \(Retry-After\)/)
    expect(s.got).toEqual(['/1', '/2'])
    expect(transform.healthy!()).toMatch(/503/)
  })

  test('a key too long for a URL fails alone, also in a list', async () => {
    const s = await service(path => (path.length > 1000 ? { status: 431 } : { body: path.includes('?') ? '{"1":1}' : '1' }))
    const long = `{"id":"${'x'.repeat(1000)}"}`
    for (const url of [`${s.url}/{key}`, `${s.url}/c?ids={keys}`])
      expect((await rows(making(configFor({ url })), '{"id":1}', long)).toSorted()).toEqual(['1', expect.stringMatching(/answered 431/)])
  })

  test('concurrency bounds the requests, and max_per_second their rate', async () => {
    const s = await service(path => ({ body: JSON.stringify(path) }))
    const started = performance.now()
    const config = configFor({ url: `${s.url}/{key}`, concurrency: 2, max_per_second: 20 })
    const found = await rows(making(config), ...[1, 2, 3, 4, 5, 6].map(id => `{"id":${id}}`))
    expect(found).toEqual([1, 2, 3, 4, 5, 6].map(id => `"/${id}"`))
    expect(s.most()).toBeLessThanOrEqual(2)
    // Five intervals of 50 ms at least; more is allowed.
    expect(performance.now() - started).toBeGreaterThan(240)
  })

  test('no answer within the timeout is a connection error; closing ends a request', async () => {
    const s = await service(() => 'hang')
    await expect(rows(making(configFor({ url: `${s.url}/{key}`, timeout: 50 })), '{"id":1}')).rejects.toThrow(/no answer within 50 ms/)
    const transform = making(configFor({ url: `${s.url}/{key}` }))
    const wait = rows(transform, '{"id":1}')
    await expect.poll(() => s.got.length).toBe(2)
    await transform.close!()
    await expect(wait).rejects.toThrow()
  })
})

describe('a request per list of keys', () => {
  const listOf = (path: string): string[] => new URL(path, 'http://x').search.replace('?ids=', '').split(',').map(decodeURIComponent)

  test('elements are found by their key, in lists of max_batch', async () => {
    const s = await service(path => ({
      body: `{"items":[{"id":99},{"id":${listOf(path)[0] === '3' ? 98 : 1.1},"n":1.10},{"id":2,"n":1.10}]}`,
    }))
    const config = configFor({
      url: `${s.url}/c?ids={keys}`,
      field: 'items',
      column: 'id',
      max_batch: 2,
      concurrency: 1,
      on_missing: 'null',
    })
    const run = await runTransform(lookup, config, [of('{"id":1.10}', '{"id":2}', '{"id":3}', '{"id":1.1}')])
    expect(s.got).toEqual(['/c?ids=1.1,2', '/c?ids=3'])
    expect(shown(run)).toEqual(['{"id":1.1,"n":1.10}', '{"id":2,"n":1.10}', 'null', '{"id":1.1,"n":1.10}'])
  })

  test('an object by key, also for names of Object.prototype; many collects elements', async () => {
    const byName = await service(() => ({ body: '{"a":{"x":1},"b":null}' }))
    const found = await rows(
      making(configFor({ url: `${byName.url}/c?ids={keys}`, on_missing: 'null' })),
      '{"id":"a"}',
      '{"id":"b"}',
      '{"id":"constructor"}',
    )
    expect(found).toEqual(['{"x":1}', 'null', 'null'])
    const list = await service(() => ({ body: '[{"id":1,"n":1},{"id":1,"n":2}]' }))
    const many = configFor({ url: `${list.url}/c?ids={keys}`, column: 'id', many: true })
    expect(await rows(making(many), '{"id":1}', '{"id":2}')).toEqual(['[{"id":1,"n":1},{"id":1,"n":2}]', '[]'])
    expect(await rows(making({ ...many, many: false }), '{"id":1}')).toEqual([expect.stringMatching(/2 rows for key 1/)])
  })

  test('max_bytes counts several elements of a key, also where they fail', async () => {
    const s = await service(path => ({ body: JSON.stringify(listOf(path).flatMap(id => [{ id }, { id }])) }))
    const transform = making(configFor({ url: `${s.url}/c?ids={keys}`, column: 'id', max_bytes: 10 }))
    for (let i = 0; i < 2; i++) expect(await rows(transform, '{"id":"a"}')).toEqual([expect.stringMatching(/2 rows for key a/)])
    expect(s.got).toHaveLength(2)
  })

  test('a rejected list is split until only the bad key fails', async () => {
    const s = await service(path =>
      listOf(path).includes('bad')
        ? { status: 400, body: 'no' }
        : { body: JSON.stringify(Object.fromEntries(listOf(path).map(id => [id, id]))) },
    )
    const found = await rows(making(configFor({ url: `${s.url}/c?ids={keys}` })), '{"id":"a"}', '{"id":"b"}', '{"id":"bad"}', '{"id":"c"}')
    expect(found.toSorted()).toEqual(['"a"', '"b"', '"c"', expect.stringMatching(/answered 400: no/)])
  })

  test('an answer of another shape fails its keys and names the setting', async () => {
    const s = await service(() => ({ body: '{"items":[{"name":1}]}' }))
    const find = async (config: Partial<LookupHttpConfig>): Promise<string> =>
      (await rows(making(configFor({ url: `${s.url}/c?ids={keys}`, ...config })), '{"id":1}'))[0]
    expect(await find({ column: 'id' })).toMatch(/must be a list.*set field/)
    expect(await find({ field: 'items' })).toMatch(/must be an object by key.*set column/)
    expect(await find({ field: 'items', column: 'id' })).toMatch(/an element of the list has no id/)
  })
})

test('validate: one placeholder, not in the host', () => {
  const problems = (config: Partial<LookupHttpConfig>): string[] =>
    lookup.validateConfig!(configFor({ url: 'https://h/{key}', ...config })).map(p => `${p.path.join('.')}: ${p.message}`)
  expect(problems({})).toEqual([])
  for (const url of ['https://h/', 'https://h/{id}', 'https://h/{key}/{key}', 'https://h/{key}?a={keys}'])
    expect(problems({ url })).toEqual([expect.stringMatching(/^url: must contain \{key\} or \{keys\} once/)])
  expect(problems({ column: 'id' })).toEqual(['column: works with {keys} in url; remove it'])
  expect(problems({ many: true, on_missing: 'pass' })).toHaveLength(1)
  for (const name of ['Host', 'content-length', 'Transfer-Encoding', 'connection'])
    expect(problems({ headers: { [name]: 'x' } })).toEqual([`headers.${name}: is set by the HTTP connection; remove it`])
  const pattern = new RegExp((lookup.schema as { properties: { url: { pattern: string } } }).properties.url.pattern)
  expect(['https://{key}.x/', 'https://{key}', 'ftp://x/{key}'].filter(url => pattern.test(url))).toEqual([])
})
