/** `runner check`: tests whether this machine can use the database now. */
import type { CheckResult, CheckContext } from '../../contract/plugin.ts'
import { type ConnectionConfig, connect, isEmbedded, scopeOf } from '../../kit/postgres/connect.ts'
import { type Driver, quoteTable } from '../../kit/postgres/driver.ts'
import { failureOf } from '../../kit/tls-failure.ts'
import { hasTable } from './own-tables.ts'

export interface Wanted {
  readonly table: string
  readonly rights: readonly string[]
}

export async function checkDatabase(config: ConnectionConfig, ctx: CheckContext, tables: readonly Wanted[]): Promise<CheckResult[]> {
  const what = isEmbedded(config.dsn) ? scopeOf(config) : `PostgreSQL ${scopeOf(config).slice('postgres:'.length)}`
  try {
    const handle = await connect(config, ctx.log)
    try {
      return [await version(handle.driver, what), ...(await Promise.all(tables.map(t => checkTable(handle.driver, t))))]
    } finally {
      await handle.release()
    }
  } catch (error) {
    const tls = failureOf(error)
    if (tls !== undefined) return [{ what, ok: false, detail: tls.what, fix: tls.fix }]
    return [{ what, ok: false, detail: (error as Error).message, fix: 'check the DSN (PG_DSN_RW), and that the server is running' }]
  }
}

async function version(driver: Driver, what: string): Promise<CheckResult> {
  const sql = 'select version() as version, pg_is_in_recovery() as standby, current_user as name'
  const [row] = (await driver.query(sql)).rows
  const detail = `${String(row.version).split(' ').slice(0, 2).join(' ')}, user ${String(row.name)}`
  if (row.standby === true) return { what, ok: false, detail: `${detail}, a standby`, fix: 'set the host of the DSN to the primary' }
  return { what, ok: true, detail }
}

async function checkTable(driver: Driver, { table, rights }: Wanted): Promise<CheckResult> {
  const what = `table ${table}`
  if (!(await hasTable(driver, quoteTable(table)))) return { what, ok: false, detail: 'does not exist', fix: 'runner sql apply FILE' }
  const missing: string[] = []
  for (const right of rights) {
    const [{ may }] = (await driver.query('select has_table_privilege($1, $2) as may', [quoteTable(table), right])).rows
    if (may !== true) missing.push(right)
  }
  if (missing.length === 0) return { what, ok: true, detail: rights.join(', ') }
  const [{ name }] = (await driver.query('select current_user as name')).rows
  return {
    what,
    ok: false,
    detail: `missing permission: ${missing.join(', ')}`,
    fix: `grant ${missing.join(', ')} on ${table} to "${String(name)}"`,
  }
}
