/** Sends requests of the sink and classifies responses: accepted, rejected, retry later, wrong configuration. */
import type { HttpSinkConfig } from '../../../generated/config-types.ts'
import { type Context, EnvironmentError } from '../../../contract/plugin.ts'
import { ANSWER_BYTES } from '../../../kit/http/answer.ts'
import { Requests } from '../requests.ts'
import { bodyOf, idempotencyKey, type Parcel } from './parcels.ts'
import { adviceFor, meaningOf, statusesOfRecords } from './statuses.ts'

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

export class Client {
  private readonly config: HttpSinkConfig
  private readonly ctx: Context
  private readonly recordStatuses: ReadonlySet<number>
  private readonly requests: Requests

  constructor(config: HttpSinkConfig, ctx: Context) {
    this.config = config
    this.ctx = ctx
    this.recordStatuses = statusesOfRecords(config)
    const type = config.content_type ?? (config.batch === 'ndjson' ? 'application/x-ndjson' : 'application/json')
    const count = (host: string, status: string): void =>
      ctx.metrics.counter('http_sent_total', 'Requests of a sink, by response status of the service', { host, status }).inc()
    this.requests = new Requests(config, config.url.replaceAll(/[{}]/g, '_'), { 'content-type': type }, ctx, count)
  }

  get host(): string {
    return this.requests.host
  }

  /** Why the service is unavailable, from its last response. */
  get problem(): string | undefined {
    return this.requests.problem
  }

  /** @throws {EnvironmentError} for a TLS file that cannot be read or used */
  open(): void {
    this.requests.open()
  }

  /** @throws {ConnectionError} when a retry may succeed, {EnvironmentError} when every message would fail in the same way. */
  async send(parcel: Parcel, signal: AbortSignal): Promise<Outcome> {
    const { config, requests } = this
    const { method, batch } = config
    const body = bodyOf(parcel.items, batch)
    const answer = await requests.send(parcel.url, { method, body, headers: this.idempotency(parcel, body) }, LONGEST, signal)
    const { status, text = '', problem } = answer
    if (status >= 200 && status < 300) return { ok: true, rejected: [] }
    const meaning = meaningOf(status, this.recordStatuses)
    if (meaning === 'later') return requests.later(answer)
    if (meaning === 'configuration') throw new EnvironmentError(`${problem}\n  ${adviceFor(status, config)}`)
    const rejected = batch === 'one' ? undefined : rejectedRows(text, parcel.items.length)
    return rejected ? { ok: true, rejected } : { ok: false, problem }
  }

  private idempotency({ items }: Parcel, body: Buffer): Record<string, string> {
    const { idempotency_header: name } = this.config
    if (name === '') return {}
    const { pipeline, step } = this.ctx
    const key = idempotencyKey(`${encodeURIComponent(pipeline)}/${encodeURIComponent(step)}`, items, body)
    return key === undefined ? {} : { [name]: key }
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
