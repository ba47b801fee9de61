/** Checkpoints as rows: shared by the local store and the embedded log, which writes them in the transaction of its outputs. */
import { type Checkpoint, type CheckpointDelta, FencedError, type Json, type StoredLane } from '../../contract/plugin.ts'
import { keptCheckpoint, KeptState } from '../kept-state.ts'
import type { Sqlite } from './sqlite.ts'

/** One row per lane with its fencing epoch, one row per live state key. Both in their owner's name, so that pipelines share a file. */
export const laneSchema = `
  CREATE TABLE lane (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    position TEXT,
    UNIQUE (owner, name)
  );
  CREATE TABLE state (
    lane INTEGER NOT NULL,
    store TEXT NOT NULL,
    key TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (lane, store, key)
  ) WITHOUT ROWID`

/** Proof of ownership: valid until the lane is claimed again. */
export interface Claim {
  readonly lane: number
  readonly name: string
  readonly epoch: number
  readonly checkpoint: Checkpoint | undefined
}

/** Increments the lane's epoch, which fences every earlier claim, and reads the checkpoint. Inside `Sqlite.write` only. */
export function claimLane(db: Sqlite, owner: string, name: string): Claim {
  const row = db
    .prepare(
      `INSERT INTO lane (owner, name, epoch) VALUES (?, ?, 1)
       ON CONFLICT (owner, name) DO UPDATE SET epoch = epoch + 1 RETURNING id, epoch, position`,
    )
    .get(owner, name) as { id: number; epoch: number; position: string | null }
  const checkpoint = row.position === null ? undefined : checkpointOf(db, row.id, row.position)
  return { lane: row.id, name, epoch: row.epoch, checkpoint }
}

/** Reads the checkpoint of a lane that another instance may own. */
export function peekLane(db: Sqlite, owner: string, name: string): Checkpoint | undefined {
  // One statement reads one snapshot; two could see a save in between.
  const rows = db.all<{ position: string | null; store: string | null; key: string; json: string }>(
    `SELECT l.position, s.store, s.key, s.json FROM lane l LEFT JOIN state s ON s.lane = l.id WHERE l.owner = ? AND l.name = ?`,
    owner,
    name,
  )
  if (rows.length === 0 || rows[0].position === null) return undefined
  const state = rows.flatMap(r => (r.store === null ? [] : [[r.store, r.key, r.json] as const]))
  return { position: JSON.parse(rows[0].position) as Json, state }
}

/** All lanes of the owners whose names start with `<name>.`. */
export function listLanes(db: Sqlite, id: string): StoredLane[] {
  const name = id.slice(0, id.indexOf('.') + 1)
  const rows = db.all<{ id: number; owner: string; name: string; position: string }>(
    'SELECT id, owner, name, position FROM lane WHERE position IS NOT NULL AND substr(owner, 1, ?) = ? ORDER BY owner, name',
    name.length,
    name,
  )
  return rows.map(row => ({ owner: row.owner, lane: row.name, checkpoint: checkpointOf(db, row.id, row.position) }))
}

/** Inside `Sqlite.write` only. It fences a process that has claimed one of the lanes. */
export function removeLanes(db: Sqlite, owner: string): void {
  db.prepare('DELETE FROM state WHERE lane IN (SELECT id FROM lane WHERE owner = ?)').run(owner)
  db.prepare('DELETE FROM lane WHERE owner = ?').run(owner)
}

function checkpointOf(db: Sqlite, lane: number, position: string): Checkpoint {
  const state = new KeptState()
  const rows = db.prepare('SELECT store, key, json FROM state WHERE lane = ?').iterate(lane)
  for (const { store, key, json } of rows as Iterable<{ store: string; key: string; json: string }>) state.set(store, key, json)
  return keptCheckpoint(JSON.parse(position) as Json, state)
}

/** Saves the delta if the claim still holds. Inside `Sqlite.write` only. @throws {FencedError} when the lane was claimed again. */
export function saveLane(db: Sqlite, claim: Claim, delta: CheckpointDelta): void {
  const { changes } = db
    .prepare('UPDATE lane SET position = ? WHERE id = ? AND epoch = ?')
    .run(JSON.stringify(delta.position), claim.lane, claim.epoch)
  if (changes === 0) throw fenced(claim.name)
  const put = db.prepare('INSERT INTO state (lane, store, key, json) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET json = excluded.json')
  const drop = db.prepare('DELETE FROM state WHERE lane = ? AND store = ? AND key = ?')
  for (const [store, key, json] of delta.state) {
    if (json === null) drop.run(claim.lane, store, key)
    else put.run(claim.lane, store, key, json)
  }
}

/** Another process has claimed the lane: throw this error, and the runtime drops the lane. */
export const fenced = (lane: string): FencedError => new FencedError(`fenced: another instance now owns lane ${lane}; nothing was written`)

/** A bug: a lane is used before it was claimed. */
export const unclaimed = (lane: string): Error => new Error(`lane ${lane} was used before it was claimed`)
