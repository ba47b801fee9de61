/** A Pub/Sub connection that reconnects by itself and reports its gaps. */
import { setTimeout as sleep } from 'node:timers/promises'
import { EnvironmentError } from '../../../../contract/plugin.ts'
import { InputAccount } from '../../../../kit/limits.ts'
import { backoff } from '../../../../kit/pause.ts'
import { ReplyError, type Subscription, type SubscriptionHandlers } from '../../driver.ts'
import { type ClientOptions, RETRY } from '../options.ts'
import { type Connection, ReadingThread } from './connection.ts'
import { type Address, command } from './protocol.ts'
import { PushReader } from './push-reader.ts'

/** From this many unparsed bytes on, parsing takes precedence. */
const PRESSING = 256 * 1024
/** How long closing waits for data that was read, ms. */
const LAST_BYTES = 2000

/** Errors for a login that is not needed, and for a client name that the user may not set: both are optional. */
const NO_PASSWORD = /no password is set|without any password configured/
const NO_NAME = /^(NOPERM|ERR unknown)/

/**
 * A new connection for each attempt, so that nothing subscribed or queued on the old one remains.
 * @param find finds the present address
 */
export async function subscribe(
  options: ClientOptions,
  find: () => Promise<Address>,
  patterns: readonly string[],
  handlers: SubscriptionHandlers,
  explain: (error: Error) => Error,
): Promise<Subscription> {
  const thread = new ReadingThread()
  let connection: Connection | undefined
  let reader: PushReader | undefined
  let over: Promise<void> = Promise.resolve()
  let closed = false
  let paused = false
  let throttled = false
  let attempts = 0
  let retry: NodeJS.Timeout | undefined

  const login = options.password ? [['AUTH', ...(options.username ? [options.username] : []), options.password]] : []
  const name = options.clientName ? [['CLIENT', 'SETNAME', options.clientName]] : []
  const greeting = [...login, ...name, ['PSUBSCRIBE', ...patterns]].map(command).join('')

  const start = async (): Promise<void> => {
    const address = await find()
    if (closed) return
    let cause: Error | undefined
    let live = false
    let missing = patterns.length
    const tolerated = [...login.map(() => NO_PASSWORD), ...name.map(() => NO_NAME)]
    const subscribed = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<void>()
    over = ended.promise
    const give = (error: Error): void => {
      cause ??= error
      mine.close()
    }
    const parser = new PushReader({
      message: handlers.message,
      subscribed: () => void (--missing === 0 && subscribed.resolve()),
      answered(rejection) {
        const may = tolerated.shift()
        if (rejection !== undefined && may?.test(rejection) !== true) give(new ReplyError(rejection))
      },
      failed: give,
      parsed(bytes) {
        account.add(-bytes)
        mine.parsed(bytes)
        throttle()
      },
    })
    // Bytes that are not parsed count as input. Beyond the limit, reading waits for parsing, whose queue then makes room as it is set.
    const account = new InputAccount()
    throttled = false
    const throttle = (): void => {
      if (throttled === (parser.ready && !account.fits(0))) return
      throttled = !throttled
      if (!paused) mine.pause(throttled)
    }
    const mine = thread.connect(address, options.tls, greeting, {
      data(bytes) {
        account.add(bytes.length)
        parser.take(bytes)
        throttle()
      },
      ended(why) {
        parser.finish()
        account.add(-account.bytes)
        ended.resolve()
        const error = explain(cause ?? why)
        subscribed.reject(error)
        if (!live || closed) return
        handlers.down(error)
        again()
      },
    })
    reader = parser
    connection = mine
    await subscribed.promise
    live = true
    attempts = 0
    if (paused) pause(true)
  }
  const pause = (stop: boolean): void => {
    paused = stop
    connection?.pause(stop || throttled)
    reader?.pause(stop)
  }
  const again = (): void => {
    retry = setTimeout(
      () => {
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
      },
      backoff(RETRY, attempts++, Math.random),
    )
  }

  try {
    await start()
  } catch (error) {
    await thread.close()
    throw error
  }
  return {
    get pressing() {
      return !paused && connection!.waiting > PRESSING
    },
    pause,
    async close() {
      closed = true
      clearTimeout(retry)
      connection!.close()
      await Promise.race([over, sleep(LAST_BYTES, undefined, { ref: false })])
      await thread.close()
    },
  }
}
