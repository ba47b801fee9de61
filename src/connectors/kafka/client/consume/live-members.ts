/**
 * Members of one group share its records, so they must process them in the same way. A new member checks before it joins; if several come
 * at the same time, the leader, which sees all of them, decides.
 */
import type { LiveConflictError, LiveContent } from '../../../../contract/plugin.ts'
import { liveConflict, liveDifferences } from '../../../../kit/live-content.ts'
import { mustAgree } from '../../driver.ts'
import type { Broker } from '../internals.ts'
import { type Member, memberOf } from './assign.ts'
import { isDead } from './dead-members.ts'

/**
 * @returns the members that are excluded, with the settings of the others: first come, first served. A member that does not report its
 * settings is accepted.
 */
export function rejectedMembers(members: readonly Member[], leader: string): Map<string, LiveContent> {
  const admitted: Member[] = []
  const rejected = new Map<string, LiveContent>()
  const order = members.toSorted(
    (a, b) => b.generation - a.generation || Number(b.id === leader) - Number(a.id === leader) || (a.id < b.id ? -1 : 1),
  )
  for (const member of order) {
    const { live } = member
    const other = live && admitted.find(a => a.live && mustAgree(a, member) && liveDifferences(a.live, live).length > 0)
    if (other) rejected.set(member.id, other.live!)
    else admitted.push(member)
  }
  return rejected
}

/** Checks the members of a stable group; the members of other groups are not visible. */
export async function conflictWithMembers(
  coordinator: Broker,
  group: string,
  topics: readonly string[],
  live: LiveContent,
): Promise<LiveConflictError | undefined> {
  const { groups } = (await coordinator.describeGroups({ groupIds: [group] })) as {
    groups: { members: { memberId: string; clientId: string; clientHost: string; memberMetadata: Buffer }[] }[]
  }
  for (const { memberId, clientId, clientHost, memberMetadata } of groups[0].members) {
    const member = memberOf(memberId, memberMetadata)
    if (!member?.live || isDead(member.process) || !mustAgree(member, { topics, live })) continue
    const conflict = liveConflict(member.live, `${clientId} on ${clientHost.replace(/^\//, '')}`, live, `group ${group}`)
    if (conflict) return conflict
  }
  return undefined
}
