/** A Pub/Sub connection that comes back by itself and says when it was away. */
import type { Redis, RedisOptions } from 'ioredis'
import { EnvironmentError } from '../../../plugin.ts'
import type { Subscription, SubscriptionHandlers } from '../driver.ts'

/** A silent connection is asked so often whether it lives, ms. */
const PING_EVERY = 5000
const RETRY_MIN = 50
const RETRY_MAX = 2000

/**
 * A new client for each attempt: what the old one had subscribed, queued or seen counts for nothing.
 * `make` makes an unconnected one.
 */
export async function subscribe(
  make: (extra: RedisOptions) => Redis,
  patterns: readonly string[],
  handlers: SubscriptionHandlers,
  explain: (error: Error) => Error,
): Promise<Subscription> {
  let client: Redis | undefined
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
    mine.on('error', (error: Error) => void (cause = error))
    mine.on('pmessageBuffer', (pattern: Buffer | string, channel: Buffer, payload: Buffer) =>
      handlers.message(channel, payload, String(pattern)),
    )
    mine.on('end', () => {
      clearInterval(ping)
      if (!live || closed || client !== mine) return
      live = false
      handlers.down(explain(cause ?? new Error('the server closed the connection')))
      again()
    })
    try {
      await mine.connect()
      await mine.psubscribe(...patterns)
    } catch (error) {
      mine.disconnect()
      throw explain(cause ?? (error as Error))
    }
    if (closed) return mine.disconnect()
    live = true
    attempts = 0
    if (paused) stream(mine)?.pause()
    // Without it a peer that has vanished without a word would be waited for for hours.
    ping = setInterval(() => void mine.ping().catch(() => {}), PING_EVERY)
    ping.unref()
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
    pause(stop) {
      paused = stop
      if (stop) stream(client)?.pause()
      else stream(client)?.resume()
    },
    async close() {
      closed = true
      clearTimeout(retry)
      clearInterval(ping)
      client?.disconnect()
    },
  }
}

const stream = (client: Redis | undefined): { pause(): void; resume(): void } | undefined =>
  (client as unknown as { stream?: { pause(): void; resume(): void } } | undefined)?.stream
