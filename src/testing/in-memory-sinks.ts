/** The data that survives a crash of the pipeline under test: checkpoints and written records. */
import type { CheckpointDelta, CheckpointStore, LaneInfo, Message, Preview, Transaction, Transactor } from '../contract/plugin.ts'
import { type Memory, memoryCheckpoints } from '../runtime/checkpoints/memory.ts'

/** One record in a sink or the dead-letter queue. */
export interface Written {
  /** Lane of its source. */
  readonly lane: string
  /** Destination of the sink, if it reports one. */
  readonly topic: string | undefined
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly (readonly [name: string, value: string | null])[]
  /** Epoch ms. */
  readonly time: number
}

export class InMemorySinks {
  private readonly memory: Memory = new Map()
  /** By name of the sink or dlq step, in order of writing. */
  private readonly written = new Map<string, Written[]>()

  /** Writes outside of transactions: visible at once, even if the checkpoint is not saved. */
  write(sink: string, records: readonly Written[]): void {
    const list = this.written.get(sink)
    if (list) list.push(...records)
    else this.written.set(sink, [...records])
  }

  /** The records of a sink per lane, in order of writing. There is no order between lanes. */
  read(sink: string, from: ReadonlyMap<string, number>): Map<string, Written[]> {
    const byLane = new Map<string, Written[]>()
    for (const record of this.written.get(sink) ?? []) {
      const list = byLane.get(record.lane)
      if (list) list.push(record)
      else byLane.set(record.lane, [record])
    }
    for (const [lane, list] of byLane) byLane.set(lane, list.slice(from.get(lane) ?? 0))
    return byLane
  }

  checkpoints(): CheckpointStore {
    return memoryCheckpoints(this.memory)
  }

  transactor(): Transactor {
    const store = this.checkpoints()
    return { ...store, begin: async lane => new InMemoryTransaction(this, store, lane) }
  }
}

/** Keeps outputs until their checkpoint is saved. */
export class InMemoryTransaction implements Transaction {
  private readonly sinks: InMemorySinks
  private readonly store: CheckpointStore
  private readonly lane: LaneInfo
  private readonly done: (() => void)[] = []
  private readonly staged: [sink: string, records: readonly Written[]][] = []

  constructor(sinks: InMemorySinks, store: CheckpointStore, lane: LaneInfo) {
    this.sinks = sinks
    this.store = store
    this.lane = lane
  }

  /** @param done called when the checkpoint is saved */
  onCommit(done: () => void): void {
    this.done.push(done)
  }

  stage(sink: string, records: readonly Written[]): void {
    this.staged.push([sink, records])
  }

  async commit(delta: CheckpointDelta): Promise<void> {
    await this.store.save(this.lane, delta)
    for (const [sink, records] of this.staged) this.sinks.write(sink, records)
    for (const done of this.done) done()
  }

  async abort(): Promise<void> {
    this.staged.length = 0
  }
}

/** Encodes immediately, as a real sink does: later changes of the value have no effect. */
export function writtenOf(message: Message, preview: Preview, lane: string): Written {
  return {
    lane,
    topic: preview.topic,
    key: bytes(preview.key),
    value: bytes(preview.value),
    headers: (preview.headers ?? []).map(([name, value]) => [name, value === null ? null : value.toString()]),
    time: message.time,
  }
}

export const plainPreview = (m: Message): Preview => ({ key: m.encodeKey(), value: m.encode(), headers: m.headers })

export const bytes = (data: Buffer | string | null): Buffer | null => (typeof data === 'string' ? Buffer.from(data) : data)
