/** Waiting for the projectors, and the read model once more. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Process } from './fleet.ts'
import { query } from './servers.ts'
import type { Check } from './verify.ts'

/** @returns seconds until both projectors had everything. */
export async function catchUp(dsn: string): Promise<number> {
  const started = performance.now()
  for (;;) {
    const rows = await query(
      dsn,
      `SELECT (SELECT count(*) FROM wallet_events) - (SELECT count(*) FROM ledger_transactions) AS ledger,
        (SELECT sum(version) FROM wallets) - (SELECT coalesce(sum(version), 0) FROM wallet_balances) AS read_model`,
    ).catch(() => [])
    if (rows[0] !== undefined && Number(rows[0].ledger) <= 0 && Number(rows[0].read_model) <= 0) return (performance.now() - started) / 1000
    if (performance.now() - started > 60_000) return Number.POSITIVE_INFINITY
    await sleep(20)
  }
}

/** The read model once more, from offset 0 into another table: it must be the same. */
export async function rebuilt(dsn: string, start: (env: Record<string, string>) => Process): Promise<Check> {
  await query(dsn, 'CREATE TABLE IF NOT EXISTS wallet_balances_rebuilt (LIKE wallet_balances INCLUDING ALL)')
  const version = String(Math.floor(Date.now() / 1000) % 1_000_000)
  await query(dsn, 'TRUNCATE wallet_balances_rebuilt')
  const replay = start({ READ_MODEL_TABLE: 'wallet_balances_rebuilt', READ_MODEL_GROUP: `rebuild-${version}`, READ_MODEL_VERSION: version })
  const difference = `SELECT count(*)::text AS n FROM wallet_balances b FULL JOIN wallet_balances_rebuilt r USING (wallet_id) WHERE (b.balance, b.version) IS DISTINCT FROM (r.balance, r.version)`
  let n = '?'
  for (let i = 0; i < 600 && n !== '0'; i++) {
    await sleep(100)
    n = (await query(dsn, difference))[0].n
  }
  await replay.stop()
  const [{ rows, sum }] = await query(dsn, 'SELECT count(*)::text AS rows, sum(balance)::text AS sum FROM wallet_balances_rebuilt')
  return {
    what: 'read model, rebuilt from offset 0',
    ok: n === '0',
    detail: n === '0' ? `equal: ${rows} wallets, ${sum}` : `${n} wallets differ`,
  }
}
