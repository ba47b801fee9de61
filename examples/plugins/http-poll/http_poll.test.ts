import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ConnectionError, EnvironmentError } from 'pipeline-runner'
import { fakeSourceContext, readAll, sourceConformance } from 'pipeline-runner/testing'
import plugin from './http_poll.ts'

let server: Server | undefined
afterEach(() => void server?.close())

/** An API that holds these rows, or answers with this status and text. */
async function api(rows: readonly string[], answer?: { status: number; text: string }): Promise<string> {
  server = createServer((request, response) => {
    const { searchParams } = new URL(request.url!, 'http://api')
    const [after, limit] = ['after', 'limit'].map(name => Number(searchParams.get(name)))
    if (request.headers.authorization !== 'Bearer secret') response.writeHead(401).end()
    else if (answer) response.writeHead(answer.status).end(answer.text)
    else response.end(`[${rows.slice(after, after + limit).join(',')}]`)
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server!.once('listening', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`
}

const defaults = { token: 'secret', mode: 'once' as const, interval: 1, page_size: 10, timeout: 60_000 }
const signal = new AbortController().signal

/** What reading ends with. */
async function failure(url: string, more = {}): Promise<unknown> {
  const source = plugin.create({ ...defaults, url, ...more }, fakeSourceContext('http_poll'))
  await source.open!(signal)
  return readAll(source).catch((error: unknown) => error)
}

for (const { name, run } of sourceConformance({
  plugin,
  async prepare(records) {
    const rows = records.map((text, i) => `{"id":${i + 1},"row":${text},"price":1.10}`)
    return { config: { ...defaults, url: await api(rows) }, expected: rows }
  },
  prepareEndless: async () => ({ ...defaults, url: await api([]), mode: 'poll' as const }),
  cleanup: () => void server?.close(),
}))
  test(name, run)

test.each([500, 503, 429])('status %i is retried', async status => {
  expect(await failure(await api([], { status, text: '' }))).toBeInstanceOf(ConnectionError)
})

test('a request to an unavailable service is retried', async () => {
  const url = await api([])
  await new Promise(resolve => server!.close(resolve))
  const error = (await failure(url)) as Error
  expect(error).toBeInstanceOf(ConnectionError)
  expect(error.message).toMatch(/^no answer from 127\.0\.0\.1:\d+: connect ECONNREFUSED/)
})

test('a status or a page that a retry would not change ends the pipeline', async () => {
  expect(await failure(await api([]), { token: 'wrong' })).toBeInstanceOf(EnvironmentError)
  for (const text of ['<html>', '{}', '[1]', '[{"id":"1"}]', '[{"id":2},{"id":2}]', '[{"id":0}]', '[{"id":9007199254740993}]']) {
    expect(await failure(await api([], { status: 200, text })), text).toBeInstanceOf(EnvironmentError)
    server!.close()
  }
})

test('check reports whether the service responds', async () => {
  const url = await api([])
  const context = { step: 's', role: 'source', pipeline: 'p', version: 1, log: fakeSourceContext('s').log, signal } as const
  expect(await plugin.check!({ ...defaults, url }, context)).toMatchObject([{ ok: true }])
  expect(await plugin.check!({ ...defaults, url, token: 'wrong' }, context)).toMatchObject([
    { ok: false, detail: expect.stringContaining('401') },
  ])
})
