/**
 * Our identity for the group's coordinator: member id and generation, and the requests that contain them.
 * The caller decides what a response means for the partitions; errors are kafkajs' own.
 */
import type { LiveContent } from '../../../../contract/plugin.ts'
import { liveConflict } from '../../../../kit/live-content.ts'
import type { TopicPartition } from '../../driver.ts'
import type { Cluster } from '../cluster.ts'
import { type Broker, internals } from '../internals.ts'
import { decodeAssignment, encodeMember, PROTOCOL } from './assign.ts'
import { Leader } from './leader.ts'
import { conflictWithMembers } from './live-members.ts'
import { DeadMemberEvictor, processMark } from './dead-members.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface SessionOptions {
  readonly group: string
  readonly topics: readonly string[]
  readonly sessionTimeoutMs: number
  readonly live?: LiveContent
  /** For requests that must not wait behind a join. */
  readonly aside: Cluster
  /** Members were evicted because their processes have ended. */
  onEvicted(members: readonly string[]): void
}

/** How long the coordinator lets a join wait for all members of the previous generation. */
export const REBALANCE_TIMEOUT = 60_000
const SYNC_TIMEOUT = 30_000

interface Joined {
  readonly memberId: string
  readonly leaderId: string
  readonly generationId: number
  /** For the leader only. */
  readonly members: readonly { memberId: string; memberMetadata: Buffer }[]
}

export class Session {
  private readonly cluster: Cluster
  private readonly options: SessionOptions
  private readonly leader: Leader
  private readonly evictor: DeadMemberEvictor
  private memberId = ''
  /** Of the last assignment; -1: none that still counts. */
  generation = -1
  leading = false
  /** The coordinator may hold our join or sync, and our connection with it, until the others have joined. */
  private joining = false
  /** When the coordinator's last successful response arrived, `monotonic` ms. */
  readonly contact = { at: 0 }

  /** @param cluster a separate one: a join may block its connection for a minute. */
  constructor(cluster: Cluster, options: SessionOptions) {
    this.cluster = cluster
    this.options = options
    this.leader = new Leader(cluster)
    this.evictor = new DeadMemberEvictor(options.group, members => options.onEvicted(members))
  }

  /** @returns our partitions in the new generation. @throws {LiveConflictError} when the members have different settings. */
  async join(owned: readonly TopicPartition[]): Promise<TopicPartition[]> {
    const { group, topics, sessionTimeoutMs, live } = this.options
    let coordinator: Broker | undefined
    try {
      coordinator = await this.cluster.coordinator('group', group)
      if (this.memberId === '') {
        await this.evictor.evictFormer(coordinator, this.cluster)
        const conflict = live && (await conflictWithMembers(coordinator, group, topics, live))
        if (conflict) throw conflict
      }
      this.joining = true
      const joining = this.enter(coordinator, {
        groupId: group,
        sessionTimeout: sessionTimeoutMs,
        rebalanceTimeout: REBALANCE_TIMEOUT,
        protocolType: 'consumer',
        groupProtocols: [{ name: PROTOCOL, metadata: encodeMember(topics, owned, this.generation, processMark(), live) }],
      })
      const joined = await this.evictor.during(joining, this.options.aside)
      this.memberId = joined.memberId
      this.contact.at = monotonic()
      this.leading = joined.leaderId === joined.memberId
      const groupAssignment = this.leading ? await this.leader.lead(joined.members, joined.memberId) : []
      const syncing = this.sync(coordinator, {
        groupId: group,
        generationId: joined.generationId,
        memberId: joined.memberId,
        groupAssignment,
      })
      // The leader may have died between its join and its sync, for which the others wait.
      const synced = await this.evictor.during(syncing, this.options.aside)
      this.generation = joined.generationId
      this.contact.at = monotonic()
      const { partitions, members, rejected } = decodeAssignment(synced.memberAssignment)
      this.evictor.members = members
      const conflict = rejected && live && liveConflict(rejected, 'a member of the group', live, `group ${group}`)
      if (conflict) throw conflict
      return [...partitions]
    } catch (error) {
      this.cluster.failed(coordinator, error)
      throw error
    } finally {
      this.joining = false
    }
  }

  /**
   * kafkajs' own `joinGroup` does not return the member id that a new member receives before it waits; without the id, the member could not
   * leave.
   */
  private async enter(coordinator: Broker, request: object): Promise<Joined> {
    const { apiKeys, requests } = internals()
    const joinGroup = coordinator.lookupRequest(apiKeys.JoinGroup, requests.JoinGroup)
    const send = (): Promise<Joined> => coordinator.connectionPool.send(joinGroup({ ...request, memberId: this.memberId }))
    try {
      return await send()
    } catch (error) {
      const { name, memberId } = error as Error & { memberId?: string }
      if (name !== 'KafkaJSMemberIdRequired') throw error
      this.memberId = memberId!
      return await send()
    }
  }

  /** Answered when the leader has assigned the partitions, which may take longer than other requests do. */
  private sync(coordinator: Broker, options: object): Promise<{ memberAssignment: Buffer }> {
    const { apiKeys, requests } = internals()
    const syncGroup = coordinator.lookupRequest(apiKeys.SyncGroup, requests.SyncGroup)(options)
    return coordinator.connectionPool.send({ ...syncGroup, requestTimeout: SYNC_TIMEOUT })
  }

  async beat(): Promise<void> {
    await this.ask(this.cluster, coordinator =>
      coordinator.heartbeat({ groupId: this.options.group, groupGenerationId: this.generation, memberId: this.memberId }),
    )
  }

  /** @param cluster one whose connections are not blocked by a join. */
  async commit(cluster: Cluster, offsets: readonly (TopicPartition & { offset: number; metadata?: string })[]): Promise<void> {
    const topics = new Map<string, { topic: string; partitions: object[] }>()
    for (const { topic, partition, offset, metadata } of offsets) {
      if (!topics.has(topic)) topics.set(topic, { topic, partitions: [] })
      topics.get(topic)!.partitions.push({ partition, offset: String(offset), metadata: metadata ?? null })
    }
    // The values of now, not of the time at which the coordinator is found.
    const { generation, memberId } = this
    await this.ask(cluster, coordinator =>
      coordinator.offsetCommit({
        groupId: this.options.group,
        groupGenerationId: generation,
        memberId,
        topics: [...topics.values()],
      }),
    )
  }

  /** Never throws. */
  async leave(): Promise<void> {
    if (this.memberId === '') return
    try {
      // Behind a waiting join it would be read only after the group has agreed, with us as a member.
      const cluster = this.joining ? this.options.aside : this.cluster
      const coordinator = await cluster.coordinator('group', this.options.group)
      await coordinator.leaveGroup({ groupId: this.options.group, memberId: this.memberId })
    } catch {
      // The session will expire instead.
    }
  }

  /** For members whose processes have ended. */
  async evictDeadPeers(): Promise<void> {
    await this.ask(this.cluster, coordinator => this.evictor.evictPeers(coordinator, this.cluster))
  }

  /** For the leader only. @returns whether a topic has new partitions since the last assignment. */
  outgrown(): Promise<boolean> {
    return this.leader.outgrown()
  }

  /** Our partitions may already belong to others. */
  over(): void {
    this.generation = -1
  }

  /** The coordinator does not know our member id. */
  forgotten(): void {
    this.memberId = ''
  }

  private async ask(cluster: Cluster, request: (coordinator: Broker) => Promise<unknown>): Promise<void> {
    const coordinator = await cluster.coordinator('group', this.options.group)
    try {
      await request(coordinator)
    } catch (error) {
      cluster.failed(coordinator, error)
      throw error
    }
  }
}
