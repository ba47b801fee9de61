/**
 * Members that died without leaving. The coordinator waits for a session timeout (30 s by default) before it gives their partitions
 * away, and makes everybody who joins meanwhile wait too: a crashed runner would come back at once and then do nothing.
 * Where the machine can tell that the process is gone, another member sends its farewell for it.
 */
import { readFileSync } from 'node:fs'
import { mayBeAlive, processToken } from '../../liveness.ts'
import type { Broker } from '../internals.ts'
import { decodeMember } from './assign.ts'

/** Says which process of which machine a member is; undefined where machines can't be told apart. */
export function processMark(): string | undefined {
  const boot = bootId()
  return boot === '' ? undefined : JSON.stringify([boot, processToken()])
}

/** True only when the process ran on this machine and is surely gone. */
export function isDead(mark: string | undefined): boolean {
  if (mark === undefined) return false
  try {
    const [boot, token] = JSON.parse(mark) as [string, string]
    return boot === bootId() && !mayBeAlive(token)
  } catch {
    return false
  }
}

/** Dead members of a group whose state lets them be seen (a stable one does). */
export async function deadMembers(coordinator: Broker, group: string): Promise<string[]> {
  const { groups } = (await coordinator.describeGroups({ groupIds: [group] })) as {
    groups: { members: { memberId: string; memberMetadata: Buffer }[] }[]
  }
  return groups[0].members.filter(m => isDead(markOf(m.memberId, m.memberMetadata))).map(m => m.memberId)
}

function markOf(memberId: string, metadata: Buffer): string | undefined {
  try {
    return decodeMember(memberId, metadata).process
  } catch {
    // Somebody else's client.
    return undefined
  }
}

let known: string | undefined

/** Random per boot of the machine and the same in all its containers: unlike a host name, it can't be equal by chance. */
function bootId(): string {
  try {
    known ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    known = ''
  }
  return known
}
