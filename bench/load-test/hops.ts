/** Where the time of an event goes, by the clocks of the servers: all on one machine, so they can be compared. */
import { query } from './servers.ts'

export interface Spread {
  readonly p50: number
  readonly p99: number
  readonly most: number
}

/** ms, epoch; what is not known is NaN. */
interface Times {
  readonly id: number
  readonly created: number
  readonly committed: number
  readonly booked: number
  readonly durable: number
}

/** Of time, epoch ms. */
export interface Span {
  readonly from: number
  readonly to: number
}

export class Hops {
  private readonly events: readonly Times[]
  private readonly appended: ReadonlyMap<number, number>

  private constructor(events: readonly Times[], appended: ReadonlyMap<number, number>) {
    this.events = events
    this.appended = appended
  }

  /**
   * Times of commits only where the server keeps them (`track_commit_timestamp`).
   * @param appended when the broker wrote them, epoch ms by event id; empty: not known
   */
  static async read(dsn: string, prefix: string, appended: ReadonlyMap<number, number>): Promise<Hops> {
    const [{ track_commit_timestamp: tracked }] = await query(dsn, 'SHOW track_commit_timestamp')
    const ms = (time: string): string => `extract(epoch FROM ${time})::float8 * 1000`
    const commit = (table: string): string => (tracked === 'on' ? ms(`pg_xact_commit_timestamp(${table}.xmin)`) : `'NaN'::float8`)
    const rows = await query<Times>(
      dsn,
      `SELECT event_id::float8 AS id, ${ms('e.created_at')} AS created, ${commit('e')} AS committed, ${ms('t.booked_at')} AS booked, ${commit('t')} AS durable
        FROM wallet_events e JOIN ledger_transactions t USING (event_id) WHERE e.wallet_id LIKE $1 || '-%'`,
      [prefix],
    )
    return new Hops(rows, appended)
  }

  /** From the operation to the ledger, of the events that were on their way in none of `spans`. */
  lag(spans: readonly Span[] = []): Spread & { readonly events: number; readonly of: number } {
    const outside = this.events.filter(e => !spans.some(span => e.created < span.to && end(e) > span.from))
    return { ...spread(outside.map(e => end(e) - e.created)), events: outside.length, of: this.events.length }
  }

  /** One line per hop. */
  lines(): string[] {
    const hop = (name: string, of: (e: Times) => number): string[] => {
      const list = this.events.map(of).filter(ms => !Number.isNaN(ms))
      return list.length === 0 ? [] : [`  ${name.padEnd(34)} ${text(spread(list))}`]
    }
    const written = (e: Times): number => this.appended.get(e.id) ?? Number.NaN
    return [
      ...hop('operation → committed with outbox', e => e.committed - e.created),
      ...hop('→ written to the topic', e => written(e) - e.committed),
      ...hop('→ inserted by the ledger', e => e.booked - written(e)),
      ...hop('→ committed by the ledger', e => e.durable - e.booked),
    ]
  }
}

export const text = ({ p50, p99, most }: Spread): string => `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, most ${most.toFixed(0)} ms`

/** Durable, as far as that is known. */
const end = (e: Times): number => (Number.isNaN(e.durable) ? e.booked : e.durable)

export function spread(list: readonly number[]): Spread {
  const sorted = list.toSorted((a, b) => a - b)
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0
  return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1) ?? 0 }
}
