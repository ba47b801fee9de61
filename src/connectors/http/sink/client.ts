/** Sends requests and classifies responses: accepted, rejected, retry later, wrong configuration. */
import type { HttpSinkConfig } from '../../../generated/config-types.ts'
import { ConnectionError, type Context, EnvironmentError } from '../../../contract/plugin.ts'
import { ANSWER_BYTES, readUpTo } from '../../../kit/http/answer.ts'
import { closedFailure, tlsError, tlsFailure } from '../../../kit/tls-failure.ts'
import { bodyOf, idempotencyKey, type Parcel } from './parcels.ts'
import { adviceFor, EXPECTS_TLS, meaningOf, statusesOfRecords } from './statuses.ts'
import { TLS_ADVICE } from './tls-advice.ts'
import { type Fetch, hasTls, tlsFetch } from './tls-fetch.ts'
import { systemReason } from '../../../kit/system-error.ts'

export interface Rejected {
  readonly index: number
  readonly message: string
}

export type Outcome =
  /** Accepted, except the listed rows. */
  | { readonly ok: true; readonly rejected: readonly Rejected[] }
  /** Rejected as a whole, permanently. */
  | { readonly ok: false; readonly problem: string }

/** Bytes of a response that lists rejected rows. The connection of a longer one is closed, and the response counts by its status. */
const LONGEST = 4 * ANSWER_BYTES
/** Characters of the response in an error message. */
const SHOWN = 300
/** Upper limit for the delay that a service may request, ms. */
const MAX_PAUSE = 300_000

export class Client {
  readonly host: string
  /** Why the service is unavailable, from its last response. */
  problem: string | undefined
  private readonly config: HttpSinkConfig
  private readonly ctx: Context
  private readonly headers: Record<string, string>
  private readonly recordStatuses: ReadonlySet<number>
  private readonly secure: boolean
  /** The service has responded, so the address is right. */
  private answered = false
  private fetch: Fetch | undefined
  /** Epoch ms before which the service accepts no requests. */
  private pausedUntil = 0

  constructor(config: HttpSinkConfig, ctx: Context) {
    this.config = config
    this.ctx = ctx
    this.host = new URL(config.url.replaceAll(/[{}]/g, '_')).host
    this.secure = config.url.startsWith('https:')
    this.recordStatuses = statusesOfRecords(config)
    const { bearer, username, password } = config
    this.headers = {
      'content-type': config.content_type ?? (config.batch === 'ndjson' ? 'application/x-ndjson' : 'application/json'),
      ...Object.fromEntries(Object.entries(config.headers).map(([name, value]) => [name.toLowerCase(), value])),
      ...(bearer !== '' && { authorization: `Bearer ${bearer}` }),
      ...(username !== '' && { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` }),
    }
  }

  /** @throws {EnvironmentError} for a TLS file that cannot be read or used */
  open(): Fetch {
    return (this.fetch ??= hasTls(this.config) ? tlsFetch(this.config, this.config.concurrency) : fetch)
  }

  /** @throws {ConnectionError} when a retry may succeed, {EnvironmentError} when every message would fail in the same way. */
  async send(parcel: Parcel, signal: AbortSignal): Promise<Outcome> {
    await this.pause(signal)
    const { config, host } = this
    let status: number
    let text: string
    let after: string | null
    const body = bodyOf(parcel.items, config.batch)
    const send = this.open()
    try {
      const response = await send(parcel.url, {
        method: config.method,
        body,
        headers: { ...this.headers, ...this.idempotency(parcel, body) },
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(config.timeout)]),
      })
      status = response.status
      after = response.headers.get('retry-after')
      text = (await readUpTo(response.body, LONGEST))?.toString() ?? ''
      if (status >= 300 && status < 400)
        throw new EnvironmentError(
          `${host} redirects (${status}) to ${response.headers.get('location') ?? 'an unknown location'}: set url to the new location`,
        )
    } catch (error) {
      if (error instanceof EnvironmentError || signal.aborted) throw error
      const failure = this.answered ? tlsFailure(error, TLS_ADVICE) : closedFailure(error, TLS_ADVICE, this.secure)
      this.problem = `${host}: ${failure?.what ?? reason(error as Error, config.timeout)}`
      this.count('none')
      if (failure !== undefined) throw tlsError(host, failure, error)
      throw new ConnectionError(this.problem, error)
    }
    this.answered = true
    this.problem = status < 500 ? undefined : `${host} answers ${status}`
    this.count(String(status))
    if (status >= 200 && status < 300) return { ok: true, rejected: [] }
    const problem = `${host} answered ${status}${text === '' ? '' : `: ${text.trim().slice(0, SHOWN)}`}`
    if (status === 400 && !this.secure && EXPECTS_TLS.test(text))
      throw tlsError(host, { what: `the server expects TLS on this port (${problem})`, fix: TLS_ADVICE.tls, lasting: true }, undefined)
    const meaning = meaningOf(status, this.recordStatuses)
    if (meaning === 'later') {
      this.pausedUntil = this.ctx.clock.monotonic() + delayOf(after, this.ctx.clock.now())
      throw new ConnectionError(problem)
    }
    if (meaning === 'configuration') throw new EnvironmentError(`${problem}\n  ${adviceFor(status, config)}`)
    const rejected = config.batch === 'one' ? undefined : rejectedRows(text, parcel.items.length)
    return rejected ? { ok: true, rejected } : { ok: false, problem }
  }

  private idempotency({ items }: Parcel, body: Buffer): Record<string, string> {
    const { idempotency_header: name } = this.config
    if (name === '') return {}
    const { pipeline, step } = this.ctx
    const key = idempotencyKey(`${encodeURIComponent(pipeline)}/${encodeURIComponent(step)}`, items, body)
    return key === undefined ? {} : { [name]: key }
  }

  private async pause(signal: AbortSignal): Promise<void> {
    const wait = Math.min(this.pausedUntil - this.ctx.clock.monotonic(), MAX_PAUSE)
    if (wait <= 0) return
    await new Promise<void>(resolve => {
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, wait)
      signal.addEventListener('abort', done)
    })
    signal.throwIfAborted()
  }

  private count(status: string): void {
    this.ctx.metrics.counter('http_sent_total', 'Requests of a sink, by response status of the service', { host: this.host, status }).inc()
  }
}

/** The rejected rows that the service lists, as an `http` source does; undefined if it lists none. */
function rejectedRows(text: string, rows: number): Rejected[] | undefined {
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch {
    return undefined
  }
  const { rejected, accepted } = (answer ?? {}) as { rejected?: unknown; accepted?: unknown }
  if (!Array.isArray(rejected) || rejected.length === 0 || typeof accepted !== 'number') return undefined
  const list = rejected as { index?: unknown; message?: unknown }[]
  const fits = list.every(r => Number.isInteger(r?.index) && (r.index as number) >= 0 && (r.index as number) < rows)
  if (!fits || accepted + new Set(list.map(r => r.index)).size !== rows) return undefined
  return list.map(r => ({
    index: r.index as number,
    message: typeof r.message === 'string' ? r.message.slice(0, SHOWN) : 'the service gave no reason',
  }))
}

/** Seconds or a date; ms. */
function delayOf(header: string | null, now: number): number {
  if (header === null) return 0
  if (/^\d+$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? 0 : Math.max(0, date - now)
}

function reason(error: Error, timeout: number): string {
  if (error.name === 'TimeoutError') return `no answer within ${timeout} ms`
  const cause = error.cause as (Error & { code?: string }) | undefined
  // fetch turns a 407 into an error without a code or a message.
  return (
    systemReason(cause) ?? cause?.code ?? (cause?.message || 'no usable response; a possible cause is a proxy that requires a login (407)')
  )
}
