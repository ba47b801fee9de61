/**
 * Members that died without leaving. The coordinator waits for a session timeout (30 s by default) before it reassigns their partitions,
 * and lets members that join meanwhile wait, too: a crashed runner would restart immediately and then do nothing.
 * If the machine shows that the process has ended, another member leaves the group on its behalf.
 */
import { readFileSync } from 'node:fs'
import { mayBeAlive, processToken } from '../../liveness.ts'
import type { Cluster } from '../cluster.ts'
import { connectionBroke } from '../errors.ts'
import type { Broker } from '../internals.ts'
import { sleep } from '../wait.ts'
import { type Member, memberOf } from './assign.ts'

/** Identifies the process and machine of a member; undefined where machines cannot be distinguished. */
export function processMark(): string | undefined {
  const boot = bootId()
  return boot === '' ? undefined : JSON.stringify([boot, processToken()])
}

/** True only when the process ran on this machine and has certainly ended. */
export function isDead(mark: string | undefined): boolean {
  if (mark === undefined) return false
  try {
    const [boot, token] = JSON.parse(mark) as [string, string]
    return boot === bootId() && !mayBeAlive(token)
  } catch {
    return false
  }
}

/** Dead members of a group in a state that shows them (a stable one does). */
async function deadMembers(coordinator: Broker, group: string): Promise<string[]> {
  const { groups } = (await coordinator.describeGroups({ groupIds: [group] })) as {
    groups: { members: { memberId: string; memberMetadata: Buffer }[] }[]
  }
  return groups[0].members.filter(m => isDead(memberOf(m.memberId, m.memberMetadata)?.process)).map(m => m.memberId)
}

const WATCH_INTERVAL = 500

/** Evicts dead members: sends their LeaveGroup on their behalf. At worst it fails, and their sessions expire instead. */
export class DeadMemberEvictor {
  private readonly group: string
  private readonly onEvicted: (members: readonly string[]) => void
  /** The group of this generation. */
  members: readonly Pick<Member, 'id' | 'process'>[] = []

  constructor(group: string, onEvicted: (members: readonly string[]) => void) {
    this.group = group
    this.onEvicted = onEvicted
  }

  /** Members of this generation whose processes have ended. */
  async evictPeers(coordinator: Broker, cluster: Cluster): Promise<void> {
    await this.evict(coordinator, cluster, async () => this.members.filter(m => isDead(m.process)).map(m => m.id))
  }

  /** Members of a group that this process has not joined yet. */
  async evictFormer(coordinator: Broker, cluster: Cluster): Promise<void> {
    await this.evict(coordinator, cluster, () => deadMembers(coordinator, this.group))
  }

  /** The coordinator lets a join wait for all members of the previous generation, including one that has just died. */
  async during<T>(joining: Promise<T>, aside: Cluster): Promise<T> {
    const done = new AbortController()
    const watch = async (): Promise<void> => {
      for (;;) {
        await sleep(WATCH_INTERVAL, done.signal)
        if (done.signal.aborted) return
        await aside
          .coordinator('group', this.group)
          .then(coordinator => this.evictPeers(coordinator, aside))
          .catch(() => {})
      }
    }
    void watch()
    try {
      return await joining
    } finally {
      done.abort()
    }
  }

  private async evict(coordinator: Broker, cluster: Cluster, find: () => Promise<string[]>): Promise<void> {
    try {
      const dead = await find()
      if (dead.length === 0) return
      this.members = this.members.filter(m => !dead.includes(m.id))
      for (const memberId of dead) await coordinator.leaveGroup({ groupId: this.group, memberId })
      this.onEvicted(dead)
    } catch (error) {
      cluster.failed(coordinator, error)
      if (connectionBroke(error)) throw error
    }
  }
}

let known: string | undefined

/** Random per boot of the machine and equal in all its containers: unlike host names, two boot ids are never equal by chance. */
function bootId(): string {
  try {
    known ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    known = ''
  }
  return known
}
