import { createSocket, type Socket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Each holds its number, as UDP, for as long as this process lives: no other test process takes it, and a server on it may be stopped and started again. */
const held: Socket[] = []

/**
 * `count` different TCP ports of 127.0.0.1 that nothing listens on, and that stay this process's own.
 * They are below those that the system gives to connections and to `listen(0)`: none of these takes one between now and its use.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  for (let tries = 0; ports.length < count; tries++) {
    if (tries > 10_000) throw new Error('no free port')
    const port = FIRST + Math.floor(Math.random() * (firstEphemeral() - FIRST))
    if (!(await hold(port))) continue
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

const FIRST = 10_000

function firstEphemeral(): number {
  try {
    return Math.max(FIRST + 5_000, Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10))
  } catch {
    return 32_768
  }
}

const hold = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = createSocket('udp4')
    socket.once('error', () => resolve(false))
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => {
      held.push(socket.unref())
      resolve(true)
    })
  })

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
