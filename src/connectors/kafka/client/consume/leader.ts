/** The tasks of the group's leader beyond those of a member: assign the partitions, and detect new ones. */
import type { TopicPartition } from '../../driver.ts'
import type { Cluster } from '../cluster.ts'
import { assign, decodeMember, encodeAssignment } from './assign.ts'
import { rejectedMembers } from './live-members.ts'

export class Leader {
  private readonly cluster: Cluster
  /** The input of the last assignment. */
  private counts = ''
  private topics: string[] = []

  constructor(cluster: Cluster) {
    this.cluster = cluster
  }

  /** @param self our own member id. */
  async lead(
    joined: readonly { memberId: string; memberMetadata: Buffer }[],
    self: string,
  ): Promise<{ memberId: string; memberAssignment: Buffer }[]> {
    const members = joined.map(m => decodeMember(m.memberId, m.memberMetadata))
    this.topics = [...new Set(members.flatMap(m => m.topics))].toSorted()
    const partitions = await this.partitions()
    this.counts = countsOf(partitions)
    const rejected = rejectedMembers(members, self)
    const shares = assign(
      members.filter(m => !rejected.has(m.id)),
      partitions,
    )
    return members.map(({ id }) => ({
      memberId: id,
      memberAssignment: encodeAssignment({ partitions: shares.get(id) ?? [], members, rejected: rejected.get(id) }),
    }))
  }

  /** @returns whether a topic has new partitions. */
  async outgrown(): Promise<boolean> {
    return countsOf(await this.partitions()) !== this.counts
  }

  private async partitions(): Promise<TopicPartition[]> {
    const list: TopicPartition[] = []
    for (const topic of this.topics)
      for (const { partition } of await this.cluster.partitions(topic, { refresh: true })) list.push({ topic, partition })
    return list
  }
}

const countsOf = (partitions: readonly TopicPartition[]): string => {
  const counts: Record<string, number> = {}
  for (const { topic } of partitions) counts[topic] = (counts[topic] ?? 0) + 1
  return JSON.stringify(counts)
}
