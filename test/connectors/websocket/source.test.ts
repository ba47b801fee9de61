import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { WebsocketSourceConfig } from '../../../src/generated/config-types.ts'
import websocket from '../../../src/connectors/websocket/source.ts'
import { sourceConformance } from '../../conformance/source.ts'
import { closeAll, configOf, open, type Peer, startPeer, texts } from './peer.ts'
import { eventually } from '../../support/eventually.ts'

const QUEUE = configOf('').queue
const peers: Peer[] = []
const peer = async (...args: Parameters<typeof startPeer>): Promise<Peer> => {
  const p = await startPeer(...args)
  peers.push(p)
  return p
}
const cleanup = async (): Promise<void> => {
  await closeAll()
  for (const p of peers.splice(0)) await p.close()
}
afterEach(cleanup)

sourceConformance('websocket', {
  plugin: websocket,
  async prepare(records) {
    const { url } = await peer(socket => {
      for (const record of records) socket.send(record)
      socket.close(1000)
    })
    return { config: configOf(url, { on_close: 'end' }) }
  },
  prepareEndless: async () => configOf((await peer()).url),
  cleanup,
})

describe('websocket source', () => {
  test('subscribes after every connect, with one message per symbol if a list requires it', async () => {
    const { url, received, sockets } = await peer(socket => socket.send('1'))
    const { take } = await open(url, {
      symbols: 'BTCUSDT, ETHUSDT',
      subscribe: [{ method: 'SUBSCRIBE', params: ['{symbol:lower}@ticker', '{symbol:lower}@depth'], id: 1 }, { one: '{symbol}' }, 'hello'],
    })
    const hello = [
      '{"method":"SUBSCRIBE","params":["btcusdt@ticker","ethusdt@ticker","btcusdt@depth","ethusdt@depth"],"id":1}',
      '{"one":"BTCUSDT"}',
      '{"one":"ETHUSDT"}',
      'hello',
    ]
    await take(1)
    await eventually(() => expect(received).toEqual(hello))
    sockets[0].terminate()
    await take(1)
    await eventually(() => expect(received).toEqual([...hello, ...hello]))
  })

  test('a message that is not JSON passes with its bytes, and is a decode error in a step that reads it', async () => {
    const bytes = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])
    const { url } = await peer(socket => {
      socket.send('{"a":', { binary: false })
      socket.send(bytes, { binary: false })
      socket.send(bytes, { binary: true })
      socket.send('{"a":1}')
    })
    const { take } = await open(url)
    const messages = await take(4)
    expect(messages.slice(0, 3).map(m => m.payload)).toEqual([Buffer.from('{"a":'), bytes, bytes])
    for (const m of messages.slice(0, 3)) expect(() => m.value).toThrow(/JSON|UTF-8/)
    expect(messages[3].value).toEqual({ a: 1 })
  })

  test('a lost connection is reopened and counted with its reason', async () => {
    const { url, sockets } = await peer((socket, n) => socket.send(`${n}`))
    const { take, ctx } = await open(url)
    await take(1)
    sockets[0].terminate()
    await take(1)
    sockets[1].close(1000)
    await take(1)
    expect(ctx.counts).toMatchObject({ 'reconnects/closed': 2, messages: 3 })
  })

  test('a silent feed is disconnected; pongs and heartbeats do not count as data', async () => {
    const { url } = await peer((socket, n) => {
      socket.send(`${n}`)
      const timer = setInterval(() => socket.send('{"channel":"heartbeat"}'), 5)
      socket.on('close', () => clearInterval(timer))
    })
    const { take, ctx } = await open(url, { stale_after: 300, control: [{ channel: 'heartbeat' }] })
    expect(texts(await take(3))).toEqual(['1', '2', '3'])
    expect(ctx.counts).toMatchObject({ stale: 2, 'reconnects/stale': 2 })
    expect(ctx.counts['dropped/control']).toBeGreaterThan(0)
  })

  test('control messages are recognized up to the depth of the pipeline', async () => {
    const nested = (type: string, depth: number) => `{"type":"${type}","x":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
    const { url } = await peer(socket => {
      for (const depth of [255, 256, 257, 1000, 1001, 10_000]) for (const type of ['control', 'data']) socket.send(nested(type, depth))
    })
    for (const [limit, dropped] of [
      [256, 2],
      [1000, 4],
    ]) {
      const { take, ctx } = await open(url, { control: [{ type: 'control' }] }, limit)
      const left = await take(12 - dropped)
      expect(left.slice(0, dropped).map(m => String(m.payload).slice(0, 14))).toEqual(Array(dropped).fill('{"type":"data"'))
      expect(ctx.counts['dropped/control']).toBe(dropped)
    }
  })

  test('a snapshot is read up to the depth of the pipeline', async () => {
    const deep = '['.repeat(299) + ']'.repeat(299)
    const snapshots = createServer((_, response) => response.end(`{"last":5,"x":${deep}}`))
    await new Promise<void>(resolve => void snapshots.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void snapshots.close())
    const { port } = snapshots.address() as AddressInfo
    const { url } = await peer(socket => socket.send('{"s":"A","u":6,"U":6}'))
    const sequence = {
      key: 's',
      last: 'u',
      first: 'U',
      on_gap: 'snapshot',
      snapshot: { url: `http://127.0.0.1:${port}/{symbol}`, last: 'last', headers: {}, timeout: 5000, max_size: 1 << 20 },
      min_interval: 1,
      max_buffered: 100,
      restart_timeout: 5000,
    } as unknown as WebsocketSourceConfig['sequence']
    const deeper = await open(url, { symbols: ['A'], sequence }, 300)
    expect(texts(await deeper.take(2))).toEqual([expect.stringContaining(deep), '{"s":"A","u":6,"U":6}'])
    const { ctx } = await open(url, { symbols: ['A'], sequence }, 299)
    await eventually(() => expect(ctx.counts['snapshots/error']).toBeGreaterThan(0))
    expect(ctx.counts['snapshots/ok']).toBe(0)
  })

  test('pings as messages: the response is dropped, a missing response ends the connection', async () => {
    const { url, received } = await peer((socket, n) => {
      socket.send(`${n}`)
      if (n === 1) socket.on('message', () => socket.send('pong'))
    })
    const first = await open(url, { ping: { every: 300, message: 'ping', pong: 'pong' } })
    await first.take(1)
    await eventually(() => expect(first.ctx.counts['dropped/pong']).toBeGreaterThan(1))
    expect(new Set(received)).toEqual(new Set(['ping']))
    const second = await open(url, { ping: { every: 300, message: { method: 'ping' }, pong: { method: 'pong' } } })
    expect(texts(await second.take(2))).toEqual(['2', '3'])
    expect(second.ctx.counts['reconnects/ping_timeout']).toBe(1)
  })

  test('a process that was frozen while a ping was under way reads the answer, and what came with it', async () => {
    let frozen = false
    const { url, sockets } = await peer((socket, n) => {
      socket.on('ping', () => {
        if (frozen || n > 1) return
        frozen = true
        for (let i = 0; i < 100; i++) socket.send(`{"n":${i}}`)
        // Both ends are in this process: nothing of it runs.
        const until = performance.now() + 1500
        while (performance.now() < until);
      })
    })
    const { take, ctx } = await open(url, { ping_interval: 100, stale_after: 1000 })
    expect(texts(await take(100))).toEqual(Array.from({ length: 100 }, (_, i) => `{"n":${i}}`))
    expect(sockets).toHaveLength(1)
    expect([ctx.counts['reconnects/ping_timeout'], ctx.counts['reconnects/stale']]).toEqual([0, 0])
  })

  test('an unanswered protocol ping ends the connection', async () => {
    const { url } = await peer((socket, n) => {
      socket.send(`${n}`)
      ;(socket as unknown as { _receiver: { removeAllListeners(e: string): void } })._receiver.removeAllListeners('ping')
    })
    const { take, ctx } = await open(url, { ping_interval: 200 })
    await take(2)
    expect(ctx.counts['reconnects/ping_timeout']).toBe(1)
  })

  test('a message that is too large ends the connection, with a log message', async () => {
    const { url } = await peer((socket, n) => socket.send(n === 1 ? 'x'.repeat(2000) : '1'))
    const { take, ctx } = await open(url, { max_message_size: 1000 })
    await take(1)
    expect(ctx.counts).toMatchObject({ 'reconnects/too_large': 1 })
  })

  test('a peer that sends pings without reading the pongs is disconnected, and the feed is reconnected', async () => {
    const { url } = await peer((socket, n) => {
      if (n > 1) return socket.send('1')
      ;(socket as unknown as { _socket: Socket })._socket.pause()
      const ping = Buffer.alloc(125)
      const more = (error?: Error | null): void => {
        if (error || socket.readyState !== socket.OPEN) return
        for (let i = 0; i < 1000; i++) socket.ping(ping)
        socket.ping(ping, false, more)
      }
      more()
    })
    const { take, ctx } = await open(url)
    await take(1)
    expect(ctx.counts['reconnects/error']).toBe(1)
    expect(JSON.stringify(ctx.warnings)).toContain('the peer sends pings but does not read the pongs')
  })

  test('without a reader the socket is paused, memory is bounded, and no message is lost', async () => {
    const { url, sockets } = await peer(socket => {
      for (let i = 0; i < 3000; i++) socket.send(JSON.stringify({ i, pad: 'x'.repeat(5000) }))
    })
    const { take, ctx } = await open(url, { queue: { ...QUEUE, max_bytes: 1 << 20 }, stale_after: 500 })
    await eventually(() => expect(ctx.counts.messages).toBeGreaterThan(100))
    await new Promise(resolve => setTimeout(resolve, 1500))
    expect(ctx.counts.messages).toBeLessThan(1000)
    expect((await take(3000)).map(m => (m.value as { i: number }).i)).toEqual(Array.from({ length: 3000 }, (_, i) => i))
    expect(sockets).toHaveLength(1)
  })

  test('an unreachable peer does not block the start and is waited for', async () => {
    const gone = await startPeer()
    await gone.close()
    const { source, ctx } = await open(gone.url)
    expect(source.healthy!()).toBe(false)
    await eventually(() => expect(ctx.warnings.length).toBeGreaterThan(2))
    expect(ctx.warnings[0].details).toMatchObject({ reason: 'error', detail: expect.stringContaining('ECONNREFUSED') })
  })

  test('messages rejected by later steps are counted, and logged at a limited rate', async () => {
    const { url } = await peer(socket => socket.send('{"a":1}'))
    const { take, source, ctx } = await open(url)
    const [message] = await take(1)
    source.onRejected!(Array.from({ length: 50 }, () => ({ message, error: new Error('no good'), step: 'normalize' })))
    expect(ctx.counts.refused).toBe(50)
    expect(ctx.warnings.filter(w => w.message === 'messages rejected')).toHaveLength(1)
  })

  test('check performs the handshake, or reports the reason', async () => {
    const { url } = await peer()
    const gone = await startPeer()
    await gone.close()
    const ask = (to: string) => websocket.check!(configOf(to), { signal: AbortSignal.timeout(5000) } as never)
    expect(await ask(`${url}/?key=secret`)).toEqual([{ what: `feed ${url}/`, ok: true, detail: 'handshake completed' }])
    expect(await ask(gone.url)).toMatchObject([{ ok: false, detail: expect.stringContaining('ECONNREFUSED') }])
  })
})
