/** A log in memory with lanes, transactions and injected failures: the runtime's guarantees are tested against it, seed by seed. */
import {
  type Batch,
  type Checkpoint,
  type CheckpointDelta,
  type CheckpointStore,
  ConnectionError,
  defineSink,
  defineSource,
  FencedError,
  type LaneInfo,
  type LaneOrigin,
  Message,
  type Origin,
  type SinkPlugin,
  type SourcePlugin,
  type Transaction,
  type Transactor,
  type TransformPlugin,
  UnknownOutcomeError,
} from '../../src/contract/plugin.ts'
import { build, type BuildOptions } from '../../src/runtime/build.ts'
import { type Clock, systemClock } from '../../src/kit/clock.ts'
import type { Pipeline, Step } from '../../src/config/model.ts'
import { PipelineRun, type RunOptions } from '../../src/runtime/pipeline.ts'
import { silentLogger } from '../../src/runtime/telemetry/log.ts'

export interface MemoryLogOptions {
  readonly lanes: Record<string, readonly unknown[]>
  readonly batch: () => number
  /** Called at every step that may fail; throws to make it fail. */
  readonly fault?: (at: 'read' | 'begin' | 'write' | 'commit-before' | 'commit-after' | 'claim' | 'seek' | 'save') => void
  readonly origin?: () => LaneOrigin
  /** The origin of the messages, made from the usual one. */
  readonly originOf?: (origin: Origin) => Origin
  /** State stored by 0.1.0, by lane. */
  readonly former?: Checkpoint
  /** Keep the input open after its end, as a topic would be. */
  readonly endless?: boolean
}

/** Outlives a "process": the data that a broker would hold. */
export class MemoryLog {
  readonly committed: { lane: string; key: string | null; value: string }[] = []
  readonly dead: Message[] = []
  /** Fencing token per lane: a claim makes the former owner's transactions fail. */
  private readonly epochs = new Map<string, number>()
  readonly checkpoints = new Map<string, { position: number; state: Map<string, [string, string, string]> }>()
  readonly options: MemoryLogOptions

  constructor(options: MemoryLogOptions) {
    this.options = options
  }

  fault(at: Parameters<NonNullable<MemoryLogOptions['fault']>>[0]): void {
    this.options.fault?.(at)
  }

  source(): SourcePlugin {
    return defineSource({
      type: 'log',
      schema: {},
      replayable: true,
      reason: 'memory',
      transactions: { scope: () => 'memory', create: () => this.transactor() },
      create: (_config, ctx) => {
        const next = new Map<string, number>()
        let turn = 0
        return {
          open: async () => {
            const infos = Object.keys(this.options.lanes).map<LaneInfo>(id => ({ id, source: ctx.step, topic: id, partition: 0 }))
            for (const [id, position] of await ctx.assign(infos, this.options.origin && (async () => this.options.origin!())))
              next.set(id, (position as number | undefined) ?? 0)
          },
          read: async signal => {
            await new Promise(resolve => setImmediate(resolve))
            signal.throwIfAborted()
            this.fault('read')
            const ids = Object.keys(this.options.lanes)
            for (let i = 0; i < ids.length; i++) {
              const id = ids[turn++ % ids.length]
              const from = next.get(id)!
              const all = this.options.lanes[id]
              if (from >= all.length) continue
              const to = Math.min(all.length, from + this.options.batch())
              next.set(id, to)
              return makeBatch(id, ctx.step, all, from, to, this.options.originOf)
            }
            if (this.options.endless) {
              await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }))
            }
            return null
          },
          seek: async (lane, position) => {
            this.fault('seek')
            next.set(lane, (position as number | undefined) ?? 0)
          },
          caughtUp: lane => next.get(lane)! >= this.options.lanes[lane].length,
        }
      },
    })
  }

  sink(): SinkPlugin {
    return defineSink({
      type: 'log',
      schema: {},
      onRedelivery: 'appends',
      reason: 'memory',
      transactions: { scope: () => 'memory' },
      create: () => ({
        write: async (messages, { transaction, lane }) => {
          await new Promise(resolve => setImmediate(resolve))
          this.fault('write')
          const rows = messages.map(m => ({ lane: lane.id, key: m.key, value: String(m.encode()) }))
          if (transaction) (transaction as MemoryTransaction).rows.push(...rows)
          else this.committed.push(...rows)
        },
      }),
    })
  }

  dlq(): SinkPlugin {
    return defineSink({
      type: 'dead',
      schema: {},
      onRedelivery: 'appends',
      reason: 'memory',
      transactions: { scope: () => 'memory' },
      create: () => ({
        write: async (messages, { transaction }) => {
          if (transaction) (transaction as MemoryTransaction).dead.push(...messages)
          else this.dead.push(...messages)
        },
      }),
    })
  }

  private apply(lane: LaneInfo, delta: CheckpointDelta): void {
    const entry = this.checkpoints.get(lane.id) ?? { position: 0, state: new Map() }
    if (!this.options.origin && (delta.position as number) < entry.position)
      throw new Error(`position of ${lane.id} moved back from ${entry.position} to ${delta.position}`)
    entry.position = delta.position as number
    for (const [store, key, json] of delta.state) {
      if (json === null) entry.state.delete(`${store}\0${key}`)
      else entry.state.set(`${store}\0${key}`, [store, key, json])
    }
    this.checkpoints.set(lane.id, entry)
  }

  private transactor(): Transactor {
    const mine = new Map<string, number>()
    const fence = (lane: LaneInfo): void => {
      if (mine.get(lane.id) !== this.epochs.get(lane.id)) throw new FencedError(`fenced: another instance now owns lane ${lane.id}`)
    }
    return {
      claim: async (lane): Promise<Checkpoint | undefined> => {
        this.fault('claim')
        const epoch = (this.epochs.get(lane.id) ?? 0) + 1
        this.epochs.set(lane.id, epoch)
        mine.set(lane.id, epoch)
        const entry = this.checkpoints.get(lane.id)
        return entry && { position: entry.position, state: [...entry.state.values()] }
      },
      begin: async lane => {
        this.fault('begin')
        return new MemoryTransaction((delta, tx) => {
          this.fault('commit-before')
          fence(lane)
          this.apply(lane, delta)
          this.committed.push(...tx.rows)
          this.dead.push(...tx.dead)
          this.fault('commit-after')
        })
      },
      save: async (lane, delta) => {
        this.fault('save')
        fence(lane)
        this.apply(lane, delta)
      },
      former: async (_, at) => {
        const { former } = this.options
        return former?.position === at ? { position: at, checkpoint: former } : { position: former?.position }
      },
      release: async () => {},
      close: async () => {},
    }
  }
}

class MemoryTransaction implements Transaction {
  readonly rows: MemoryLog['committed'] = []
  readonly dead: Message[] = []
  private readonly onCommit: (delta: CheckpointDelta, tx: MemoryTransaction) => void

  constructor(onCommit: (delta: CheckpointDelta, tx: MemoryTransaction) => void) {
    this.onCommit = onCommit
  }

  async commit(delta: CheckpointDelta): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    this.onCommit(delta, this)
  }

  async abort(): Promise<void> {}
}

/** Runs all work that does not wait for a timer. */
export async function calm(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
}

function makeBatch(lane: string, source: string, all: readonly unknown[], from: number, to: number, originOf = (o: Origin) => o): Batch {
  const origin = originOf({ lane, source, topic: lane, partition: 0, format: 'json' })
  const messages = all.slice(from, to).map((value, i) => {
    const payload = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))
    return Message.fromRecord(payload, Buffer.from(lane), 1_000 + from + i, undefined, from + i, origin)
  })
  return { lane, messages, position: to, lag: all.length - to }
}

const at = { file: 'test.yaml', line: 1, column: 1 }
export const step = <P>(name: string, plugin: P, config: unknown = {}): Step<any> => ({
  type: name,
  name,
  plugin: plugin as any,
  config,
  at,
  secrets: [],
})

export function pipelineOf(log: MemoryLog, transforms: readonly TransformPlugin[], over: Partial<Pipeline> = {}): Pipeline {
  return {
    file: 'test.yaml',
    name: 'test',
    version: 1,
    sources: [step('in', log.source())],
    transforms: transforms.map((t, i) => step(`t${i}`, t)),
    sinks: [step('out', log.sink())],
    dlq: step('dlq', log.dlq()),
    delivery: 'exactly_once',
    commit_interval: 5,
    max_in_flight: 200,
    shutdown_timeout: 5000,
    retry: { initial_delay: 1, max_delay: 5, breaker_failures: 50, breaker_reset: 5 },
    hash: '',
    ...over,
  }
}

/** Of sources that have no store of their own. */
function memoryCheckpoints(): CheckpointStore {
  const lanes = new Map<string, { position: Checkpoint['position']; state: Map<string, Checkpoint['state'][number]> }>()
  return {
    async claim(lane) {
      const entry = lanes.get(lane.id)
      return entry && { position: entry.position, state: [...entry.state.values()] }
    },
    async save(lane, { position, state }) {
      const kept = lanes.get(lane.id)?.state ?? new Map<string, Checkpoint['state'][number]>()
      for (const [store, key, json] of state) {
        if (json === null) kept.delete(`${store}\0${key}`)
        else kept.set(`${store}\0${key}`, [store, key, json])
      }
      lanes.set(lane.id, { position, state: kept })
    },
    release: async () => {},
    close: async () => {},
  }
}

export function start(pipeline: Pipeline, options: Partial<RunOptions & BuildOptions> = {}): PipelineRun {
  const clock: Clock = options.clock ?? systemClock
  const built = build(pipeline, {
    clock,
    log: silentLogger,
    localCheckpoints: memoryCheckpoints,
    ...options,
  })
  return new PipelineRun(built, { clock, log: silentLogger, endAt: Number.POSITIVE_INFINITY, ...options })
}

export const faultError = (random: () => number): Error =>
  random() < 0.5 ? new ConnectionError('injected: peer gone') : new UnknownOutcomeError('injected: outcome unknown')
