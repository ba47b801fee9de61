/** Looks several times a second how old the oldest event is that ledger and read model do not have. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { spread, type Span, type Spread } from './hops.ts'

/** A look at the events, ms; NaN: the database did not answer. */
interface Look {
  /** Epoch ms. */
  readonly at: number
  readonly ledger: number
  readonly readModel: number
}

const EVERY = 200
/** Ids that may commit behind higher ones. */
const MARGIN = 2000

const LOOK = `
  SELECT coalesce(extract(epoch FROM clock_timestamp() - min(e.created_at) FILTER (WHERE t.event_id IS NULL)) * 1000, 0)::float8 AS ledger,
    coalesce(extract(epoch FROM clock_timestamp() - min(e.created_at) FILTER (WHERE e.version > coalesce(b.version, 0))) * 1000, 0)::float8 AS read_model,
    coalesce(min(e.event_id) FILTER (WHERE t.event_id IS NULL OR e.version > coalesce(b.version, 0)), max(e.event_id))::float8 AS oldest
  FROM wallet_events e LEFT JOIN ledger_transactions t USING (event_id) LEFT JOIN wallet_balances b ON b.wallet_id = e.wallet_id
  WHERE e.event_id > $1`

export class Watch {
  readonly looks: Look[] = []
  private readonly dsn: string
  private readonly running: Promise<void>
  private stopped = false

  constructor(dsn: string) {
    this.dsn = dsn
    this.running = this.run()
  }

  async stop(): Promise<void> {
    this.stopped = true
    await this.running
  }

  /** Age of the oldest event that the read model lacks, at the looks that lie in none of `spans`. */
  readModel(spans: readonly Span[] = []): Spread {
    return spread(
      this.looks.filter(l => !Number.isNaN(l.readModel) && !spans.some(s => l.at >= s.from && l.at <= s.to)).map(l => l.readModel),
    )
  }

  /** When both were at most `ms` behind again, and for long enough to see that they stay it; epoch ms. */
  below(ms: number, since: number): number {
    let from = Number.POSITIVE_INFINITY
    for (const look of this.looks) {
      if (look.at < since) continue
      if (!(look.ledger <= ms && look.readModel <= ms)) from = Number.POSITIVE_INFINITY
      else if (from > look.at) from = look.at
      // A value that has not changed since the fault is not stale at once.
      else if (look.at - from > 2 * ms) return from
    }
    return from
  }

  private async run(): Promise<void> {
    let db: pg.Client | undefined
    let floor = 0
    while (!this.stopped) {
      const at = Date.now()
      try {
        db ??= await open(this.dsn)
        const [row] = (await db.query({ name: 'look', text: LOOK, values: [floor] })).rows
        this.looks.push({ at, ledger: row.ledger, readModel: row.read_model })
        if (row.oldest !== null) floor = Math.max(floor, row.oldest - MARGIN)
      } catch {
        this.looks.push({ at, ledger: Number.NaN, readModel: Number.NaN })
        await db?.end().catch(() => {})
        db = undefined
      }
      await sleep(Math.max(0, at + EVERY - Date.now()))
    }
    await db?.end().catch(() => {})
  }
}

async function open(dsn: string): Promise<pg.Client> {
  const db = new pg.Client({ connectionString: dsn, connectionTimeoutMillis: 1000, query_timeout: 5000 })
  db.on('error', () => {})
  await db.connect()
  return db
}
