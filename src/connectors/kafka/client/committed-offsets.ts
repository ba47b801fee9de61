/** Offsets that a group has committed, each with the topic that it is an offset of. */
import { type TopicPartition, tpKey } from '../driver.ts'
import type { Cluster } from './cluster.ts'
import { topicIds } from './topic-ids.ts'
import { ADMIN_TIMEOUT } from './topics-and-offsets.ts'

export interface CommittedOffsets {
  readonly offsets: Map<string, { offset: number; metadata: string | null }>
  /** Partitions whose offset was committed for a topic of this name that has been deleted since: it is not in `offsets`. */
  readonly former: ReadonlySet<string>
}

/** Behind the metadata of a committed offset. A commit can reach a topic that was deleted and made again after it was sent. */
const TOPIC = ' topic='

export const withTopicId = (metadata: string | undefined, id: string | undefined): string | undefined =>
  id === undefined ? metadata : `${metadata ?? ''}${TOPIC}${id}`

function withoutTopicId(text: string | null): { metadata: string | null; topicId?: string } {
  const at = text?.lastIndexOf(TOPIC) ?? -1
  return at === -1 ? { metadata: text || null } : { metadata: text!.slice(0, at) || null, topicId: text!.slice(at + TOPIC.length) }
}

/** Partitions without a committed offset are missing from the map. */
export async function committedOffsets(cluster: Cluster, group: string, partitions: readonly TopicPartition[]): Promise<CommittedOffsets> {
  const found = await fetchOffsets(cluster, group, partitions)
  const marked = new Set([...found.values()].filter(o => o.topicId !== undefined).map(o => o.topic))
  const ids = marked.size === 0 ? new Map() : await topicIds(cluster, [...marked])
  const offsets: CommittedOffsets['offsets'] = new Map()
  const former = new Set<string>()
  for (const [key, { topic, topicId, offset, metadata }] of found) {
    const id = ids.get(topic)?.id
    if (topicId !== undefined && id !== undefined && topicId !== id) former.add(key)
    else offsets.set(key, { offset, metadata })
  }
  return { offsets, former }
}

interface FetchedOffset {
  readonly topic: string
  readonly offset: number
  readonly metadata: string | null
  readonly topicId?: string
}

async function fetchOffsets(cluster: Cluster, group: string, partitions: readonly TopicPartition[]): Promise<Map<string, FetchedOffset>> {
  const map = new Map<string, FetchedOffset>()
  if (partitions.length === 0) return map
  const topics = new Map<string, { topic: string; partitions: { partition: number }[] }>()
  for (const { topic, partition } of partitions) {
    if (!topics.has(topic)) topics.set(topic, { topic, partitions: [] })
    topics.get(topic)!.partitions.push({ partition })
  }
  await cluster.retry(`read the committed offsets of group ${group}`, ADMIN_TIMEOUT, async () => {
    const coordinator = await cluster.coordinator('group', group)
    try {
      const { responses } = await coordinator.offsetFetch({ groupId: group, topics: [...topics.values()] })
      for (const r of responses as any[]) {
        for (const p of r.partitions as any[]) {
          const offset = Number(p.offset)
          if (offset >= 0)
            map.set(tpKey({ topic: r.topic, partition: p.partition }), { topic: r.topic, offset, ...withoutTopicId(p.metadata) })
        }
      }
    } catch (error) {
      cluster.failed(coordinator, error)
      throw error
    }
  })
  return map
}
