/** Checks that this machine can publish the outbox: the table, its columns, its index and the permissions. */
import type { PostgresOutboxSourceConfig } from '../../../generated/config-types.ts'
import type { CheckResult, CheckContext } from '../../../contract/plugin.ts'
import { connect } from '../../../kit/postgres/connect.ts'
import { type Queryable, quoteTable } from '../../../kit/postgres/driver.ts'

export async function checkOutbox(config: PostgresOutboxSourceConfig, ctx: CheckContext): Promise<CheckResult[]> {
  const results: CheckResult[] = []
  try {
    const handle = await connect(config, ctx.log)
    try {
      await look(handle.driver, config, results)
    } finally {
      await handle.release()
    }
  } catch (error) {
    results.push({ what: 'PostgreSQL', ok: false, detail: (error as Error).message })
  }
  return results
}

async function look(db: Queryable, config: PostgresOutboxSourceConfig, results: CheckResult[]): Promise<void> {
  const { table, columns } = config
  const version = (await db.query('SHOW server_version')).rows[0].server_version
  results.push({ what: 'PostgreSQL', ok: true, detail: String(version) })
  const oid = (await db.query('SELECT to_regclass($1::text)::oid::text AS oid', [quoteTable(table)])).rows[0].oid
  if (oid === null) {
    results.push({ what: `table ${table}`, ok: false, detail: 'does not exist', fix: 'runner sql apply FILE.sql' })
    return
  }
  const found = new Set(
    (
      await db.query('SELECT attname::text AS name FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped', [oid])
    ).rows.map(row => row.name),
  )
  const missing = Object.entries(columns).filter(([, name]) => name !== '' && !found.has(name))
  results.push({
    what: `table ${table}`,
    ok: missing.length === 0,
    detail: missing.length === 0 ? 'has all columns' : `has no column ${missing.map(([, name]) => name).join(', ')}`,
    fix: missing.length === 0 ? undefined : `set their names under columns: ${missing.map(([as]) => as).join(', ')}`,
  })
  if (missing.length > 0) return
  const may = (
    await db.query("SELECT has_table_privilege($1::oid, 'SELECT') AS r, has_any_column_privilege($1::oid, 'UPDATE') AS w", [oid])
  ).rows[0]
  results.push({
    what: `permissions on ${table}`,
    ok: may.r === true && may.w === true,
    detail: may.r === true && may.w === true ? 'SELECT, UPDATE' : 'SELECT or UPDATE is missing',
    fix: may.r === true && may.w === true ? undefined : `GRANT SELECT, UPDATE (${columns.processed_at}) ON ${table} TO the user of the DSN`,
  })
  const indexed = (
    await db.query(
      `SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = $1::oid AND a.attname = $2 AND i.indpred IS NOT NULL AND pg_get_expr(i.indpred, i.indrelid) ILIKE '%' || $3 || '% IS NULL%') AS yes`,
      [oid, columns.id, columns.processed_at],
    )
  ).rows[0].yes
  results.push({
    what: `index of ${table}`,
    ok: indexed === true,
    detail: indexed === true ? 'on the unpublished rows' : 'none on the unpublished rows: every query reads the whole table',
    fix: indexed === true ? undefined : `CREATE INDEX CONCURRENTLY ON ${table} (${columns.id}) WHERE ${columns.processed_at} IS NULL`,
  })
}
