/**
 * Assigns partitions to members; computed by the leader of the group: balanced, with as few moves as possible, and cooperative.
 * A partition that must move first has no owner in the assignment; the old owner sees that, releases it and joins again, and only then does
 * the new owner get it. So the members keep working during a rebalance (the idea of KIP-429).
 */
import type { LiveContent } from '../../../../contract/plugin.ts'
import { liveContentOf } from '../../../../kit/live-content.ts'
import { type TopicPartition, tpKey } from '../../driver.ts'
import { internals } from '../internals.ts'

export const PROTOCOL = 'runner-sticky'

export interface Member {
  readonly id: string
  readonly topics: readonly string[]
  /** The partitions that it held when it joined… */
  readonly owned: readonly TopicPartition[]
  /** …in this generation: of two claims, the newer one counts. */
  readonly generation: number
  /** Its process and machine, in the form of `dead-members.ts`. */
  readonly process?: string
  /** Its settings; undefined: a version that does not report them, or not a pipeline. */
  readonly live?: LiveContent
}

export function encodeMember(
  topics: readonly string[],
  owned: readonly TopicPartition[],
  generation: number,
  process?: string,
  live?: LiveContent,
): Buffer {
  const userData = Buffer.from(JSON.stringify({ generation, owned: owned.map(tp => [tp.topic, tp.partition]), process, live }))
  return internals().MemberMetadata.encode({ version: 0, topics: [...topics], userData })
}

export function decodeMember(id: string, metadata: Buffer): Member {
  const { topics, userData } = internals().MemberMetadata.decode(metadata)
  let generation = -1
  let owned: TopicPartition[] = []
  let process: string | undefined
  let live: LiveContent | undefined
  if (userData !== null && userData.length > 0) {
    const data = JSON.parse(userData.toString()) as {
      generation: number
      owned: [string, number][]
      process?: string
      live?: unknown
    }
    generation = data.generation
    process = data.process
    live = liveContentOf(data.live)
    owned = data.owned.map(([topic, partition]) => ({ topic, partition }))
  }
  return { id, topics, owned, generation, process, live }
}

/** Undefined: unknown. */
export function memberOf(id: string, metadata: Buffer): Member | undefined {
  try {
    return decodeMember(id, metadata)
  } catch {
    // The group is rebalancing, or the member is another client.
    return undefined
  }
}

/** The partitions of a member, and the other members. */
export interface Assignment {
  readonly partitions: readonly TopicPartition[]
  readonly members: readonly Pick<Member, 'id' | 'process'>[]
  /** The leader excludes this member: the settings of the others. */
  readonly rejected?: LiveContent
}

export function encodeAssignment({ partitions, members, rejected }: Assignment): Buffer {
  const assignment: Record<string, number[]> = {}
  for (const { topic, partition } of partitions) (assignment[topic] ??= []).push(partition)
  const userData = Buffer.from(JSON.stringify({ members: members.map(m => [m.id, m.process]), refused: rejected }))
  return internals().MemberAssignment.encode({ version: 0, assignment, userData })
}

export function decodeAssignment(bytes: Buffer): Assignment {
  const { assignment, userData } = internals().MemberAssignment.decode(bytes) ?? { assignment: {}, userData: null }
  const { members, refused: rejected } = (userData?.length ? JSON.parse(userData.toString()) : { members: [] }) as {
    members: [string, string | undefined][]
    refused?: unknown
  }
  return {
    partitions: Object.entries(assignment).flatMap(([topic, partitions]) => partitions.map(partition => ({ topic, partition }))),
    members: members.map(([id, process]) => ({ id, process })),
    rejected: liveContentOf(rejected),
  }
}

/** @returns per member the partitions that it holds from now on: never one that another member still holds. */
export function assign(members: readonly Member[], partitions: readonly TopicPartition[]): Map<string, TopicPartition[]> {
  const holder = new Map<string, Member>()
  for (const member of members) {
    for (const tp of member.owned) {
      const other = holder.get(tpKey(tp))
      if (other === undefined || other.generation < member.generation) holder.set(tpKey(tp), member)
    }
  }
  const target = balance(members, partitions, holder)
  const result = new Map<string, TopicPartition[]>(members.map(m => [m.id, []]))
  for (const [id, list] of target) {
    for (const tp of list) {
      const current = holder.get(tpKey(tp))
      if (current === undefined || current.id === id) result.get(id)!.push(tp)
    }
  }
  return result
}

function balance(
  members: readonly Member[],
  partitions: readonly TopicPartition[],
  holder: Map<string, Member>,
): Map<string, TopicPartition[]> {
  const sorted = [...members].toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const lists = new Map<string, TopicPartition[]>(sorted.map(m => [m.id, []]))
  const free: TopicPartition[] = []
  for (const tp of partitions) {
    const current = holder.get(tpKey(tp))
    if (current?.topics.includes(tp.topic)) lists.get(current.id)!.push(tp)
    else free.push(tp)
  }
  const least = (topic: string): Member | undefined => {
    let best: Member | undefined
    for (const m of sorted)
      if (m.topics.includes(topic) && (best === undefined || lists.get(m.id)!.length < lists.get(best.id)!.length)) best = m
    return best
  }
  for (const tp of free) {
    const member = least(tp.topic)
    if (member !== undefined) lists.get(member.id)!.push(tp)
  }
  // Every move makes the counts more even, so the loop ends.
  for (let moved = true; moved; ) {
    moved = false
    for (const from of sorted) {
      const list = lists.get(from.id)!
      for (let i = list.length - 1; i >= 0; i--) {
        const to = least(list[i].topic)!
        if (list.length - lists.get(to.id)!.length < 2) continue
        lists.get(to.id)!.push(...list.splice(i, 1))
        moved = true
      }
    }
  }
  return lists
}
