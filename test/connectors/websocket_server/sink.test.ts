import { get } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import type { WebsocketServerSinkConfig } from '../../../src/generated/config-types.ts'
import plugin from '../../../src/connectors/websocket_server/sink.ts'
import { BatchError, Message, type Sink } from '../../../src/contract/plugin.ts'
import { fakeContext, writeContext } from '../../../src/testing/conformance/context.ts'
import { sinkConformance } from '../../conformance/sink.ts'
import { tempDir } from '../../support/runner.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { TestClient } from './browser.ts'

async function config(c: Partial<WebsocketServerSinkConfig> = {}): Promise<WebsocketServerSinkConfig> {
  const [port] = await freePorts(1)
  return {
    host: '127.0.0.1',
    port,
    path: '/ws',
    topic: '"t"',
    ring: 1000,
    ring_size: 1 << 24,
    client_buffer: 1 << 18,
    on_slow_client: 'drop_oldest',
    max_clients: 10,
    hosts: [],
    origins: [],
    token: '',
    allow_unauthenticated: false,
    heartbeat: 30_000,
    ...c,
  }
}

sinkConformance('websocket_server', {
  plugin,
  persists: false,
  // As a browser reads it: 1.0 on the wire is the number 1.
  show: v => JSON.stringify(JSON.parse(JSON.stringify(v))),
  async prepare() {
    const c = await config()
    return {
      config: c,
      async read() {
        const client = new TestClient(c.port)
        await client.frame('hello')
        const end = client.frames[0].last_id
        await client.subscribe({ last: 1000 })
        if (end !== null) await client.until('the last message', () => client.last === end)
        await client.close()
        return client.messages.map(f => JSON.stringify(f.data))
      },
    }
  },
})

const open: { close(): Promise<unknown> }[] = []
afterEach(() => Promise.all(open.splice(0).map(o => o.close())))

async function serve(
  c: Partial<WebsocketServerSinkConfig> = {},
): Promise<{ sink: Sink; port: number; counts: Map<string, number>; connect(o?: object): TestClient }> {
  const full = await config({ topic: 'topic', ...c })
  const counts = new Map<string, number>()
  const child = (name: string, _help: string, labels?: Record<string, string>, loss?: string) => {
    const id = `${name}${labels?.reason ? ` ${labels.reason}` : ''}${loss ? ` (${loss})` : ''}`
    return { inc: (n = 1) => void counts.set(id, (counts.get(id) ?? 0) + n), set: (n: number) => void counts.set(id, n) }
  }
  const sink = plugin.create(full, { ...fakeContext('ws'), metrics: { counter: child, gauge: child } })
  await sink.open!(new AbortController().signal)
  open.push(sink as Sink & { close(): Promise<void> })
  const connect = (o: object = {}): TestClient => {
    const client = new TestClient(full.port, o)
    open.push(client)
    return client
  }
  return { sink, port: full.port, counts, connect }
}
const say = (sink: Sink, from: number, to: number, topic = 'a', key: string | null = null, pad = '') =>
  sink.write(
    Array.from({ length: to - from }, (_, i) => new Message({ topic, n: from + i, pad }, key)),
    writeContext(),
  )
const numbers = (c: TestClient) => c.messages.map(f => f.data.n)

/** Declared as a loss: it is in the end line. */
const DROPPED = 'runner_websocket_dropped_total (missed_by_clients)'

describe('websocket_server', () => {
  test('clients get the messages they subscribe to, and none before', async () => {
    const { sink, connect } = await serve()
    const [all, a, keyed, silent] = [connect(), connect(), connect(), connect()]
    await Promise.all([all.subscribe(), a.subscribe({ topics: ['a'] }), keyed.subscribe({ keys: ['x'] }), silent.frame('hello')])
    await say(sink, 0, 2, 'a')
    await say(sink, 2, 4, 'b', 'x')
    await say(sink, 4, 5, 'c', 'y')
    await all.until('all', () => all.messages.length === 5)
    a.send({ type: 'unsubscribe' })
    a.send({ type: 'ping' })
    await a.frame('pong')
    await say(sink, 5, 6, 'a', 'x')
    await keyed.until('keyed', () => keyed.messages.length === 3)
    expect([numbers(a), numbers(keyed), numbers(silent)]).toEqual([[0, 1], [2, 3, 5], []])
    expect(keyed.messages[0]).toMatchObject({ topic: 'b', key: 'x', time: 0, id: expect.stringMatching(/^[0-9a-f]{12}-3$/) })
  })

  test('a client continues after its last id, and is notified of messages that have left the ring and of another run', async () => {
    const { sink, connect } = await serve({ ring: 10 })
    const first = await connect().subscribe()
    await say(sink, 0, 5)
    await first.until('5', () => first.messages.length === 5)
    await first.close()
    await say(sink, 5, 12)
    const second = await connect().subscribe({ last_id: first.last })
    await second.until('the rest', () => second.messages.length === 7)
    expect(numbers(second)).toEqual([5, 6, 7, 8, 9, 10, 11])
    expect(second.frames.filter(f => f.type === 'gap')).toEqual([])
    await say(sink, 12, 20)
    const late = await connect().subscribe({ last_id: first.last })
    await late.until('what is left', () => late.messages.length === 10)
    expect(numbers(late)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
    expect(late.frames.find(f => f.type === 'gap')).toEqual({ type: 'gap', reason: 'too_old', missed: 5 })
    const other = await connect().subscribe({ last_id: 'abcdefabcdef-3' })
    await other.until('all of the ring', () => other.messages.length === 10)
    expect(other.frames.find(f => f.type === 'gap')).toEqual({ type: 'gap', reason: 'restart' })
    const some = await connect().subscribe({ last: 3 })
    await some.until('the latest', () => some.messages.length === 3)
    expect(numbers(some)).toEqual([17, 18, 19])
  })

  test.each(['drop_oldest', 'disconnect'] as const)('a client that does not read: %s; the others notice nothing', async on_slow_client => {
    const { sink, connect, counts } = await serve({ ring: 50, client_buffer: 65_536, on_slow_client })
    const [slow, quick] = [await connect().subscribe(), await connect().subscribe()]
    slow.socket.pause()
    const pad = 'x'.repeat(50_000)
    for (let n = 0; n < 400; n += 10) {
      await say(sink, n, n + 10, 'a', null, pad)
      await quick.until('it', () => quick.messages.length === n + 10)
    }
    expect(numbers(quick)).toEqual(Array.from({ length: 400 }, (_, n) => n))
    const dropped = counts.get(DROPPED)!
    slow.socket.resume()
    if (on_slow_client === 'disconnect') {
      await slow.until('the end', () => slow.code !== undefined)
      expect([counts.get('runner_websocket_closed_total slow'), slow.messages.length < 400]).toEqual([1, true])
      return
    }
    await slow.until('the newest', () => numbers(slow).at(-1) === 399)
    const gaps = slow.frames.filter(f => f.type === 'gap')
    expect(dropped).toBeGreaterThan(0)
    // A message that was sent is not a loss.
    expect(counts.get('runner_websocket_sent_total')).toBeGreaterThan(400)
    // Every message is sent, or reported and counted as missed.
    expect(gaps.reduce((n, g) => n + (g.missed as number), 0)).toBe(counts.get(DROPPED))
    expect(slow.messages.length + counts.get(DROPPED)!).toBe(400)
  })

  test('unauthorized clients are rejected', async () => {
    const { connect, counts, port } = await serve({ token: 's3cret', max_clients: 1 })
    const refused = async (o: object) => {
      const client = connect(o)
      const status = new Promise(resolve => client.socket.on('unexpected-response', (_, r) => resolve(r.statusCode)))
      return await status
    }
    expect(await refused({})).toBe(401)
    expect(await refused({ path: '/ws?token=wrong' })).toBe(401)
    expect(await refused({ path: '/other?token=s3cret' })).toBe(404)
    const evil = { path: '/ws?token=s3cret', headers: { origin: 'https://evil.example' } }
    expect(await refused(evil)).toBe(403)
    // A name that leads here makes a page look like ours.
    expect(
      await refused({ path: '/ws?token=s3cret', headers: { origin: `http://evil.example:${port}`, host: `evil.example:${port}` } }),
    ).toBe(403)
    await connect({ headers: { authorization: 'Bearer s3cret', origin: `http://127.0.0.1:${port}` } }).frame('hello')
    expect(await refused({ path: '/ws?token=s3cret' })).toBe(503)
    expect([...counts].filter(([k]) => k.includes('refused')).toSorted()).toEqual([
      ['runner_websocket_refused_total full', 1],
      ['runner_websocket_refused_total origin', 2],
      ['runner_websocket_refused_total token', 2],
    ])
    const { connect: anywhere } = await serve({ origins: ['https://desk.example'] })
    await anywhere({ headers: { origin: 'https://desk.example' } }).frame('hello')
  })

  test('an invalid message gets an error, too many end the connection, and other clients are not affected', async () => {
    const { sink, connect } = await serve()
    const [client, other] = [connect(), await connect().subscribe()]
    await client.frame('hello')
    const bad = ['{', '5', '{}', '{"type":"subscribe","topics":5}', '{"type":"subscribe","last":-1}', '{"type":"subscribe","last_id":7}']
    for (const text of bad) client.send(text)
    await client.until('answers', () => client.frames.length === 1 + bad.length)
    expect(client.frames.slice(1).every(f => f.type === 'error')).toBe(true)
    client.send('x'.repeat(100_000))
    await client.until('the end', () => client.code !== undefined)
    await say(sink, 0, 1)
    await other.until('it', () => other.messages.length === 1)
  })

  test('a client that disappears without a close frame is detected', async () => {
    const { connect, counts } = await serve({ heartbeat: 50 })
    const [dead, live] = [connect(), connect()]
    await Promise.all([dead.frame('hello'), live.frame('hello')])
    dead.socket.pause()
    await expect.poll(() => counts.get('runner_websocket_closed_total silent')).toBe(1)
    expect(live.code).toBeUndefined()
  })

  test('the page is served; invalid records fail; ports can be shared; a missing page is an error', async () => {
    const dir = tempDir({ 'index.html': '<p>hello' })
    const { sink, port } = await serve({ page: `${dir}/index.html` })
    const fetched = (path: string) =>
      new Promise<string>((resolve, reject) => {
        get({ port, path, agent: false }, response => {
          let body = ''
          response.on('data', chunk => (body += chunk)).on('end', () => resolve(`${response.statusCode} ${body.trim()}`))
        }).on('error', reject)
      })
    expect([await fetched('/'), await fetched('/../etc/passwd'), await fetched('/ws')]).toEqual([
      '200 <p>hello',
      '404 try /ws or /',
      '426 this endpoint needs a WebSocket connection',
    ])
    const batch = [new Message({}), new Message({ topic: 'a' }), new Message(Buffer.from('x'))]
    const error = await sink.write(batch, writeContext()).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(BatchError)
    expect([...(error as BatchError).failed.keys()]).toEqual([0, 2])
    const second = plugin.create(await config({ port }), fakeContext('ws'))
    await expect(second.open!(new AbortController().signal)).rejects.toThrow(
      `GET /ws on port ${port} is already used by sink 'ws' of pipeline 'test'`,
    )
    const third = plugin.create(await config({ port, path: '/other' }), fakeContext('other'))
    await third.open!(new AbortController().signal)
    open.push(third as Sink & { close(): Promise<void> })
    await new TestClient(port, { path: '/other' }).frame('hello')
    const pageless = plugin.create(await config({ page: 'nowhere.html' }), fakeContext('ws'))
    await expect(pageless.open!(new AbortController().signal)).rejects.toThrow('page: nowhere.html does not exist')
  })

  test('errors in a config are reported', async () => {
    const paths = async (c: Partial<WebsocketServerSinkConfig>) => plugin.validateConfig!(await config(c)).map(p => p.path.join('.'))
    expect(await paths({ host: '0.0.0.0' })).toEqual(['host'])
    expect(await paths({ host: '0.0.0.0', token: 'x' })).toEqual([])
    expect(await paths({ host: '0.0.0.0', allow_unauthenticated: true })).toEqual([])
    expect(await paths({ path: '/', page: 'x.html' })).toEqual(['path'])
  })
})
