/** The meaning of a response status other than 2xx. */
import type { HttpSinkConfig } from '../../../generated/config-types.ts'
import { fieldsIn } from './url.ts'

export type Meaning =
  /** The record is rejected: a dead letter. */
  | 'record'
  /** The same request may succeed later. */
  | 'later'
  /** Every record would get the same response: the pipeline stops. */
  | 'configuration'

const RECORD = [400, 409, 410, 413, 422]
/** If the URL contains fields of the record, a missing resource or a URL that is too long is a fault of the record. */
const RECORD_IN_URL = [404, 414, 431]
const LATER = new Set([408, 425, 429])
/** The server does not support the method or the protocol; a retry does not change that. */
const NEVER = new Set([501, 505])

/** In the body of a 400 that nginx, Apache, Go or Tomcat returns for a plain request on a TLS port: not a fault of the record. */
export const EXPECTS_TLS =
  /plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL-enabled server port|HTTP request to an HTTPS server|requires TLS/i

export function statusesOfRecords({ reject, url }: Pick<HttpSinkConfig, 'reject' | 'url'>): ReadonlySet<number> {
  return new Set(reject ?? (fieldsIn(url).length > 0 ? [...RECORD, ...RECORD_IN_URL] : RECORD))
}

export function meaningOf(status: number, records: ReadonlySet<number>): Meaning {
  if (records.has(status)) return 'record'
  return LATER.has(status) || (status >= 500 && !NEVER.has(status)) ? 'later' : 'configuration'
}

/** How to correct the settings. */
export function fixFor(status: number, { url, method }: { readonly url: string; readonly method: string }): string {
  const path = url.replace(/^https?:\/\/[^/]*/, '').replace(/\?.*$/, '') || '/'
  return status === 401 || status === 403 || status === 407
    ? 'Check bearer, username, password and headers.'
    : status === 404
      ? `Check url: the service has no resource at path ${path}.`
      : status === 405 || status === 501
        ? `Check method and url: the service does not accept ${method} at ${path}.`
        : status === 406 || status === 415
          ? 'Check content_type, batch and headers.'
          : 'Check url, method and headers.'
}

/** The fix, and how to dead-letter such records instead. */
export const adviceFor = (status: number, config: Pick<HttpSinkConfig, 'url' | 'method'>): string =>
  `${fixFor(status, config)} To dead-letter records with this response and continue, add ${status} to reject.`
