/**
 * Membership of a consumer group: when to join, heartbeats on their own timer, and notifications to the owner of the partitions.
 * One loop calls the handlers, so they never overlap.
 */
import { FencedError } from '../../../../contract/plugin.ts'
import { type TopicPartition, tpKey } from '../../driver.ts'
import type { Cluster } from '../cluster.ts'
import { NOT_COORDINATOR, toPipelineError, typeOf } from '../errors.ts'
import { Backoff, sleep, Wakeup, within } from '../wait.ts'
import { EXPELLED, heartbeats, REBALANCING } from './heartbeat.ts'
import { REBALANCE_TIMEOUT, Session, type SessionOptions } from './session.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface MembershipOptions extends SessionOptions {
  assigned(partitions: readonly TopicPartition[]): Promise<void>
  revoked(partitions: readonly TopicPartition[]): Promise<void>
  lost(partitions: readonly TopicPartition[]): void
  onError(error: Error): void
  /** A permanent failure, such as a missing permission to join. */
  onFatal(error: Error): void
}

/** Share of the rebalance time for releasing partitions; after it the others continue without us. */
const REVOKE_BUDGET = REBALANCE_TIMEOUT * 0.4
const METADATA_INTERVAL = 5000

export class Membership {
  private readonly cluster: Cluster
  private readonly options: MembershipOptions
  private readonly heartbeatMs: number
  private readonly wakeup = new Wakeup()
  private readonly stop = new AbortController()
  private owned: TopicPartition[] = []
  /** Partitions of ours whose records were replaced: to be released and assigned again, by the loop. */
  private readonly stale = new Set<string>()
  private readonly session: Session
  /** Set by a heartbeat; acted on by the loop. */
  private rejoin = false
  private expelled = false
  private beating = new AbortController()
  private stable: Promise<void> | undefined
  private markStable: () => void = () => {}
  private notifyExpelled: () => void = () => {}
  private running: Promise<void> | undefined

  /** @param cluster a separate one: a join may block its connection for a minute. */
  constructor(cluster: Cluster, options: MembershipOptions) {
    this.cluster = cluster
    this.options = options
    this.session = new Session(cluster, options)
    this.heartbeatMs = Math.max(100, Math.min(1000, options.sessionTimeoutMs / 6))
  }

  start(): void {
    this.running = this.loop().catch((error: Error) => this.options.onFatal(error))
  }

  /** `monotonic` ms of the coordinator's last successful response; 0 before the first assignment. */
  get lastContact(): number {
    return this.session.generation === -1 ? 0 : this.session.contact.at
  }

  /**
   * False: the coordinator has received no heartbeat for so long that other members may own the partitions. While it holds our join, it
   * waits.
   */
  get holds(): boolean {
    const limit = this.options.sessionTimeoutMs + (this.joining ? REBALANCE_TIMEOUT : 0)
    return monotonic() - this.session.contact.at < limit
  }

  /** The group is rebalancing, and may wait for other members. */
  get joining(): boolean {
    return this.stable !== undefined
  }

  /** The same object for as long as the partition is ours without interruption. */
  private held(tp: TopicPartition): TopicPartition | undefined {
    return this.owned.find(o => o.topic === tp.topic && o.partition === tp.partition)
  }

  /** @throws {FencedError} when a partition is no longer ours. */
  async commit(cluster: Cluster, offsets: readonly (TopicPartition & { offset: number; metadata?: string })[]): Promise<void> {
    const held = offsets.map(tp => this.held(tp))
    await cluster.retry(`commit offsets of group ${this.options.group}`, this.options.sessionTimeoutMs, async () => {
      if (this.stable !== undefined) await within(this.stable, this.options.sessionTimeoutMs, undefined)
      offsets.forEach((tp, i) => {
        if (held[i] === undefined || this.held(tp) !== held[i])
          throw new FencedError(`${tpKey(tp)} was taken from this member of group ${this.options.group}`)
      })
      const { generation } = this.session
      try {
        await this.session.commit(cluster, offsets)
      } catch (error) {
        const type = typeOf(error)
        // While we are joining, the group may be one generation ahead, with us as a member.
        const ahead = type === 'ILLEGAL_GENERATION' && this.stable !== undefined
        if (EXPELLED.has(type) && generation === this.session.generation && !ahead) {
          this.expel()
          throw new FencedError(`group ${this.options.group} continued without this member`, error)
        }
        if (type === REBALANCING) {
          this.joinAgain()
          await sleep(50)
        }
        throw error
      }
    })
  }

  /** The partitions must be assigned again, as if they were new: their content has changed. */
  takeAnew(partitions: readonly TopicPartition[]): void {
    for (const tp of partitions) this.stale.add(tpKey(tp))
    this.wakeup.wake()
  }

  /** A topic has another number of partitions. The leader of the group assigns them. */
  topicsChanged(): void {
    if (this.session.leading) this.joinAgain()
  }

  /** Leaves the group, so that the others need not wait for the session to expire. */
  async close(): Promise<void> {
    this.stop.abort()
    this.wakeup.wake()
    this.beating.abort()
    this.markStable()
    await within(this.session.leave(), 3000, undefined)
    await this.cluster.close()
    await within(this.running ?? Promise.resolve(), 1000, undefined)
  }

  private async loop(): Promise<void> {
    const { signal } = this.stop
    const backoff = new Backoff(50, 500)
    while (!signal.aborted) {
      try {
        this.stable ??= new Promise(resolve => {
          this.markStable = resolve
        })
        const assignment = await this.session.join(this.owned)
        backoff.reset()
        this.rejoin = this.expelled = false
        const expelled = new Promise<void>(resolve => {
          this.notifyExpelled = resolve
        })
        this.heartbeat()
        // The handlers may hang on the same dead connection that ended our session.
        await Promise.race([this.reconcile(assignment), expelled])
        while (!this.rejoin && !this.expelled && !signal.aborted) {
          if (this.stale.size > 0) await Promise.race([this.renew(), expelled])
          else await this.wakeup.wait()
        }
        this.beating.abort()
      } catch (error) {
        if (signal.aborted) break
        this.beating.abort()
        if (!(await this.failed(error))) return
        await backoff.wait(signal)
      }
    }
  }

  /** @returns false when a retry cannot help. */
  private async failed(error: unknown): Promise<boolean> {
    const type = typeOf(error)
    if (EXPELLED.has(type)) {
      if (type === 'UNKNOWN_MEMBER_ID') this.session.forgotten()
      this.drop()
      return true
    }
    if (type === REBALANCING) return true
    const mapped = toPipelineError(error, `join group ${this.options.group}`)
    if (!mapped.retryable) {
      this.drop()
      this.options.onFatal(mapped)
      return false
    }
    if (!NOT_COORDINATOR.has(type)) this.options.onError(mapped)
    if (this.owned.length > 0 && monotonic() - this.session.contact.at > this.options.sessionTimeoutMs) this.drop()
    return true
  }

  /** Releases the revoked partitions, then takes the assigned ones. */
  private async reconcile(assignment: readonly TopicPartition[]): Promise<void> {
    const { generation } = this.session
    const has = new Set(assignment.map(tpKey))
    const had = new Set(this.owned.map(tpKey))
    const gone = this.owned.filter(tp => !has.has(tpKey(tp)))
    const fresh = assignment.filter(tp => !had.has(tpKey(tp)))
    if (gone.length === 0 && fresh.length === 0) return this.settled()
    this.settled()
    if (gone.length > 0) {
      await within(this.options.revoked(gone), REVOKE_BUDGET, undefined)
      if (generation !== this.session.generation) return
      // The members that wait for them get them in the rebalance that joining again starts.
      this.rejoin = true
    }
    this.owned = assignment.map(tp => this.held(tp) ?? tp)
    if (fresh.length > 0) await this.options.assigned(fresh)
  }

  private async renew(): Promise<void> {
    const { generation } = this.session
    const partitions = this.owned.filter(tp => this.stale.has(tpKey(tp)))
    this.stale.clear()
    if (partitions.length === 0) return
    await within(this.options.revoked(partitions), REVOKE_BUDGET, undefined)
    if (generation === this.session.generation) await this.options.assigned(partitions)
  }

  private settled(): void {
    this.markStable()
    this.stable = undefined
  }

  /** The session has ended: others may already own our partitions. */
  private drop(): void {
    const lost = this.owned
    this.owned = []
    this.session.over()
    if (lost.length > 0) this.options.lost(lost)
  }

  /** Beats until the loop has work. */
  private heartbeat(): void {
    this.beating.abort()
    this.beating = new AbortController()
    let lastMetadata = monotonic()
    void heartbeats(
      {
        group: this.options.group,
        intervalMs: this.heartbeatMs,
        sessionMs: this.options.sessionTimeoutMs,
        contact: this.session.contact,
        beat: () => this.session.beat(),
        chores: async () => {
          await this.session.evictDeadPeers()
          if (!this.session.leading || monotonic() - lastMetadata < METADATA_INTERVAL) return
          lastMetadata = monotonic()
          if (await this.session.outgrown()) this.joinAgain()
        },
        onRebalance: () => this.joinAgain(),
        onExpelled: how => {
          if (how === 'unknown') this.session.forgotten()
          if (how === 'silence') this.cluster.reset()
          this.expel()
        },
        onError: error => this.options.onError(error),
        onFatal: error => this.options.onFatal(error),
      },
      this.beating.signal,
    ).catch((error: Error) => this.options.onFatal(error))
  }

  private joinAgain(): void {
    this.rejoin = true
    this.wakeup.wake()
  }

  private expel(): void {
    this.expelled = true
    this.drop()
    this.notifyExpelled()
    this.wakeup.wake()
  }
}
