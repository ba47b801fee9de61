/**
 * Checkpoints as rows beside a sink's data: outputs, state and position of a lane are one transaction. The row is locked while
 * the transaction is open, and its epoch identifies the owner of the lane.
 */
import {
  type Checkpoint,
  type CheckpointDelta,
  type Context,
  type Json,
  type LaneInfo,
  type Position,
  type StoredLane,
  type Transactor,
} from '../../contract/plugin.ts'
import { type ConnectionConfig, connect, type PostgresHandle } from '../../kit/postgres/connect.ts'
import { stateOwner } from '../../kit/state-owner.ts'
import { keptCheckpoint, KeptState } from '../../kit/kept-state.ts'
import { fenced, unclaimed } from '../../kit/sqlite/lanes.ts'
import type { Driver, Queryable } from '../../kit/postgres/driver.ts'
import { createTables, hasTable } from './own-tables.ts'
import { type Claim, PostgresTransaction, unescape } from './transaction.ts'

const TABLES = `
  create table if not exists runner_checkpoint (
    id bigint generated always as identity primary key,
    pipeline text not null,
    lane text not null,
    epoch bigint not null,
    position json,
    updated_at timestamptz not null default now(),
    unique (pipeline, lane)
  );
  create table if not exists runner_checkpoint_state (
    checkpoint bigint not null references runner_checkpoint on delete cascade,
    store text not null,
    key text not null,
    json text not null,
    primary key (checkpoint, store, key)
  )`
const LAST_TABLE = 'runner_checkpoint_state'

const CLAIM = `
  insert into runner_checkpoint as c (pipeline, lane, epoch) values ($1, $2, 1)
  on conflict (pipeline, lane) do update set epoch = c.epoch + 1
  returning id, epoch, position`
const PEEK = 'select position from runner_checkpoint where pipeline = $1 and lane = $2'
// One statement sees one moment.
const PEEK_ALL = `
  select c.position, s.store, s.key, s.json from runner_checkpoint c
  left join runner_checkpoint_state s on s.checkpoint = c.id
  where c.position is not null and c.pipeline = $1 and c.lane = $2`
const LIST = `
  select c.id, c.pipeline, c.lane, c.position, s.store, s.key, s.json from runner_checkpoint c
  left join runner_checkpoint_state s on s.checkpoint = c.id
  where c.position is not null and starts_with(c.pipeline, $1) order by c.pipeline, c.lane, s.store, s.key`
const READ_STATE = `
  select store, key, json from runner_checkpoint_state where checkpoint = $1 and (store, key) > ($2, $3) order by store, key limit $4`
const PAGE = 100_000
const LOCK = 'select epoch from runner_checkpoint where id = $1 for update'
const OWN_PID = 'select pg_backend_pid() as pid'
/** Ends the transaction of a former owner that is frozen or disconnected, so that the owner is fenced like one that has ended. */
const FREE = `
  select pg_terminate_backend(a.pid) from pg_stat_activity a
  where a.pid = any(pg_blocking_pids($1)) and a.state like 'idle in transaction%' and a.state_change < clock_timestamp() - interval '1 second'`
/** How long a claim waits for its row before it checks for a blocking transaction, and between two checks, ms. */
const LOCK_CHECK_INTERVAL = 1500

/** Connects on the first claim: a plugin's `create` may not. */
export class PostgresTransactor implements Transactor {
  private readonly config: ConnectionConfig
  private readonly context: Context
  private readonly pipeline: string
  private readonly claims = new Map<string, Claim>()
  private readonly running = new Map<string, PostgresTransaction>()
  private opening: Promise<PostgresHandle> | undefined
  private tables: Promise<void> | undefined

  constructor(config: ConnectionConfig, context: Context) {
    this.config = config
    this.context = context
    this.pipeline = `${context.pipeline}.${context.version}`
  }

  async claim(lane: LaneInfo): Promise<Checkpoint | undefined> {
    // The transaction before the restore: it would keep the row locked against this process.
    await this.end(lane)
    const driver = await this.open()
    const { id, epoch, checkpoint } = await claimRow(driver, stateOwner(this.pipeline, lane.group), lane.id)
    this.claims.set(lane.id, { id, epoch, diagnose: this.claims.get(lane.id)?.diagnose ?? false })
    return checkpoint
  }

  async former(lane: LaneInfo, at: Position): Promise<{ position?: Position; checkpoint?: Checkpoint }> {
    if (stateOwner(this.pipeline, lane.group) === this.pipeline) return {}
    const driver = await this.open()
    const [row] = (await driver.query(PEEK, [this.pipeline, lane.id])).rows as { position: string | null }[]
    const position = row?.position == null ? undefined : (JSON.parse(row.position) as Json)
    if (position !== at) return { position }
    const { checkpoint } = await claimRow(driver, this.pipeline, lane.id)
    return checkpoint?.position === at ? { position, checkpoint } : { position: checkpoint?.position }
  }

  async peek(lane: LaneInfo): Promise<Checkpoint | undefined> {
    const { driver } = await this.connected()
    // Reading creates no tables.
    if (!(await hasTable(driver, LAST_TABLE))) return undefined
    const { rows } = await driver.query(PEEK_ALL, [stateOwner(this.pipeline, lane.group), lane.id])
    const [first] = rows as Record<string, string | null>[]
    if (first === undefined) return undefined
    const state = (rows as Record<string, string | null>[]).flatMap(({ store, key, json }) =>
      store === null ? [] : [[store, unescape(key!), json!] as const],
    )
    return { position: JSON.parse(first.position!) as Json, state }
  }

  async list(): Promise<StoredLane[]> {
    const driver = await this.open()
    const name = this.pipeline.slice(0, this.pipeline.indexOf('.') + 1)
    // One statement sees one moment.
    const { rows } = await driver.query(LIST, [name])
    const lanes = new Map<string, StoredLane & { checkpoint: { state: [string, string, string][] } }>()
    for (const { id, pipeline, lane, position, store, key, json } of rows as Record<string, string | null>[]) {
      let kept = lanes.get(id!)
      if (!kept)
        lanes.set(id!, (kept = { owner: pipeline!, lane: lane!, checkpoint: { position: JSON.parse(position!) as Json, state: [] } }))
      if (store !== null) kept.checkpoint.state.push([store, unescape(key!), json!])
    }
    return [...lanes.values()]
  }

  async remove(owner: string): Promise<void> {
    await (await this.open()).query('delete from runner_checkpoint where pipeline = $1', [owner])
  }

  async begin(lane: LaneInfo): Promise<PostgresTransaction> {
    const claim = this.claims.get(lane.id)
    if (claim === undefined) throw unclaimed(lane.id)
    await this.end(lane)
    const tx = await (await this.open()).begin()
    try {
      const [row] = (await tx.query(LOCK, [claim.id], { prepare: true })).rows
      if (row?.epoch !== claim.epoch) throw fenced(lane.id)
    } catch (error) {
      await tx.rollback()
      throw error
    }
    const transaction = new PostgresTransaction(tx, claim)
    this.running.set(lane.id, transaction)
    return transaction
  }

  async save(lane: LaneInfo, delta: CheckpointDelta): Promise<void> {
    await (await this.begin(lane)).commit(delta)
  }

  async release(lane: LaneInfo): Promise<void> {
    await this.end(lane)
    this.claims.delete(lane.id)
  }

  async close(): Promise<void> {
    const { opening } = this
    this.opening = undefined
    this.tables = undefined
    for (const transaction of this.running.values()) await transaction.abort()
    this.running.clear()
    this.claims.clear()
    if (opening !== undefined) await (await opening.catch(() => undefined))?.release()
  }

  private async end(lane: LaneInfo): Promise<void> {
    const transaction = this.running.get(lane.id)
    this.running.delete(lane.id)
    await transaction?.abort()
  }

  /** Connected, with the tables. */
  private async open(): Promise<Driver> {
    const handle = await this.connected()
    this.tables ??= createTables(handle.driver, LAST_TABLE, TABLES).catch(error => {
      this.tables = undefined
      throw error
    })
    await this.tables
    return handle.driver
  }

  private connected(): Promise<PostgresHandle> {
    if (this.opening === undefined) {
      this.opening = connect(this.config, this.context.log)
      this.opening.catch(() => (this.opening = undefined))
    }
    return this.opening
  }
}

/** Claims the row of a lane and reads its checkpoint. */
async function claimRow(driver: Driver, owner: string, lane: string): Promise<{ id: string; epoch: string; checkpoint?: Checkpoint }> {
  return driver.transaction(async tx => {
    const stop = await freeing(driver, tx)
    const [row] = (await tx.query(CLAIM, [owner, lane]).finally(stop)).rows as { id: string; epoch: string; position: string | null }[]
    const { id, epoch, position } = row
    if (position === null) return { id, epoch }
    return { id, epoch, checkpoint: keptCheckpoint(JSON.parse(position) as Json, await readState(tx, id)) }
  })
}

/**
 * In pages: the rows of a result take several times the space of the state. The row of the lane is locked, so nothing changes in between.
 */
async function readState(tx: Queryable, id: string): Promise<KeptState> {
  const state = new KeptState()
  for (let after = ['', '']; ; ) {
    const rows = (await tx.query(READ_STATE, [id, ...after, PAGE], { prepare: true })).rows as Record<string, string>[]
    for (const { store, key, json } of rows) state.set(store, unescape(key), json)
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) return state
    after = [last.store, last.key]
  }
}

/** While a claim waits for its row: ends the transaction that holds it, if that one is idle. @returns a function that stops the checks. */
export async function freeing(driver: Driver, tx: Queryable): Promise<() => void> {
  // Here transactions take turns, and the one that holds the row belongs to this process.
  if (driver.embedded) return () => {}
  const [{ pid }] = (await tx.query(OWN_PID)).rows
  let asking = false
  const timer = setInterval(() => {
    if (asking) return
    asking = true
    // Without the permission, the claim waits for idle_in_transaction_timeout.
    driver
      .query(FREE, [pid as number])
      .catch(() => {})
      .finally(() => (asking = false))
  }, LOCK_CHECK_INTERVAL)
  timer.unref()
  return () => clearInterval(timer)
}
