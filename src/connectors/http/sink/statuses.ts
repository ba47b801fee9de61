/** What the status of a response that is not 2xx means. */
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
/** With fields of the record in the URL, the resource that is missing, or the URL that is too long, is the record's. */
const RECORD_IN_URL = [404, 414]
const LATER = new Set([408, 425, 429])
/** The server cannot do what the method or the protocol asks for; time does not change that. */
const NEVER = new Set([501, 505])

/** In the body of a 400 by nginx, Apache, Go and Tomcat for a plain request on a TLS port: not the record's fault. */
export const EXPECTS_TLS =
  /plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL-enabled server port|HTTP request to an HTTPS server|requires TLS/i

export function statusesOfRecords({ reject, url }: Pick<HttpSinkConfig, 'reject' | 'url'>): ReadonlySet<number> {
  return new Set(reject ?? (fieldsIn(url).length > 0 ? [...RECORD, ...RECORD_IN_URL] : RECORD))
}

export function meaningOf(status: number, records: ReadonlySet<number>): Meaning {
  if (records.has(status)) return 'record'
  return LATER.has(status) || (status >= 500 && !NEVER.has(status)) ? 'later' : 'configuration'
}

/** What to change, and how to have such records dead-lettered instead. */
export function adviceFor(status: number, { url, method }: Pick<HttpSinkConfig, 'url' | 'method'>): string {
  const path = url.replace(/^https?:\/\/[^/]*/, '').replace(/\?.*$/, '') || '/'
  const cause =
    status === 401 || status === 403 || status === 407
      ? 'Check bearer, username, password and headers.'
      : status === 404
        ? `Check url: the service does not know the path ${path}.`
        : status === 405 || status === 501
          ? `Check method and url: the service does not accept ${method} at ${path}.`
          : status === 406 || status === 415
            ? 'Check content_type, batch and headers.'
            : 'Check url, method and headers.'
  return `${cause} To dead-letter records with this response and continue, add ${status} to reject.`
}
