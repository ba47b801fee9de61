/** Outputs, checkpoint and group offset of a lane in one Kafka transaction. */
import type { Logger } from '../../../../contract/plugin.ts'
import {
  type Checkpoint,
  type CheckpointDelta,
  ConnectionError,
  type LaneInfo,
  type PipelineError,
  StateError,
  type StoredLane,
  type Transaction,
  type Transactor,
} from '../../../../contract/plugin.ts'
import type { TransactorOptions } from '../../driver.ts'
import { deleteTopics } from '../operate/configs.ts'
import { ADMIN_TIMEOUT, listTopics } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import { checkpointTopic, ownerOf, partitionFor, partitionOf, readCheckpoint, readCheckpoints } from './checkpoint.ts'
import { LaneProducer } from './lane-producer.ts'
import { exposedTopics, lostMarkers } from './lost-markers.ts'
import { WrittenTopics } from '../produce/written-topics.ts'
import { topicIds } from '../topic-ids.ts'
import type { TopicWatch } from '../topic-watch.ts'

/** How long reading another process's checkpoint waits for transactions that are being ended. */
const SETTLE_MS = 2000

export class KafkaTransactor implements Transactor {
  private readonly cluster: Cluster
  private readonly options: TransactorOptions
  private readonly log: Logger
  private readonly topic: string
  private readonly lanes = new Map<string, LaneProducer>()
  private readonly watch: TopicWatch
  /** Topics that transactions write to. */
  private readonly written: WrittenTopics

  constructor(cluster: Cluster, options: TransactorOptions, log: Logger, watch: TopicWatch) {
    this.cluster = cluster
    this.watch = watch
    this.options = options
    this.log = log
    this.topic = checkpointTopic(options.id)
    this.written = new WrittenTopics(watch, cluster, log, topic => {
      for (const producer of this.lanes.values()) producer.topicDeleted(this.goneError(topic))
    })
  }

  /** Topics whose replicas were looked up. */
  private readonly looked = new Set<string>()

  /** Logs an error of the brokers that can break exactly-once delivery into the topic. Waits for nothing, and retries nothing. */
  private warn(topic: string): void {
    if (this.looked.has(topic)) return
    this.looked.add(topic)
    const look = async (): Promise<void> => {
      const exposed = await exposedTopics(this.cluster, [topic])
      if (exposed.length > 0) this.log.warn({ topic }, `${lostMarkers(exposed)}. Use two or more replicas`)
    }
    look().catch((error: Error) => this.log.debug({ topic, error: error.message }, 'the release of the brokers is unknown'))
  }

  async claim(lane: LaneInfo): Promise<Checkpoint | undefined> {
    this.lanes.get(lane.id)?.discard()
    if (this.written.has(this.topic) && this.watch.sight(this.topic) === 'missing') throw this.goneError(this.topic)
    const checkpoint = await partitionFor(this.cluster, this.topic, lane)
    const id = `${this.options.id}|${lane.topic === undefined ? lane.id : `${lane.topic}|${lane.partition}`}`
    const topicId = (await topicIds(this.cluster, [this.topic])).get(this.topic)?.id
    const identity = await LaneProducer.initialise(this.cluster, id)
    const producer = new LaneProducer(
      this.cluster,
      lane,
      { transactionalId: id, owner: this.options.id, topicId },
      identity,
      checkpoint,
      this.options.producer,
      this.log,
      {
        onTopic: topic => {
          this.written.add(topic)
          this.warn(topic)
        },
        mayCreate: topic => !this.watch.existed(topic),
      },
    )
    this.written.add(this.topic)
    this.warn(this.topic)
    this.lanes.set(lane.id, producer)
    // Only now: includes everything that the former owner committed.
    return readCheckpoint(this.cluster, checkpoint, lane, 0, topicId)
  }

  healthy(): boolean | string {
    return this.written.problem() ?? true
  }

  private goneError(topic: string): PipelineError {
    if (topic !== this.topic) return new ConnectionError(`topic ${topic} was deleted while it was written to`)
    return new StateError(
      `the checkpoint topic ${topic} was deleted while the pipeline ran: its state is lost. ` +
        'Stop every instance; then run once with --fresh, or raise version',
    )
  }

  async begin(lane: LaneInfo): Promise<Transaction> {
    return this.claimed(lane).begin()
  }

  async save(lane: LaneInfo, delta: CheckpointDelta): Promise<void> {
    const transaction = await this.begin(lane)
    await transaction.commit(delta)
  }

  async release(lane: LaneInfo): Promise<void> {
    this.lanes.get(lane.id)?.discard()
    this.lanes.delete(lane.id)
  }

  async peek(lane: LaneInfo): Promise<Checkpoint | undefined> {
    const tp = { topic: this.topic, partition: partitionOf(lane) }
    const known = await this.cluster.retry(`look up topic ${tp.topic}`, ADMIN_TIMEOUT, () =>
      this.cluster.partitions(tp.topic, { refresh: true }),
    )
    return known.length > tp.partition ? readCheckpoint(this.cluster, tp, lane, SETTLE_MS) : undefined
  }

  async list(): Promise<StoredLane[]> {
    const lanes: StoredLane[] = []
    const prefix = checkpointTopic(this.options.id.slice(0, this.options.id.indexOf('.') + 1)).slice(0, -'.checkpoint'.length)
    const topics = (await listTopics(this.cluster)).filter(t => t.name.startsWith(prefix) && t.name.endsWith('.checkpoint'))
    for (const { name: topic, partitions } of topics.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      for (let partition = 0; partition < partitions; partition++) {
        for (const [lane, checkpoint] of await readCheckpoints(this.cluster, { topic, partition }, undefined, SETTLE_MS))
          lanes.push({ owner: ownerOf(topic), lane, checkpoint })
      }
    }
    return lanes
  }

  async remove(owner: string): Promise<void> {
    const topic = checkpointTopic(owner)
    await this.cluster.retry(`delete topic ${topic}`, ADMIN_TIMEOUT, () => deleteTopics(this.cluster, [topic]))
  }

  async close(): Promise<void> {
    for (const producer of this.lanes.values()) producer.discard()
    this.lanes.clear()
    this.written.close()
    await this.cluster.close()
  }

  private claimed(lane: LaneInfo): LaneProducer {
    const claimed = this.lanes.get(lane.id)
    if (claimed === undefined) throw new Error(`lane ${lane.id} has not been claimed`)
    return claimed
  }
}
