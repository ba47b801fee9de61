/** Adds the answer of a web service to each message. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { LookupHttpConfig } from '../../../generated/config-types.ts'
import {
  type ConfigProblem,
  ConnectionError,
  DataError,
  defineTransform,
  EnvironmentError,
  type Message,
  parseJson,
  type TransformContext,
} from '../../../contract/plugin.ts'
import { compile } from '../../../expressions/index.ts'
import { attempt } from '../../../kit/fail.ts'
import lookupKeys from '../../../kit/keys/lookup.schema.json' with { type: 'json' }
import rowCache from '../../../kit/keys/row-cache.schema.json' with { type: 'json' }
import tlsKeys from '../../../kit/keys/tls.schema.json' with { type: 'json' }
import { withKeys } from '../../../kit/keys/with-keys.ts'
import { cachedLookup, type Find, type Found, keyReader, type Rows, stubbedFind } from '../../../kit/lookup.ts'
import { getter, show } from '../../../kit/values/fields.ts'
import { keyText, sameKeyText } from '../../../kit/values/key.ts'
import { isRecord } from '../../../kit/values/records.ts'
import { requestProblems } from '../request-config.ts'
import { type Answer, Requests } from '../requests.ts'
import { checkHost } from '../sink/check.ts'
import { fixFor, meaningOf } from '../sink/statuses.ts'
import { encodeSegment, fieldsIn } from '../sink/url.ts'
import requestKeys from '../request.schema.json' with { type: 'json' }
import schema from './lookup_http.schema.json' with { type: 'json' }

export default defineTransform<LookupHttpConfig>({
  type: 'lookup_http',
  varies: 'requests the service again',
  schema: withKeys(withKeys(withKeys(withKeys(schema, rowCache), lookupKeys), requestKeys), tlsKeys),
  validateConfig,
  create(config, ctx) {
    const closing = new AbortController()
    const service = ctx.shared('service', () => new Service(config, ctx))
    const made = cachedLookup('lookup_http', config, ctx, keyOf(config), finder(config, service, ctx, closing.signal), () =>
      closing.abort(),
    )
    return { ...made, open: async () => void service.requests.open(), healthy: () => service.requests.problem ?? true }
  },
  stubbed: (config, ctx, answer) => cachedLookup('lookup_http', config, ctx, keyOf(config), stubbedFind(answer)),
  check: checkHost,
})

/** A pause that is longer is waited for outside of the step, where the end of the run interrupts it, ms. */
const LONG = 1000
/** Statuses that concern the key. Node.js answers 431 to a URL that is too long. */
const OF_KEY: ReadonlySet<number> = new Set([400, 409, 410, 413, 414, 422, 431])
const NONE: Rows = { rows: [] }

const inLists = ({ url }: Pick<LookupHttpConfig, 'url'>): boolean => fieldsIn(url)[0] === 'keys'

function keyOf(config: LookupHttpConfig): (m: Message) => string {
  const expression = compile(config.key)
  // In a list, the key of an element identifies it: numbers that are equal have one text.
  const textOf = inLists(config) ? sameKeyText : keyText
  return keyReader(
    'lookup_http',
    m => expression.evaluate(m),
    key => {
      const text = textOf(key)
      // Rejects a key that could lead to another path, before it is in a list with others.
      if (text !== undefined) encodeSegment(text, 'the key')
      return text
    },
  )
}

/** The service, for all lanes of a step. */
class Service {
  readonly requests: Requests
  private readonly config: LookupHttpConfig
  private readonly ctx: TransformContext
  /** `clock.monotonic()` of the next request that `max_per_second` allows. */
  private next = 0

  constructor(config: LookupHttpConfig, ctx: TransformContext) {
    const { step, metrics } = ctx
    this.config = config
    this.ctx = ctx
    this.requests = new Requests(config, config.url.replaceAll(/[{}]/g, '_'), { accept: 'application/json' }, ctx, (host, status) =>
      metrics.counter('http_lookups_total', 'Requests of a lookup, by response status of the service', { step, host, status }).inc(),
    )
  }

  /** @throws {ConnectionError} when a retry may succeed, {EnvironmentError} when every key would fail in the same way */
  async get(keys: readonly string[], signal: AbortSignal): Promise<Answer> {
    const { config, requests } = this
    this.rejectPause()
    await this.turn(signal)
    // Another request may have been answered with it meanwhile.
    this.rejectPause()
    const url = config.url.replace(/\{keys?\}/, () => keys.map(key => encodeSegment(key, 'the key')).join(','))
    const answer = await requests.send(url, { method: 'GET' }, config.max_answer, signal)
    const { status, contentType, problem } = answer
    if (config.missing.includes(status) || OF_KEY.has(status)) return answer
    if (status === 200) {
      // The page of a proxy, or of a service that starts.
      if (/html/i.test(contentType)) throw new ConnectionError(`${requests.host} answered with a web page, not with JSON`)
      return answer
    }
    if (status > 200 && status < 300) return answer
    if (meaningOf(status, OF_KEY) === 'later') return requests.later(answer)
    throw new EnvironmentError(`${problem}\n  ${fixFor(status, { url: config.url, method: 'GET' })}`)
  }

  /** @throws {ConnectionError} during a long pause */
  private rejectPause(): void {
    const { host, pause } = this.requests
    if (pause > LONG) throw new ConnectionError(`${host} accepts no requests for ${Math.ceil(pause / 1000)} s (Retry-After)`)
  }

  private async turn(signal: AbortSignal): Promise<void> {
    const { max_per_second: rate } = this.config
    if (rate === undefined) return
    const now = this.ctx.clock.monotonic()
    const at = Math.max(now, this.next)
    this.next = at + 1000 / rate
    if (at > now) await sleep(at - now, undefined, { signal })
  }
}

function finder(config: LookupHttpConfig, service: Service, ctx: TransformContext, signal: AbortSignal): Find {
  const lists = inLists(config)
  const resultOf = config.field === undefined ? (value: unknown) => value : getter(config.field)
  /** Results of a batch whose other requests have failed: they are not requested again. */
  const kept = new Map<string, Found>()

  /** The result, and the size of the answer. @throws {DataError} */
  const parse = ({ status, text }: Answer): { result: unknown; bytes: number } => {
    const { host } = service.requests
    if (text === undefined) throw new DataError(`lookup_http: the answer of ${host} is larger than ${config.max_answer} bytes (max_answer)`)
    if (status === 204 || text === '') return { result: undefined, bytes: 0 }
    let value: unknown
    try {
      value = parseJson(text, ctx.depth)
    } catch (error) {
      throw new DataError(`lookup_http: the answer of ${host} is not JSON: ${(error as Error).message}`, error)
    }
    return { result: resultOf(value), bytes: text.length }
  }
  const rowsOf = (result: unknown, bytes: number): Rows => {
    if (result === undefined || result === null) return NONE
    if (!config.many) return { rows: [result], bytes }
    if (Array.isArray(result)) return { rows: result, bytes }
    throw new DataError(`lookup_http: many: true needs a list, and the result is ${show(result)}`)
  }
  const one = async (key: string): Promise<Found> => {
    const answer = await service.get([key], signal)
    if (config.missing.includes(answer.status)) return NONE
    if (OF_KEY.has(answer.status)) return new DataError(`lookup_http: ${answer.problem}`)
    return attempt(() => {
      const { result, bytes } = parse(answer)
      return lists ? (byKey([key], result, bytes).get(key) ?? NONE) : rowsOf(result, bytes)
    })
  }
  /** @throws {DataError} when the result is neither a list nor an object */
  const byKey = (keys: readonly string[], result: unknown, bytes: number): Map<string, Rows> => {
    const each = Math.ceil(bytes / keys.length)
    const { column } = config
    if (result === undefined || result === null) return new Map()
    if (column === undefined) {
      if (!isRecord(result))
        throw new DataError(`lookup_http: the result must be an object by key, not ${show(result)}; for a list, set column`)
      return new Map(keys.map(key => [key, Object.hasOwn(result, key) ? rowsOf(result[key], each) : NONE]))
    }
    if (!Array.isArray(result)) throw new DataError(`lookup_http: the result must be a list, not ${show(result)}; set field to the list`)
    const read = getter(column)
    const lists = new Map<string, unknown[]>(keys.map(key => [key, []]))
    for (const row of result as unknown[]) {
      const key = sameKeyText(read(row))
      if (key === undefined) throw new DataError(`lookup_http: an element of the list has no ${column}: ${show(row)}`)
      lists.get(key)?.push(row)
    }
    return new Map([...lists].map(([key, rows]) => [key, { rows, bytes: each }]))
  }
  const several = async (keys: readonly string[]): Promise<void> => {
    if (keys.length === 1) return void kept.set(keys[0], await one(keys[0]))
    const answer = await service.get(keys, signal)
    const found =
      config.missing.includes(answer.status) || OF_KEY.has(answer.status)
        ? new DataError(answer.problem)
        : attempt(() => {
            const { result, bytes } = parse(answer)
            return byKey(keys, result, bytes)
          })
    if (!(found instanceof DataError)) {
      for (const key of keys) kept.set(key, found.get(key) ?? NONE)
      return
    }
    // The answer does not show which keys it concerns: halves do.
    const middle = keys.length >> 1
    await several(keys.slice(0, middle))
    await several(keys.slice(middle))
  }

  return async keys => {
    const wanted = new Set(keys)
    for (const key of kept.keys()) if (!wanted.has(key)) kept.delete(key)
    const left = keys.filter(key => !kept.has(key))
    const size = lists ? config.max_batch : 1
    const queue = Array.from({ length: Math.ceil(left.length / size) }, (_, i) => left.slice(i * size, (i + 1) * size))
    let failure: Error | undefined
    const work = async (): Promise<void> => {
      for (let some = queue.shift(); some && !failure; some = queue.shift()) {
        try {
          await several(some)
        } catch (error) {
          if (error instanceof DataError) for (const key of some) kept.set(key, error)
          else failure ??= error as Error
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(config.concurrency, queue.length) }, work))
    if (failure) throw failure
    const found = new Map(kept)
    kept.clear()
    return found
  }
}

function validateConfig(config: LookupHttpConfig): ConfigProblem[] {
  const problems = requestProblems(config)
  const { url, column, many, on_missing, as } = config
  const fields = fieldsIn(url)
  if (fields.length !== 1 || !['key', 'keys'].includes(fields[0]))
    problems.push({ path: ['url'], message: 'must contain {key} or {keys} once: https://example.com/companies/{key}' })
  if (column !== undefined && fields[0] !== 'keys') problems.push({ path: ['column'], message: 'works with {keys} in url; remove it' })
  if (as.includes('.')) problems.push({ path: ['as'], message: 'must be the name of a field, not a path' })
  if (many && on_missing !== 'fail')
    problems.push({ path: ['on_missing'], message: 'does not work with many: true, where a missing key gives an empty list; remove it' })
  return problems
}
