/**
 * The parts of kafkajs that this driver uses: connections (TCP, TLS, SASL, request queue) and the requests of the protocol.
 * They are internal modules, so the version is pinned and asserted, and three things are patched.
 * The reasons for not using its producer and consumer: docs/adr/0003-record-batch-codec.md.
 */
import type { Socket } from 'node:net'
// Must be first: connection.js loads the framing of requests when it is loaded.
import './framing.ts'
import BrokerClass from 'kafkajs/src/broker/index.js'
import assigner from 'kafkajs/src/consumer/assignerProtocol.js'
import loggers from 'kafkajs/src/loggers/index.js'
import ConnectionClass from 'kafkajs/src/network/connection.js'
import ConnectionPoolClass from 'kafkajs/src/network/connectionPool.js'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import SocketRequest from 'kafkajs/src/network/requestQueue/socketRequest.js'
import socketFactory from 'kafkajs/src/network/socketFactory.js'
import EncoderClass from 'kafkajs/src/protocol/encoder.js'
import errors from 'kafkajs/src/protocol/error.js'
import apiKeys from 'kafkajs/src/protocol/requests/apiKeys.js'
import requests from 'kafkajs/src/protocol/requests/index.js'
import manifest from 'kafkajs/package.json' with { type: 'json' }
import { monotonic } from '../../../kit/clock.ts'

const VERSION = '2.2.4'

export interface KafkaJSError extends Error {
  readonly type?: string
  readonly retriable?: boolean
  readonly host?: string
  readonly port?: number
  readonly errors?: KafkaJSError[]
}
/** The result of a request's `encode`: kafkajs' Encoder, or `parts`, which our request framing joins with one copy. */
export interface Encoded {
  readonly buf: Buffer
  readonly buffer: Buffer
  readonly parts?: readonly Buffer[]
}
export interface Request<T> {
  readonly request: { apiKey: number; apiVersion: number; apiName: string; expectResponse?: () => boolean; encode(): Promise<Encoded> }
  readonly response: { decode(payload: Buffer): Promise<any>; parse(decoded: any): Promise<T> }
  readonly requestTimeout?: number
  readonly logResponseError?: boolean
}
export interface Connection {
  readonly socket?: Socket
  isConnected(): boolean
  connect(): Promise<boolean>
}
export interface ConnectionPool {
  readonly host: string
  readonly port: number
  readonly pool: Connection[]
  send<T>(request: Request<T>): Promise<T>
}
export interface Broker {
  nodeId: number | null
  versions: Record<number, { minVersion: number; maxVersion: number }> | null
  readonly connectionPool: ConnectionPool
  lookupRequest(apiKey: number, definition: unknown): (options: object) => Request<any>
  isConnected(): boolean
  connect(): Promise<void>
  disconnect(): Promise<void>
  [api: string]: any
}
export interface Encoder extends Encoded {
  writeInt8(n: number): Encoder
  writeInt16(n: number): Encoder
  writeInt32(n: number): Encoder
  writeInt64(n: number): Encoder
  writeString(s: string | null): Encoder
  writeArray(a: unknown[]): Encoder
  writeBuffer(b: Buffer): Encoder
}
export interface Internals {
  readonly Broker: new (options: object) => Broker
  readonly ConnectionPool: new (options: object) => ConnectionPool
  readonly Encoder: new (initialSize?: number) => Encoder
  readonly createLogger: (options: object) => unknown
  readonly socketFactory: () => unknown
  readonly apiKeys: Record<string, number>
  readonly requests: Record<string, unknown>
  readonly createErrorFromCode: (code: number) => KafkaJSError
  readonly MemberMetadata: { encode(m: object): Buffer; decode(b: Buffer): { topics: string[]; userData: Buffer | null } }
  readonly MemberAssignment: {
    encode(m: object): Buffer
    decode(b: Buffer): { assignment: Record<string, number[]>; userData: Buffer | null } | null
  }
}

let loaded: Internals | undefined

/** Patches kafkajs on first use. @throws when it is not the version the internals were read from. */
export function internals(): Internals {
  return (loaded ??= load())
}

function load(): Internals {
  if (manifest.version !== VERSION) throw new Error(`the Kafka driver needs kafkajs ${VERSION} exactly, found ${manifest.version}`)
  patchRequestQueue(RequestQueue, SocketRequest)
  patchConnection(ConnectionClass)
  return {
    Broker: BrokerClass,
    ConnectionPool: ConnectionPoolClass,
    Encoder: EncoderClass,
    createLogger: loggers.createLogger,
    socketFactory,
    apiKeys,
    requests: requests.requests,
    createErrorFromCode: errors.createErrorFromCode,
    MemberMetadata: assigner.MemberMetadata,
    MemberAssignment: assigner.MemberAssignment,
  }
}

/**
 * Issue 1751: after every response a timer with a negative delay is started, which Node turns into a 1 ms loop with a warning (3.7 % of a
 * core when idle). A timer is needed only while something waits.
 * Timeouts and throttling use the wall clock: setting it back by an hour would let a lost request wait for an hour.
 */
function patchRequestQueue(RequestQueue: { prototype: any }, SocketRequest: { prototype: any }): void {
  const send = SocketRequest.prototype.send as () => void
  SocketRequest.prototype.send = function (this: any): void {
    send.call(this)
    this.sentAt = monotonic()
  }
  RequestQueue.prototype.scheduleRequestTimeoutCheck = function (this: any): void {
    if (!this.enforceRequestTimeout) return
    this.destroy()
    this.requestTimeoutIntervalId = setInterval(
      () => {
        const now = monotonic()
        for (const request of this.inflight.values()) if (now - request.sentAt > request.requestTimeout) request.timeoutRequest()
        if (!this.isConnected()) this.destroy()
      },
      Math.min(this.requestTimeout, 100),
    )
  }
  RequestQueue.prototype.maybeThrottle = function (this: any, ms: number | null): void {
    if (ms !== null && ms > 0) this.throttledUntil = Math.max(this.throttledUntil, monotonic() + ms)
  }
  RequestQueue.prototype.canSendSocketRequestImmediately = function (this: any): boolean {
    const full = this.maxInFlightRequests != null && this.inflight.size >= this.maxInFlightRequests
    return !full && this.throttledUntil <= monotonic()
  }
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: any): void {
    if (this.throttleCheckTimeoutId || this.pending.length === 0) return
    const delay = Math.max(10, this.throttledUntil - monotonic())
    this.throttleCheckTimeoutId = setTimeout(() => {
      this.throttleCheckTimeoutId = null
      this.checkPendingRequests()
    }, delay)
  }
}

/** Two callers that find a connection closed would both open a socket, and one would leak. */
function patchConnection(Connection: { prototype: any }): void {
  const connect = Connection.prototype.connect as () => Promise<boolean>
  const pending = new WeakMap<object, Promise<boolean>>()
  Connection.prototype.connect = function (this: object): Promise<boolean> {
    let attempt = pending.get(this)
    if (attempt === undefined) {
      attempt = connect.call(this).finally(() => pending.delete(this))
      pending.set(this, attempt)
    }
    return attempt
  }
}
