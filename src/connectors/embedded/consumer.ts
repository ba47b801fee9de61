/** One member of a consumer group, in one process. */
import { randomUUID } from 'node:crypto'
import { ConnectionError, FencedError, type Message, type Origin, PipelineError } from '../../plugin.ts'
import type { ConsumedBatch, Consumer, ConsumerHandlers, ConsumerOptions, TopicPartition } from '../kafka/driver.ts'
import { tpKey } from '../kafka/driver.ts'
import { committedOffset, Group, type Part } from './group.ts'
import type { Log } from './log.ts'
import { bounds, readChunks } from './read.ts'

interface Owned extends Part {
  readonly origin: Origin
  /** Offset of the next record to deliver; -1 until `assigned` has resolved. */
  position: number
  /** May be delivered: assigned and not being revoked. */
  active: boolean
}

const RETRY_MS = 250

export class EmbeddedConsumer implements Consumer {
  private readonly openLog: () => Promise<Log>
  private readonly options: ConsumerOptions
  private log!: Log
  private group!: Group
  private handlers!: ConsumerHandlers
  private member = ''
  private version = -1
  private readonly owned = new Map<number, Owned>()
  private turn = 0
  private state: 'new' | 'open' | 'closed' = 'new'
  /** What makes further polls pointless. */
  private failure: unknown
  private lastBeat = 0
  private heart: NodeJS.Timeout | undefined
  private retry: NodeJS.Timeout | undefined
  private unwatch: (() => void) | undefined
  private moving: Promise<void> | undefined
  private moveAgain = false
  private joining: Promise<void> | undefined
  private wake: (() => void) | undefined

  constructor(openLog: () => Promise<Log>, options: ConsumerOptions) {
    this.openLog = openLog
    this.options = options
  }

  async open(handlers: ConsumerHandlers): Promise<void> {
    this.log = await this.openLog()
    this.handlers = handlers
    await this.log.topics.ensure(this.options.topics)
    this.group = new Group(this.log.db, this.options.group)
    await this.join()
    this.state = 'open'
    this.unwatch = this.log.db.watch(() => this.onCommit())
    this.beatLater()
    this.move()
  }

  async poll(signal: AbortSignal): Promise<ConsumedBatch> {
    for (;;) {
      // Reading is synchronous: without a turn of the event loop a busy reader would starve timers and its own heartbeat.
      await new Promise(setImmediate)
      signal.throwIfAborted()
      if (this.state !== 'open') throw new Error('the consumer is not open')
      if (this.failure !== undefined) throw this.failure
      const batch = this.next()
      if (batch) return batch
      await this.sleep(signal)
    }
  }

  async seek(tp: TopicPartition, offset: number | undefined): Promise<void> {
    const owned = this.find(tp)
    // Not ours (any more): a partition that was just taken away needs no seek.
    if (!owned || owned.position < 0) return
    owned.position = offset ?? this.start(owned)
    this.wake?.()
  }

  async commit(offsets: readonly (TopicPartition & { offset: number; metadata?: string })[]): Promise<void> {
    const rows = offsets.map(o => {
      const part = this.log.topics.part(o)
      if (part === undefined || !this.owned.has(part))
        throw new FencedError(`${tpKey(o)} is not assigned to this consumer; nothing was committed`)
      return { part, offset: o.offset, metadata: o.metadata ?? null }
    })
    const foreign = await this.group.commit(this.member, rows)
    if (foreign === undefined) return
    this.move()
    throw new FencedError(`${tpKey(this.owned.get(foreign) ?? offsets[0])} belongs to another consumer by now; nothing was committed`)
  }

  caughtUp(tp: TopicPartition): boolean {
    const owned = this.find(tp)
    return owned !== undefined && owned.active && owned.position >= bounds(this.log.db, owned.part).next
  }

  healthy(): boolean {
    return this.state === 'open' && this.failure === undefined && performance.now() - this.lastBeat < this.options.sessionTimeoutMs
  }

  async close(): Promise<void> {
    const before = this.state
    this.state = 'closed'
    clearTimeout(this.heart)
    clearTimeout(this.retry)
    this.unwatch?.()
    this.owned.clear()
    this.wake?.()
    if (before === 'open') await this.group.leave(this.member)
  }

  private find(tp: TopicPartition): Owned | undefined {
    const part = this.state === 'open' ? this.log.topics.part(tp) : undefined
    return part === undefined ? undefined : this.owned.get(part)
  }

  /** The next batch of any partition, each in its turn. */
  private next(): ConsumedBatch | undefined {
    try {
      if (this.group.version() !== this.version) this.look()
      const list = [...this.owned.values()]
      for (let i = 0; i < list.length; i++) {
        const owned = list[(this.turn + i) % list.length]
        if (!owned.active) continue
        const batch = this.read(owned)
        if (!batch) continue
        this.turn = (this.turn + i + 1) % list.length
        return batch
      }
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error
      this.options.onError(error)
    }
    return undefined
  }

  private read(owned: Owned): ConsumedBatch | undefined {
    const { first, next: end } = bounds(this.log.db, owned.part)
    if (owned.position < first || owned.position > end) this.outOfRange(owned, first, end)
    if (owned.position >= end) return undefined
    const messages: Message[] = []
    const next = readChunks(this.log.db, owned.part, owned.position, this.options.maxBytes, owned.origin, messages)
    if (messages.length === 0) return undefined
    owned.position = next
    return { topic: owned.topic, partition: owned.partition, messages, nextOffset: next, endOffset: Math.max(next, end) }
  }

  private outOfRange(owned: Owned, first: number, end: number): void {
    const to = owned.position < first || this.options.startAt === 'earliest' ? first : end
    this.options.onError(
      new PipelineError(
        'PIPE_OFFSET_OUT_OF_RANGE',
        `${tpKey(owned)}: offset ${owned.position} is not there (any more), the log has ${first} to ${end}; reading goes on at ${to}`,
      ),
    )
    owned.position = to
  }

  /** Committed offset, else where a fresh start begins. */
  private start(part: Part): number {
    const committed = committedOffset(this.log.db, this.options.group, part.part)
    if (committed) return committed.offset
    const { first, next } = bounds(this.log.db, part.part)
    return this.options.startAt === 'earliest' ? first : next
  }

  /** Resolves when something may have changed: a commit to the file, a new assignment, an abort. */
  private sleep(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        signal.removeEventListener('abort', done)
        this.wake = undefined
        resolve()
      }
      this.wake = done
      signal.addEventListener('abort', done)
    })
  }

  private onCommit(): void {
    try {
      if (this.group.version() !== this.version) this.look()
    } catch (error) {
      this.options.onError(error as Error)
    }
    this.wake?.()
  }

  /** The group has changed: stop at once delivering what is not meant for us, then sort it out. */
  private look(): void {
    const view = this.group.view(this.member)
    if (view) this.version = view.version
    for (const owned of this.owned.values()) if (!view?.target.has(owned.part)) owned.active = false
    this.move()
  }

  /** Works towards the target; one at a time, and once more if asked meanwhile. */
  private move(): void {
    this.moveAgain = true
    this.moving ??= (async () => {
      while (this.moveAgain && this.state === 'open') {
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
    if (this.state !== 'open') return
    if (error instanceof PipelineError && error.retryable) {
      this.options.onError(error)
      clearTimeout(this.retry)
      this.retry = setTimeout(() => this.move(), RETRY_MS)
    } else {
      this.failure = error
      this.wake?.()
    }
  }

  private async step(): Promise<void> {
    const { member } = this
    const view = this.group.view(member)
    if (!view) return this.rejoin()
    this.version = view.version
    const gone = [...this.owned.values()].filter(o => !view.target.has(o.part))
    if (gone.length > 0) {
      for (const o of gone) o.active = false
      const begun = gone.filter(o => o.position >= 0)
      if (begun.length > 0) await this.handlers.revoked(begun.map(plain))
      if (this.member !== member || this.state !== 'open') return
      for (const o of gone) this.owned.delete(o.part)
      await this.group.release(
        member,
        gone.map(o => o.part),
      )
      this.moveAgain = true
      return
    }
    if (view.free) for (const part of await this.group.acquire(member)) this.owned.set(part.part, this.own(part))
    await this.begin(member)
  }

  /** Tells the owner of new partitions, and starts them. */
  private async begin(member: string): Promise<void> {
    const fresh = [...this.owned.values()].filter(o => o.position < 0)
    if (fresh.length === 0) return
    const offsets = await this.handlers.assigned(fresh.map(plain))
    if (this.member !== member || this.state !== 'open') return
    for (const o of fresh) {
      o.position = offsets.get(tpKey(o)) ?? this.start(o)
      o.active = true
    }
    // The group may have changed while the handler worked.
    this.look()
    this.wake?.()
  }

  private own(part: Part): Owned {
    const lane = tpKey(part)
    const origin = { lane, source: this.options.source, topic: part.topic, partition: part.partition, format: this.options.format }
    return { ...part, origin, position: -1, active: false }
  }

  /** The others gave us up: everything we had may be somebody else's already. */
  private rejoin(): Promise<void> {
    const lost = [...this.owned.values()]
    this.owned.clear()
    // From here on whoever waits in a handler finds that his membership is over.
    this.member = ''
    if (lost.length > 0) {
      this.options.onError(
        new ConnectionError(`the session in group ${this.options.group} has expired, ${lost.map(tpKey).join(', ')} went to others`),
      )
      this.handlers.lost(lost.map(plain))
    }
    this.joining ??= this.join().finally(() => {
      this.joining = undefined
    })
    return this.joining
  }

  private async join(): Promise<void> {
    const member = randomUUID()
    await this.group.join(member, this.options.topics, this.options.sessionTimeoutMs)
    if (this.state === 'closed') return this.group.leave(member)
    this.member = member
    this.version = -1
    this.lastBeat = performance.now()
    if (this.state === 'open') this.move()
  }

  /** Runs whatever the handlers do: a long drain must not cost the session. */
  private beatLater(): void {
    const every = Math.max(20, Math.min(1000, this.options.sessionTimeoutMs / 10))
    this.heart = setTimeout(() => {
      this.beat().then(
        () => this.state === 'open' && this.beatLater(),
        () => {},
      )
    }, every)
  }

  private async beat(): Promise<void> {
    const { member } = this
    if (member === '') return
    try {
      if (await this.group.heartbeat(member)) this.lastBeat = performance.now()
      // A handler that is busy draining must hear at once that its work is in vain.
      else if (this.member === member) await this.rejoin()
    } catch (error) {
      this.onFailure(error)
    }
  }
}

const plain = ({ topic, partition }: Part): TopicPartition => ({ topic, partition })
