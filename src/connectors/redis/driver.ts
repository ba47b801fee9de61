/**
 * The interface to Redis that the redis source and sink need: commands in pipelines, a connection that may wait, and subscriptions.
 * It has two implementations: ioredis, and a SQLite file that needs no server.
 */
import { ConnectionError, DataError, EnvironmentError } from '../../contract/plugin.ts'

export type Arg = string | Buffer | number
export type Command = readonly [name: string, ...args: Arg[]]
/** Bulk strings are Buffers; status replies are Buffers or strings. */
export type Reply = null | number | string | Buffer | Reply[]

/** The server's error for one command, such as `WRONGTYPE Operation against a key…`. */
export class ReplyError extends Error {
  override readonly name = 'ReplyError'
  /** `WRONGTYPE`, `NOAUTH`, `ERR`… */
  get kind(): string {
    return this.message.slice(0, Math.max(0, this.message.indexOf(' '))) || this.message
  }
}

export interface RunOptions {
  /** All or nothing (MULTI/EXEC): the commands must use the same key. */
  readonly atomic?: boolean
  /** Does nothing and throws a `FencedError` when `key` holds another token or a later attempt. See `Driver.fence`. */
  readonly fence?: Fence
}

export interface Fence {
  readonly key: string
  /** Of the claim. */
  readonly token: string
  /**
   * Incremented after a write whose outcome is unknown. The first write with a higher number advances the fence, so commands that were sent
   * before it but reach the server after it (on a stalled connection) are rejected.
   */
  readonly attempt: number
  /** Seconds that the server keeps it; undefined: for good. */
  readonly seconds?: number
}

export interface Session {
  /**
   * Replies in order; a rejected command has its `ReplyError` there.
   * @throws {ConnectionError} the connection was lost: it is unknown which commands were executed
   */
  run(commands: readonly Command[], options?: RunOptions): Promise<(Reply | ReplyError)[]>
  close(): Promise<void>
}

export interface SubscriptionHandlers {
  /** Called for each message, in order, as fast as they arrive. The Buffers may be parts of larger ones: copy data that is kept. */
  message(channel: Buffer, payload: Buffer, pattern: string): void
  /** The subscription is lost; the connection is retried. */
  down(error: Error): void
  /** Subscribed, for the first time or again. */
  up(): void
  /** A retry will not help: wrong password or missing permission. */
  fatal(error: Error): void
}

export interface Subscription {
  /** So much data has arrived that reading must come before writing. */
  readonly pressing: boolean
  /** Pauses or resumes reading from the connection. */
  pause(paused: boolean): void
  close(): Promise<void>
}

export interface Driver extends Session {
  /** Equal for two connections to the same data: `redis:host:6379/0`, `embedded:.runner/redis.db`. */
  readonly scope: string
  /** A connection of its own, whose commands may wait (BLOCK). */
  session(): Promise<Session>
  /**
   * From now on, writes with another token for `key` are rejected. False: this server cannot do that; `RunOptions.fence` must not be used.
   * Absent: the same.
   */
  fence?(fence: Fence): Promise<boolean>
  /** Resolves when subscribed; from then on it reconnects by itself. @throws {ConnectionError | EnvironmentError} */
  subscribe(patterns: readonly string[], handlers: SubscriptionHandlers): Promise<Subscription>
  /** A text gives the reason why it is not healthy. */
  healthy(): boolean | string
}

const WAITING_HELPS = new Set([
  'READONLY',
  'LOADING',
  'OOM',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'BUSY',
  'NOREPLICAS',
  'MISCONF',
  'UNBLOCKED',
])
const ENVIRONMENT = new Set(['NOAUTH', 'WRONGPASS', 'NOPERM', 'WRONGTYPE', 'NOGROUP', 'NOPROTO', 'DENIED'])

/** The meaning of an error reply: retry, fix the environment, or reject these records. */
export function sortError(error: ReplyError, what: string): Error {
  const { kind, message } = error
  if (WAITING_HELPS.has(kind) || /max number of clients/.test(message)) return new ConnectionError(`${what}: ${message}`, error)
  if (kind === 'WRONGTYPE')
    return new EnvironmentError(`${what}: the key has another type; choose another key, or delete it (${message})`, error)
  if (kind === 'NOPERM')
    return new EnvironmentError(`${what}: permission denied; grant it to the user with ACL SETUSER (${message})`, error)
  if (ENVIRONMENT.has(kind) || /unknown (command|subcommand)|DB index|wrong number of arguments/i.test(message))
    return new EnvironmentError(`${what}: ${message}`, error)
  return new DataError(`${what}: ${message}`, error)
}

/** The only reply of one command. @throws the error of `sortError` for a rejected command */
export async function ask(session: Session, command: Command, what = command.slice(0, 2).join(' ')): Promise<Reply> {
  const [reply] = await session.run([command])
  if (reply instanceof ReplyError) throw sortError(reply, what)
  return reply
}

export const text = (reply: Reply | ReplyError | undefined): string => (Buffer.isBuffer(reply) ? reply.toString() : String(reply ?? ''))
