import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ConnectionError, type Message } from 'pipeline-runner'
import { fakeSourceContext, sourceConformance } from 'pipeline-runner/testing'
import plugin from './tcp_lines.ts'

const servers: Server[] = []
const folders: string[] = []

// What the queue spills lies in the runner's state folder.
beforeEach(() => {
  folders.push(mkdtempSync(join(tmpdir(), 'tcp-lines-')))
  vi.stubEnv('RUNNER_STATE_DIR', folders.at(-1))
})
afterEach(() => {
  vi.unstubAllEnvs()
  for (const server of servers.splice(0)) server.close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

/** A feed that does this with each connection. */
async function feed(serve: (socket: Socket, connection: number) => void): Promise<number> {
  let connections = 0
  const server = createServer(socket =>
    serve(
      socket.on('error', () => {}),
      ++connections,
    ),
  ).listen(0, '127.0.0.1')
  servers.push(server)
  await new Promise(resolve => server.once('listening', resolve))
  return (server.address() as AddressInfo).port
}

const defaults = {
  host: '127.0.0.1',
  format: 'json' as const,
  mode: 'once' as const,
  max_line: 10_000,
  max_bytes: 64 * 1024 * 1024,
  max_spill: 64 * 1024 * 1024,
}
const { signal } = new AbortController()

async function open(port: number, more = {}) {
  const source = plugin.create({ ...defaults, port, ...more }, fakeSourceContext('tcp_lines'))
  await source.open!(signal)
  return source
}

/** The next messages, as many as wanted. */
async function take(source: Awaited<ReturnType<typeof open>>, wanted: number): Promise<Message[]> {
  const messages: Message[] = []
  while (messages.length < wanted) messages.push(...(await source.read(signal))!.messages)
  return messages
}

for (const { name, run } of sourceConformance({
  plugin,
  prepare: async records => ({ config: { ...defaults, port: await feed(socket => socket.end(records.map(r => `${r}\n`).join(''))) } }),
  prepareEndless: async () => ({ ...defaults, port: await feed(() => {}) }),
}))
  test(name, run)

test('a connection that ends is opened again, and no line of it is lost', async () => {
  const source = await open(await feed((socket, n) => socket.end(`"a${n}"\n"b${n}"`)), { mode: 'follow' })
  expect((await take(source, 4)).map(m => m.value)).toEqual(['a1', 'b1', 'a2', 'b2'])
  await source.close!()
})

test('an aborted read leaves the connection open', async () => {
  const connections: Socket[] = []
  const source = await open(await feed(socket => void connections.push(socket)), { mode: 'follow' })
  const stop = new AbortController()
  const reading = source.read(stop.signal).catch((error: unknown) => error)
  while (!source.healthy!()) await setImmediate()
  stop.abort(new Error('enough'))
  expect(await reading).toEqual(new Error('enough'))
  connections[0].end('1\n')
  expect((await take(source, 1)).map(m => m.value)).toEqual([1])
  expect(connections).toHaveLength(1)
  await source.close!()
})

test('an unavailable server is a retryable error', async () => {
  const port = await feed(() => {})
  await new Promise(resolve => servers[0].close(resolve))
  const source = await open(port)
  const error = await source.read(signal).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(ConnectionError)
  expect((error as Error).message).toMatch(/^cannot read from 127\.0\.0\.1:\d+: connect ECONNREFUSED/)
  expect(source.healthy!()).toBe(false)
})

test('only the line that is too long fails', async () => {
  const source = await open(await feed(socket => socket.end(`1\n"${'x'.repeat(100)}"\n2\n`)), { max_line: 20 })
  const messages = await take(source, 3)
  expect(messages.map(m => m.failure?.message)).toEqual([undefined, 'the line has 102 bytes, max_line is 20', undefined])
})

test('a slow pipeline makes the server wait, in bounded memory, and nothing is lost', async () => {
  const lines = 5_000
  const port = await feed(socket => socket.end(Array.from({ length: lines }, (_, i) => `"${String(i).padStart(1000, '0')}"\n`).join('')))
  const source = await open(port, { max_bytes: 64 * 1024, max_spill: 128 * 1024 })
  const got: string[] = []
  for (let batch = await source.read(signal); batch !== null; batch = await source.read(signal)) {
    got.push(...batch.messages.map(m => m.value as string))
    await source.commit!(batch.lane, batch.position)
  }
  expect(got).toEqual(Array.from({ length: lines }, (_, i) => String(i).padStart(1000, '0')))
  await source.close!()
})

test('lines that were read and not committed are read again, also by the next process', async () => {
  const port = await feed((socket, n) => (n === 1 ? socket.end('1\n2\n3\n') : socket.end()))
  const first = await open(port)
  const [one] = await take(first, 3)
  await first.commit!('tcp_lines', one.offset + 1)
  await first.close!()
  const second = await open(port)
  expect((await take(second, 2)).map(m => m.value)).toEqual([2, 3])
  await second.close!()
})
