import type { HttpSinkConfig } from '../../generated/config-types.ts'
import {
  BatchError,
  type ConfigProblem,
  type Context,
  DataError,
  defineSink,
  type Message,
  type Sink,
  type WriteContext,
} from '../../contract/plugin.ts'
import { Client } from './sink/client.ts'
import { checkHost } from './sink/check.ts'
import { encode, parcels, positionsOf, type Parcel } from './sink/parcels.ts'
import { fieldsIn, urlMaker } from './sink/url.ts'
import schema from './sink.schema.json' with { type: 'json' }

export default defineSink<HttpSinkConfig>({
  type: 'http',
  schema,
  onRedelivery: c => (c.method === 'PUT' ? 'idempotent' : 'appends'),
  reason: c =>
    c.method === 'PUT'
      ? 'a PUT that is sent again changes nothing'
      : 'a request that is sent again is a second one, unless the service goes by its idempotency key',
  fence: c =>
    c.idempotency_header === ''
      ? 'may finish the request that it has sent'
      : `may finish the request that it has sent; its ${c.idempotency_header} is that of the new owner's`,
  // Only JSON that has been looked at may be put into an array.
  readsValue: c => c.batch !== 'one' || fieldsIn(c.url).length > 0,
  validateConfig,
  preview: c => {
    const urlOf = urlMaker(c.url)
    return m => ({ topic: urlOf(m), key: m.encodeKey(), value: encode(m, c.batch), headers: m.headers })
  },
  check: checkHost,
  create: (config, ctx) => new HttpSink(config, ctx),
})

function validateConfig(c: HttpSinkConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (c.bearer !== '' && c.username !== '') problems.push({ path: ['username'], message: 'bearer says already how to sign in' })
  if (c.password !== '' && c.username === '') problems.push({ path: ['password'], message: 'needs username' })
  if (c.url.split('?')[1]?.includes('{')) problems.push({ path: ['url'], message: 'fields belong into the path, not behind the ?' })
  for (const name of Object.keys(c.headers)) {
    if (['content-length', 'host', 'transfer-encoding', 'connection'].includes(name.toLowerCase()))
      problems.push({ path: ['headers', name], message: 'is set by the connection itself' })
  }
  return problems
}

class HttpSink implements Sink {
  private readonly config: HttpSinkConfig
  private readonly client: Client
  private readonly urlOf: (m: Message) => string
  /** Of a write that failed halfway: it comes again with the same messages, and those that are through are not sent twice. */
  private readonly outcomes = new WeakMap<Message, Error | true>()

  constructor(config: HttpSinkConfig, ctx: Context) {
    this.config = config
    this.client = new Client(config, ctx)
    this.urlOf = urlMaker(config.url)
  }

  async write(messages: readonly Message[], context: WriteContext): Promise<void> {
    const { config, outcomes } = this
    const positions = positionsOf(messages, context.lane.id)
    const queue = parcels(messages, positions, config, this.urlOf, outcomes)
    let failure: Error | undefined
    const work = async (): Promise<void> => {
      for (let parcel = queue.shift(); parcel && !failure; parcel = queue.shift()) {
        try {
          context.assertOwned?.()
          await this.deliver(parcel, context.signal)
          context.progress?.()
        } catch (error) {
          failure ??= error as Error
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(config.concurrency, queue.length) }, work))
    if (failure) throw failure
    const failed = new Map<number, Error>()
    messages.forEach((m, i) => {
      const outcome = outcomes.get(m)
      if (outcome instanceof Error) failed.set(i, outcome)
    })
    if (failed.size > 0) throw new BatchError(failed)
  }

  healthy(): true | string {
    return this.client.problem ?? true
  }

  /** Gives every message of it an outcome. @throws what may pass, or what concerns all. */
  private async deliver(parcel: Parcel, signal: AbortSignal): Promise<void> {
    const { items } = parcel
    const { outcomes, client } = this
    const answer = await client.send(parcel, signal)
    if (answer.ok) {
      const rejected = new Map(answer.rejected.map(r => [r.index, r]))
      items.forEach(({ message }, i) => {
        const r = rejected.get(i)
        outcomes.set(message, r ? new DataError(`refused by ${client.host}: ${r.message}`) : true)
      })
    } else if (items.length === 1) outcomes.set(items[0].message, new DataError(answer.problem))
    else {
      // It does not say which: halves find them, and only those die.
      const middle = items.length >> 1
      await this.deliver({ ...parcel, items: items.slice(0, middle) }, signal)
      await this.deliver({ ...parcel, items: items.slice(middle) }, signal)
    }
  }
}
