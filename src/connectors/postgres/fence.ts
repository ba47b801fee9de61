/**
 * A fence for writes outside of transactions with a checkpoint: one row per lane, with the token of the lane's owner. Each write locks the
 * row and compares the token in its own transaction, so a former owner is rejected, and a claim waits for a write that has started.
 */
import { randomUUID } from 'node:crypto'
import { EnvironmentError, FencedError } from '../../contract/plugin.ts'
import type { Driver, Queryable } from '../../kit/postgres/driver.ts'
import { createTables } from './own-tables.ts'
import { freeing } from './transactor.ts'

const TABLE =
  'create table if not exists runner_fence (owner text not null, lane text not null, token text not null, primary key (owner, lane))'
const CLAIM = `
  insert into runner_fence as f (owner, lane, token) values ($1, $2, $3)
  on conflict (owner, lane) do update set token = excluded.token`
const CHECK = 'select token from runner_fence where owner = $1 and lane = $2 for share'

export interface FenceRow {
  readonly owner: string
  readonly lane: string
  readonly token: string
}

/** Databases on which this user may not create the table. */
const without = new WeakSet<object>()

/** @returns undefined: the user may not create the table, and it does not exist; the sink is not fenced then. */
export async function claimFence(driver: Driver, owner: string, lane: string): Promise<FenceRow | undefined> {
  if (without.has(driver)) return undefined
  const fence = { owner, lane, token: randomUUID() }
  try {
    await createTables(driver, 'runner_fence', TABLE)
    await driver.transaction(async tx => {
      // Fences a former owner that is frozen in its transaction.
      const stop = await freeing(driver, tx)
      await tx.query(CLAIM, [owner, lane, fence.token]).finally(stop)
    })
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error
    without.add(driver)
    return undefined
  }
  return fence
}

/** @throws {FencedError} when the lane was claimed by another instance. */
export async function assertFence(tx: Queryable, { owner, lane, token }: FenceRow): Promise<void> {
  const { rows } = await tx.query(CHECK, [owner, lane], { prepare: true })
  if (rows[0]?.token !== token) throw new FencedError(`fenced: another instance now owns lane ${lane}; nothing was written`)
}
