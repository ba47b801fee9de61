/** What one sender or one record can make of the process's memory: each case ends in an answer, a dead letter or a closed connection. */
import { execFile } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { eventually } from '../support/eventually.ts'
import { peakMemory } from '../support/peak-memory.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { get, metric, untilStatus } from './lib/http.ts'

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

  test('a peer that asks for /metrics and never reads', async () => {
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

  test('a batch of millions of empty records comes in portions', async () => {
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
