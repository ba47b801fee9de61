/** Planted bugs: each wraps a part of the runtime or of its surroundings. The simulation must find every one of them. */
import type { Pipeline, Step } from '../../src/config/model.ts'
import {
  BatchError,
  type Checkpoint,
  type CheckpointDelta,
  FencedError,
  Message,
  type Sink,
  type SinkPlugin,
  type Source,
  type SourceContext,
  type SourcePlugin,
  type Transform,
  type TransformContext,
  type TransformPlugin,
  UnknownOutcomeError,
} from '../../src/contract/plugin.ts'
import type { Built } from '../../src/runtime/build.ts'
import type { Committer } from '../../src/runtime/committer.ts'
import { PUSHED } from './push.ts'
import { isLinked, isPushed } from './scenario.ts'

export interface Mutant {
  readonly name: string
  /** The seeds that can find it; default: all. */
  readonly seeds?: (seed: number) => boolean
  /** The peers do not fence a former owner. */
  readonly unfenced?: boolean
  readonly pipeline?: (pipeline: Pipeline) => Pipeline
  readonly built?: (built: Built) => Built
}

const sinks = (name: string, wrap: (sink: Sink) => Partial<Sink>): Mutant => ({
  name,
  pipeline: p => ({ ...p, sinks: p.sinks.map(s => wrapped(s, wrap)) }),
})
const queue = (name: string, wrap: (sink: Sink) => Partial<Sink>): Mutant => ({
  name,
  pipeline: p => ({ ...p, dlq: p.dlq && wrapped(p.dlq, wrap) }),
})
const link = (name: string, wrap: (sink: Sink) => Partial<Sink>): Mutant => ({
  name,
  seeds: isLinked,
  pipeline: p => ({ ...p, links: p.links?.map(l => ({ ...l, sink: wrapped(l.sink, wrap) })) }),
})
const source = (name: string, wrap: (source: Source) => Partial<Source>, context = (ctx: SourceContext): SourceContext => ctx): Mutant => ({
  name,
  pipeline: p => ({
    ...p,
    sources: p.sources.map(s => {
      const plugin: SourcePlugin = {
        ...s.plugin,
        create(config, ctx) {
          const made = s.plugin.create(config, context(ctx))
          return Object.assign(Object.create(made) as Source, made, wrap(made))
        },
      }
      return { ...s, plugin }
    }),
  }),
})
const transforms = (name: string, type: string, wrap: (transform: Transform, ctx: TransformContext) => Partial<Transform>): Mutant => ({
  name,
  pipeline: p => ({
    ...p,
    transforms: p.transforms.map(s => {
      if (s.type !== type) return s
      const plugin: TransformPlugin = {
        ...s.plugin,
        create(config, ctx) {
          const made = s.plugin.create(config, ctx)
          return { ...made, ...wrap(made, ctx) }
        },
      }
      return { ...s, plugin }
    }),
  }),
})
const committer = (name: string, wrap: (committer: Committer) => Partial<Committer>): Mutant => ({
  name,
  built: b => ({ ...b, sources: b.sources.map(s => ({ ...s, committer: { ...s.committer, ...wrap(s.committer) } })) }),
})
const deltas = (name: string, change: (delta: CheckpointDelta) => CheckpointDelta): Mutant =>
  committer(name, c => ({ write: (lane, delta, writeAll) => c.write(lane, delta && change(delta), writeAll) }))

function wrapped<S extends Step<SinkPlugin>>(step: S, wrap: (sink: Sink) => Partial<Sink>): S {
  const plugin: SinkPlugin = {
    ...step.plugin,
    create(config, ctx) {
      const made = step.plugin.create(config, ctx)
      return { ...made, ...wrap(made) }
    },
  }
  return { ...step, plugin }
}

const swallow = async (call: Promise<void>, isLost: (error: unknown) => boolean): Promise<void> => {
  try {
    await call
  } catch (error) {
    if (!isLost(error)) throw error
  }
}
const isRejection = (error: unknown): boolean => error instanceof BatchError
const isFailure = (error: unknown): boolean => !isRejection(error) && !(error instanceof FencedError)
const withoutStore = (delta: CheckpointDelta, name: string): CheckpointDelta => ({
  ...delta,
  state: delta.state.filter(([store]) => !store.endsWith(`.${name}`)),
})

export const MUTANTS: readonly Mutant[] = [
  committer('the position is committed before the outputs are written', c => ({
    async write(lane, delta, writeAll) {
      if (c.atomic) return c.write(lane, delta, writeAll)
      await c.write(lane, delta, async () => {})
      await writeAll()
    },
  })),
  deltas('the position is one record ahead', d => ({ ...d, position: (d.position as number) + 1 })),
  deltas('open windows are not part of the checkpoint', d => withoutStore(d, 'windows')),
  deltas('keys that dedupe has seen are not part of the checkpoint', d => withoutStore(d, 'seen')),
  {
    ...deltas('the progress of the lanes in front of a repartition is not part of the checkpoint', d => withoutStore(d, 'upstream')),
    seeds: isLinked,
  },
  link('records are passed on in another order', s => ({ write: (messages, ctx) => s.write(messages.toReversed(), ctx) })),
  committer('a transaction of unknown outcome is written again', c => ({
    async write(lane, delta, writeAll) {
      try {
        return await c.write(lane, delta, writeAll)
      } catch (error) {
        if (!c.atomic || !(error instanceof UnknownOutcomeError)) throw error
        return c.write(lane, delta, writeAll)
      }
    },
  })),
  committer('a restore goes back to the checkpoint of the claim before', c => {
    const last = new Map<string, Checkpoint | undefined>()
    return {
      async claim(lane) {
        const found = await c.claim(lane)
        const before = last.has(lane.id) ? last.get(lane.id) : found
        last.set(lane.id, found)
        return before
      },
    }
  }),
  source('a restore does not read again', () => ({ seek: async () => {} })),
  source(
    'a gap is not reported',
    s => ({ read: async signal => ({ ...(await s.read(signal))!, gap: undefined }) }),
    ctx => ({
      ...ctx,
      assign: (lanes, originOf) => ctx.assign(lanes, originOf && (async lane => ({ ...(await originOf(lane)), start: undefined }))),
    }),
  ),
  {
    ...source('a pushed record is answered when it is read', s => ({
      async read(signal) {
        const batch = await s.read(signal)
        if (s.commitImmediately && batch) await s.commit!(batch.lane, batch.position)
        return batch
      },
    })),
    seeds: isPushed,
  },
  {
    ...committer('the state of pushed records ends with the process', c => ({
      async claim(lane) {
        const found = await c.claim(lane)
        return lane.id === PUSHED ? undefined : found
      },
    })),
    seeds: isPushed,
  },
  { name: 'a former owner is not fenced', unfenced: true },
  sinks('a failed write counts as written', s => ({ write: (messages, ctx) => swallow(s.write(messages, ctx), isFailure) })),
  sinks('rejected messages are dropped', s => ({ write: (messages, ctx) => swallow(s.write(messages, ctx), isRejection) })),
  sinks('messages are written in another order', s => ({ write: (messages, ctx) => s.write(messages.toReversed(), ctx) })),
  sinks('a sink that fails never answers', s => ({
    write: (messages, ctx) =>
      s.write(messages, ctx).catch(error => (isFailure(error) ? new Promise<void>(() => {}) : Promise.reject(error as Error))),
  })),
  queue('dead letters are dropped while the queue is away', s => ({
    write: (messages, ctx) => swallow(s.write(messages, ctx), isFailure),
  })),
  queue('dead letters have other bytes', s => ({
    write: (messages, ctx) =>
      s.write(
        messages.map(m => new Message(`${String(m.encode())} `, m.key, m.time, m.headers)),
        ctx,
      ),
  })),
  transforms('windows close by the wall clock', 'window', (t, ctx) => ({
    process(messages, out) {
      t.onClock!(ctx.clock.now(), out)
      return t.process(messages, out)
    },
  })),
]
