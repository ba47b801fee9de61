/** A real Redis for tests: Debian's redis-server on a free port of 127.0.0.1, nothing kept on disk. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { dockerRuns } from './docker.ts'
import { freePorts } from './ports.ts'
import { ServerProcess } from './process.ts'

export interface RedisServer {
  /** `redis://127.0.0.1:<port>` */
  readonly url: string
  readonly port: number
  /** Ends it for good. */
  stop(): Promise<void>
  /** SIGKILL. */
  kill(): Promise<void>
  /** Starts it again on the same port, empty. */
  restart(): Promise<void>
  /** SIGSTOP: the process exists but does not respond. */
  pause(): void
  resume(): void
}

export interface RedisOptions {
  /** Further arguments: `['--requirepass', 'x']`. */
  readonly args?: readonly string[]
  /** Whether readiness is tested without TLS and credentials; default true. */
  readonly ping?: boolean
  /** A configuration file, which the server may rewrite (sentinels do). */
  readonly config?: string
}

export async function startRedis({ args = [], ping = true, config }: RedisOptions = {}): Promise<RedisServer> {
  const [port] = await freePorts(1)
  const dir = mkdtempSync(join(tmpdir(), 'redis-'))
  const server = new ServerProcess({ name: "redis-server (Debian's package is redis-server)", log: join(dir, 'server.log'), dir })

  const start = async (): Promise<void> => {
    const tls = args.includes('--tls-port')
    const where = tls ? ['--port', '0', '--tls-port', String(port)] : ['--port', String(port)]
    const rest = tls ? args.filter((a, i) => a !== '--tls-port' && args[i - 1] !== '--tls-port') : args
    const settings = [...where, '--bind', '127.0.0.1', '--save', '', '--dir', dir, ...rest]
    await server.start('redis-server', [...(config === undefined ? [] : [config]), ...settings])
    await redisReady(port, ping, () => server.ended)
  }
  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    async stop() {
      await server.end('SIGKILL')
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    },
    kill: () => server.end('SIGKILL'),
    async restart() {
      await server.end('SIGTERM')
      await start()
    },
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
  }
}

/** One Redis for a whole test run: the one `REDIS_URL` names, else a container, else Debian's. Says which. */
export async function sharedRedis(given: string | undefined, say: (line: string) => void): Promise<{ url: string; stop(): Promise<void> }> {
  if (given !== undefined && given !== '') {
    say('Redis: using REDIS_URL')
    return { url: given, stop: async () => {} }
  }
  if (await dockerRuns()) {
    try {
      const container = await startContainer()
      say(`Redis: Docker container at ${container.url}`)
      return container
    } catch (error) {
      say(`Redis: Docker runs but the container did not start (${(error as Error).message.split('\n')[0]}); using redis-server`)
    }
  }
  const server = await startRedis()
  say(`Redis: redis-server at ${server.url}`)
  return server
}

async function startContainer(): Promise<{ url: string; stop(): Promise<void> }> {
  const run = promisify(execFile)
  const [port] = await freePorts(1)
  const { stdout } = await run(
    'docker',
    ['run', '-d', '--rm', '-p', `127.0.0.1:${port}:6379`, 'redis:7-alpine', 'redis-server', '--save', ''],
    {
      timeout: 300_000,
    },
  )
  const stop = async (): Promise<void> => {
    await run('docker', ['rm', '-f', stdout.trim()])
  }
  try {
    await redisReady(port, true)
  } catch (error) {
    await stop()
    throw error
  }
  return { url: `redis://127.0.0.1:${port}`, stop }
}

/** Resolves when it answers a PING, or without `ping` takes a connection. */
async function redisReady(port: number, ping: boolean, gone: () => string | undefined = () => undefined): Promise<void> {
  let reason = 'no answer'
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(20)) {
    const dead = gone()
    if (dead !== undefined) throw new Error(dead)
    try {
      const answer = await greet(port, ping)
      // A request for credentials is also a response.
      if (!ping || answer.startsWith('+PONG') || answer.startsWith('-NOAUTH')) return
      reason = answer
    } catch (error) {
      reason = (error as Error).message
    }
  }
  throw new Error(`Redis at 127.0.0.1:${port} is not ready: ${reason}`)
}

function greet(port: number, ping: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.setTimeout(2000, () => socket.destroy(new Error('timed out')))
    socket.once('connect', () => {
      if (ping) socket.write('PING\r\n')
      else {
        resolve('')
        socket.destroy()
      }
    })
    socket.once('data', data => {
      resolve(String(data))
      socket.destroy()
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('connection closed')))
  })
}
