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
import { requestProblems } from './request-config.ts'
import { Client } from './sink/client.ts'
import { checkHost } from './sink/check.ts'
import { encode, parcels, positionsOf, type Parcel } from './sink/parcels.ts'
import { fieldsIn, urlMaker } from './sink/url.ts'
import tlsKeys from '../../kit/keys/tls.schema.json' with { type: 'json' }
import { withKeys } from '../../kit/keys/with-keys.ts'
import requestKeys from './request.schema.json' with { type: 'json' }
import schema from './sink.schema.json' with { type: 'json' }

export default defineSink<HttpSinkConfig>({
  type: 'http',
  schema: withKeys(withKeys(schema, requestKeys), tlsKeys),
  onRedelivery: c => (c.method === 'PUT' ? 'idempotent' : 'appends'),
  reason: c => (c.method === 'PUT' ? 'a repeated PUT changes nothing' : `a repeated request counts as a second one${recognized(c)}`),
  recognizesRepeats: c => c.method !== 'PUT' && c.idempotency_header !== '',
  fence: c =>
    c.idempotency_header === ''
      ? 'may finish a request that it has already sent'
      : `may finish a request that it has already sent; the new owner sends the same ${c.idempotency_header}`,
  // Only validated JSON may become part of an array.
  readsValue: c => c.batch !== 'one' || fieldsIn(c.url).length > 0,
  validateConfig,
  preview: c => {
    const urlOf = urlMaker(c.url)
    return m => ({ topic: urlOf(m), key: m.encodeKey(), value: encode(m, c.batch), headers: m.headers })
  },
  check: checkHost,
  create: (config, ctx) => new HttpSink(config, ctx),
})

function recognized({ idempotency_header, batch }: HttpSinkConfig): string {
  if (idempotency_header === '') return ''
  const regrouped = batch === 'one' ? '' : '; a restart can group messages differently, under other keys (batch: one keeps them)'
  return `, unless the service checks its idempotency key${regrouped}`
}

function validateConfig(c: HttpSinkConfig): ConfigProblem[] {
  const problems = requestProblems(c)
  if (c.url.split('?')[1]?.includes('{')) problems.push({ path: ['url'], message: 'fields are allowed in the path only, not after the ?' })
  return problems
}

class HttpSink implements Sink {
  private readonly config: HttpSinkConfig
  private readonly client: Client
  private readonly urlOf: (m: Message) => string
  /** Outcomes of a write that failed halfway: the same messages are written again, and those already sent are not sent twice. */
  private readonly outcomes = new WeakMap<Message, Error | true>()

  constructor(config: HttpSinkConfig, ctx: Context) {
    this.config = config
    this.client = new Client(config, ctx)
    this.urlOf = urlMaker(config.url)
  }

  async open(): Promise<void> {
    this.client.open()
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

  /** Gives each message of the parcel an outcome. @throws errors that are temporary or affect all messages. */
  private async deliver(parcel: Parcel, signal: AbortSignal): Promise<void> {
    const { items } = parcel
    const { outcomes, client } = this
    const answer = await client.send(parcel, signal)
    if (answer.ok) {
      const rejected = new Map(answer.rejected.map(r => [r.index, r]))
      items.forEach(({ message }, i) => {
        const r = rejected.get(i)
        outcomes.set(message, r ? new DataError(`rejected by ${client.host}: ${r.message}`) : true)
      })
    } else if (items.length === 1) outcomes.set(items[0].message, new DataError(answer.problem))
    else {
      // The response does not identify the failed messages: splitting in halves finds them, and only those are dead-lettered.
      const middle = items.length >> 1
      await this.deliver({ ...parcel, items: items.slice(0, middle) }, signal)
      await this.deliver({ ...parcel, items: items.slice(middle) }, signal)
    }
  }
}
