import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts'

describe('tcp proxy', () => {
  let echo: Server
  let proxy: TcpProxy
  const clients: Socket[] = []

  beforeEach(async () => {
    echo = createServer({ allowHalfOpen: true }, socket => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
    await once(echo, 'listening')
    proxy = await startProxy(`127.0.0.1:${(echo.address() as AddressInfo).port}`)
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await proxy.stop()
    echo.close()
  })

  async function open(): Promise<Socket> {
    const client = connect(proxy.port, '127.0.0.1')
    clients.push(client)
    await once(client, 'connect')
    return client
  }

  /** Sends the bytes and resolves with the echo of as many, and the milliseconds it took. */
  async function roundTrip(client: Socket, bytes: Buffer): Promise<{ back: Buffer; ms: number }> {
    const start = performance.now()
    const parts: Buffer[] = []
    let length = 0
    const whole = new Promise<void>(resolve => {
      client.on('data', function take(part: Buffer) {
        parts.push(part)
        length += part.length
        if (length < bytes.length) return
        client.off('data', take)
        resolve()
      })
    })
    client.write(bytes)
    await whole
    return { back: Buffer.concat(parts), ms: performance.now() - start }
  }

  test('forwards bytes and the end of the stream', async () => {
    const client = await open()
    const bytes = Buffer.alloc(3_000_000, 'abc')
    expect((await roundTrip(client, bytes)).back.equals(bytes)).toBe(true)
    expect(proxy.connections).toBe(1)
    client.end('bye')
    const rest: Buffer[] = []
    client.on('data', part => rest.push(part))
    await once(client, 'end')
    expect(Buffer.concat(rest).toString()).toBe('bye')
  })

  test('cut resets open connections and rejects new ones; restore accepts them', async () => {
    const client = await open()
    await roundTrip(client, Buffer.from('x'))
    proxy.cut()
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNRESET')
    const refused = connect(proxy.port, '127.0.0.1')
    const [why] = (await once(refused, 'error')) as [NodeJS.ErrnoException]
    expect(why.code).toBe('ECONNRESET')
    proxy.restore()
    expect((await roundTrip(await open(), Buffer.from('y'))).back.toString()).toBe('y')
  })

  test('freeze holds every byte, accepts connections, and then releases in order', async () => {
    const client = await open()
    await roundTrip(client, Buffer.from('x'))
    proxy.freeze()
    const second = await open()
    let arrived = ''
    client.on('data', part => (arrived += part))
    client.write('one ')
    client.write('two')
    second.write('!')
    // The echo server would have answered long before a connection through it to a third party is made.
    await once(connect((echo.address() as AddressInfo).port, '127.0.0.1').end(), 'close')
    expect(arrived).toBe('')
    proxy.restore()
    while (arrived.length < 7) await once(client, 'data')
    expect(arrived).toBe('one two')
  })

  test.each(['request', 'answer'] as const)('lose: the %s is lost once, with its connection', async what => {
    const got: string[] = []
    echo.on('connection', socket => socket.on('data', part => got.push(String(part))))
    const client = await open()
    await roundTrip(client, Buffer.from('begin'))
    const lost = proxy.lose('commit', what)
    let arrived = ''
    client.on('data', part => (arrived += part))
    client.write('commit')
    await once(client, 'error')
    await lost
    expect([got, arrived]).toEqual([what === 'request' ? ['begin'] : ['begin', 'commit'], ''])
    expect((await roundTrip(await open(), Buffer.from('commit'))).back.toString()).toBe('commit')
  })

  test('latency applies in both directions, bandwidth by bytes', async () => {
    const client = await open()
    proxy.latency(60)
    expect((await roundTrip(client, Buffer.from('x'))).ms).toBeGreaterThanOrEqual(119)
    proxy.latency(0)
    proxy.bandwidth(300_000)
    const slow = await roundTrip(client, Buffer.alloc(300_000))
    expect(slow.ms).toBeGreaterThanOrEqual(985)
    proxy.bandwidth(0)
    expect((await roundTrip(client, Buffer.alloc(300_000))).ms).toBeLessThan(slow.ms)
  })

  test('a target that is down is a closed connection, not a timeout', async () => {
    echo.close()
    await once(echo, 'close')
    const client = connect(proxy.port, '127.0.0.1')
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNRESET')
  })
})
