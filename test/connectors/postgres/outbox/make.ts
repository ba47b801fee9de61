/** An outbox on a database of the test's own. */
import { readFileSync } from 'node:fs'
import pg from 'pg'
import type { PostgresOutboxSourceConfig } from '../../../../src/generated/config-types.ts'
import { settings } from '../make.ts'

export const schema = readFileSync(new URL('../../../../pipelines/sql/wallet-1-events.sql', import.meta.url), 'utf8')

export const outboxConfig = (dsn: string, more: Partial<PostgresOutboxSourceConfig> = {}): PostgresOutboxSourceConfig => ({
  ...settings(dsn),
  table: 'outbox',
  columns: {
    id: 'id',
    aggregate_id: 'aggregate_id',
    payload: 'payload',
    type: 'type',
    created_at: 'created_at',
    processed_at: 'processed_at',
    headers: '',
  },
  format: 'json',
  buckets: 4,
  poll_interval: 5000,
  channel: 'outbox',
  linger: 1,
  batch_size: 2000,
  follow: true,
  lease_interval: 100,
  lease: 20_000,
  ...more,
})

export async function client(dsn: string): Promise<pg.Client> {
  const db = new pg.Client({ connectionString: dsn })
  db.on('error', () => {})
  await db.connect()
  return db
}
