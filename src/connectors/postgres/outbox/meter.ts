/** Metrics of an outbox. */
import type { PostgresOutboxSourceConfig } from '../../../generated/config-types.ts'
import type { Counter, Metrics } from '../../../contract/plugin.ts'
import type { Queryable } from '../../../kit/postgres/driver.ts'
import { COUNTED, lastId, statements } from './table.ts'

type Gauge = ReturnType<Metrics['gauge']>

export class OutboxMeter {
  readonly published: Counter
  readonly suppressed: Counter
  readonly leases: Gauge
  private readonly pending: Gauge
  private readonly age: Gauge
  private readonly count: string
  private readonly last: string

  constructor(config: PostgresOutboxSourceConfig, metrics: Metrics) {
    this.count = statements(config).pending
    this.last = lastId(config)
    this.published = metrics.counter('outbox_published_total', 'Rows published')
    this.suppressed = metrics.counter(
      'outbox_duplicates_suppressed_total',
      'Rows that were published before a crash and not published again after it',
    )
    this.pending = metrics.gauge('outbox_pending', 'Rows that are not marked as published; above 10000, estimated from their ids')
    this.age = metrics.gauge('outbox_oldest_age_ms', 'Age of the oldest row that is not marked as published')
    this.leases = metrics.gauge('outbox_leases', 'Buckets that this publisher holds')
  }

  async refresh(db: Queryable, leases: number): Promise<void> {
    this.leases.set(leases)
    const { n, first, age } = (await db.query(this.count, [], { prepare: true })).rows[0]
    let pending = Number(n)
    if (pending > COUNTED) pending = Number((await db.query(this.last, [], { prepare: true })).rows[0].last) - Number(first) + 1
    this.pending.set(pending)
    this.age.set(Number(age))
  }
}
