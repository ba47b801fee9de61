/**
 * The compacted topic that stores the checkpoints of lanes: state records and one record with the position, written in the transaction of
 * the lane. Its partition n serves partition n of every input topic.
 */
import {
  type Checkpoint,
  type CheckpointDelta,
  EnvironmentError,
  type LaneInfo,
  type Message,
  type Position,
  StateError,
} from '../../../../contract/plugin.ts'
import { monotonic } from '../../../../kit/clock.ts'
import { keptCheckpoint, KeptState } from '../../../../kit/kept-state.ts'
import { type BatchHeader, batchHeader, commitMarker, decodeBatch } from '../../codec/decode.ts'
import { CONTROL, TRANSACTIONAL } from '../../codec/encode.ts'
import { type OutRecord, type TopicPartition, tpKey } from '../../driver.ts'
import { addPartitions, createTopics, listOffsets, ADMIN_TIMEOUT } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import { fetch } from '../consume/fetcher.ts'

const FORMAT = 1
const FETCH_BYTES = 8_388_608

/** Small segments: only closed ones are compacted, and a claim reads the whole partition. */
const CONFIG = {
  'cleanup.policy': 'compact',
  'segment.bytes': '52428800',
  'segment.ms': '600000',
  'min.cleanable.dirty.ratio': '0.1',
  'max.message.bytes': '10485760',
}

export const checkpointTopic = (id: string): string => `__runner.${id.replace(/[^a-zA-Z0-9._-]/g, '_')}.checkpoint`

/** The owner that `checkpointTopic` received, as far as the name of a topic can represent it. */
export const ownerOf = (topic: string): string => topic.slice('__runner.'.length, -'.checkpoint'.length)

/** Lanes of other systems share the first partition. */
export const partitionOf = (lane: LaneInfo): number => (lane.topic === undefined ? 0 : (lane.partition ?? 0))

/** Creates or grows the topic so that it has a partition for the lane. */
export async function partitionFor(cluster: Cluster, topic: string, lane: LaneInfo): Promise<TopicPartition> {
  const partition = partitionOf(lane)
  const count = (name: string): Promise<number> =>
    cluster.retry(`look up topic ${name}`, ADMIN_TIMEOUT, async () => (await cluster.partitions(name)).length)
  let have = await count(topic)
  if (have <= partition) {
    const need = Math.max(partition + 1, lane.topic === undefined ? 1 : await count(lane.topic))
    if (have === 0) {
      await createTopics(cluster, [{ topic, partitions: need, config: CONFIG }])
      have = await count(topic)
    }
    if (have < need) await addPartitions(cluster, topic, need)
  }
  return { topic, partition }
}

/**
 * @param topicId of the checkpoint topic when the lane was claimed. A record found in another topic was written after that one was deleted.
 */
export function encodeCheckpoint(tp: TopicPartition, lane: LaneInfo, delta: CheckpointDelta, time: number, topicId?: string): OutRecord[] {
  const records: OutRecord[] = delta.state.map(([store, key, json]) => ({
    ...tp,
    key: JSON.stringify([lane.id, store, key]),
    value: json,
    headers: undefined,
    time,
  }))
  const value = JSON.stringify({ format: FORMAT, position: delta.position, topic: topicId })
  records.push({ ...tp, key: JSON.stringify([lane.id]), value, headers: undefined, time })
  return records
}

/**
 * Reads all committed records of the lane. By transaction markers instead of read_committed: the open transaction of another topic's lane
 * may hold back the last stable offset; ours are all decided once we are the owner.
 * @param settleMs for a reader that is not the owner: how long to wait for the markers of open transactions. A commit is acknowledged
 * before its markers are written, so the end of a run would otherwise be missing.
 */
export async function readCheckpoint(
  cluster: Cluster,
  tp: TopicPartition,
  lane: LaneInfo,
  settleMs = 0,
  topicId?: string,
): Promise<Checkpoint | undefined> {
  return (await readCheckpoints(cluster, tp, lane.id, settleMs, topicId)).get(lane.id)
}

/** As `readCheckpoint`, by lane. @param lane undefined: all */
export async function readCheckpoints(
  cluster: Cluster,
  tp: TopicPartition,
  lane: string | undefined,
  settleMs: number,
  topicId?: string,
): Promise<Map<string, Checkpoint>> {
  const end = (await listOffsets(cluster, [tp], 'latest', false)).get(tpKey(tp))!
  let offset = (await listOffsets(cluster, [tp], 'earliest', false)).get(tpKey(tp))!
  const found = new LaneStates(tp, lane, topicId)
  const deadline = monotonic() + settleMs
  while (offset < end || (found.undecided && monotonic() < deadline)) {
    offset = await cluster.retry(`read ${tpKey(tp)}`, ADMIN_TIMEOUT, async () => {
      const broker = await cluster.broker(await cluster.leaderId(tp))
      try {
        const [part] = await fetch(broker, [{ ...tp, offset, maxBytes: FETCH_BYTES }], {
          maxWaitMs: 500,
          maxBytes: FETCH_BYTES,
          committed: false,
        })
        if (part.errorCode !== 0)
          throw Object.assign(new Error(`error ${part.errorCode} from the broker`), {
            type: part.errorCode === 6 ? 'NOT_LEADER_FOR_PARTITION' : '',
          })
        return found.read(part.records, offset)
      } catch (error) {
        cluster.failed(broker, error, [tp.topic])
        throw error
      }
    })
  }
  return found.checkpoints()
}

interface KeptLane {
  position: { value: Position } | undefined
  readonly state: KeptState
}

/** Batches of a transaction without a marker yet, as bytes: decoded they take ten times the space. */
interface PendingBatch {
  readonly set: Buffer
  readonly batch: BatchHeader
  readonly from: number
}

/** Checkpoints by lane, from the record sets of a partition of the topic. */
class LaneStates {
  private readonly tp: TopicPartition
  private readonly lane: string | undefined
  /** The present id of the topic; undefined: not known. */
  private readonly topicId: string | undefined
  /** Prefix of the keys of the lane's state records: `["ticks/0",`. */
  private readonly prefix: string | undefined
  private readonly lanes = new Map<string, KeptLane>()
  /** By producer id. */
  private readonly open = new Map<number, PendingBatch[]>()

  constructor(tp: TopicPartition, lane: string | undefined, topicId?: string) {
    this.tp = tp
    this.topicId = topicId
    this.lane = lane
    this.prefix = lane === undefined ? undefined : JSON.stringify([lane]).slice(0, -1)
  }

  get undecided(): boolean {
    return this.open.size > 0
  }

  checkpoints(): Map<string, Checkpoint> {
    const found = new Map<string, Checkpoint>()
    for (const [id, { position, state }] of this.lanes) if (position) found.set(id, keptCheckpoint(position.value, state))
    return found
  }

  /** @returns the offset at which reading continues. */
  read(set: Buffer, from: number): number {
    let next = from
    for (let batch = batchHeader(set, 0); batch !== undefined; batch = batchHeader(set, batch.end)) {
      if (batch.lastOffset < next) continue
      if ((batch.attributes & CONTROL) !== 0) {
        const committed = commitMarker(set, batch)
        if (committed === true) for (const pending of this.open.get(batch.producerId) ?? []) this.decode(pending)
        if (committed !== undefined) this.open.delete(batch.producerId)
      } else {
        const pending = { set, batch, from: next }
        const others = this.open.get(batch.producerId)
        if ((batch.attributes & TRANSACTIONAL) === 0) this.decode(pending)
        else if (others === undefined) this.open.set(batch.producerId, [pending])
        else others.push(pending)
      }
      next = batch.lastOffset + 1
    }
    return next
  }

  private decode({ set, batch, from }: PendingBatch): void {
    const messages: Message[] = []
    decodeBatch(set, batch, from, { lane: tpKey(this.tp), source: '', format: 'bytes' }, messages)
    for (const message of messages) this.apply(message)
  }

  private apply(message: Message): void {
    const text = message.key!
    // A record of another lane in the same partition.
    if (this.prefix !== undefined && !text.startsWith(this.prefix)) return
    const [id, store, key] = JSON.parse(text) as [string, string?, string?]
    if (this.lane !== undefined && id !== this.lane) return
    let lane = this.lanes.get(id)
    if (lane === undefined) this.lanes.set(id, (lane = { position: undefined, state: new KeptState() }))
    const json = message.payload?.toString()
    if (store !== undefined && key !== undefined) {
      if (json === undefined) lane.state.delete(store, key)
      else lane.state.set(store, key, json)
      return
    }
    if (json === undefined) {
      lane.position = undefined
      return
    }
    const meta = JSON.parse(json) as { format: number; position: Position; topic?: string }
    if (meta.format !== FORMAT) {
      throw new EnvironmentError(
        `the checkpoint of ${id} in ${this.tp.topic} has format ${meta.format}; this version of the runner reads format ${FORMAT}`,
      )
    }
    if (meta.topic !== undefined && this.topicId !== undefined && meta.topic !== this.topicId)
      throw new StateError(
        `the checkpoint topic ${this.tp.topic} was deleted and created again while a process wrote to it (it was ${meta.topic}, is ${this.topicId}): ` +
          `of the state of ${id} it has only the changes since then. Stop every instance; then run once with --fresh, or raise version`,
      )
    lane.position = { value: meta.position }
  }
}
