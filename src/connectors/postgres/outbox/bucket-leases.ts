/**
 * Assigns buckets to publishers. A publisher is a connection that holds the membership lock (shared) and one advisory lock per bucket: the
 * database releases them with the connection, however the process ends. Every publisher sees all locks in `pg_locks` and computes the same
 * fair shares. A process that is frozen, or whose machine vanished without a FIN, keeps its connection: the other publishers disconnect a
 * lock owner that has sent nothing for the time of a lease. All times are the server's.
 */
import { crc32 } from 'node:zlib'
import { EnvironmentError } from '../../../contract/plugin.ts'
import type { Queryable } from '../../../kit/postgres/driver.ts'

/** The numbers of membership locks are above the buckets; each encodes the number of buckets that the publisher uses. */
const MEMBERS = 1_000_000

const LOOK = `SELECT objid::int AS lock, array_agg(pid ORDER BY pid) AS pids, pg_backend_pid() AS me FROM pg_locks
  WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = $1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY objid`

/**
 * Disconnects publishers that have been silent for `$2` ms. A backend that executes a statement is not silent; one that waits for its
 * client to read the result is. The activity of a login may be hidden from this user; it is then left alone.
 */
const EVICT = `SELECT a.pid, pg_terminate_backend(a.pid) AS done FROM pg_stat_activity a
  WHERE a.pid <> pg_backend_pid() AND (a.state <> 'active' OR a.wait_event_type = 'Client')
  AND a.state_change < clock_timestamp() - $2 * interval '1 millisecond'
  AND a.pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = $1 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`

export interface Shares {
  /** The number of buckets in our fair share. */
  readonly share: number
  /** Buckets without an owner. */
  readonly free: number[]
}

export class BucketLeases {
  readonly held = new Set<number>()
  private readonly db: Queryable
  private readonly key: number
  private readonly buckets: number

  /** @param oid of the outbox table: locks are per database, and the oid of a table is unique there. */
  constructor(db: Queryable, oid: string, buckets: number) {
    this.db = db
    this.key = crc32(`runner outbox ${oid}`) & 0x7fffffff
    this.buckets = buckets
  }

  /** @throws {EnvironmentError} when another publisher uses another number of buckets. */
  async join(): Promise<void> {
    const { key, buckets } = this
    await this.db.query('SELECT pg_advisory_lock_shared($1::int, $2::int)', [key, MEMBERS + buckets])
    const { rows } = await this.db.query(LOOK, [key])
    const other = rows.map(row => Number(row.lock) - MEMBERS).find(n => n > 0 && n !== buckets)
    if (other === undefined) return
    await this.leave()
    throw new EnvironmentError(`another publisher of this outbox uses buckets: ${other}, this one ${buckets}; they must be the same`)
  }

  async leave(): Promise<void> {
    await this.db.query('SELECT pg_advisory_unlock_shared($1::int, $2::int)', [this.key, MEMBERS + this.buckets])
  }

  async look(): Promise<Shares> {
    const { rows } = await this.db.query(LOOK, [this.key], { prepare: true })
    const taken = new Set<number>()
    let share = this.buckets
    for (const { lock, pids, me } of rows as unknown as { lock: number; pids: number[]; me: number }[]) {
      if (lock < MEMBERS) taken.add(lock)
      else if (lock === MEMBERS + this.buckets) share = fairShare(this.buckets, [...new Set(pids.map(Number))], Number(me))
    }
    const free = Array.from({ length: this.buckets }, (_, bucket) => bucket).filter(bucket => !taken.has(bucket))
    return { share, free }
  }

  /** @returns the number of publishers that were disconnected because they had been silent for `lease` ms. */
  async evict(lease: number): Promise<number> {
    const { rows } = await this.db.query(EVICT, [this.key, lease], { prepare: true })
    return rows.filter(row => row.done === true).length
  }

  /** Signals that this publisher is alive. */
  async beat(): Promise<void> {
    await this.db.query('SELECT 1', [], { prepare: true })
  }

  /** @returns the buckets that are now ours. */
  async take(buckets: readonly number[]): Promise<number[]> {
    if (buckets.length === 0) return []
    const { rows } = await this.db.query('SELECT b FROM unnest($2::int[]) AS b WHERE pg_try_advisory_lock($1::int, b)', [this.key, buckets])
    const got = rows.map(row => Number(row.b))
    for (const bucket of got) this.held.add(bucket)
    return got
  }

  async give(buckets: readonly number[]): Promise<void> {
    if (buckets.length === 0) return
    await this.db.query('SELECT pg_advisory_unlock($1::int, b) FROM unnest($2::int[]) AS b', [this.key, buckets])
    for (const bucket of buckets) this.held.delete(bucket)
  }
}

/** The shares of all members add up to the number of buckets; the first members by pid get one more if they do not divide evenly. */
function fairShare(buckets: number, members: readonly number[], me: number): number {
  const rank = members.toSorted((a, b) => a - b).indexOf(me)
  const count = Math.max(1, members.length)
  return Math.floor(buckets / count) + (Math.max(0, rank) < buckets % count ? 1 : 0)
}

/** Outboxes in use on databases of this process, whose session locks exclude nothing in it. */
const used = new WeakMap<object, Set<string>>()
/** @returns a function that releases it. @throws {EnvironmentError} when it has a publisher */
export function alone(driver: object, oid: string): () => void {
  const here = used.get(driver) ?? new Set()
  used.set(driver, here)
  if (here.has(oid))
    throw new EnvironmentError('the outbox already has a publisher in this process; to run several publishers, use a PostgreSQL server')
  here.add(oid)
  return () => void here.delete(oid)
}
