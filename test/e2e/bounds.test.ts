/** What one sender or one record can make of the process's memory: each case ends in an answer, a dead letter or a closed connection. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { eventually } from '../support/eventually.ts'
import { peakMemory } from '../support/peak-memory.ts'
import { encode, raw, redisUrl } from '../support/redis.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { unique } from '../support/unique.ts'
import { get, metric, untilStatus } from './lib/http.ts'
import { hangingSink } from './lib/plugins.ts'

const MiB = 1024 * 1024
/** Peak of a process, MB. */
const peakRss = (pid: number): number => peakMemory(pid) / 1000

async function serve(yaml: (port: number) => string): Promise<{ runner: Runner; port: number; url: string }> {
  const [port] = await freePorts(1)
  const cwd = tempDir({ 'p.yaml': `${yaml(port)}metrics: { port: ${port} }\n` })
  const runner = startRunner(['run', 'p.yaml'], { cwd })
  await untilStatus(runner, port, '/ready', 200)
  return { runner, port, url: `http://127.0.0.1:${port}` }
}

async function end(runner: Runner): Promise<void> {
  runner.kill('SIGTERM')
  await runner.exit(0)
}

/** 0: the connection was closed in the middle of the body. */
const status = async (url: string, body: string | Buffer): Promise<number> =>
  fetch(url, { method: 'POST', body: body as string }).then(
    r => r.status,
    () => 0,
  )

describe('http source', () => {
  test('60 bodies of 9 MB at once, 10 MiB of [1,1,…], 10 MiB of lines', async () => {
    const { runner, url } = await serve(
      port => `name: p
sources:
  - { name: json, http: { port: ${port}, path: /json, max_body: 10MiB } }
  - { name: lines, http: { port: ${port}, path: /lines, max_body: 10MiB, format: ndjson } }
sinks: [{ file: { path: /dev/null } }]
`,
    )
    const before = peakRss(runner.pid)
    const body = JSON.stringify('x'.repeat(9_000_000))
    const codes = await Promise.all(Array.from({ length: 60 }, () => status(`${url}/json`, body)))
    expect(codes.filter(code => code !== 200 && code !== 503 && code !== 0)).toEqual([])
    expect(codes).toContain(200)
    const ones = `[${'1,'.repeat(5 * MiB - 2)}1]`
    const reply = await fetch(`${url}/json`, { method: 'POST', body: ones })
    expect([reply.status, await reply.text()]).toEqual([
      413,
      '{"error":{"code":"too_many_rows","message":"the body has more than 100000 elements: send fewer rows in one request, or raise limits.messages"}}',
    ])
    expect(await status(`${url}/lines`, '1\n'.repeat(5 * MiB))).toBe(413)
    const peak = peakRss(runner.pid)
    console.log(`http: ${before} -> ${peak} MB`)
    expect(peak).toBeLessThan(600)
    await end(runner)
  })

  test('a client that requests /metrics and never reads', async () => {
    const { runner, port } = await serve(
      port => `name: p\nsources: [{ http: { port: ${port}, path: /in } }]\nsinks: [{ file: /dev/null }]\n`,
    )
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    await flood(socket, Buffer.from('GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'.repeat(1000)), MiB)
    expect(peakRss(runner.pid)).toBeLessThan(400)
    socket.destroy()
    await end(runner)
  })
})

describe('idempotency', () => {
  test('a million requests that may not be forgotten, with long keys: the next ones are rejected', async () => {
    const script = join(import.meta.dirname, 'lib/bomb.ts')
    const { stdout } = await promisify(execFile)(process.execPath, [script, 'keys'])
    console.log(stdout.trim())
    const { statuses, peak } = JSON.parse(stdout) as { statuses: object; peak: number }
    expect(statuses).toEqual({ 200: 1_000_000, 503: 1000 })
    expect(peak).toBeLessThan(700)
  })
})

describe('websocket_server', () => {
  const open = async (): Promise<{ runner: Runner; port: number; socket: Socket }> => {
    const { runner, port } = await serve(
      port =>
        `name: p\nsources: [{ http: { port: ${port}, path: /in } }]\nsinks: [{ websocket_server: { port: ${port}, topic: '"t"' } }]\n`,
    )
    const client = new WebSocket(`ws://127.0.0.1:${port}/ws`)
    await new Promise(resolve => client.once('open', resolve))
    const socket = (client as unknown as { _socket: Socket })._socket
    socket.pause()
    return { runner, port, socket }
  }

  test.each([
    ['subscriptions', frame(0x1, Buffer.from(JSON.stringify({ type: 'subscribe', topics: ['x'.repeat(60_000)] })))],
    ['errors', frame(0x1, Buffer.from('no'))],
    ['pings', frame(0x9, Buffer.alloc(125))],
  ])('a client that sends %s and never reads is closed', async (_, one) => {
    const { runner, port, socket } = await open()
    await flood(socket, Buffer.concat(Array.from({ length: Math.ceil(MiB / one.length) }, () => one)), 32 * MiB)
    const closed = async (): Promise<number> =>
      metric((await get(port, '/metrics')).body, 'runner_websocket_closed_total', { reason: 'unread' })
    await eventually(async () => expect(await closed()).toBe(1), { by: runner })
    expect(runner.stderr).toContain('without reading the responses')
    const peak = peakRss(runner.pid)
    console.log(`websocket_server: ${peak} MB`)
    expect(peak).toBeLessThan(400)
    socket.destroy()
    await end(runner)
  })

  test('60 clients that read nothing, and messages of 8 MB: the clients with the oldest messages are closed', async () => {
    const { runner, port, url } = await serve(
      port =>
        `name: p\nsources: [{ http: { port: ${port}, path: /in, max_body: 10MiB } }]\nsinks: [{ websocket_server: { port: ${port}, topic: '"t"' } }]\n`,
    )
    const clients: WebSocket[] = []
    const join = async (): Promise<void> => {
      const client = new WebSocket(`ws://127.0.0.1:${port}/ws`).on('error', () => {})
      clients.push(client)
      await once(client, 'open')
      client.send('{"type":"subscribe"}')
      await new Promise<void>(resolve => client.on('message', (data: Buffer) => data.includes('subscribed') && resolve()))
      client.pause()
    }
    await Promise.all(Array.from({ length: 60 }, join))
    const body = JSON.stringify('x'.repeat(8_000_000))
    const closed = async (): Promise<number> =>
      metric((await get(port, '/metrics')).body, 'runner_websocket_closed_total', { reason: 'slow' })
    // All of them hold one message. The ones that join later hold one each; two of those that left the ring may stay.
    for (let i = 0; i < 6; i++) {
      expect(await status(`${url}/in`, body)).toBe(200)
      await join()
    }
    await eventually(async () => expect(await closed()).toBeGreaterThanOrEqual(60), { by: runner })
    expect(await closed()).toBeLessThan(65)
    const peak = peakRss(runner.pid)
    console.log(`websocket_server, 60 clients: ${peak} MB`)
    expect(peak).toBeLessThan(450)
    for (const client of clients) client.terminate()
    await end(runner)
  })
})

describe('sources that peers push to', () => {
  test('10 feeds of websocket, each with 100 messages of 1 MB, and a sink that hangs', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    await once(server, 'listening')
    let sent = 0
    server.on('connection', socket => {
      socket.on('error', () => {})
      const send = (n: number): void => {
        sent++
        if (n < 100) socket.send('x'.repeat(1_000_000), () => send(n + 1))
      }
      send(0)
    })
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
    const feeds = Array.from(
      { length: 10 },
      (_, i) => `  - { name: f${i}, websocket: { url: "${url}", format: text, queue: { on_full: drop_oldest } } }\n`,
    )
    const [port] = await freePorts(1)
    const cwd = tempDir({
      'hang.js': hangingSink,
      'p.yaml': `name: p\nplugins: [./hang.js]\nsources:\n${feeds.join('')}sinks: [{ hang: {} }]\nshutdown_timeout: 1s\nlimits: { input: 100MiB }\nmetrics: { port: ${port} }\n`,
    })
    const runner = startRunner(['run', 'p.yaml'], { cwd })
    await eventually(() => expect(sent).toBe(1010), { by: runner })
    const dropped = async (): Promise<number> => {
      const { body } = await get(port, '/metrics')
      return feeds.reduce((sum, _, i) => sum + metric(body, 'runner_push_dropped_total', { step: `f${i}`, reason: 'full' }), 0)
    }
    await eventually(async () => expect(await dropped()).toBeGreaterThan(800), { by: runner })
    const peak = peakRss(runner.pid)
    console.log(`10 websocket sources: ${peak} MB`)
    expect(peak).toBeLessThan(500)
    runner.kill('SIGTERM')
    await runner.exit(1)
    for (const client of server.clients) client.terminate()
    server.close()
  })

  test('Pub/Sub: messages of 60 MB', async () => {
    const channel = unique('c')
    const { runner } = await serve(
      () => `name: p\nsources: [{ redis: { url: "${redisUrl()}", patterns: [${channel}], format: text } }]\nsinks: [{ file: /dev/null }]\n`,
    )
    const command = encode(['PUBLISH', channel, Buffer.alloc(60_000_000, 'x')])
    for (let i = 0; i < 5; i++) await raw(Number(new URL(redisUrl()).port), command, 1)
    const peak = peakRss(runner.pid)
    console.log(`Pub/Sub: ${peak} MB`)
    expect(peak).toBeLessThan(700)
    await end(runner)
  })
})

describe('kafka', () => {
  test.each(['gzip', 'snappy', 'lz4', 'zstd'])('a batch of %s that holds 1 GiB is a dead letter', async codec => {
    const script = join(import.meta.dirname, 'lib/bomb.ts')
    const { stdout } = await promisify(execFile)(process.execPath, [script, codec])
    const { bytes, failure, peak, ms } = JSON.parse(stdout) as { bytes: number; failure: string; peak: number; ms: number }
    console.log(stdout.trim())
    expect(failure).toBe(`the batch has ${bytes} bytes and decompresses to more than 67108864; raise limits.batch to read it`)
    expect(peak).toBeLessThan(350)
    expect(ms).toBeLessThan(60_000)
  })

  test('a batch of millions of empty records is processed in parts', async () => {
    const script = join(import.meta.dirname, 'lib/bomb.ts')
    const { stdout } = await promisify(execFile)(process.execPath, [script, 'records'])
    const { records, most, peak } = JSON.parse(stdout) as { records: number; most: number; peak: number }
    console.log(stdout.trim())
    expect([records, most]).toEqual([4_000_000, 10_000])
    expect(peak).toBeLessThan(350)
  })
})

/** A masked frame, as clients send it. */
function frame(opcode: number, payload: Buffer): Buffer {
  const head = payload.length < 126 ? Buffer.from([0x80 | opcode, 0x80 | payload.length]) : Buffer.from([0x80 | opcode, 0xfe, 0, 0])
  if (payload.length >= 126) head.writeUInt16BE(payload.length, 2)
  return Buffer.concat([head, Buffer.alloc(4), payload])
}

/** Writes as long as the peer takes it or has closed, `most` bytes at most. */
async function flood(socket: Socket, chunk: Buffer, most: number): Promise<void> {
  let closed = false
  const gone = new Promise<void>(resolve => socket.once('close', () => resolve()))
  void gone.then(() => (closed = true))
  for (let sent = 0; sent < most && !closed; sent += chunk.length) {
    if (socket.write(chunk)) continue
    const stuck = Promise.withResolvers<void>()
    const timer = setTimeout(stuck.resolve, 2000)
    await Promise.race([new Promise(resolve => socket.once('drain', resolve)), gone, stuck.promise])
    clearTimeout(timer)
    if (socket.writableNeedDrain) return
  }
}
