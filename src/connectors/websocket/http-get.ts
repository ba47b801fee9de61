/** One bounded HTTP GET: neither a body of any size nor a server that never answers may cause more than a retry. */
import { get as httpGetPlain } from 'node:http'
import { get as httpGetTls } from 'node:https'
import { ConnectionError } from '../../contract/plugin.ts'
import { readUpTo } from '../../kit/http/answer.ts'
import { type TlsAdvice, TLS_KEYS, tlsError, tlsFailure } from '../../kit/tls-failure.ts'
import type { TlsOptions } from './tls.ts'
import { reasonOf } from '../../kit/system-error.ts'

const TLS_ADVICE: TlsAdvice = {
  ...TLS_KEYS,
  host: 'sequence.snapshot.url',
  plain: 'write http:// in sequence.snapshot.url',
  tls: 'write https:// in sequence.snapshot.url',
}

export interface GetOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly tls: TlsOptions
  /** Limit for the whole request including the body, ms. */
  readonly timeout: number
  /** Bytes. */
  readonly maxSize: number
  readonly signal: AbortSignal
}

export interface Got {
  readonly body: Buffer
  /** The clock of the peer, epoch ms; NaN if not reported. */
  readonly date: number
}

/** The peer answers with a status other than 200. */
export class StatusError extends ConnectionError {
  readonly status: number
  /** The delay that the peer requests, ms; 0: none. */
  readonly retryAfter: number
  constructor(message: string, status: number, retryAfter: number) {
    super(message)
    this.status = status
    this.retryAfter = retryAfter
  }
}

/** @throws {ConnectionError} */
export function httpGet(url: string, { headers, tls, timeout, maxSize, signal }: GetOptions): Promise<Got> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeout)])
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      const timedOut = bounded.aborted && !signal.aborted
      const failure = url.startsWith('https:') && !timedOut ? tlsFailure(error, TLS_ADVICE) : undefined
      // The peer may renew its certificate, so this is retried like all failures of a snapshot.
      if (failure !== undefined) return reject(tlsError(new URL(url).host, { ...failure, lasting: false }, error))
      reject(
        error instanceof ConnectionError
          ? error
          : new ConnectionError(timedOut ? `no answer within ${timeout} ms` : reasonOf(error), error),
      )
    }
    const get = url.startsWith('https:') ? httpGetTls : httpGetPlain
    const request = get(url, { ...tls, headers, signal: bounded }, response => {
      const answered = (body: Buffer | undefined): void => {
        if (body === undefined) return fail(new ConnectionError(`the response is larger than ${maxSize} bytes`))
        const status = response.statusCode ?? 0
        if (status === 200) return resolve({ body, date: Date.parse(response.headers.date ?? '') })
        const after = Number(response.headers['retry-after'])
        const text = body.toString('utf8', 0, 200).replaceAll(/\s+/g, ' ')
        fail(new StatusError(`HTTP ${status} ${response.statusMessage}: ${text}`, status, Number.isFinite(after) ? after * 1000 : 0))
      }
      readUpTo(response, maxSize).then(answered, fail)
    })
    request.on('error', fail)
  })
}
