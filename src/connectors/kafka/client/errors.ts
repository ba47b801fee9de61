/** The meaning of kafkajs' errors for the runner. */
import { ConnectionError, EnvironmentError, FencedError, PipelineError } from '../../../contract/plugin.ts'
import { type TlsAdvice, TLS_KEYS, tlsError, tlsFailure } from '../../../kit/tls-failure.ts'
import type { KafkaJSError } from './internals.ts'
import { reasonOf } from '../../../kit/system-error.ts'

/** Another producer has initialized the transactional id since. */
export const FENCED = new Set([
  'INVALID_PRODUCER_EPOCH',
  'PRODUCER_FENCED',
  'INVALID_TRANSACTIONAL_ID_MAPPING',
  'INVALID_PRODUCER_ID_MAPPING',
])

/** The leader or coordinator has moved: look it up again. */
export const STALE = new Set([
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_FOR_PARTITION',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'REPLICA_NOT_AVAILABLE',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'KAFKA_STORAGE_ERROR',
])

export const NOT_COORDINATOR = new Set([
  'NOT_COORDINATOR_FOR_GROUP',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'GROUP_LOAD_IN_PROGRESS',
  'COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR',
  'COORDINATOR_LOAD_IN_PROGRESS',
])

const AUTHORIZATION = new Set([
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
])
const FATAL = new Set([
  ...AUTHORIZATION,
  'SASL_AUTHENTICATION_FAILED',
  'UNSUPPORTED_SASL_MECHANISM',
  'UNSUPPORTED_VERSION',
  'SECURITY_DISABLED',
  'INVALID_REPLICATION_FACTOR',
  'INVALID_PARTITIONS',
  'POLICY_VIOLATION',
  'INVALID_SESSION_TIMEOUT',
  'INCONSISTENT_GROUP_PROTOCOL',
  'INVALID_TRANSACTION_TIMEOUT',
])

export const TLS_ADVICE: TlsAdvice = {
  ...TLS_KEYS,
  host: 'brokers',
  plain: 'set security_protocol: PLAINTEXT (SASL_PLAINTEXT with a login)',
  tls: 'set security_protocol: SSL (SASL_SSL with a login)',
}

export const typeOf = (error: unknown): string => {
  const e = error as KafkaJSError & { code?: unknown }
  return e?.type ?? ''
}

/** kafkajs throws a plain Error with this text for a request on a connection that broke after it was returned. */
const NOT_CONNECTED = 'Broker not connected'

/** True if it is unknown whether the broker has executed the request. */
export const connectionBroke = (error: unknown): boolean => {
  const { name, message } = (error ?? {}) as Partial<Error>
  if (message === NOT_CONNECTED || typeOf(error) === 'REQUEST_TIMED_OUT') return true
  return /KafkaJS(Connection|ConnectionClosed|RequestTimeout|BrokerNotFound|LockTimeout)/.test(name ?? '')
}

/**
 * Converts kafkajs errors to ours. `doing` completes the sentence "cannot …".
 * Wrong credentials, permissions, TLS and settings become EnvironmentError, because waiting does not help; other errors are temporary.
 */
export function toPipelineError(error: unknown, doing: string): PipelineError {
  if (error instanceof PipelineError) return error
  const e = error as KafkaJSError
  const cause = e.errors?.[0] ?? e
  const type = typeOf(cause)
  const text = `cannot ${doing}: ${reasonOf(cause)}${type && !cause.message.includes(type) ? ` (${type})` : ''}`
  if (FENCED.has(type)) return new FencedError(text, error)
  if (
    e.name === 'KafkaJSSASLAuthenticationError' ||
    /^SASL|Authentication failed/i.test(cause?.message ?? '') ||
    type === 'SASL_AUTHENTICATION_FAILED'
  ) {
    return new EnvironmentError(`${text}; check sasl_mechanism, sasl_username and sasl_password`, error)
  }
  if (AUTHORIZATION.has(type)) return new EnvironmentError(`${text}; the ACLs of the broker do not allow it`, error)
  if (FATAL.has(type)) return new EnvironmentError(text, error)
  const tls = tlsFailure(error, TLS_ADVICE)
  if (tls !== undefined) return tlsError(`cannot ${doing}`, tls, error)
  if (isForeign(cause)) return new PipelineError('PIPE_INTERNAL', text, { cause: error })
  return new ConnectionError(text, error)
}

/** Neither kafkajs' nor the system's error: a bug, which a retry does not fix. */
const isForeign = (e: KafkaJSError): boolean =>
  e?.message !== NOT_CONNECTED &&
  !/^KafkaJS|AbortError|TimeoutError/.test(e?.name ?? '') &&
  typeof (e as { code?: unknown })?.code !== 'string' &&
  e?.type === undefined
