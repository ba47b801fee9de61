/** What ioredis is told. */
import type { RedisOptions } from 'ioredis'
import type { Target } from '../url.ts'

export interface ClientOptions extends Omit<Target, 'tls'> {
  readonly tls: object | undefined
  readonly clientName: string
}

/** Without an answer for so long a connection is taken for dead, ms. */
export const DEAD_AFTER = 15_000
export const CONNECT_TIMEOUT = 5000

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
    // Whoever waits hears of a lost connection at once and decides for himself whether to try again.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    retryStrategy: times => Math.min(2000, 50 * 2 ** Math.min(times, 6)) * (0.5 + Math.random() / 2),
    // After a failover the old master is a replica: look for the new one.
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
