/** Reads the columns of a table before the first row, so that a wrong name ends the run at its start. */
import { EnvironmentError } from '../../contract/plugin.ts'
import { quoteTable, type Queryable } from '../../kit/postgres/driver.ts'

async function columnsOfTable(db: Queryable, table: string): Promise<string[] | undefined> {
  const { rows } = await db.query(
    `select attname as name from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum`,
    [quoteTable(table)],
  )
  return rows.length === 0 ? undefined : rows.map(r => r.name as string)
}

/** @throws {EnvironmentError} */
export async function assertTable(db: Queryable, table: string, columns: readonly string[]): Promise<void> {
  const there = await columnsOfTable(db, table)
  if (there === undefined)
    throw new EnvironmentError(`table ${table} does not exist: create it (\`runner sql apply FILE\`), or correct its name`)
  const missing = columns.filter(c => !there.includes(c))
  if (missing.length > 0) throw new EnvironmentError(`table ${table} has no column ${missing.join(', ')}; it has ${there.join(', ')}`)
}
