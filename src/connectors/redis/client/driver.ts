/** Redis through ioredis: a single server, behind sentinels, or a cluster. */
import type { Socket } from 'node:net'
import { type ClusterOptions, Cluster, Redis } from 'ioredis'
import { ConnectionError, EnvironmentError, FencedError } from '../../../contract/plugin.ts'
import {
  type Command,
  type Driver,
  type Fence,
  type Reply,
  ReplyError,
  type RunOptions,
  type Session,
  sortError,
  type Subscription,
  type SubscriptionHandlers,
  text,
} from '../driver.ts'
import { PeerWatch } from '../../../kit/peer-watch.ts'
import { closedFailure, tlsError, tlsFailure } from '../../../kit/tls-failure.ts'
import { nameOf, TLS_ADVICE } from '../url.ts'
import { type ClientOptions, commonOptions, singleOptions } from './options.ts'
import { CONNECT_TIMEOUT } from './reading/protocol.ts'
import { slotOf } from './slot.ts'
import type { Address } from './reading/protocol.ts'
import { subscribe } from './reading/subscribe.ts'
import { reasonOf } from '../../../kit/system-error.ts'

type Client = Redis | Cluster

export class IoredisDriver implements Driver {
  readonly scope: string
  private readonly options: ClientOptions
  private readonly client: Client
  private readonly watch = new PeerWatch(() => this.ping())

  constructor(options: ClientOptions) {
    this.options = options
    this.scope = nameOf({ ...options, tls: options.tls !== undefined })
    this.client = makeClient(options)
  }

  /** @throws {ConnectionError | EnvironmentError} */
  async connect(): Promise<void> {
    await open(this.client, this.options, this.scope)
  }

  /** Not in a cluster: a script may use keys of one slot only, and the token is in one slot. */
  async fence(fence: Fence): Promise<boolean> {
    if (this.client instanceof Cluster) return false
    for (;;) {
      const [held] = await this.run([['GET', fence.key]])
      const [reply] =
        held instanceof ReplyError ? [held] : await this.run([['EVAL', CLAIM, 1, fence.key, text(held), heldAs(fence), lifeOf(fence)]])
      if (!(reply instanceof ReplyError)) {
        if (reply === 1) return true
        continue
      }
      const error = sortError(reply, fence.key)
      if (error instanceof ConnectionError) throw error
      // The user may not run scripts, or not use the key.
      return false
    }
  }

  async run(commands: readonly Command[], options: RunOptions = {}): Promise<(Reply | ReplyError)[]> {
    const { fence } = options
    const replies =
      fence && commands.length > 0
        ? await runFenced(this.client, commands, fence, this.scope)
        : await run(this.client, commands, options, this.scope)
    this.watch.answered()
    return replies
  }

  async session(): Promise<Session> {
    const client = makeClient(this.options)
    try {
      await open(client, this.options, this.scope)
    } catch (error) {
      client.disconnect()
      throw error
    }
    return {
      run: (commands, options = {}) => run(client, commands, options, this.scope),
      close: async () => client.disconnect(),
    }
  }

  subscribe(patterns: readonly string[], handlers: SubscriptionHandlers): Promise<Subscription> {
    let turn = 0
    const find = async (): Promise<Address> => {
      const { options, scope } = this
      // Every node of a cluster forwards messages published on any other.
      return options.kind === 'sentinel' ? await findMaster(options, scope) : options.hosts[turn++ % options.hosts.length]
    }
    return subscribe(this.options, find, patterns, handlers, error => explain(error, this.scope))
  }

  healthy(): true | string {
    return this.client.status === 'ready' ? this.watch.look() : `${this.scope}: not connected`
  }

  /** Any reply is enough, also an error: the user may lack the permission for PING. */
  private async ping(): Promise<void> {
    await run(this.client, [['PING']], {}, this.scope)
  }

  async close(): Promise<void> {
    this.client.disconnect()
  }
}

function makeClient(o: ClientOptions): Client {
  let client: Client
  if (o.kind === 'cluster') {
    const options: ClusterOptions = {
      lazyConnect: true,
      redisOptions: commonOptions(o) as ClusterOptions['redisOptions'],
      enableOfflineQueue: true,
      slotsRefreshTimeout: CONNECT_TIMEOUT,
    }
    client = new Cluster(
      o.hosts.map(h => ({ ...h })),
      options,
    )
  } else client = new Redis(singleOptions(o))
  // Reported by the commands in flight.
  client.on('error', () => {})
  return client
}

/** Asks the sentinels by connecting: the server that they name must confirm that it is the master. */
async function findMaster(options: ClientOptions, name: string): Promise<Address> {
  const client = new Redis({ ...singleOptions(options), retryStrategy: () => null, sentinelRetryStrategy: () => null })
  try {
    await open(client, options, name)
    const { remoteAddress, remotePort } = (client as unknown as { stream: Socket }).stream
    return { host: remoteAddress!, port: remotePort! }
  } finally {
    client.disconnect()
  }
}

/** A first connection: errors are reported instead of retried silently. */
async function open(client: Client, { db, tls }: ClientOptions, name: string): Promise<void> {
  let last: Error | undefined
  const note = (error: Error): void => void (last = error)
  client.on('error', note)
  try {
    await client.connect()
    // ioredis continues in database 0 when the server rejects the selected one.
    if (db !== 0) await client.select(db)
  } catch (error) {
    const failure = closedFailure(last ?? error, TLS_ADVICE, tls !== undefined)
    if (failure !== undefined) throw tlsError(name, failure, last ?? error)
    throw explain(last ?? (error as Error), name)
  } finally {
    client.off('error', note)
  }
}

async function run(
  client: Client,
  commands: readonly Command[],
  { atomic = false }: RunOptions,
  name: string,
): Promise<(Reply | ReplyError)[]> {
  if (commands.length === 0) return []
  if (!(client instanceof Cluster)) return await pipeline(client, commands, atomic, name)
  if (atomic) return await pipeline(client, commands, true, name)
  // A pipeline is sent to one node.
  const bySlot = new Map<number, number[]>()
  commands.forEach((command, i) => {
    const slot = slotOf(command)
    const list = bySlot.get(slot)
    if (list === undefined) bySlot.set(slot, [i])
    else list.push(i)
  })
  const replies: (Reply | ReplyError)[] = Array.from({ length: commands.length }, () => null)
  await Promise.all(
    [...bySlot.values()].map(async indexes => {
      const some = await pipeline(
        client,
        indexes.map(i => commands[i]),
        false,
        name,
      )
      indexes.forEach((i, n) => (replies[i] = some[n]))
    }),
  )
  return replies
}

/** A claim that reaches the server after a newer one (on a stalled connection) changes nothing. */
const CLAIM = `
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1`

/**
 * Executes all commands, or none when the token belongs to another instance or the attempt is over. A higher attempt advances the fence. A
 * missing key (a server that lost its data) is set again.
 */
const FENCED_WRITES = `
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then
  if held then
    local token, attempt = string.match(held, '^(.*):(%d+)$')
    local own, given = string.match(ARGV[1], '^(.*):(%d+)$')
    if token ~= own then return redis.error_reply('FENCED another instance has claimed the lane') end
    if tonumber(attempt) > tonumber(given) then return redis.error_reply('FENCED the write was given up, and was repeated') end
  end
  if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
end
local replies = {}
local i = 3
while i <= #ARGV do
  local n = tonumber(ARGV[i])
  replies[#replies + 1] = redis.pcall(unpack(ARGV, i + 1, i + n))
  i = i + n + 1
end
return replies`

const heldAs = ({ token, attempt }: Fence): string => `${token}:${attempt}`
const lifeOf = ({ seconds }: Fence): number | string => seconds ?? ''

async function runFenced(client: Client, commands: readonly Command[], fence: Fence, name: string): Promise<(Reply | ReplyError)[]> {
  const args = commands.flatMap(command => [command.length, ...command])
  const [reply] = await run(client, [['EVAL', FENCED_WRITES, 1, fence.key, heldAs(fence), lifeOf(fence), ...args]], {}, name)
  if (reply instanceof ReplyError) {
    if (reply.kind === 'FENCED') throw new FencedError(`${name}: ${reply.message.slice('FENCED '.length)}`)
    throw sortError(reply, name)
  }
  return (reply as unknown[]).map(r => (r instanceof Error ? new ReplyError(r.message) : (r as Reply)))
}

interface Pipe {
  callBuffer(name: string, ...args: unknown[]): Pipe
  exec(): Promise<[Error | null, unknown][] | null>
  execBuffer(): Promise<[Error | null, unknown][] | null>
}

async function pipeline(client: Client, commands: readonly Command[], atomic: boolean, name: string): Promise<(Reply | ReplyError)[]> {
  const pipe = (atomic ? client.multi() : client.pipeline()) as unknown as Pipe
  for (const [command, ...args] of commands) pipe.callBuffer(command, ...args)
  let results: [Error | null, unknown][] | null
  try {
    results = await pipe.exec()
  } catch (error) {
    const { previousErrors } = error as { previousErrors?: Error[] }
    const cause = previousErrors?.[0] ?? (error as Error)
    if (isReply(cause)) return commands.map(() => new ReplyError(cause.message))
    throw explain(cause, name)
  }
  if (results === null) throw new ConnectionError(`${name}: the transaction was aborted`)
  return results.map(([error, reply]) => {
    if (!error) return reply as Reply
    if (!isReply(error)) throw explain(error, name)
    return new ReplyError(error.message)
  })
}

const isReply = (error: Error): boolean => error.name === 'ReplyError'

function explain(error: Error, name: string): Error {
  if (error instanceof EnvironmentError || error instanceof ConnectionError) return error
  // A cluster reports the errors of its nodes; the last one has the cause.
  const { lastNodeError } = error as { lastNodeError?: Error }
  if (lastNodeError) return explain(lastNodeError, name)
  if (isReply(error)) return sortError(new ReplyError(error.message), name)
  const tls = tlsFailure(error, TLS_ADVICE)
  if (tls !== undefined) return tlsError(name, tls, error)
  return new ConnectionError(`${name}: ${reasonOf(error) || 'no answer'}`, error)
}
