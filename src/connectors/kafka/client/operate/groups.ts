/** Groups from outside: their members, and setting offsets without being a member. */
import { RESET } from '../../../../kit/state-owner.ts'
import { EnvironmentError } from '../../../../contract/plugin.ts'
import type { GroupMember } from '../../log-admin.ts'
import type { TopicPartition } from '../../driver.ts'
import type { Cluster } from '../cluster.ts'
import { typeOf } from '../errors.ts'
import { memberOf } from '../consume/assign.ts'
import { ask } from './ask.ts'

export async function groupMembers(cluster: Cluster, group: string): Promise<GroupMember[]> {
  const answer = await ask(
    cluster,
    `describe group ${group}`,
    broker => broker.describeGroups({ groupIds: [group] }) as Promise<{ groups: any[] }>,
    () => cluster.coordinator('group', group),
  )
  return answer.groups.flatMap(g =>
    (g.members as any[]).map(m => ({
      id: m.memberId,
      client: m.clientId,
      host: String(m.clientHost).replace(/^\//, ''),
      owner: memberOf(m.memberId, m.memberMetadata)?.live?.owner,
    })),
  )
}

/** As an unknown member, which the coordinator accepts only for an empty group. */
export async function setOffsets(
  cluster: Cluster,
  group: string,
  offsets: readonly (TopicPartition & { readonly offset: number })[],
): Promise<void> {
  if (offsets.length === 0) return
  const topics = [...Map.groupBy(offsets, o => o.topic)].map(([topic, list]) => ({
    topic,
    partitions: list.map(({ partition, offset }) => ({ partition, offset: String(offset), metadata: RESET })),
  }))
  await ask(
    cluster,
    `set the offsets of group ${group}`,
    async broker => {
      try {
        await broker.offsetCommit({ groupId: group, groupGenerationId: -1, memberId: '', topics })
      } catch (error) {
        if (['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'REBALANCE_IN_PROGRESS'].includes(typeOf(error)))
          throw new EnvironmentError(`cannot set the offsets of group ${group}: it has members; stop them first`, error)
        throw error
      }
    },
    () => cluster.coordinator('group', group),
  )
}
