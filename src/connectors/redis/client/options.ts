/** The options of ioredis. */
import type { RedisOptions } from 'ioredis'
import { backoff } from '../../../kit/pause.ts'
import type { Target } from '../url.ts'
import { CONNECT_TIMEOUT, DEAD_AFTER } from './reading/protocol.ts'

export interface ClientOptions extends Omit<Target, 'tls'> {
  readonly tls: object | undefined
  readonly clientName: string
}

/** Between connection attempts. */
export const RETRY = { initial_delay: 50, max_delay: 2000 }

export function commonOptions(o: ClientOptions): RedisOptions {
  return {
    username: o.username || undefined,
    password: o.password || undefined,
    tls: o.tls,
    connectionName: o.clientName || undefined,
    protocol: 2,
    connectTimeout: CONNECT_TIMEOUT,
    socketTimeout: DEAD_AFTER,
    lazyConnect: true,
    // Callers are notified of a lost connection immediately and decide whether to retry.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    retryStrategy: times => backoff(RETRY, times, Math.random),
    // After a failover the old master is a replica, so look for the new one.
    reconnectOnError: error => error.message.startsWith('READONLY'),
  }
}

export function singleOptions(o: ClientOptions): RedisOptions {
  const common = commonOptions(o)
  if (o.kind !== 'sentinel') return { ...common, ...o.hosts[0], db: o.db }
  return {
    ...common,
    sentinels: o.hosts.map(h => ({ ...h })),
    name: o.master,
    db: o.db,
    sentinelTLS: o.tls,
    enableTLSForSentinelMode: o.tls !== undefined,
  } as RedisOptions
}
