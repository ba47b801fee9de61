/** Tables of the runner itself, created when they are first needed. */
import type { Driver, Queryable } from '../../kit/postgres/driver.ts'

export const hasTable = async (db: Queryable, name: string): Promise<boolean> =>
  (await db.query('select to_regclass($1) is not null as there', [name])).rows[0].there === true

/** Runs `statements` unless the table `last` exists: a user that may not create tables can use those created by an administrator. */
export async function createTables(driver: Driver, last: string, statements: string): Promise<void> {
  if (await hasTable(driver, last)) return
  await driver.transaction(async tx => {
    // Of two concurrent CREATE … IF NOT EXISTS, one fails.
    await tx.query("select pg_advisory_xact_lock(hashtext('runner_checkpoint'))")
    for (const statement of statements.split(';')) await tx.query(statement)
  })
}
