/** The servers of the fault matrix. The runner reaches each through a proxy; what feeds and what checks goes straight to it. */
import { createServer, type Server } from 'node:http'
import { freePorts } from '../../support/servers/ports.ts'
import { type KafkaCluster, startKafkaCluster } from '../../support/servers/cluster.ts'
import { type KafkaServer, startKafka } from '../../support/servers/kafka.ts'
import { KAFKA_RELEASES } from '../../support/servers/java.ts'
import { type PostgresServer, startPostgres } from '../../support/servers/postgres.ts'
import { startRedis } from '../../support/servers/redis.ts'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy.ts'
import { type KafkaProxy, startKafkaProxy } from '../lib/kafka-proxy.ts'
import { type ClientPeer, clientPeer, type FeedPeer, feedPeer, type SheetsPeer, sheetsPeer } from './web-peers.ts'

export type PeerName = 'kafka' | 'postgres' | 'redis' | 'http' | 'feed' | 'client' | 'sheets'
export type KafkaLine = keyof typeof KAFKA_RELEASES

export interface Peer {
  /** Where the runner connects to: the proxy. */
  readonly address: string
  readonly port: number
  /** The server itself. */
  readonly direct: string
  readonly proxy: TcpProxy
  kill(): Promise<void>
  /** After `kill`, or with an orderly stop before it. */
  restart(): Promise<void>
  pause(): void
  resume(): void
  stop(): Promise<void>
}

export interface KafkaPeer extends Peer {
  readonly strikes: KafkaProxy
}

export interface PostgresPeer extends Peer {
  readonly server: PostgresServer
}

export interface Delivered {
  readonly path: string
  readonly body: string
  readonly idempotencyKey: string
}

export interface HttpPeer extends Peer {
  readonly delivered: Delivered[]
  /** Status of the answers; 0: takes the request, keeps it, and breaks the connection. */
  status: number
}

export interface ClusterPeer {
  /** Of all brokers, for the runner. */
  readonly address: string
  /** Of those that are not paused or killed. */
  readonly direct: string
  readonly cluster: KafkaCluster
  /** Out of the reach of what feeds and checks, until `back`. */
  away(server: KafkaServer): void
  back(server: KafkaServer): void
}

/** Each server starts when the first pair asks for it. */
export class Peers {
  private readonly started = new Map<PeerName, Promise<Peer>>()
  readonly line: KafkaLine

  constructor(line: KafkaLine) {
    this.line = line
  }

  private three: Promise<ClusterPeer> | undefined
  cluster = (): Promise<ClusterPeer> => (this.three ??= clusterPeer(this.line))
  kafka = (): Promise<KafkaPeer> => this.one('kafka', () => kafkaPeer(this.line))
  postgres = (): Promise<PostgresPeer> => this.one('postgres', postgresPeer)
  redis = (): Promise<Peer> => this.one('redis', redisPeer)
  http = (): Promise<HttpPeer> => this.one('http', httpPeer)
  feed = (): Promise<FeedPeer> => this.one('feed', feedPeer)
  client = (): Promise<ClientPeer> => this.one('client', clientPeer)
  sheets = (): Promise<SheetsPeer> => this.one('sheets', sheetsPeer)

  named(name: PeerName): Promise<Peer> {
    return this[name]()
  }

  async stop(): Promise<void> {
    for (const starting of this.started.values()) {
      const peer = await starting.catch(() => undefined)
      peer?.resume()
      await peer?.proxy.stop()
      await peer?.stop()
    }
    await (await this.three?.catch(() => undefined))?.cluster.stop()
  }

  private async one<P extends Peer>(name: PeerName, start: () => Promise<P>): Promise<P> {
    const found = this.started.get(name) ?? start()
    this.started.set(name, found)
    return (await found) as P
  }
}

async function kafkaPeer(line: KafkaLine): Promise<KafkaPeer> {
  const [direct, behind, controller, front] = await freePorts(4)
  const strikes = await startKafkaProxy(() => behind)
  const proxy = await startProxy(`127.0.0.1:${strikes.port}`, front)
  // A client of the second listener gets the port of the proxy.
  const server = await startKafka({
    port: direct,
    version: KAFKA_RELEASES[line],
    properties: {
      'controller.quorum.voters': `1@127.0.0.1:${controller}`,
      listeners: `PLAINTEXT://127.0.0.1:${direct},PROXIED://127.0.0.1:${behind},CONTROLLER://127.0.0.1:${controller}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${direct},PROXIED://127.0.0.1:${front}`,
      'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT',
    },
  })
  return {
    address: proxy.address,
    port: front,
    direct: server.brokers,
    proxy,
    strikes,
    kill: () => server.kill(),
    restart: () => server.restart(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    async stop() {
      await strikes.stop()
      await server.stop()
    },
  }
}

async function clusterPeer(line: KafkaLine): Promise<ClusterPeer> {
  const cluster = await startKafkaCluster({ version: KAFKA_RELEASES[line] })
  const gone = new Set<KafkaServer>()
  return {
    address: cluster.brokers,
    get direct() {
      return cluster.servers
        .filter(server => !gone.has(server))
        .map(server => server.brokers)
        .join()
    },
    cluster,
    away: server => void gone.add(server),
    back: server => void gone.delete(server),
  }
}

async function postgresPeer(): Promise<PostgresPeer> {
  const server = await startPostgres()
  const proxy = await startProxy(`127.0.0.1:${server.port}`)
  return {
    address: proxy.address,
    port: proxy.port,
    direct: `127.0.0.1:${server.port}`,
    proxy,
    server,
    kill: () => server.kill(),
    async restart() {
      if (server.pid !== 0) await server.immediate()
      await server.start()
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
    stop: () => server.stop(),
  }
}

/** Every command is in its log before it is answered: a killed one forgets nothing. */
async function redisPeer(): Promise<Peer> {
  const server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const proxy = await startProxy(`127.0.0.1:${server.port}`)
  return {
    address: proxy.address,
    port: proxy.port,
    direct: server.url,
    proxy,
    kill: () => server.kill(),
    restart: () => server.restart(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    stop: () => server.stop(),
  }
}

async function httpPeer(): Promise<HttpPeer> {
  const delivered: Delivered[] = []
  const [port] = await freePorts(1)
  let server: Server
  let held: (() => void)[] | undefined
  const peer = { status: 200 }
  const listen = (): Promise<void> => {
    server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('error', () => {})
      request.on('end', () => {
        const answer = (): void => {
          if (peer.status === 503) return void response.writeHead(503).end()
          delivered.push({
            path: request.url ?? '',
            body: Buffer.concat(chunks).toString(),
            idempotencyKey: String(request.headers['idempotency-key'] ?? ''),
          })
          if (peer.status === 0) request.socket.resetAndDestroy()
          else response.writeHead(200).end()
        }
        if (held) held.push(answer)
        else answer()
      })
    })
    return new Promise((resolve, reject) => void server.once('error', reject).listen(port, '127.0.0.1', () => resolve()))
  }
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
  await listen()
  const proxy = await startProxy(`127.0.0.1:${port}`)
  return Object.assign(peer, {
    address: proxy.address,
    port: proxy.port,
    direct: `127.0.0.1:${port}`,
    proxy,
    delivered,
    kill: close,
    async restart() {
      if (server.listening) await close()
      await listen()
    },
    pause: () => void (held = []),
    resume() {
      const waiting = held ?? []
      held = undefined
      for (const answer of waiting) answer()
    },
    stop: close,
  })
}
