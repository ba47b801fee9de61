/** The input of one source under test: a log that survives crashes, filled by the `input` steps of the test. */
import {
  type Batch,
  DecodeError,
  type Format,
  type Header,
  type LaneInfo,
  Message,
  type Position,
  type Source,
  type SourceContext,
} from '../contract/plugin.ts'

/** One record of a lane. */
export interface FeedRecord {
  readonly payload: Buffer | null
  readonly key: Buffer | null
  readonly headers: readonly Header[] | undefined
  /** Epoch ms. */
  readonly time: number
  /** Why the client could not decompress the record. */
  readonly failure?: string
  /** The message that the source creates from the bytes. */
  readonly message?: Message
  /** Not a record: the error with which the source stops. */
  readonly stop?: Error
}

/** Maximum size of the next batch. Output must not depend on batches, so repeats use other sizes. */
export type BatchSplit = () => number

interface FeedLane {
  readonly info: LaneInfo
  readonly records: FeedRecord[]
  /** First record that has not been read. */
  next: number
}

export interface FeedOptions {
  readonly source: string
  readonly lanes: readonly LaneInfo[]
  readonly format: Format
  readonly replayable: boolean
  readonly cut: BatchSplit
  /** Offsets are numbers of lines: of a file, whose path is the name of the lane, or of another input. */
  readonly lines?: 'file' | 'stream'
}

export class Feed {
  readonly source: string
  readonly format: Format
  private readonly lines: FeedOptions['lines']
  private readonly replayable: boolean
  private readonly cut: BatchSplit
  private readonly lanes = new Map<string, FeedLane>()
  /** The lane of each record in order of arrival: a restart reads them in the same order. */
  private readonly arrivals: { lane: FeedLane; index: number }[] = []
  /** Committed positions, as in a consumer group. */
  private readonly committed = new Map<string, number>()
  /** All earlier arrivals have been read. */
  private cursor = 0
  private ended = false
  private wake: (() => void) | undefined

  constructor(options: FeedOptions) {
    this.source = options.source
    this.format = options.format
    this.lines = options.lines
    this.replayable = options.replayable
    this.cut = options.cut
    for (const info of options.lanes) this.addLane(info)
  }

  /** A running pipeline claims the lane before its next read. */
  addLane(info: LaneInfo): void {
    if (!this.lanes.has(info.id)) this.lanes.set(info.id, { info, records: [], next: 0 })
  }

  /** The reader waits: the runtime has read all records. */
  get parked(): boolean {
    return this.wake !== undefined
  }

  push(lane: string, record: FeedRecord): void {
    const entry = this.lanes.get(lane)!
    this.arrivals.push({ lane: entry, index: entry.records.length })
    entry.records.push(record)
  }

  /** Ends the input after the existing records. */
  end(): void {
    this.ended = true
  }

  /** Wakes the waiting reader. */
  flush(): void {
    const wake = this.wake
    this.wake = undefined
    wake?.()
  }

  /** Opens a source: one per run of the pipeline. */
  open(ctx: SourceContext): Source {
    const claimed = new Set<FeedLane>()
    const claim = async (): Promise<void> => {
      const news = [...this.lanes.values()].filter(lane => !claimed.has(lane))
      if (news.length === 0) return
      for (const lane of news) claimed.add(lane)
      const positions = await ctx.assign(
        news.map(l => l.info),
        async ({ topic }) => ({
          lanes: topic === undefined ? undefined : [...this.lanes.values()].filter(l => l.info.topic === topic).length,
        }),
      )
      if (this.replayable) for (const lane of news) this.rewind(lane, positions.get(lane.info.id))
    }
    const source: Source = {
      open: claim,
      read: async signal => {
        for (;;) {
          signal.throwIfAborted()
          if (claimed.size < this.lanes.size) await claim()
          const batch = this.next()
          if (batch) return batch
          if (this.ended) return null
          await this.park(signal)
        }
      },
      commit: async (lane, position) => {
        this.committed.set(lane, position as number)
      },
      caughtUp: id => {
        const lane = this.lanes.get(id)!
        return lane.next >= lane.records.length
      },
    }
    if (this.replayable) {
      source.seek = async (id, position) => {
        this.rewind(this.lanes.get(id)!, position)
      }
    }
    return source
  }

  private rewind(lane: FeedLane, position: Position | undefined): void {
    lane.next = (position as number | undefined) ?? this.committed.get(lane.info.id) ?? 0
    this.cursor = 0
  }

  /** Consecutive records of one lane, up to the batch size. */
  private next(): Batch | undefined {
    const { arrivals } = this
    while (this.cursor < arrivals.length && arrivals[this.cursor].index < arrivals[this.cursor].lane.next) this.cursor++
    if (this.cursor === arrivals.length) return undefined
    const { lane } = arrivals[this.cursor]
    const { stop } = lane.records[lane.next]
    if (stop) throw stop
    const limit = lane.next + this.cut()
    const messages: Message[] = []
    while (this.cursor < arrivals.length && arrivals[this.cursor].lane === lane && lane.next < limit && !lane.records[lane.next].stop) {
      messages.push(this.message(lane, lane.next++))
      this.cursor++
    }
    return { lane: lane.info.id, messages, position: lane.next, lag: lane.records.length - lane.next }
  }

  private message(lane: FeedLane, offset: number): Message {
    const { payload, key, time, headers, failure, message: made } = lane.records[offset]
    const { id, topic, partition } = lane.info
    const format = made?.origin?.format ?? this.format
    const { lines } = this
    const place = lines && ({ lines: true, ...(lines === 'file' && { file: id }) } as const)
    const origin = { lane: id, source: this.source, topic, partition, ...place, format }
    // A CSV row is already a value; its bytes are those of its line.
    const message = made?.changed
      ? new Message(made.value, undefined, time, headers, offset, origin, payload, key)
      : Message.fromRecord(payload, key, time, headers, offset, origin)
    if (made?.failure) message.failure = made.failure
    if (failure !== undefined) message.failure = new DecodeError(failure)
    return message
  }

  private park(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.wake = undefined
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', aborted, { once: true })
      this.wake = () => {
        signal.removeEventListener('abort', aborted)
        resolve()
      }
    })
  }
}
