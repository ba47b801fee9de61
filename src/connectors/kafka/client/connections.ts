/** One connection pool of kafkajs per broker address. */
import type { Logger } from '../../../contract/plugin.ts'
import { ConnectionError, EnvironmentError } from '../../../contract/plugin.ts'
import { type Broker, type ConnectionPool, internals } from './internals.ts'
import { quietLogger } from './log.ts'

export interface ClusterOptions {
  /** `host:port` each. */
  readonly brokers: readonly string[]
  readonly clientId: string
  /** TLS options of node:tls; true for the defaults; undefined: plaintext. */
  readonly ssl?: object | true
  /** kafkajs' `sasl` object. */
  readonly sasl?: object
  readonly log: Logger
  readonly connectTimeoutMs?: number
  readonly requestTimeoutMs?: number
}

export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * A broker that is frozen, or gone without a FIN, is dropped after this time, ms: by then a cluster has elected other leaders. Requests
 * that may take longer (a join) have their own limit.
 */
const REQUEST_TIMEOUT = 10_000

export class Connections {
  private readonly options: ClusterOptions
  private readonly logger: unknown
  private readonly brokers = new Map<string, Broker>()
  private readonly introduced = new WeakSet<Broker>()
  private closed = false

  constructor(options: ClusterOptions) {
    this.options = options
    this.logger = internals().createLogger({ level: 2, logCreator: () => quietLogger(options.log) })
  }

  /** A connection that can be used immediately. */
  any(): Broker | undefined {
    for (const broker of this.brokers.values()) if (this.usable(broker)) return broker
    return undefined
  }

  close(): void {
    this.closed = true
    this.dropAll()
  }

  dropAll(): void {
    for (const broker of this.brokers.values()) this.drop(broker)
  }

  /** A socket is not enough: kafkajs cannot encode a request before the broker has sent its versions. */
  usable(broker: Broker): boolean {
    return this.introduced.has(broker) && broker.isConnected()
  }

  /** @throws kafkajs' error, or ours after closing. */
  async open(address: Address): Promise<Broker> {
    if (this.closed) throw new ConnectionError('the Kafka client is closed')
    const key = `${address.host}:${address.port}`
    let broker = this.brokers.get(key)
    if (broker === undefined) {
      broker = this.create(address)
      this.brokers.set(key, broker)
    }
    if (!this.usable(broker)) {
      try {
        await broker.connect()
        this.introduced.add(broker)
      } catch (error) {
        this.drop(broker)
        throw error
      }
      if (this.closed) this.drop(broker)
    }
    return broker
  }

  /** Not connected yet. */
  create(address: Address): Broker {
    const { options } = this
    const { Broker, ConnectionPool, socketFactory } = internals()
    const connectionTimeout = options.connectTimeoutMs ?? 10_000
    const connectionPool: ConnectionPool = new ConnectionPool({
      ...address,
      sasl: options.sasl === undefined ? null : { ...options.sasl },
      ssl: options.ssl === true ? {} : (options.ssl ?? null),
      clientId: options.clientId,
      socketFactory: socketFactory(),
      connectionTimeout,
      requestTimeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT,
      enforceRequestTimeout: true,
      logger: this.logger,
      reauthenticationThreshold: 10_000,
    })
    return new Broker({ connectionPool, logger: this.logger, authenticationTimeout: connectionTimeout, allowAutoTopicCreation: false })
  }

  /** Closes one immediately; requests in flight are rejected. kafkajs' own disconnect waits for responses that may never come. */
  drop(broker: Broker): void {
    const { host, port, pool } = broker.connectionPool
    const key = `${host}:${port}`
    if (this.brokers.get(key) === broker) this.brokers.delete(key)
    for (const connection of pool as any[]) {
      if (connection.requestQueue) {
        const error = Object.assign(new Error('the connection was dropped'), {
          name: 'KafkaJSConnectionClosedError',
          retriable: true,
          host,
          port,
        })
        connection.requestQueue.rejectAll(error)
        connection.requestQueue.destroy()
      }
      connection.connectionStatus = 'disconnected'
      // With an error, because kafkajs ignores a plain close while it is still connecting.
      connection.socket?.destroy(new Error('the connection was dropped'))
    }
  }
}

/** @throws {EnvironmentError} */
export function parseAddress(text: string): Address {
  const at = text.lastIndexOf(':')
  const port = Number(text.slice(at + 1))
  if (at <= 0 || !Number.isInteger(port) || port < 1 || port > 65535)
    throw new EnvironmentError(`"${text}" is not a broker address; write host:port`)
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port }
}
