/** Requests to one service: authentication, TLS, timeouts, bounded responses, and the pause that the service requests. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpSinkConfig } from '../../generated/config-types.ts'
import { ConnectionError, type Context, EnvironmentError } from '../../contract/plugin.ts'
import { readUpTo } from '../../kit/http/answer.ts'
import { systemReason } from '../../kit/system-error.ts'
import { closedFailure, tlsError, tlsFailure } from '../../kit/tls-failure.ts'
import { EXPECTS_TLS } from './sink/statuses.ts'
import { TLS_ADVICE } from './sink/tls-advice.ts'
import { type Fetch, hasTls, tlsFetch, type TlsKeys } from './sink/tls-fetch.ts'

/** Characters of a response in an error message. */
const SHOWN = 300
/** Upper limit for the delay that a service may request, ms. */
const MAX_PAUSE = 300_000

export interface ServiceConfig extends TlsKeys, Pick<HttpSinkConfig, 'headers' | 'bearer' | 'username' | 'password'> {
  /** Of a request, ms. */
  readonly timeout: number
  /** Open connections that are kept. */
  readonly concurrency: number
}

export interface Sent {
  readonly method: string
  readonly headers?: Record<string, string>
  readonly body?: Buffer
}

export interface Answer {
  readonly status: number
  /** Undefined: it is longer than the limit. */
  readonly text: string | undefined
  readonly contentType: string
  /** `HOST answered STATUS: TEXT`. */
  readonly problem: string
}

export class Requests {
  /** Host and port. */
  readonly host: string
  /** Why the service is unavailable, from its last response. */
  problem: string | undefined
  private readonly config: ServiceConfig
  private readonly ctx: Pick<Context, 'clock'>
  private readonly headers: Record<string, string>
  private readonly secure: boolean
  private readonly count: (host: string, status: string) => void
  /** The service has responded, so the address is right. */
  private answered = false
  private fetch: Fetch | undefined
  /** `clock.monotonic()` before which the service accepts no requests. */
  private pausedUntil = 0

  /**
   * @param origin a URL of the service
   * @param headers defaults, which those of the config override
   * @param count called with the status of each response, and `none` without one
   */
  constructor(
    config: ServiceConfig,
    origin: string,
    headers: Record<string, string>,
    ctx: Pick<Context, 'clock'>,
    count: (host: string, status: string) => void,
  ) {
    const { bearer, username, password } = config
    const url = new URL(origin)
    this.config = config
    this.ctx = ctx
    this.count = count
    this.host = url.host
    this.secure = url.protocol === 'https:'
    this.headers = {
      ...headers,
      ...Object.fromEntries(Object.entries(config.headers).map(([name, value]) => [name.toLowerCase(), value])),
      ...(bearer !== '' && { authorization: `Bearer ${bearer}` }),
      ...(username !== '' && { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` }),
    }
  }

  /** @throws {EnvironmentError} for a TLS file that cannot be read or used */
  open(): Fetch {
    return (this.fetch ??= hasTls(this.config) ? tlsFetch(this.config, this.config.concurrency) : fetch)
  }

  /** ms until the service accepts requests again. */
  get pause(): number {
    return Math.max(0, this.pausedUntil - this.ctx.clock.monotonic())
  }

  /**
   * Waits for the end of a requested pause, then sends.
   * @param longest bytes of the response; the connection of a longer one is closed
   * @throws {ConnectionError} without a response, {EnvironmentError} for a redirect, and for TLS that cannot work
   */
  async send(
    url: string,
    { method, headers, body }: Sent,
    longest: number,
    signal: AbortSignal,
  ): Promise<Answer & { readonly after: string | null }> {
    const { host, pause } = this
    if (pause > 0) await sleep(pause, undefined, { signal }).catch(() => signal.throwIfAborted())
    const { timeout } = this.config
    const send = this.open()
    let answer: Omit<Answer, 'problem'> & { readonly after: string | null }
    try {
      const response = await send(url, {
        method,
        body,
        headers: { ...this.headers, ...headers },
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
      })
      const { status } = response
      const text = (await readUpTo(response.body, longest))?.toString()
      answer = { status, text, contentType: response.headers.get('content-type') ?? '', after: response.headers.get('retry-after') }
      if (status >= 300 && status < 400)
        throw new EnvironmentError(
          `${host} redirects (${status}) to ${response.headers.get('location') ?? 'an unknown location'}: set url to the new location`,
        )
    } catch (error) {
      if (error instanceof EnvironmentError || signal.aborted) throw error
      const failure = this.answered ? tlsFailure(error, TLS_ADVICE) : closedFailure(error, TLS_ADVICE, this.secure)
      this.problem = `${host}: ${failure?.what ?? reason(error as Error, timeout)}`
      this.count(host, 'none')
      if (failure !== undefined) throw tlsError(host, failure, error)
      throw new ConnectionError(this.problem, error)
    }
    const { status, text = '' } = answer
    this.answered = true
    this.problem = status < 500 ? undefined : `${host} answers ${status}`
    this.count(host, String(status))
    const problem = `${host} answered ${status}${text === '' ? '' : `: ${text.trim().slice(0, SHOWN)}`}`
    if (status === 400 && !this.secure && EXPECTS_TLS.test(text))
      throw tlsError(host, { what: `the server expects TLS on this port (${problem})`, fix: TLS_ADVICE.tls, lasting: true }, undefined)
    return { ...answer, problem }
  }

  /** The service requested a retry. @throws {ConnectionError} */
  later({ after, problem }: { readonly after: string | null; readonly problem: string }): never {
    const { clock } = this.ctx
    const delay = Math.min(delayOf(after, clock.now()), MAX_PAUSE)
    // An answer without the header does not end the pause that another one has requested.
    this.pausedUntil = Math.max(this.pausedUntil, clock.monotonic() + delay)
    throw new ConnectionError(problem)
  }
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
