/** Checkpoints in one SQLite file in the state directory, for sources without a checkpoint store of their own. */
import { existsSync } from 'node:fs'
import type { CheckpointStore } from '../../contract/plugin.ts'
import { type Claim, claimLane, laneSchema, listLanes, peekLane, removeLanes, saveLane, unclaimed } from '../../kit/sqlite/lanes.ts'
import { stateOwner } from '../../kit/state-owner.ts'
import { inStateDir } from '../../kit/state-dir.ts'
import { openSqlite, type Sqlite, type SqliteKind } from '../../kit/sqlite/sqlite.ts'

const kind: SqliteKind = { what: 'checkpoint file', applicationId: 0x52434b50, version: 1, schema: laneSchema }

export interface LocalOptions {
  /** `<pipeline>.<version>`. With the group of the lane, it identifies the owner of the checkpoints. */
  readonly id: string
  /** Default `.runner/checkpoints.db`. */
  readonly path?: string
}

/**
 * Several processes can use one file; the latest claim of a lane wins. The first claim opens the file, and throws an `EnvironmentError` if
 * that fails.
 *
 * Every save is fsynced, because after it a source may discard the records (an acknowledged stream entry, an answered webhook).
 */
export function localCheckpoints(options: LocalOptions): CheckpointStore {
  const claims = new Map<string, Claim>()
  let opening: Promise<Sqlite> | undefined
  const open = (): Promise<Sqlite> => {
    opening ??= openSqlite(options.path ?? inStateDir('checkpoints.db'), kind, 'full').catch(error => {
      opening = undefined
      throw error
    })
    return opening
  }
  return {
    async claim(lane) {
      const db = await open()
      const claim = await db.write(() => claimLane(db, stateOwner(options.id, lane.group), lane.id))
      claims.set(lane.id, { ...claim, checkpoint: undefined })
      return claim.checkpoint
    },
    async save(lane, delta) {
      const claim = claims.get(lane.id)
      if (!claim) throw unclaimed(lane.id)
      const db = await open()
      await db.write(() => saveLane(db, claim, delta))
    },
    async release(lane) {
      claims.delete(lane.id)
    },
    async peek(lane) {
      if (!existsSync(options.path ?? inStateDir('checkpoints.db'))) return undefined
      return peekLane(await open(), stateOwner(options.id, lane.group), lane.id)
    },
    async list() {
      return existsSync(options.path ?? inStateDir('checkpoints.db')) ? listLanes(await open(), options.id) : []
    },
    async remove(owner) {
      const db = await open()
      await db.write(() => removeLanes(db, owner))
    },
    async close() {
      claims.clear()
      const closing = opening
      opening = undefined
      if (closing) (await closing).close()
    },
  }
}
