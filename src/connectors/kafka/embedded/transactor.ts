/** Outputs, state and offsets of a lane in one SQLite transaction. */
import {
  BatchError,
  type CheckpointDelta,
  type LaneInfo,
  type Position,
  type Transaction,
  type Transactor,
} from '../../../contract/plugin.ts'
import { type Claim, claimLane, fenced, listLanes, peekLane, removeLanes, saveLane, unclaimed } from '../../../kit/sqlite/lanes.ts'
import type { LogTransaction } from '../driver.ts'
import { Appender, ensureTopics } from './append.ts'
import { commitOffset, groupId } from './group.ts'
import type { Log } from './log.ts'

/** `id` identifies the owner of the lanes. The first call that needs the log opens it. */
export function embeddedTransactor(open: () => Promise<Log>, id: string): Transactor {
  const claims = new Map<string, Claim>()
  const running = new Map<string, Transaction>()

  async function save(lane: LaneInfo, delta: CheckpointDelta, outputs?: Appender): Promise<void> {
    const claim = claims.get(lane.id)
    if (!claim) throw unclaimed(lane.id)
    const log = await open()
    await log.db.write(() => {
      // First, so that a fenced instance fails before it has written a page.
      saveLane(log.db, claim, delta)
      outputs?.write(log.db, log.now())
      saveGroupOffset(log, lane, delta.position, id)
    })
    outputs?.recycle()
  }

  return {
    async claim(lane) {
      running.delete(lane.id)
      const log = await open()
      const claim = await log.db.write(() => claimLane(log.db, id, lane.id))
      claims.set(lane.id, { ...claim, checkpoint: undefined })
      return claim.checkpoint
    },
    save: (lane, delta) => save(lane, delta),
    list: async () => listLanes((await open()).db, id),
    async remove(owner) {
      const { db } = await open()
      await db.write(() => removeLanes(db, owner))
    },
    peek: async lane => peekLane((await open()).db, id, lane.id),
    async begin(lane) {
      const claim = claims.get(lane.id)
      if (!claim) throw unclaimed(lane.id)
      if (running.has(lane.id)) throw new Error(`lane ${lane.id} already has a transaction`)
      const log = await open()
      const outputs = new Appender(log.topics)
      // Nothing is locked until `commit`: sent records wait here, encoded.
      const transaction: Transaction & LogTransaction = {
        async send(records) {
          assertRunning()
          await ensureTopics(log.topics, records)
          const failed = outputs.add(records)
          if (failed.size > 0) throw new BatchError(failed)
        },
        async commit(delta) {
          assertRunning()
          running.delete(lane.id)
          await save(lane, delta, outputs)
        },
        async abort() {
          if (running.get(lane.id) !== transaction) return
          running.delete(lane.id)
          outputs.recycle()
        },
      }
      const assertRunning = () => {
        // Lost and claimed again, or released, while this transaction was open.
        if (claims.get(lane.id) !== claim) throw fenced(lane.id)
        if (running.get(lane.id) !== transaction) throw new Error(`the transaction of lane ${lane.id} has ended`)
      }
      running.set(lane.id, transaction)
      return transaction
    },
    async release(lane) {
      running.delete(lane.id)
      claims.delete(lane.id)
    },
    async close() {
      running.clear()
      claims.clear()
    },
  }
}

/** The group's committed offset follows the lane's position, so that lag and start positions are visible from outside. */
function saveGroupOffset(log: Log, { topic, partition, group }: LaneInfo, position: Position, owner: string): void {
  // A lane of another source, such as a file, has no offset in this log.
  if (group === undefined || topic === undefined || partition === undefined || typeof position !== 'number') return
  const part = log.topics.part({ topic, partition })
  if (part !== undefined) commitOffset(log.db, groupId(log.db, group), part, position, owner)
}
