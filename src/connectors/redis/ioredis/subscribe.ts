/** A Pub/Sub connection that comes back by itself and says when it was away. */
import type { Socket } from 'node:net'
import type { Redis, RedisOptions } from 'ioredis'
import { EnvironmentError } from '../../../plugin.ts'
import { ReplyError, type Subscription, type SubscriptionHandlers } from '../driver.ts'
import { PushReader } from './push-reader.ts'

/** A silent connection is asked so often whether it lives, ms; after so long without an answer it is taken for dead. */
const PING_EVERY = 5000
const DEAD_AFTER = 15_000
const RETRY_MIN = 50
const RETRY_MAX = 2000
/** Unparsed bytes from which on reading comes first. */
const PRESSING = 256 * 1024

/**
 * A new client for each attempt: what the old one had subscribed, queued or seen counts for nothing. It connects and logs in;
 * from then on the socket is ours.
 * @param make makes an unconnected one
 */
export async function subscribe(
  make: (extra: RedisOptions) => Redis,
  patterns: readonly string[],
  handlers: SubscriptionHandlers,
  explain: (error: Error) => Error,
): Promise<Subscription> {
  let client: Redis | undefined
  let reader: PushReader | undefined
  let closed = false
  let paused = false
  let attempts = 0
  let retry: NodeJS.Timeout | undefined
  let ping: NodeJS.Timeout | undefined

  const start = async (): Promise<void> => {
    const mine = make({ retryStrategy: () => null, autoResubscribe: false })
    client = mine
    let cause: Error | undefined
    let live = false
    const ended = Promise.withResolvers<never>()
    ended.promise.catch(() => {})
    mine.on('error', (error: Error) => void (cause = error))
    mine.on('end', () => {
      clearInterval(ping)
      if (!closed && client === mine) reader?.finish()
      const error = explain(cause ?? new Error('the server closed the connection'))
      ended.reject(error)
      if (!live || closed || client !== mine) return
      live = false
      handlers.down(error)
      again()
    })
    try {
      await mine.connect()
      // Answered in order: after it nothing of the client's own is on its way.
      await mine.ping()
      const socket = socketOf(mine)
      socket.removeAllListeners('data')
      const subscribed = Promise.withResolvers<void>()
      let missing = patterns.length
      reader = new PushReader(socket, {
        message: handlers.message,
        subscribed: () => void (--missing === 0 && subscribed.resolve()),
        refused: message => subscribed.reject(explain(new ReplyError(message))),
      })
      socket.write(command(['PSUBSCRIBE', ...patterns]))
      await Promise.race([subscribed.promise, ended.promise])
      if (closed) return mine.disconnect()
      live = true
      attempts = 0
      if (paused) socket.pause()
      ping = watch(socket, () => paused)
    } catch (error) {
      mine.disconnect()
      throw explain(cause ?? (error as Error))
    }
  }
  const again = (): void => {
    const delay = Math.min(RETRY_MAX, RETRY_MIN * 2 ** Math.min(attempts++, 8)) * (0.5 + Math.random() / 2)
    retry = setTimeout(() => {
      start().then(
        () => {
          if (!closed) handlers.up()
        },
        (error: Error) => {
          if (closed) return
          if (error instanceof EnvironmentError) handlers.fatal(error)
          else again()
        },
      )
    }, delay)
  }

  await start()
  return {
    get pressing() {
      return reader !== undefined && reader.waiting > PRESSING
    },
    pause(stop) {
      paused = stop
      if (client === undefined || client.status !== 'ready') return
      if (stop) socketOf(client).pause()
      else socketOf(client).resume()
    },
    async close() {
      closed = true
      clearTimeout(retry)
      clearInterval(ping)
      client?.disconnect()
    },
  }
}

const socketOf = (client: Redis): Socket => (client as unknown as { stream: Socket }).stream

const command = (args: readonly string[]): string => `*${args.length}\r\n${args.map(a => `$${Buffer.byteLength(a)}\r\n${a}\r\n`).join('')}`

/** Without it a peer that has vanished without a word would be waited for for hours. */
function watch(socket: Socket, paused: () => boolean): NodeJS.Timeout {
  let bytes = socket.bytesRead
  let heard = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    if (socket.bytesRead !== bytes || paused()) {
      bytes = socket.bytesRead
      heard = now
    }
    if (now - heard > DEAD_AFTER) socket.destroy(new Error(`no answer for ${DEAD_AFTER / 1000} s`))
    else socket.write(command(['PING']))
  }, PING_EVERY)
  timer.unref()
  return timer
}
