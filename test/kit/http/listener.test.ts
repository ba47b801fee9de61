import { createServer } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { EnvironmentError } from '../../../src/contract/plugin.ts'
import { attach, type Attachment, type Limits, type Route } from '../../../src/kit/http/listener.ts'
import { freePorts } from '../../support/servers/ports.ts'

const attached: Attachment[] = []
afterEach(async () => {
  for (const a of attached.splice(0)) await a.detach()
})
const trouble = { what: 'test', advice: 'Take another.' }
const route = (path: string, answer: string, methods = ['GET']): Route => ({
  methods,
  path,
  owner: answer,
  listed: true,
  handle: (_, r) => void r.end(answer),
})
async function on(port: number, routes: Route[], limits?: Limits): Promise<Attachment> {
  const a = await attach('127.0.0.1', port, routes, trouble, limits)
  attached.push(a)
  return a
}
const get = async (port: number, path: string, init?: RequestInit): Promise<[number, string]> => {
  const r = await fetch(`http://127.0.0.1:${port}${path}`, init)
  return [r.status, await r.text()]
}

describe('a listener', () => {
  test('is shared by address; routes can be added and removed; removing the last one closes it', async () => {
    const [port] = await freePorts(1)
    const [a, b] = await Promise.all([on(port, [route('/a', 'A')]), attach('localhost', port, [route('/b', 'B', ['POST'])], trouble)])
    expect(await get(port, '/a?x=1')).toEqual([200, 'A'])
    expect(await get(port, '/a', { method: 'HEAD' })).toEqual([200, ''])
    expect(await get(port, '/b', { method: 'POST' })).toEqual([200, 'B'])
    expect(await get(port, '/b')).toEqual([405, 'allowed: POST\n'])
    expect(await get(port, '/c')).toEqual([404, 'try /a or /b\n'])
    await b.detach()
    expect(await get(port, '/b')).toEqual([404, 'try /a\n'])
    await a.detach()
    await expect(get(port, '/a')).rejects.toThrow()
    await on(port, [route('/a', 'again')])
    expect(await get(port, '/a')).toEqual([200, 'again'])
  })

  test('two methods of a path may have two owners; one method may not', async () => {
    const [port] = await freePorts(1)
    await on(port, [route('/a', 'get')])
    await on(port, [route('/a', 'put', ['PUT'])])
    expect(await get(port, '/a', { method: 'PUT' })).toEqual([200, 'put'])
    const clash = attach('127.0.0.1', port, [route('/x', 'x'), route('/a', 'third', ['POST', 'PUT'])], trouble)
    await expect(clash).rejects.toThrow(`test: PUT /a on port ${port} is already used by put. Take another.`)
    expect((await get(port, '/x'))[0]).toBe(404)
  })

  test('reports a port in use by another process as an EnvironmentError with a fix', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => other.once('listening', resolve))
    const { port } = other.address() as { port: number }
    const error = await attach('127.0.0.1', port, [route('/a', 'A')], trouble).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(EnvironmentError)
    expect((error as Error).message).toBe(`test: cannot listen on 127.0.0.1:${port}: EADDRINUSE. Take another.`)
    await new Promise(resolve => other.close(resolve))
    await on(port, [route('/a', 'A')])
  })

  test('turns an error of a handler, thrown at once or later, into a 500', async () => {
    const [port] = await freePorts(1)
    const bad = (path: string, handle: Route['handle']): Route => ({ methods: ['GET'], path, owner: 'x', handle })
    const now = bad('/now', () => {
      throw new Error('now')
    })
    await on(port, [now, bad('/later', () => Promise.reject(new Error('later')))])
    expect(await get(port, '/now')).toEqual([500, 'now'])
    expect(await get(port, '/later')).toEqual([500, 'later'])
  })

  // Slowloris: a byte now and then, so that the connection never is idle.
  test.each([
    ['nothing', ''],
    ['an incomplete header', 'GET /a HTTP/1.1\r\nx'],
    ['an incomplete body', 'POST /b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nx'],
  ])('disconnects a sender of %s with a 408', async (_, head) => {
    const [port] = await freePorts(1)
    const b: Route = {
      methods: ['POST'],
      path: '/b',
      owner: 'b',
      handle: (request, response) => void request.resume().on('end', () => response.end()),
    }
    await on(port, [route('/a', 'A'), b], { headers: 300, request: 300, keepAlive: 1000, check: 50 })
    const socket = connect(port, '127.0.0.1')
    let got = ''
    socket.on('data', data => (got += data.toString()))
    const closed = new Promise(resolve => socket.once('close', resolve))
    socket.on('error', () => {})
    socket.write(head)
    const dribble = head === '' ? undefined : setInterval(() => socket.write('x'), 20)
    await closed
    clearInterval(dribble)
    expect(got).toMatch(/^HTTP\/1.1 408 /)
    expect(await get(port, '/a')).toEqual([200, 'A'])
  })

  test('waits for a pending response when the last route is removed', async () => {
    const [port] = await freePorts(1)
    let arrived!: () => void
    const under = new Promise<void>(resolve => (arrived = resolve))
    const handle: Route['handle'] = (_, r) => {
      arrived()
      setTimeout(() => r.end('done'), 150)
    }
    const slow: Route = { methods: ['GET'], path: '/s', owner: 's', handle }
    const a = await on(port, [slow])
    const answer = get(port, '/s')
    await under
    await a.detach()
    expect(await answer).toEqual([200, 'done'])
  })

  test.each([
    ['h2c', 'alone'],
    ['h2c', 'beside a WebSocket'],
    ['websocket', 'alone'],
    ['websocket', 'beside a WebSocket'],
    ['TLS/1.0, h2c', 'beside a WebSocket'],
  ])('a request that offers %s (Java, curl --http2) to a route without it is handled as HTTP/1.1, %s', async (protocol, place) => {
    const [port] = await freePorts(1)
    await on(port, [{ ...route('/in', 'taken', ['POST']), handle: (q, r) => void q.pipe(r) }])
    if (place !== 'alone') await on(port, [{ ...route('/ws', 'ws'), upgrade: (_, socket) => void socket.end() }])
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      let text = ''
      socket.on('data', data => (text += String(data))).on('error', reject)
      socket.on('close', () => resolve(text))
      socket.write(
        `POST /in HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade, HTTP2-Settings, close\r\nupgrade: ${protocol}\r\nhttp2-settings: AAMAAABkAAQAAP__\r\ncontent-length: 4\r\n\r\nbody`,
      )
    })
    expect(answer).toMatch(/^HTTP\/1\.1 200[^]*body/)
  })
})
