/** Reads the partitions of its membership in turn. */
import { ConnectionError, FencedError, type Message, PipelineError, StateError } from '../../../contract/plugin.ts'
import { type ConsumedBatch, type Consumer, type ConsumerHandlers, type ConsumerOptions, type TopicPartition, tpKey } from '../driver.ts'
import { committedOffset, type Part } from './group.ts'
import type { Log } from './log.ts'
import { Membership, type Owned } from './membership.ts'
import { bounds, readChunks } from './read.ts'

export class EmbeddedConsumer implements Consumer {
  private readonly openLog: () => Promise<Log>
  private readonly options: ConsumerOptions
  private log!: Log
  private membership: Membership | undefined
  private turn = 0
  /** Topics that did not exist at the start: all of their records are new. */
  private awaited: ReadonlySet<string> = new Set()
  /** Of them, those that do not exist yet. */
  private unwritten = new Set<string>()
  /** Topics that were deleted, and were reported. */
  private readonly reported = new Set<string>()
  private unwatch: (() => void) | undefined
  private wake: (() => void) | undefined

  constructor(openLog: () => Promise<Log>, options: ConsumerOptions) {
    this.openLog = openLog
    this.options = options
  }

  async open(handlers: ConsumerHandlers): Promise<void> {
    this.log = await this.openLog()
    // Reading does not create a topic: a misspelled name would create one permanently. The writer that creates it wakes the group.
    this.awaited = new Set(this.options.topics.filter(name => !this.log.topics.find(name)))
    this.unwritten = new Set(this.awaited)
    for (const name of this.awaited)
      this.options.onError(
        new PipelineError(
          'PIPE_TOPIC_MISSING',
          `topic ${name} does not exist in the embedded log; it will be read from its first record after it is created`,
        ),
      )
    const membership = new Membership(this.log, {
      options: this.options,
      handlers,
      start: part => this.start(part),
      wake: () => this.wake?.(),
    })
    this.membership = membership
    await membership.open()
    this.unwatch = this.log.db.watch(() => this.onCommit())
  }

  async poll(signal: AbortSignal): Promise<ConsumedBatch> {
    for (;;) {
      // Reading is synchronous: without a turn of the event loop a busy reader would starve timers and its own heartbeat.
      await new Promise(setImmediate)
      signal.throwIfAborted()
      if (!this.membership) throw new Error('the consumer is not open')
      if (this.membership.failure !== undefined) throw this.membership.failure
      const batch = this.next(this.membership)
      if (batch) return batch
      await this.sleep(signal)
    }
  }

  async seek(tp: TopicPartition, offset: number | undefined): Promise<void> {
    const owned = this.find(tp)
    // Not ours (any more): a partition that was just revoked needs no seek.
    if (!owned || owned.position < 0) return
    owned.position = offset ?? this.start(owned)
    this.wake?.()
  }

  async commit(offsets: readonly (TopicPartition & { offset: number; metadata?: string })[]): Promise<void> {
    const { membership } = this
    if (!membership) throw new Error('the consumer is not open')
    const rows = offsets.map(o => {
      const owned = this.find(o)
      if (!owned) throw new FencedError(`${tpKey(o)} is not assigned to this consumer; nothing was committed`)
      return { part: owned.part, offset: o.offset, metadata: o.metadata ?? null }
    })
    if (!(await membership.commit(rows)))
      throw new FencedError(`${offsets.map(tpKey).join(', ')}: other consumers own them now; nothing was committed`)
  }

  caughtUp(tp: TopicPartition): boolean {
    const owned = this.find(tp)
    try {
      return owned !== undefined && owned.active && owned.position >= bounds(this.log.db, owned.part).next
    } catch {
      // The next read ends the run with it.
      return false
    }
  }

  healthy(): boolean | string {
    try {
      return this.state()
    } catch (error) {
      return (error as Error).message
    }
  }

  /** @throws {EnvironmentError} when the file was deleted, replaced or damaged */
  private state(): boolean | string {
    if (!this.membership) return false
    // A topic that never existed is awaited, as logged at the start; after it has existed, it is reported as missing.
    for (const topic of this.unwritten) if (this.log.topics.exists(topic)) this.unwritten.delete(topic)
    const missing = this.options.topics.filter(topic => !this.unwritten.has(topic) && !this.log.topics.exists(topic))
    for (const topic of missing) this.report(topic)
    for (const topic of this.reported) if (!missing.includes(topic)) this.reported.delete(topic)
    if (missing.length > 0) return `topic ${missing.join(', ')} no longer exists; create it again`
    return this.membership.healthy()
  }

  /** Once for each time it is missing. */
  private report(topic: string): void {
    if (this.reported.has(topic)) return
    this.reported.add(topic)
    this.options.onError(new ConnectionError(`topic ${topic} no longer exists: it was deleted while it was read; create it again`))
  }

  async close(): Promise<void> {
    const { membership } = this
    this.membership = undefined
    this.unwatch?.()
    this.wake?.()
    await membership?.close()
  }

  private find(tp: TopicPartition): Owned | undefined {
    const part = this.membership && this.log.topics.part(tp)
    return part === undefined ? undefined : this.membership!.owned.get(part)
  }

  private next(membership: Membership): ConsumedBatch | undefined {
    try {
      membership.check()
      const list = [...membership.owned.values()]
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
    if (owned.position < first || owned.position > end) {
      if (owned.renewed)
        throw new StateError(
          `${tpKey(owned)} should be read from ${owned.position}, but the log has ${first} to ${end}: the log was replaced or truncated`,
        )
      this.membership?.takeAnew(owned)
      return undefined
    }
    if (owned.position >= end) return undefined
    const messages: Message[] = []
    const next = readChunks(this.log.db, owned.part, owned.position, this.options.maxBytes, owned.origin, messages)
    if (messages.length === 0) return undefined
    owned.position = next
    owned.renewed = false
    return { topic: owned.topic, partition: owned.partition, messages, nextOffset: next, endOffset: Math.max(next, end) }
  }

  /** The committed offset, else the start of a first run. @throws {StateError} when the log ends before that */
  private start(part: Part): number {
    const committed = committedOffset(this.log.db, this.options.group, part.part)
    const { first, next } = bounds(this.log.db, part.part)
    if (!committed) return this.options.startAt === 'earliest' || this.awaited.has(part.topic) ? first : next
    const { offset } = committed
    if (offset > next)
      throw new StateError(
        `${tpKey(part)} ends at ${next}, but group ${this.options.group} has read up to ${offset}: the log was replaced or truncated. ` +
          'Set the position of the group with runner offsets reset',
      )
    if (offset < first) this.options.onLost?.(tpKey(part), offset, first)
    return Math.max(offset, first)
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
      this.membership?.check()
    } catch (error) {
      this.options.onError(error as Error)
    }
    this.wake?.()
  }
}
