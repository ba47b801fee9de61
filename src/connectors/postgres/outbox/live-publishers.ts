/**
 * Publishers of one outbox share its rows, so they must process them in the same way. Each publishes its settings as advisory locks, one
 * per setting: like those of the buckets they need no table and no permission, and end with the connection. A lock has room for hashes
 * only, so other publishers can only see which settings differ.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import type { LiveConflictError, LiveContent } from '../../../contract/plugin.ts'
import { liveConflict } from '../../../kit/live-content.ts'
import type { Queryable } from '../../../kit/postgres/driver.ts'

/** Above this number, settings are compared by step: each takes an entry in the lock table of the server. */
const SETTINGS = 64
/** Publishers that start at the same time see each other: each backs off for this long, ms, and checks again. */
const WAIT = 250
const TRIES = 4
const APART = 'publish another table, or read the topic that the running process publishes to: each row of an outbox is published only once'
/** Bits of a lock's 32 that hold the value. */
const VALUE_BITS = 18

const TAKE = 'SELECT pg_advisory_lock_shared($1::int, s) FROM unnest($2::int[]) AS s'
const GIVE = 'SELECT pg_advisory_unlock_shared($1::int, s) FROM unnest($2::int[]) AS s'
const OTHERS = `SELECT l.pid, array_agg(l.objid::bigint) AS settings, min(a.application_name) AS name, min(host(a.client_addr)) AS host
  FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid::bigint = $1 AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY l.pid`

/**
 * Publishes the settings of this publisher for as long as the connection lasts, and checks the others.
 * @param oid of the outbox table
 * @throws {LiveConflictError} while another publisher has different settings
 */
export async function announcePublisher(db: Queryable, oid: string, table: string, live: LiveContent): Promise<void> {
  const key = crc32(`runner outbox live ${oid}`) & 0x7fffffff
  const mine = comparable(live)
  const locks = locked(mine).map(([path, value]) => lockOf(path, value))
  for (let attempt = 1; ; attempt++) {
    await db.query(TAKE, [key, locks])
    const conflict = await conflictWithOthers(db, key, mine, table)
    if (!conflict) return
    await db.query(GIVE, [key, locks])
    if (attempt === TRIES) throw conflict
    await sleep(WAIT * (1 + Math.random()))
  }
}

function comparable(live: LiveContent): LiveContent {
  const entries = Object.entries(live.settings)
  if (entries.length <= SETTINGS) return live
  const steps = Map.groupBy(entries, ([path]) => path.slice(0, Math.max(0, path.lastIndexOf('.'))) || path)
  return {
    ...live,
    settings: Object.fromEntries([...steps].map(([step, own]) => [step, `#${bits(JSON.stringify(own), 32).toString(16)}`])),
  }
}

/** The settings that the locks encode. */
const locked = ({ owner, runner, settings }: LiveContent): [path: string, value: string][] => [
  ['pipeline', owner],
  ['runner', runner],
  ...Object.entries(settings),
]

const bits = (text: string, n: number): number => createHash('sha256').update(text).digest().readUInt32BE() >>> (32 - n)
const pathBits = (path: string): number => bits(path, 32 - VALUE_BITS)
/** A signed integer, as the lock functions require. */
const lockOf = (path: string, value: string): number => (pathBits(path) << VALUE_BITS) | bits(value, VALUE_BITS)

async function conflictWithOthers(db: Queryable, key: number, mine: LiveContent, table: string): Promise<LiveConflictError | undefined> {
  const { rows } = await db.query(OTHERS, [key])
  for (const { pid, settings, name, host } of rows as unknown as { pid: number; settings: string[]; name: string; host: string | null }[]) {
    const where = `${name || 'a publisher'}${host === null ? '' : ` on ${host}`}, backend ${pid} of the database`
    const conflict = liveConflict(contentOf(new Set(settings.map(Number)), mine), where, mine, `outbox ${table}`, true, APART)
    if (conflict) return conflict
  }
  return undefined
}

/** What the locks show about another publisher, as far as it concerns our settings. */
function contentOf(theirs: ReadonlySet<number>, mine: LiveContent): LiveContent {
  const has = (path: string, value: string): boolean => theirs.has(lockOf(path, value) >>> 0)
  const paths = new Set([...theirs].map(lock => lock >>> VALUE_BITS))
  const known = new Set(locked(mine).map(([path]) => pathBits(path)))
  const settings: Record<string, string> = { ...mine.settings }
  for (const [path, value] of Object.entries(mine.settings)) {
    if (has(path, value)) continue
    if (paths.has(pathBits(path))) settings[path] = 'another value'
    else delete settings[path]
  }
  const more = [...paths].filter(path => !known.has(path)).length
  if (more > 0) settings['other settings'] = String(more)
  return {
    owner: has('pipeline', mine.owner) ? mine.owner : 'another pipeline or version',
    file: 'a file that is not recorded in the database',
    runner: has('runner', mine.runner) ? mine.runner : 'another',
    settings,
  }
}
