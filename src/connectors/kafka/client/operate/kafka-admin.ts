/** `LogAdmin` on real brokers. */
import type { Acl, GroupMember, LogAdmin, TopicSetting } from '../../log-admin.ts'
import type { TopicPartition } from '../../driver.ts'
import { addPartitions } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import { createAcls, deleteAcls, listAcls } from './acls.ts'
import { alterConfigs, deleteTopics, describeConfigs } from './configs.ts'
import { groupMembers, setOffsets } from './groups.ts'

export class KafkaAdmin implements LogAdmin {
  readonly cluster: Cluster

  constructor(cluster: Cluster) {
    this.cluster = cluster
  }

  configs(topics: readonly string[]): Promise<Map<string, Map<string, TopicSetting>>> {
    return describeConfigs(this.cluster, topics)
  }
  alterConfigs(topic: string, changes: Readonly<Record<string, string | null>>): Promise<void> {
    return alterConfigs(this.cluster, topic, changes)
  }
  addPartitions(topic: string, count: number): Promise<void> {
    return addPartitions(this.cluster, topic, count)
  }
  deleteTopics(topics: readonly string[]): Promise<void> {
    return deleteTopics(this.cluster, topics)
  }
  acls(): Promise<Acl[] | undefined> {
    return listAcls(this.cluster)
  }
  createAcls(acls: readonly Acl[]): Promise<void> {
    return createAcls(this.cluster, acls)
  }
  deleteAcls(acls: readonly Acl[]): Promise<void> {
    return deleteAcls(this.cluster, acls)
  }
  members(group: string): Promise<GroupMember[]> {
    return groupMembers(this.cluster, group)
  }
  setOffsets(group: string, offsets: readonly (TopicPartition & { readonly offset: number })[]): Promise<void> {
    return setOffsets(this.cluster, group, offsets)
  }
}
