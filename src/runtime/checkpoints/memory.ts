/** Checkpoints in memory, lost at the end of the process: for tests, and for pipelines that need no more. */
import type { Checkpoint, CheckpointDelta, CheckpointStore, Json, LaneInfo } from '../../contract/plugin.ts'
import { fenced, unclaimed } from '../../kit/sqlite/lanes.ts'

interface Lane {
  epoch: number
  position: string | undefined
  /** store => key => JSON text */
  readonly state: Map<string, Map<string, string>>
}

/** The content of a store. Pass it to a second store to simulate a restart, or a former owner that still runs. */
export type Memory = Map<string, Lane>

export function memoryCheckpoints(memory: Memory = new Map()): CheckpointStore {
  const epochs = new Map<string, number>()
  return {
    peek: async info => checkpointOf(memory.get(info.id)),
    async claim(info: LaneInfo): Promise<Checkpoint | undefined> {
      let lane = memory.get(info.id)
      if (!lane) memory.set(info.id, (lane = { epoch: 0, position: undefined, state: new Map() }))
      epochs.set(info.id, ++lane.epoch)
      return checkpointOf(lane)
    },
    async save(info: LaneInfo, delta: CheckpointDelta): Promise<void> {
      const epoch = epochs.get(info.id)
      const lane = memory.get(info.id)
      if (epoch === undefined || !lane) throw unclaimed(info.id)
      if (lane.epoch !== epoch) throw fenced(info.id)
      lane.position = JSON.stringify(delta.position)
      for (const [store, key, json] of delta.state) {
        let keys = lane.state.get(store)
        if (!keys) lane.state.set(store, (keys = new Map()))
        if (json === null) keys.delete(key)
        else keys.set(key, json)
      }
    },
    async release(info: LaneInfo): Promise<void> {
      epochs.delete(info.id)
    },
    async close(): Promise<void> {
      epochs.clear()
    },
  }
}

function checkpointOf(lane: Lane | undefined): Checkpoint | undefined {
  if (lane?.position === undefined) return undefined
  const state = [...lane.state].flatMap(([store, keys]) => [...keys].map(([key, json]) => [store, key, json] as const))
  return { position: JSON.parse(lane.position) as Json, state }
}
