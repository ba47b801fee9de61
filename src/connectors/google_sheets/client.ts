/**
 * The part of the Sheets API that this sink needs: the content of a tab, and one batchUpdate. Every error shows whether the call may have
 * succeeded.
 */
import type { sheets_v4 } from '@googleapis/sheets'
import { ConnectionError, DataError, EnvironmentError } from '../../contract/plugin.ts'
import { ANSWER_BYTES } from '../../kit/http/answer.ts'
import { limits } from '../../kit/limits.ts'
import { needsPackage } from '../../kit/optional-package.ts'
import { type TlsAdvice, tlsError, tlsFailure } from '../../kit/tls-failure.ts'

export interface ClientOptions {
  readonly endpoint: string
  readonly credentials: string
  readonly accessToken: string
  readonly requestsPerMinute: number
  /** ms */
  readonly timeout: number
}

export type Cell = string | number | boolean | null

/** Rows for one tab, in order. */
export interface Append {
  readonly tab: string
  readonly header: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
}

/** The outcome of the call is unknown: read the sheet before writing again. */
class UnknownPost extends ConnectionError {}
/** The call was rejected before it changed anything. */
export class RejectedPost extends ConnectionError {}

export interface SheetsClient {
  /** Texts of a column, from the first row on; empty when the tab does not exist. */
  column(spreadsheet: string, tab: string, index: number): Promise<string[]>
  /**
   * @param check called when the call that writes is about to be sent; what it throws is thrown
   * @throws {UnknownPost | RejectedPost | EnvironmentError | DataError}
   */
  append(spreadsheet: string, appends: readonly Append[], check: () => void): Promise<void>
}

const SCOPE = 'https://www.googleapis.com/auth/spreadsheets'

export async function sheetsClient(options: ClientOptions): Promise<SheetsClient> {
  const [{ sheets, auth }, { default: Queue }] = await Promise.all([
    import('@googleapis/sheets').catch(needsPackage('@googleapis/sheets', 'sink google_sheets')),
    import('p-queue'),
  ])
  const authorised =
    options.accessToken === ''
      ? new auth.GoogleAuth({
          keyFile: options.credentials || undefined,
          scopes: [SCOPE],
          clientOptions: { transporterOptions: { maxContentLength: ANSWER_BYTES } },
        })
      : new auth.OAuth2()
  if (authorised instanceof auth.OAuth2) authorised.setCredentials({ access_token: options.accessToken })
  // The retries of the library would post twice: this sink decides whether a call may be repeated.
  // A column of a sheet may be long.
  const maxContentLength = limits().input
  const api = sheets({
    version: 'v4',
    auth: authorised,
    rootUrl: options.endpoint,
    retry: false,
    timeout: options.timeout,
    maxContentLength,
  })
  const pace = new Queue({ intervalCap: options.requestsPerMinute, interval: 60_000, strict: true })
  const call = <T>(request: () => Promise<{ data: T }>): Promise<T> => pace.add(async () => (await request()).data)
  /** Tab ids of a spreadsheet, by name. */
  const known = new Map<string, Map<string, number>>()

  const tabs = async (spreadsheet: string): Promise<Map<string, number>> => {
    const have = known.get(spreadsheet)
    if (have) return have
    const { sheets: list = [] } = await call(() =>
      api.spreadsheets.get({ spreadsheetId: spreadsheet, fields: 'sheets.properties(sheetId,title)' }),
    ).catch(error => {
      throw classify(error, spreadsheet, 'read')
    })
    const found = new Map(list.map(({ properties }) => [properties!.title!, properties!.sheetId!]))
    known.set(spreadsheet, found)
    return found
  }

  return {
    async column(spreadsheet, tab, index) {
      // Another process may have created the tab meanwhile.
      known.delete(spreadsheet)
      if (!(await tabs(spreadsheet)).has(tab)) return []
      const letter = columnName(index)
      const range = `'${tab.replaceAll("'", "''")}'!${letter}:${letter}`
      const { values = [] } = await call(() =>
        api.spreadsheets.values.get({
          spreadsheetId: spreadsheet,
          range,
          majorDimension: 'COLUMNS',
          valueRenderOption: 'UNFORMATTED_VALUE',
        }),
      ).catch(error => {
        throw classify(error, spreadsheet, 'read')
      })
      return (values?.[0] ?? []).map(String)
    },

    async append(spreadsheet, appends, check) {
      const have = await tabs(spreadsheet)
      const requests = appends.flatMap(({ tab, header, rows }): sheets_v4.Schema$Request[] => {
        const there = have.get(tab)
        const sheetId = there ?? idOf(tab, have)
        const made = there === undefined ? [{ addSheet: { properties: { sheetId, title: tab } } }] : []
        const all = there === undefined ? [header, ...rows] : rows
        return [...made, { appendCells: { sheetId, rows: all.map(row => ({ values: row.map(cell) })), fields: 'userEnteredValue' } }]
      })
      try {
        await call(() => {
          check()
          return api.spreadsheets.batchUpdate({ spreadsheetId: spreadsheet, requestBody: { requests } })
        })
      } catch (error) {
        if (error instanceof RejectedPost) throw error
        // The cached tabs are outdated.
        known.delete(spreadsheet)
        throw classify(error, spreadsheet, 'write')
      }
      if (appends.some(a => !have.has(a.tab))) known.delete(spreadsheet)
    },
  }
}

function cell(value: Cell): sheets_v4.Schema$CellData {
  if (value === null) return {}
  if (typeof value === 'number') return { userEnteredValue: { numberValue: value } }
  return { userEnteredValue: typeof value === 'boolean' ? { boolValue: value } : { stringValue: value } }
}

/** The client may choose the id of a new tab, so one call can create and fill it. */
function idOf(tab: string, have: ReadonlyMap<string, number>): number {
  let id = 1
  for (const char of tab) id = (Math.imul(id, 31) + char.codePointAt(0)!) & 0x7fffffff
  const taken = new Set(have.values())
  while (taken.has(id)) id = (id + 1) & 0x7fffffff
  return id
}

export function columnName(index: number): string {
  const rest = Math.floor(index / 26)
  return (rest > 0 ? columnName(rest - 1) : '') + String.fromCharCode(65 + (index % 26))
}

/** Reasons of a 403 that affect every spreadsheet: the project, its API, the scope of the login. */
const PROJECT = /SERVICE_DISABLED|CONSUMER_|BILLING|API_KEY|SCOPE_INSUFFICIENT|accessNotConfigured|insufficientPermissions/
/** Reasons of a 403 for too many calls, which changed nothing. */
const QUOTA = /RATE_LIMIT|RESOURCE_EXHAUSTED|[lL]imitExceeded/

interface ApiError {
  readonly status?: number
  readonly message: string
  readonly response?: {
    readonly status?: number
    readonly data?: {
      readonly error?: {
        readonly status?: string
        readonly errors?: readonly { readonly reason?: string }[]
        readonly details?: readonly { readonly reason?: string }[]
      }
    }
  }
}

/** All reasons in the response, in the terms of both generations of Google's errors. */
function reasonsOf({ response }: ApiError): string {
  const { status = '', errors = [], details = [] } = response?.data?.error ?? {}
  return [status, ...errors.map(e => e.reason), ...details.map(d => d.reason)].join(' ')
}

/** Google's certificates are public: another one is that of a proxy which inspects TLS. */
const TLS: TlsAdvice = {
  ca: 'set the environment variable NODE_EXTRA_CA_CERTS to a PEM file with the certificate of that CA, for example of a proxy',
  clientCertificate: 'use a connection without client certificates',
  host: 'endpoint',
  plain: 'write http:// in endpoint',
  tls: 'write https:// in endpoint',
}

function classify(error: unknown, spreadsheet: string, what: 'read' | 'write'): Error {
  const given = error as ApiError
  const status = given.response?.status ?? given.status
  const text = `Google Sheets, spreadsheet ${spreadsheet}: ${given.message.replace(/\.$/, '')}`
  const failure = status === undefined ? tlsFailure(error, TLS) : undefined
  if (what === 'read' && /over limit: \d+$/.test(text))
    return new EnvironmentError(`${text} bytes; raise limits.input, or continue in another spreadsheet`, error)
  // Before the request was sent.
  if (failure !== undefined) return tlsError(`Google Sheets, spreadsheet ${spreadsheet}`, failure, error)
  if (status === undefined || status >= 500 || status === 408)
    return what === 'write' ? new UnknownPost(text, error) : new ConnectionError(text, error)
  const reasons = reasonsOf(given)
  if (status === 429 || (status === 403 && QUOTA.test(reasons))) return new RejectedPost(text, error)
  if (status === 401)
    return new EnvironmentError(`${text}; set credentials (GOOGLE_APPLICATION_CREDENTIALS) to a service account's key`, error)
  if (status === 403 && PROJECT.test(reasons))
    return new EnvironmentError(`${text}; enable the Google Sheets API for the service account's project, with the scope ${SCOPE}`, error)
  // Affects one spreadsheet: its batches are dead-lettered, the others continue.
  if (status === 403) return new DataError(`${text}; share the spreadsheet with the service account's address`, error)
  if (status === 404) return new DataError(`${text}; correct the spreadsheet id, or share the spreadsheet with the service account`, error)
  return new DataError(text, error)
}
