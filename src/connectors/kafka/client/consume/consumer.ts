/** A member of a consumer group: partitions are added and removed, `poll` returns fetched records of the assigned ones. */
import type { Logger } from '../../../../contract/plugin.ts'
import { type ConsumedBatch, type Consumer, type ConsumerHandlers, type ConsumerOptions, type TopicPartition, tpKey } from '../../driver.ts'
import { withTopicId } from '../committed-offsets.ts'
import { ADMIN_TIMEOUT, unknownTopic } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import { toPipelineError } from '../errors.ts'
import { type TopicFacts, topicIds } from '../topic-ids.ts'
import type { Sight, TopicWatch } from '../topic-watch.ts'
import { Backoff } from '../wait.ts'
import { Fetcher } from './fetcher.ts'
import { Membership } from './membership.ts'
import { PartitionState } from './partition.ts'
import { StartPositions } from './start.ts'
import { monotonic } from '../../../../kit/clock.ts'

/** A coordinator without a response for this long counts as unreachable, ms. */
const SILENT_MS = 7000

export class GroupConsumer implements Consumer {
  private readonly cluster: Cluster
  private readonly makeCluster: () => Cluster
  private readonly options: ConsumerOptions
  private readonly log: Logger
  private readonly states = new Map<string, PartitionState>()
  /** Partitions being assigned to us, with the call of `assigned` that does it. */
  private readonly incoming = new Map<string, symbol>()
  /** The last call of `assigned`; the next one waits for it. */
  private handing: Promise<unknown> = Promise.resolve()
  private readonly starts: StartPositions
  private readonly fetcher: Fetcher
  private readonly watch: TopicWatch
  private unwatch: (() => void)[] = []
  /** Partitions that are being assigned again: because their topic was replaced, or because their offset does not exist. */
  private readonly restarted = new Map<string, 'topic' | 'offset'>()
  /** By topic, as of the last assignment: what is read, and committed, is of this one. */
  private readonly topicIds = new Map<string, string>()
  private membership: Membership | undefined
  private handlers: ConsumerHandlers | undefined
  private fatal: Error | undefined
  private closed = false
  private readonly stopped = new AbortController()
  private waiter: (() => void) | undefined
  private turn = 0

  constructor(makeCluster: () => Cluster, options: ConsumerOptions, log: Logger, watch: TopicWatch) {
    this.watch = watch
    this.makeCluster = makeCluster
    this.cluster = makeCluster()
    this.options = options
    this.log = log
    this.starts = new StartPositions(this.cluster, options)
    this.fetcher = new Fetcher(this.cluster, {
      maxBytes: options.maxBytes,
      maxWaitMs: options.maxWaitMs,
      committed: options.isolation === 'read_committed',
      partitions: () => this.states.values(),
      onData: () => this.wake(),
      onError: error => options.onError(error),
      onFatal: error => this.fail(error),
      onOutOfRange: state => this.takeAnew([state], 'offset'),
      onUnknown: state => void this.verify(state),
    })
  }

  async open(handlers: ConsumerHandlers): Promise<void> {
    this.handlers = handlers
    const { topics, group, sessionTimeoutMs, live } = this.options
    for (const topic of topics) {
      const partitions = await this.cluster.retry(`look up topic ${topic}`, ADMIN_TIMEOUT, () => this.cluster.partitions(topic))
      if (partitions.length === 0) throw unknownTopic(topic, this.cluster.options.brokers)
      this.starts.counts.set(topic, partitions.length)
    }
    this.unwatch = topics.map(topic => this.watch.watch(topic, (now, before) => this.topicChanged(topic, now, before)))
    // Before the first claim: claimed partitions are compared with this.
    await this.watch.look()
    this.membership = new Membership(this.makeCluster(), {
      group,
      topics,
      sessionTimeoutMs,
      live,
      aside: this.cluster,
      assigned: partitions => this.assigned(partitions),
      revoked: partitions => this.revoked(partitions),
      lost: partitions => this.lost(partitions),
      onError: error => this.options.onError(error),
      onFatal: error => this.fail(error),
      onEvicted: members => this.log.info({ group, members }, 'removed dead members from the consumer group'),
    })
    this.membership.start()
  }

  async poll(signal: AbortSignal): Promise<ConsumedBatch> {
    for (;;) {
      signal.throwIfAborted()
      if (this.fatal !== undefined) throw this.fatal
      const batch = this.next()
      if (batch !== undefined) {
        this.fetcher.kick()
        return batch
      }
      await this.wait(signal)
    }
  }

  async seek(tp: TopicPartition, offset: number | undefined): Promise<void> {
    const state = this.states.get(tpKey(tp))
    if (state === undefined) return
    state.seek(offset)
    if (offset === undefined) await this.starts.find([state])
    this.fetcher.kick()
  }

  async commit(offsets: readonly (TopicPartition & { offset: number; metadata?: string })[]): Promise<void> {
    if (offsets.length === 0) return
    const marked = offsets.map(o => ({ ...o, metadata: withTopicId(o.metadata, this.topicIds.get(o.topic)) }))
    await this.membership!.commit(this.cluster, marked)
  }

  caughtUp(tp: TopicPartition): boolean | number {
    return this.states.get(tpKey(tp))?.caughtUp() ?? false
  }

  holds(tp: TopicPartition): boolean {
    const key = tpKey(tp)
    return (this.states.has(key) || this.incoming.has(key)) && this.membership?.holds === true
  }

  healthy(): true | string {
    if (this.fatal !== undefined) return this.fatal.message
    if (this.membership === undefined) return 'not a member of the group yet'
    const problem = this.watch.problem(this.options.topics, tp => this.states.has(tpKey(tp)))
    if (problem !== undefined) return problem
    // Between two generations the coordinator may take a minute to respond; a member that reads meanwhile is healthy.
    const silent = monotonic() - this.membership.lastContact > SILENT_MS
    const { group } = this.options
    if (this.states.size === 0 && this.incoming.size > 0) return `the partitions of group ${group} are being claimed`
    if (silent && this.states.size === 0) return `group ${group} has not assigned partitions to this member yet`
    if (silent && !this.membership.joining) return `no answer from the coordinator of group ${group}`
    return this.fetcher.trouble ?? true
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.stopped.abort()
    this.fetcher.close()
    for (const unwatch of this.unwatch) unwatch()
    this.states.clear()
    this.wake()
    await this.membership?.close()
    await this.cluster.close()
  }

  /** The runtime claims the partitions, which fences their former owner; only then are offsets read and records fetched. */
  private async assigned(partitions: readonly TopicPartition[]): Promise<void> {
    const backoff = new Backoff(100, 500)
    const token = Symbol('assignment')
    for (const tp of partitions) this.incoming.set(tpKey(tp), token)
    const ours = (): TopicPartition[] => partitions.filter(tp => !this.closed && this.incoming.get(tpKey(tp)) === token)
    await this.handing
    let states: PartitionState[] | undefined
    while (ours().length > 0) {
      try {
        // Once: partitions with an offset are read from then on, even while the offsets of others cannot be found.
        states ??= await this.handOver(ours)
        await this.findStarts(states.filter(s => s.fetchFrom === undefined && this.states.get(tpKey(s.tp)) === s))
        for (const tp of ours()) {
          this.incoming.delete(tpKey(tp))
          this.restarted.delete(tpKey(tp))
        }
        this.fetcher.kick()
        return
      } catch (error) {
        if (ours().length === 0) return
        const mapped = toPipelineError(error, `claim ${partitions.map(tpKey).join(', ')}`)
        if (!mapped.retryable && mapped.code !== 'PIPE_FENCED') return this.fail(mapped)
        this.options.onError(mapped)
        await backoff.wait(this.stopped.signal)
      }
    }
  }

  /** @param ours the partitions still to be assigned, at any time. */
  private async handOver(ours: () => TopicPartition[]): Promise<PartitionState[]> {
    const { format, source, isolation, maxBytes } = this.options
    // Positions in a topic that was deleted and created again are different, and so are idempotency keys.
    const facts = topicIds(this.cluster, [...new Set(ours().map(tp => tp.topic))])
    const offering = facts.then(() => this.handlers!.assigned(ours()))
    this.handing = offering.catch(() => {})
    const offsets = await offering
    const ids = await facts
    for (const [topic, { id }] of ids) this.topicIds.set(topic, id)
    const states = ours().map(tp => {
      const origin = { lane: tpKey(tp), source, topic: tp.topic, partition: tp.partition, format, generation: ids.get(tp.topic)?.id }
      const state = new PartitionState(tp, origin, isolation === 'read_committed', Math.min(1_048_576, maxBytes))
      state.fetchFrom = offsets.get(tpKey(tp))
      this.states.set(tpKey(tp), state)
      return state
    })
    this.fetcher.kick()
    return states
  }

  /** For partitions for which the runtime gave no offset. */
  private async findStarts(states: readonly PartitionState[]): Promise<void> {
    const because = (why: 'topic' | 'offset' | undefined): PartitionState[] => states.filter(s => this.restarted.get(tpKey(s.tp)) === why)
    for (const lane of await this.starts.find(because(undefined)))
      this.log.warn(
        { lane },
        `the committed offset of ${lane} belongs to a topic of this name that was deleted; reading begins at the first record`,
      )
    await this.starts.within(because('offset'))
    const remade = because('topic')
    await this.starts.beginning(remade)
    // The group may still have an offset of the former topic.
    if (remade.length > 0) await this.commit(remade.map(s => ({ ...s.tp, offset: s.fetchFrom! })))
  }

  /** The content has changed: the runtime finishes its records, claims the lanes again, and compares. */
  private takeAnew(states: readonly PartitionState[], why: 'topic' | 'offset'): void {
    for (const state of states) {
      state.seek(undefined)
      this.restarted.set(tpKey(state.tp), why)
    }
    this.membership!.takeAnew(states.map(s => s.tp))
  }

  /** The broker does not know the topic (any more). Nothing is fetched from it until it is known to be the same. */
  private async verify(state: PartitionState): Promise<void> {
    if (state.suspect) return
    state.suspect = true
    await this.watch.look()
    // Undefined: the brokers do not report it. A missing topic is checked until it exists.
    if (this.watch.sight(state.tp.topic) !== 'missing') state.suspect = false
    this.fetcher.kick()
  }

  private topicChanged(topic: string, now: Sight, before: TopicFacts | undefined): void {
    const { log } = this
    const states = [...this.states.values()].filter(s => s.tp.topic === topic)
    if (now === 'missing') {
      for (const state of states) state.suspect = true
      log.error({ topic }, `topic ${topic} no longer exists: it was deleted while it was read. Create it again, or stop the pipeline`)
      return
    }
    if (before === undefined) return
    for (const state of states) state.suspect = false
    if (now.id !== before.id) {
      log.warn({ topic, before: before.id, now: now.id }, `topic ${topic} was deleted and created again`)
      this.takeAnew(states, 'topic')
    }
    if (now.partitions !== before.partitions) {
      log.info({ topic, before: before.partitions, now: now.partitions }, `topic ${topic} changed its number of partitions`)
      this.membership?.topicsChanged()
    }
    const lost = now.leaderless.filter(p => !before.leaderless.includes(p) && this.states.has(tpKey({ topic, partition: p })))
    if (lost.length > 0)
      log.error({ topic, partitions: lost }, `partitions of ${topic} have no leader: every broker that holds them is down`)
    this.fetcher.kick()
  }

  private async revoked(partitions: readonly TopicPartition[]): Promise<void> {
    this.forget(partitions)
    try {
      await this.handlers!.revoked(partitions)
    } catch (error) {
      this.options.onError(toPipelineError(error, `release ${partitions.map(tpKey).join(', ')}`))
    }
  }

  private forget(partitions: readonly TopicPartition[]): void {
    for (const tp of partitions) {
      this.states.delete(tpKey(tp))
      this.incoming.delete(tpKey(tp))
    }
  }

  private lost(partitions: readonly TopicPartition[]): void {
    this.forget(partitions)
    // The cause of the lost session may also block our other connections.
    this.cluster.reset()
    this.log.warn(
      { partitions: partitions.map(tpKey), group: this.options.group },
      'the group session has expired; other members own these partitions now',
    )
    this.handlers!.lost(partitions)
  }

  private next(): ConsumedBatch | undefined {
    const states = [...this.states.values()]
    // One decompressed batch at a time, however many partitions have one.
    const begun = states.find(state => state.midBatch)
    if (begun !== undefined) return begun.next()
    for (let i = 0; i < states.length; i++) {
      const state = states[(this.turn + i) % states.length]
      if (!state.ready) continue
      this.turn = (this.turn + i + 1) % states.length
      return state.next()
    }
    return undefined
  }

  private wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.waiter = undefined
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', aborted, { once: true })
      this.waiter = () => {
        signal.removeEventListener('abort', aborted)
        resolve()
      }
    })
  }

  private wake(): void {
    const waiter = this.waiter
    this.waiter = undefined
    waiter?.()
  }

  private fail(error: Error): void {
    this.fatal ??= error
    this.wake()
  }
}
