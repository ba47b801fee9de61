import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, expect, test } from 'vitest'
import { BatchError, ConnectionError, encodeJson, EnvironmentError, Message, parseJson } from 'pipeline-runner'
import { fakeContext, sinkConformance, writeContext } from 'pipeline-runner/testing'
import plugin from './http_bulk.ts'

let server: Server | undefined
afterEach(() => void server?.close())

/** An API that stores rows, each as JSON text; `answer` replaces its 204. */
async function api(
  answer?: (rows: string[]) => [status: number, body?: string],
): Promise<{ url: string; rows: string[]; posts: number[] }> {
  const [rows, posts]: [string[], number[]] = [[], []]
  server = createServer((request, response) => {
    void text(request).then(sent => {
      const posted = (parseJson(sent) as unknown[]).map(row => encodeJson(row))
      posts.push(posted.length)
      const [status, body] = request.headers.authorization === 'Bearer secret' ? (answer?.(posted) ?? [204]) : [401]
      if (status === 204) rows.push(...posted)
      response.writeHead(status).end(body)
    })
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server!.once('listening', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/bulk`, rows, posts }
}

const defaults = { token: 'secret', max_rows: 50, timeout: 60_000 }
const write = (url: string, values: unknown[], more = {}): Promise<unknown> =>
  plugin
    .create({ ...defaults, url, ...more }, fakeContext('http_bulk'))
    .write(
      values.map(value => new Message(value)),
      writeContext(),
    )
    .catch((error: unknown) => error)

for (const { name, run } of sinkConformance({
  plugin,
  prepare: async () => {
    const { url, rows } = await api()
    return { config: { ...defaults, url }, read: async () => rows }
  },
  show: value => encodeJson(value),
  cleanup: () => void server?.close(),
}))
  test(name, run)

test('max_rows bounds a request', async () => {
  const { url, posts } = await api()
  await write(url, [1, 2, 3, 4, 5], { max_rows: 2 })
  expect(posts).toEqual([2, 2, 1])
})

test('only the rows that the API names by their index in the batch fail', async () => {
  const { url } = await api(rows => {
    const errors = rows.flatMap((json, row) => (json.startsWith('-') ? [{ row, message: `${json} is negative` }] : []))
    return errors.length > 0 ? [422, JSON.stringify({ errors })] : [204]
  })
  const error = (await write(url, [1, null, -2, 3, 4, -5], { max_rows: 2 })) as BatchError
  expect(error).toBeInstanceOf(BatchError)
  expect([...error.failed].map(([i, e]) => [i, e.message]).toSorted()).toEqual([
    [1, 'a record without a JSON value is not a row'],
    [2, '-2 is negative'],
    [5, '-5 is negative'],
  ])
})

test.each(['', '{}', '{"errors":[]}', '{"errors":[{"row":2,"message":""}]}', '{"errors":[{"row":"0"}]}'])(
  'a 422 that does not name the rows ends the pipeline: %s',
  async body => {
    const { url } = await api(() => [422, body])
    expect(await write(url, [1, 2])).toBeInstanceOf(EnvironmentError)
  },
)

test('temporary errors are retried, permanent errors end the pipeline', async () => {
  for (const status of [500, 503, 429]) {
    const { url } = await api(() => [status])
    expect(await write(url, [1])).toBeInstanceOf(ConnectionError)
    server!.close()
  }
  const { url } = await api()
  expect(await write(url, [1], { token: 'wrong' })).toBeInstanceOf(EnvironmentError)
  await new Promise(resolve => server!.close(resolve))
  expect(await write(url, [1])).toBeInstanceOf(ConnectionError)
})
