/** Serves messages to WebSocket clients, such as browsers. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { WebSocket } from 'ws'
import type { WebsocketServerSinkConfig } from '../../generated/config-types.ts'
import { compile } from '../../expressions/index.ts'
import {
  BatchError,
  type ConfigProblem,
  type Context,
  type Counter,
  DataError,
  defineSink,
  encodeJson,
  EnvironmentError,
  type Message,
  type CheckResult,
  type Sink,
} from '../../contract/plugin.ts'
import { logOnce } from '../../kit/said-once.ts'
import type { Attachment } from '../../kit/http/listener.ts'
import { isLoopback } from '../../kit/http/loopback.ts'
import { checkPort } from '../../kit/http/check-port.ts'
import { show } from '../../kit/values/fields.ts'
import { Client, type ClientHost } from './client.ts'
import { Ring } from './ring.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import hosts from '../../kit/keys/hosts.schema.json' with { type: 'json' }
import schema from './sink.schema.json' with { type: 'json' }

export default defineSink<WebsocketServerSinkConfig>({
  type: 'websocket_server',
  schema: withKeys(schema, hosts),
  onRedelivery: 'ephemeral',
  reason: 'only connected clients, and clients that reconnect while it is buffered, receive a message',
  validateConfig({ host, token, allow_unauthenticated, path, page }): ConfigProblem[] {
    const problems: ConfigProblem[] = []
    if (!isLoopback(host) && token === '' && !allow_unauthenticated) {
      const message = `${host} is reachable from other machines, and any of them could listen: set token, or allow_unauthenticated: true`
      problems.push({ path: ['host'], message, suggestion: '127.0.0.1' })
    }
    if (page !== undefined && path === '/')
      problems.push({ path: ['path'], message: '/ is the path of the page; choose another path', suggestion: '/ws' })
    return problems
  },
  check: checkServer,
  preview(config) {
    const topicOf = topicReader(config)
    return m => ({ topic: topicOf(m), key: m.encodeKey(), value: dataOf(m) })
  },
  create,
})

/** Of `close`, ms: clients that do not answer are disconnected. */
const CLOSE_TIMEOUT = 500

/** Messages sent per turn of the event loop. */
const TURN = 100

function create(config: WebsocketServerSinkConfig, ctx: Context): Sink {
  const meters = metersOf(ctx)
  const sayDropped = logOnce(ctx.log, ctx.step)
  const sayUnread = logOnce(ctx.log, ctx.step)
  const topicOf = topicReader(config)
  // Without a dash, which separates the number.
  const session = randomBytes(6).toString('hex')
  const clients = new Map<WebSocket, Client>()
  const ring = new Ring(
    config.ring,
    config.ring_size,
    entry => {
      for (const client of clients.values()) client.leaving(entry)
    },
    n => {
      for (const client of clients.values()) client.cut(n)
    },
  )
  const host: ClientHost = {
    ring,
    session,
    buffer: config.client_buffer,
    disconnectSlow: config.on_slow_client === 'disconnect',
    sent: () => meters.sent.inc(),
    dropped: () => {
      meters.dropped.inc()
      sayDropped(() => ({
        details: { ring_size: config.ring_size },
        message: 'a client was too slow: a message left the ring before the client received it; the client was notified of the gap',
      }))
    },
    tooSlow: () => meters.closed('slow').inc(),
    unread() {
      meters.closed('unread').inc()
      sayUnread(() => ({ details: {}, message: 'a client sent requests without reading the responses: its connection was closed' }))
    },
  }
  let attachment: Attachment | undefined
  let heartbeat: NodeJS.Timeout | undefined

  const accept = (socket: WebSocket): void => {
    const client = new Client(socket, host)
    clients.set(socket, client)
    meters.clients.set(clients.size)
    socket.on('message', data => client.hear(String(data as Buffer)))
    socket.on('ping', data => client.pong(data))
    socket.on('pong', () => (client.alive = true))
    // The close event that follows reports the reason.
    socket.on('error', () => {})
    socket.on('close', () => {
      clients.delete(socket)
      meters.clients.set(clients.size)
    })
  }
  let beatAt = performance.now()
  const beat = (): void => {
    // This process was frozen: the answers are still to be read.
    const late = performance.now() - beatAt > 2 * config.heartbeat
    beatAt = performance.now()
    for (const [socket, client] of clients) {
      if (!client.alive && !late) {
        meters.closed('silent').inc()
        socket.terminate()
        continue
      }
      client.alive = false
      socket.ping()
    }
  }

  return {
    async open() {
      if (attachment) return
      if (config.page !== undefined && !existsSync(config.page))
        throw new EnvironmentError(`page: ${config.page} does not exist; correct the path`)
      const { attach } = await import('../../kit/http/listener.ts')
      const { routes } = await import('./routes.ts')
      const owner = `sink '${ctx.step}' of pipeline '${ctx.pipeline}'`
      const admission = {
        accept,
        full: () => clients.size >= config.max_clients,
        rejected: (reason: string) => meters.rejected(reason).inc(),
      }
      attachment = await attach(config.host, config.port, await routes(config, owner, admission), {
        what: owner,
        advice: 'Set port to a free one.',
      })
      if (config.heartbeat > 0) heartbeat = setInterval(beat, config.heartbeat).unref()
    },

    async write(messages) {
      const failed = new Map<number, Error>()
      for (const [i, m] of messages.entries()) {
        // Sockets drain only between turns: a client that keeps up must not lose messages because of a large batch.
        if (i % TURN === TURN - 1 && clients.size > 0) await new Promise(resolve => setImmediate(resolve))
        try {
          const n = ring.last + 1
          const topic = topicOf(m)
          const data = dataOf(m)
          const head = JSON.stringify({ type: 'message', id: `${session}-${n}`, topic, key: m.key, time: m.time })
          ring.add({ n, topic, key: m.key, data: Buffer.from(`${head.slice(0, -1)},"data":${data}}`), holders: 0 })
          for (const client of clients.values()) client.sendNext()
        } catch (error) {
          if (!(error instanceof DataError)) throw error
          failed.set(i, error)
        }
      }
      if (failed.size > 0) throw new BatchError(failed)
    },

    healthy: () => attachment !== undefined,

    async close() {
      clearInterval(heartbeat)
      const closing = attachment
      attachment = undefined
      if (!closing) return
      const gone = [...clients.keys()].map(socket => new Promise(resolve => socket.once('close', resolve)))
      for (const socket of clients.keys()) socket.close(1001, 'going away')
      const cut = setTimeout(() => {
        for (const socket of clients.keys()) socket.terminate()
      }, CLOSE_TIMEOUT)
      await Promise.all(gone)
      clearTimeout(cut)
      await closing.detach()
    },
  }
}

async function checkServer(config: WebsocketServerSinkConfig): Promise<CheckResult[]> {
  const { page } = config
  const findings = await checkPort(config)
  if (page === undefined) return findings
  const there = existsSync(page)
  return [...findings, { what: `page ${page}`, ok: there, ...(there ? {} : { detail: 'does not exist', fix: `ls -l ${page}` }) }]
}

function topicReader({ topic }: WebsocketServerSinkConfig): (m: Message) => string {
  const expression = compile(topic)
  return m => {
    const name = expression.evaluate(m)
    if (typeof name === 'string' && name !== '') return name
    throw new DataError(`topic: '${topic}' gave ${show(name)}, but a topic must be text and not empty`)
  }
}

/** The value as JSON text. */
function dataOf(m: Message): string {
  if (!m.changed && m.origin?.format === 'json' && m.payload !== null) return m.payload.toString()
  const { value } = m
  if (Buffer.isBuffer(value)) throw new DataError('bytes cannot be sent as JSON')
  return encodeJson(value ?? null)
}

interface Meters {
  readonly clients: { set(n: number): void }
  readonly sent: Counter
  readonly dropped: Counter
  closed(reason: string): Counter
  rejected(reason: string): Counter
}

function metersOf({ metrics, pipeline, step }: Context): Meters {
  const labels = { pipeline, step }
  const of = (name: string, help: string) => (reason: string) => metrics.counter(name, help, { ...labels, reason })
  return {
    clients: metrics.gauge('runner_websocket_clients', 'Connected clients', labels),
    sent: metrics.counter('runner_websocket_sent_total', 'Messages sent, over all clients', labels),
    dropped: metrics.counter(
      'runner_websocket_dropped_total',
      'Messages missed by slow clients, over all clients',
      labels,
      'missed_by_clients',
    ),
    closed: of('runner_websocket_closed_total', 'Connections closed by the server, by reason'),
    rejected: of('runner_websocket_refused_total', 'Clients not admitted, by reason'),
  }
}
