/** The statements for the outbox table, built once from the configured names. */
import type { PostgresOutboxSourceConfig } from '../../../generated/config-types.ts'
import { quoteName, quoteTable } from '../../../kit/postgres/driver.ts'

/** A row, in the order of the columns that `step` selects. */
export interface OutboxRow {
  readonly id: number
  readonly bucket: number
  readonly key: string | null
  readonly payload: string | null
  readonly type: string | null
  /** Epoch ms; null: the row has no date, or infinity. */
  readonly created: number | null
  /** JSON object. */
  readonly headers: string | null
}

export interface Statements {
  /**
   * Marks `$1` (ids) and reads up to `$3` of the unmarked rows, without those of `$2` (ids) and, unless all buckets are ours, without the
   * buckets in `$4`. One statement, because each costs a round trip. It reads the state before its own changes, so the marked ids must also
   * be in `$2`.
   */
  readonly step: (all: boolean) => string
  readonly mark: string
  /** pending (up to LIMIT + 1), first and last id, age of the oldest in ms. */
  readonly pending: string
}

/** Up to this number, rows are counted; above it, the number is estimated from their ids. */
export const COUNTED = 10_000

export function statements({ table, columns: c, buckets }: PostgresOutboxSourceConfig): Statements {
  const from = quoteTable(table)
  const q = quoteName
  // The same on every publisher, because only this expression computes it.
  const bucket = `(hashtext(coalesce(${q(c.aggregate_id)}::text, '')) & 2147483647) % ${buckets}`
  const open = `${q(c.processed_at)} IS NULL`
  const list = [
    `${q(c.id)} AS id`,
    `${bucket} AS bucket`,
    `${q(c.aggregate_id)}::text AS key`,
    `${q(c.payload)}::text AS payload`,
    `${c.type === '' ? 'NULL' : `${q(c.type)}::text`} AS type`,
    `${c.created_at === '' ? 'NULL::bigint' : millis(q(c.created_at))} AS created`,
    `${c.headers === '' ? 'NULL' : `${q(c.headers)}::text`} AS headers`,
  ]
  // now() is the start of the statement's transaction; for a single statement that is the same.
  const mark = `UPDATE ${from} SET ${q(c.processed_at)} = now() WHERE ${q(c.id)} = ANY($1::bigint[]) AND ${open}`
  const read = `SELECT ${list.join(', ')} FROM ${from} WHERE ${open} AND ${q(c.id)} <> ALL($2::bigint[])`
  const end = `ORDER BY ${q(c.id)} LIMIT $3::int`
  const age = c.created_at === '' ? '0' : `coalesce(extract(epoch FROM clock_timestamp() - min(created)) * 1000, 0)`
  return {
    step: all => `WITH marked AS (${mark}) ${read} ${all ? '' : `AND ${bucket} = ANY($4::int[]) `}${end}`,
    mark,
    pending: `SELECT count(*)::int AS n, min(id) AS first, max(id) AS last, ${age}::bigint AS age
      FROM (SELECT ${q(c.id)} AS id${c.created_at === '' ? '' : `, ${q(c.created_at)} AS created`} FROM ${from} WHERE ${open} ORDER BY ${q(c.id)} LIMIT ${COUNTED + 1}) open`,
  }
}

/** The highest id, for an estimate. */
export const lastId = ({ table, columns }: PostgresOutboxSourceConfig): string =>
  `SELECT max(${quoteName(columns.id)}) AS last FROM ${quoteTable(table)}`

const millis = (column: string): string => `CASE WHEN isfinite(${column}) THEN floor(extract(epoch FROM ${column}) * 1000)::bigint END`
