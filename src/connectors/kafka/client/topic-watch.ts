/**
 * Checks the topics that a running pipeline depends on, every two seconds with one request: whether they exist, whether they are the same
 * (KIP-516 ids), how many partitions they have, and their leaders. Brokers older than Kafka 2.8 do not report ids.
 * A broker that has just started may not know all topics yet, so a change counts only after a second check has confirmed it.
 */
import { type TopicPartition, tpKey } from '../driver.ts'
import type { Cluster } from './cluster.ts'
import { describeTopics, type TopicFacts } from './topic-ids.ts'
import { sleep, within } from './wait.ts'

const INTERVAL = 2000
/** Before a change is accepted. */
const CONFIRM = 500
/** Other parts detect a broker that hangs. */
const LOOK_TIMEOUT = 10_000

/** `missing`: it was deleted, or never created. */
export type Sight = TopicFacts | 'missing'

interface Watched {
  /** Confirmed; undefined: not known yet. */
  sight: Sight | undefined
  /** It existed at some time. A topic that never existed was not deleted. */
  existed: boolean
  /** Its state when it last existed. */
  facts: TopicFacts | undefined
  /** Seen once, not confirmed. */
  next: Sight | undefined
  readonly listeners: Set<Listener>
}

/**
 * @param before its state when it last existed; undefined: it was not seen before
 * @param first true if no other listener was called with this text for this change: each change is logged once
 */
export type Listener = (now: Sight, before: TopicFacts | undefined, first: (text: string) => boolean) => void

export class TopicWatch {
  private readonly cluster: Cluster
  private readonly topics = new Map<string, Watched>()
  private timer: NodeJS.Timeout | undefined
  private looking: Promise<void> | undefined
  private closed = false

  constructor(cluster: Cluster) {
    this.cluster = cluster
  }

  /** @param existed false: the topic may not exist yet, and is not reported as missing before it was seen. @returns a function that ends it. */
  watch(topic: string, listener: Listener, existed = true): () => void {
    let watched = this.topics.get(topic)
    if (watched === undefined)
      this.topics.set(topic, (watched = { sight: undefined, existed, facts: undefined, next: undefined, listeners: new Set() }))
    if (existed && !watched.existed) {
      watched.existed = true
      // It was created since the last check, which did not find it.
      watched.sight = undefined
    }
    const { listeners } = watched
    listeners.add(listener)
    this.schedule(0)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.topics.delete(topic)
    }
  }

  /** It existed at some time. A broker that creates topics on demand must not create it again: its settings would differ. */
  existed(topic: string): boolean {
    return this.topics.get(topic)?.existed === true
  }

  /** It existed and is missing now. */
  gone(topic: string): boolean {
    const watched = this.topics.get(topic)
    return watched?.sight === 'missing' && watched.existed
  }

  /** The last confirmed state. */
  sight(topic: string): Sight | undefined {
    return this.topics.get(topic)?.sight
  }

  /** Why one of these topics is stalled although the brokers respond. @param matters selects the partitions that the caller depends on */
  problem(topics: Iterable<string>, matters: (tp: TopicPartition) => boolean = () => true): string | undefined {
    for (const topic of topics) {
      const sight = this.sight(topic)
      if (this.gone(topic)) return `topic ${topic} no longer exists; create it again`
      const lost = (typeof sight === 'object' ? sight.leaderless : []).map(partition => ({ topic, partition })).filter(matters)
      if (lost.length > 0) return `${lost.map(tpKey).join(', ')} has no leader: its brokers are down`
    }
    return undefined
  }

  /** Checks now. Resolves when the state is confirmed, or nothing could be read. Never throws. */
  async look(): Promise<void> {
    for (let looks = 0; looks < 3; looks++) {
      await (this.looking ??= this.lookOnce().finally(() => {
        this.looking = undefined
      }))
      if (this.closed || ![...this.topics.values()].some(w => w.next !== undefined)) return
      await sleep(CONFIRM)
    }
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
    this.topics.clear()
  }

  private schedule(ms: number): void {
    if (this.closed || this.timer !== undefined || this.topics.size === 0) return
    this.timer = setTimeout(() => {
      void this.look().then(() => {
        this.timer = undefined
        this.schedule(INTERVAL)
      })
    }, ms)
  }

  private async lookOnce(): Promise<void> {
    const names = [...this.topics.keys()]
    if (names.length === 0 || this.closed) return
    const found = await within(
      describeTopics(this.cluster, names).catch(() => undefined),
      LOOK_TIMEOUT,
      undefined,
    )
    for (const [name, facts] of found ?? []) {
      const watched = this.topics.get(name)
      if (watched !== undefined && facts !== 'unknown' && !this.closed) this.see(watched, facts)
    }
  }

  private see(watched: Watched, now: Sight): void {
    const { sight: before } = watched
    if (before !== undefined && same(before, now)) {
      watched.next = undefined
      return
    }
    // Its existence needs no second check.
    if ((before !== undefined || now === 'missing') && (watched.next === undefined || !same(watched.next, now))) {
      watched.next = now
      return
    }
    const { facts } = watched
    watched.next = undefined
    watched.sight = now
    if (now !== 'missing') {
      watched.facts = now
      watched.existed = true
    } else if (!watched.existed) return
    const texts = new Set<string>()
    const first = (text: string): boolean => texts.size < texts.add(text).size
    for (const listener of watched.listeners) listener(now, facts, first)
  }
}

const same = (a: Sight, b: Sight): boolean =>
  a === b ||
  (typeof a === 'object' &&
    typeof b === 'object' &&
    a.id === b.id &&
    a.partitions === b.partitions &&
    a.leaderless.join() === b.leaderless.join())
