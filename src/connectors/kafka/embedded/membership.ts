/** The life of a member in its group: join, beat, take and release partitions, and be evicted. `consumer.ts` reads. */
import { randomUUID } from 'node:crypto'
import { ConnectionError, type Origin, PipelineError } from '../../../contract/plugin.ts'
import { type ConsumerHandlers, type ConsumerOptions, type TopicPartition, tpKey } from '../driver.ts'
import { Group, type Part } from './group.ts'
import type { Log } from './log.ts'

export interface Owned extends Part {
  readonly origin: Origin
  /** Offset of the next record to deliver; -1 until `assigned` has resolved. */
  position: number
  /** May be delivered: assigned and not being revoked. */
  active: boolean
  /** To be released and assigned again: its position does not exist. */
  stale: boolean
  /** It was assigned again, and nothing has been read since. */
  renewed: boolean
}

export interface MembershipHost {
  readonly options: ConsumerOptions
  readonly handlers: ConsumerHandlers
  /** Where to read a partition whose owner gave no position. */
  start(part: Part): number
  /** Something changed that a waiting poll must check. */
  wake(): void
}

const RETRY_MS = 250

export class Membership {
  readonly owned = new Map<number, Owned>()
  /** The error that ended the membership; polls throw it. */
  failure: unknown
  private readonly log: Log
  private readonly host: MembershipHost
  private readonly group: Group
  private member = ''
  private version = -1
  private closed = false
  private lastBeat = 0
  private heart: NodeJS.Timeout | undefined
  private retry: NodeJS.Timeout | undefined
  private moving: Promise<void> | undefined
  private moveAgain = false
  private joining: Promise<void> | undefined

  constructor(log: Log, host: MembershipHost) {
    this.log = log
    this.host = host
    this.group = new Group(log.db, host.options.group)
  }

  async open(): Promise<void> {
    await this.join()
    this.beatLater()
  }

  /** Leaves the group without calling a handler. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    clearTimeout(this.heart)
    clearTimeout(this.retry)
    this.owned.clear()
    if (this.member !== '') await this.group.leave(this.member)
  }

  /** Checks whether the group has changed, and immediately stops delivering records of revoked partitions. Cheap, for every read and commit. */
  check(): void {
    if (this.group.version() !== this.version) this.look()
  }

  /** Stores offsets. @returns false if another member owns one of the partitions now; nothing is stored then. */
  async commit(offsets: readonly { part: number; offset: number; metadata: string | null }[]): Promise<boolean> {
    if ((await this.group.commit(this.member, offsets)) === undefined) return true
    this.move()
    return false
  }

  /** The position of the partition does not exist: its lane is assigned again, and the runtime decides where it continues. */
  takeAnew(owned: Owned): void {
    owned.active = false
    owned.stale = true
    this.move()
  }

  healthy(): boolean {
    return !this.closed && this.failure === undefined && performance.now() - this.lastBeat < this.host.options.sessionTimeoutMs
  }

  private look(): void {
    const view = this.group.view(this.member)
    if (view) this.version = view.version
    for (const owned of this.owned.values()) if (!view?.target.has(owned.part)) owned.active = false
    this.move()
  }

  /** Moves toward the target; one run at a time, and once more if requested meanwhile. */
  private move(): void {
    this.moveAgain = true
    this.moving ??= (async () => {
      while (this.moveAgain && !this.closed) {
        this.moveAgain = false
        try {
          await this.step()
        } catch (error) {
          this.onFailure(error)
          break
        }
      }
      this.moving = undefined
    })()
  }

  private onFailure(error: unknown): void {
    if (this.closed) return
    if (error instanceof PipelineError && error.retryable) {
      this.host.options.onError(error)
      clearTimeout(this.retry)
      this.retry = setTimeout(() => this.move(), RETRY_MS)
    } else {
      this.failure = error
      this.host.wake()
    }
  }

  private async step(): Promise<void> {
    const { member } = this
    const view = this.group.view(member)
    if (!view) return this.rejoin()
    this.version = view.version
    const gone = [...this.owned.values()].filter(o => !view.target.has(o.part))
    if (gone.length > 0) return this.giveUp(member, gone)
    const stale = [...this.owned.values()].filter(o => o.stale)
    if (stale.length > 0) await this.renew(stale)
    if (this.member !== member) return
    if (view.free) for (const part of await this.group.acquire(member)) this.owned.set(part.part, this.own(part))
    await this.begin(member)
  }

  private async giveUp(member: string, gone: readonly Owned[]): Promise<void> {
    for (const o of gone) o.active = false
    // The owner need not end partitions that it never started.
    const begun = gone.filter(o => o.position >= 0)
    if (begun.length > 0) await this.host.handlers.revoked(begun.map(plain))
    if (this.member !== member || this.closed) return
    for (const o of gone) this.owned.delete(o.part)
    await this.group.release(
      member,
      gone.map(o => o.part),
    )
    this.moveAgain = true
  }

  private async renew(stale: readonly Owned[]): Promise<void> {
    await this.host.handlers.revoked(stale.map(plain))
    for (const o of stale) {
      o.position = -1
      o.stale = false
      o.renewed = true
    }
  }

  /** Notifies the owner of new partitions, and starts them. */
  private async begin(member: string): Promise<void> {
    const fresh = [...this.owned.values()].filter(o => o.position < 0)
    if (fresh.length === 0) return
    const offsets = await this.host.handlers.assigned(fresh.map(plain))
    if (this.member !== member || this.closed) return
    for (const o of fresh) {
      o.position = offsets.get(tpKey(o)) ?? this.host.start(o)
      o.active = true
    }
    // The group may have changed while the handler worked.
    this.look()
    this.host.wake()
  }

  private own(part: Part): Owned {
    const { source, format } = this.host.options
    const generation = this.log.topics.ids([part.topic]).get(part.topic)?.id
    const origin = { lane: tpKey(part), source, topic: part.topic, partition: part.partition, format, generation }
    return { ...part, origin, position: -1, active: false, stale: false, renewed: false }
  }

  /** The other members evicted this one: all its partitions may have new owners already. */
  private rejoin(): Promise<void> {
    const lost = [...this.owned.values()]
    this.owned.clear()
    // From here on, a waiting handler sees that the membership has ended.
    this.member = ''
    if (lost.length > 0) {
      const { group, onError } = this.host.options
      onError(new ConnectionError(`the session in group ${group} has expired: ${lost.map(tpKey).join(', ')} moved to other members`))
      this.host.handlers.lost(lost.map(plain))
    }
    this.joining ??= this.join().finally(() => {
      this.joining = undefined
    })
    return this.joining
  }

  private async join(): Promise<void> {
    const member = randomUUID()
    const { topics, sessionTimeoutMs, live } = this.host.options
    await this.group.join(member, topics, sessionTimeoutMs, live)
    if (this.closed) return this.group.leave(member)
    this.member = member
    this.version = -1
    this.lastBeat = performance.now()
    this.move()
  }

  /** Beats whatever the handlers do: a long drain must not cost the session. */
  private beatLater(): void {
    const every = Math.max(20, Math.min(1000, this.host.options.sessionTimeoutMs / 10))
    this.heart = setTimeout(() => void this.beat().then(() => !this.closed && this.beatLater()), every)
  }

  private async beat(): Promise<void> {
    const { member } = this
    if (member === '') return
    try {
      if (await this.group.heartbeat(member)) this.lastBeat = performance.now()
      // A handler that is draining must be notified immediately that its work is in vain.
      else if (this.member === member) await this.rejoin()
    } catch (error) {
      this.onFailure(error)
    }
  }
}

const plain = ({ topic, partition }: Part): TopicPartition => ({ topic, partition })
