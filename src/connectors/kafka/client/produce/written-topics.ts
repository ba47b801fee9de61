/**
 * Monitors the topics that are written to, or will be: without one of them no batch can end, and the brokers only reply with retriable
 * errors.
 */
import type { Logger } from '../../../../contract/plugin.ts'
import type { Cluster } from '../cluster.ts'
import type { TopicFacts } from '../topic-ids.ts'
import type { Sight, TopicWatch } from '../topic-watch.ts'

export class WrittenTopics {
  private readonly watch: TopicWatch
  private readonly cluster: Cluster
  private readonly log: Logger
  private readonly onGone: (topic: string) => void
  /** Functions that end the monitoring of each. */
  private readonly unwatch = new Map<string, () => void>()

  /** @param onGone called when a topic was deleted or replaced. */
  constructor(watch: TopicWatch, cluster: Cluster, log: Logger, onGone: (topic: string) => void = () => {}) {
    this.watch = watch
    this.cluster = cluster
    this.log = log
    this.onGone = onGone
  }

  has(topic: string): boolean {
    return this.unwatch.has(topic)
  }

  /** @param existed false: the topic may not exist yet. */
  add(topic: string, existed = true): void {
    if (this.has(topic)) return
    this.unwatch.set(
      topic,
      this.watch.watch(topic, (now, before, first) => this.changed(topic, now, before, first), existed),
    )
  }

  /** Why one of them cannot be written to, although the brokers respond. */
  problem(): string | undefined {
    return this.watch.problem(this.unwatch.keys())
  }

  close(): void {
    for (const unwatch of this.unwatch.values()) unwatch()
  }

  private changed(topic: string, now: Sight, before: TopicFacts | undefined, first: (text: string) => boolean): void {
    if (before === undefined && now !== 'missing') return
    // The number of its partitions may have changed, too.
    this.cluster.stale([topic])
    if (now === 'missing') {
      const text = `topic ${topic} no longer exists: it was deleted while the pipeline ran. Create it again (runner topics apply)`
      if (first(text)) this.log.error({ topic }, text)
      this.onGone(topic)
    } else if (before !== undefined && now.id !== before.id) {
      const text = `topic ${topic} was deleted and created again: the records written to the former topic are lost`
      if (first(text)) this.log.warn({ topic, before: before.id, now: now.id }, text)
      this.onGone(topic)
    } else {
      const lost = now.leaderless.filter(p => !before?.leaderless.includes(p))
      const text = `partitions of ${topic} have no leader: every broker that holds them is down`
      if (lost.length > 0 && first(text)) this.log.error({ topic, partitions: lost }, text)
    }
  }
}
