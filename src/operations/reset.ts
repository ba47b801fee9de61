/** Moves a source to another position: sets the offsets of the group and the checkpoint, and removes its state. */
import { positionsIn } from '../connectors/kafka/positions.ts'
import { connect, type ConnectionConfig } from '../connectors/kafka/connect.ts'
import type { GroupMember } from '../connectors/kafka/log-admin.ts'
import type { Driver, TopicPartition } from '../connectors/kafka/driver.ts'
import { type CheckpointStore, EnvironmentError, type LaneInfo } from '../contract/plugin.ts'
import { MANIFEST_STORE } from '../runtime/state.ts'
import { entriesOf, silent } from './position-status.ts'

export type Target =
  | { readonly at: 'earliest' | 'latest' }
  | { readonly at: 'time'; readonly time: number }
  | { readonly at: 'offset'; readonly offset: number }

export interface Move {
  readonly lane: LaneInfo & TopicPartition
  readonly committed: number | undefined
  readonly checkpoint: number | undefined
  /** Number of removed state keys. */
  readonly state: number
  readonly to: number
  /** The reason why it cannot be moved there. */
  readonly refused?: string
}

export interface ResetPlan {
  readonly moves: readonly Move[]
  /** Current members of the group. A reset requires that there are none. */
  readonly members: readonly GroupMember[]
  /** Checkpoint first: it takes precedence. */
  apply(): Promise<void>
  close(): Promise<void>
}

/** @param store checkpoints of the source; closed by `close` */
export async function planReset(
  config: ConnectionConfig,
  group: string,
  topics: readonly string[],
  target: Target,
  partitions: readonly number[] | undefined,
  store: CheckpointStore | undefined,
): Promise<ResetPlan> {
  const { driver, release } = await connect(config, silent)
  try {
    const all = (await positionsIn(driver, group, topics, '', 'earliest')).filter(p => partitions?.includes(p.lane.partition!) ?? true)
    if (all.length === 0) throw new EnvironmentError(`there is no such partition of ${topics.join(', ')}`)
    const lanes = all.map(p => p.lane as LaneInfo & TopicPartition)
    const places = await find(driver, lanes, target)
    const moves: Move[] = []
    for (const p of all) {
      const to = places.get(p.lane.id)!
      const checkpoint = await store?.peek?.(p.lane)
      const within = to >= (p.first as number) && to <= (p.end as number)
      moves.push({
        lane: p.lane as LaneInfo & TopicPartition,
        committed: p.committed as number | undefined,
        checkpoint: checkpoint?.position as number | undefined,
        state: entriesOf(checkpoint),
        to,
        ...(within ? {} : { refused: `${p.lane.id} has the offsets ${p.first} to ${p.end}` }),
      })
    }
    return {
      moves,
      members: await driver.admin.members(group),
      apply: () => apply(driver, group, moves, store),
      async close() {
        await store?.close()
        await release()
      },
    }
  } catch (error) {
    await store?.close()
    await release()
    throw error
  }
}

export async function find(driver: Driver, lanes: readonly (LaneInfo & TopicPartition)[], target: Target): Promise<Map<string, number>> {
  if (target.at === 'offset') return new Map(lanes.map(l => [l.id, target.offset]))
  return driver.offsets(lanes, target.at === 'time' ? target.time : target.at)
}

async function apply(driver: Driver, group: string, moves: readonly Move[], store: CheckpointStore | undefined): Promise<void> {
  for (const { lane, to } of moves) {
    if (!store || (store.peek && (await store.peek(lane)) === undefined)) continue
    // The claim fences an instance that started in the meantime.
    const checkpoint = await store.claim(lane)
    if (checkpoint)
      await store.save(lane, {
        position: to,
        state: checkpoint.state.filter(([name]) => name !== MANIFEST_STORE).map(([name, key]) => [name, key, null] as const),
      })
    await store.release(lane)
  }
  await driver.admin.setOffsets(
    group,
    moves.map(({ lane, to }) => ({ topic: lane.topic, partition: lane.partition, offset: to })),
  )
}
