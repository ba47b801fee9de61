/** Creates the plugin instances of a checked pipeline. Pure, no I/O. Later failures come from the environment. */
import { loadedLanguage } from '../expressions/on-demand.ts'
import {
  type CheckpointStore,
  type Context,
  DEFAULT_DEPTH,
  type LaneInfo,
  type LiveContent,
  type Logger,
  type Report,
  type Sink,
  type Source,
  type SourceContext,
  type SourcePlugin,
  type Transform,
  type TransformContext,
  type TransformPlugin,
} from '../contract/plugin.ts'
import { keepWays, keepWithin, type Range, windowSpanOf, widen } from './backfill.ts'
import { withBranches } from './branches.ts'
import { decodeTransform, checkTransform, type Stage } from './chain.ts'
import { checkpointLocation } from './checkpoints/location.ts'
import { type Clock, SteadyWallClock } from '../kit/clock.ts'
import { atomicCommitter, type Committer, ephemeralCommitter, sourceCommitter, storedCommitter } from './committer.ts'
import type { Pipeline, Step } from '../config/model.ts'
import { partsOf } from '../config/parts.ts'
import { laneKeyFindings } from '../config/lane-keys.ts'
import { branchesOf } from '../config/route.ts'
import { isOneShot, isReplayable, readsValue, redeliveryOf, sharesWork } from '../config/traits.ts'
import { checkedSource, create } from './guard.ts'
import { Identity } from './identity.ts'
import { liveContent } from './live-content.ts'
import { Router } from './router.ts'
import { type Spread, watchSpread } from './spread.ts'
import type { LaneState } from './state.ts'
import { Meters, type StepMeter } from './telemetry/meters.ts'
import { Writer } from './writer.ts'

export interface BuildOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Bounds of a backfill: its sources read without a group and commit nothing. */
  readonly range?: Range
  /** Creates the checkpoint store for sources that have none; called only if it is needed. */
  readonly localCheckpoints: (pipeline: Pipeline) => CheckpointStore
  /** State and positions are dropped, once per lane. */
  readonly fresh?: boolean
  /** For tests: replaces every committer. */
  readonly committer?: Committer
}

export interface BuiltSource {
  readonly step: Step<SourcePlugin>
  readonly source: Source
  readonly committer: Committer
  readonly meter: StepMeter
  /** Number of the part of the pipeline that the source feeds. */
  readonly part: number
  /** ms between checkpoints. */
  readonly commitInterval: number
  readonly range?: Range
  /** Its checkpoints are in the state directory. */
  readonly keptLocally: boolean
  /** Of all processes that use this state directory, only one may read the source. */
  readonly alone: boolean
  /** The first stage of the chain, which dead-letters records that cannot be unpacked or decoded. */
  readonly inlet: Stage
  /** Connects the source to the runtime. Before this call, `assign`, `revoke` and `lose` throw. */
  connect(runtime: Omit<SourceContext, keyof Context>): void
}

export interface Built {
  readonly pipeline: Pipeline
  readonly meters: Meters
  readonly sources: readonly BuiltSource[]
  readonly writers: readonly Writer[]
  readonly dlq: Writer | undefined
  /** By the number of the part, see `config/parts.ts`. */
  readonly routers: readonly Router[]
  /** The requested bounds of a backfill that reads more than them. */
  readonly bounds: Range | undefined
  readonly identity: Identity
  /** Content of this process, for comparison by other processes with the same identity. */
  readonly live: LiveContent
  /** Results of a one-shot pipeline by step, see `Context.report`. */
  readonly reports: ReadonlyMap<string, Report>
  /** Creates the transforms of a lane with its state. @param part the part of the pipeline that the lane feeds; default: the first */
  stages(lane: LaneInfo, state: LaneState, part?: number): Stage[]
}

export function build(pipeline: Pipeline, options: BuildOptions): Built {
  const meters = new Meters(pipeline.name)
  const reports = new Map<string, Report>()
  const steady = new SteadyWallClock(options.clock, by =>
    options.log.warn(
      { seconds: by / 1000 },
      'the wall clock was changed; records are dated by the former clock until the new one is stable for a minute',
    ),
  )
  const clock = { now: () => steady.now(), monotonic: () => options.clock.monotonic() }
  const context = (step: string): Context => ({
    step,
    pipeline: pipeline.name,
    version: pipeline.version,
    log: options.log,
    metrics: meters,
    clock,
    depth: pipeline.limits?.depth ?? DEFAULT_DEPTH,
    report: report => void reports.set(step, report),
  })
  const writer = (step: Step<any>, kind: 'sink' | 'dlq' | 'link'): Writer =>
    new Writer(
      step,
      create(step, 'write', options.log, () => step.plugin.create(step.config, { ...context(step.name), dlq: kind === 'dlq' }) as Sink),
      meters.step(step.name, kind),
      { retry: pipeline.retry, clock: options.clock, log: options.log },
    )
  const expressions = new Map(
    [...pipeline.transforms, ...pipeline.sinks].filter(s => s.when !== undefined).map(s => [s.name, loadedLanguage().compile(s.when!)]),
  )
  const parts = partsOf(pipeline)
  const links = pipeline.links ?? []
  const sinks = [...pipeline.sinks, ...links.map(l => l.sink)]
  const writers = sinks.map((step, i) => writer(step, i < pipeline.sinks.length ? 'sink' : 'link'))
  const routers = parts.map(
    part =>
      new Router(
        part.sinks.map(step => {
          const index = sinks.indexOf(step)
          return { step, when: expressions.get(step.name), index }
        }),
      ),
  )
  const { range } = options
  const span = range ? windowSpanOf(pipeline) : 0
  const shared = new Map<string, unknown>()
  const overwrites = pipeline.sinks.some(s => redeliveryOf(s) === 'idempotent')
  const spreads = new Map<string, Spread>(
    laneKeyFindings(pipeline).map(finding => [finding.step, { finding, overwrites, log: options.log, lanes: new Map(), warned: false }]),
  )
  const contextOf = (step: Step<any>, lane: LaneInfo, state: LaneState): TransformContext => ({
    ...context(step.name),
    lane,
    state: name => {
      if (step.foreign && !step.plugin.stateful)
        throw new Error('ctx.state: the plugin must set `stateful: true` next to `create`, otherwise its state is not saved')
      return state.open(`${step.name}.${name}`, step.foreign)
    },
    shared: (name, make) => {
      const id = `${step.name}\0${name}`
      if (!shared.has(id)) shared.set(id, make())
      return shared.get(id) as ReturnType<typeof make>
    },
    watermark: time => meters.watermarks.set(`${step.name}\0${lane.id}`, { step: step.name, lane: lane.id, time }),
  })
  const bounded = (step: Step<TransformPlugin>, transform: Transform, bounds: Range): Transform => {
    if (step.plugin.windowSpan) return keepWithin(transform, bounds)
    return branchesOf(step) ? keepWays(step, transform, pipeline.transforms, bounds) : transform
  }
  /** The stage before the steps after a link. */
  const arrival = (part: number, lane: LaneInfo, state: LaneState): Stage[] => {
    if (part === 0) return []
    const { index, source } = links[part - 1]
    const step = pipeline.transforms[index]
    const upstream = parts[part - 1].sources.map(s => ({
      source: s.name,
      topics: s.type === 'kafka' ? (s.config as { topics?: string[] }).topics : undefined,
    }))
    const transform = step.plugin.link!.arrive(step.config, contextOf(step, lane, state), upstream)
    return [{ name: step.name, at: step.at, transform, meter: meters.step(source.name, 'link') }]
  }
  const stages = (lane: LaneInfo, state: LaneState, part = 0): Stage[] => [
    ...arrival(part, lane, state),
    ...withBranches(
      parts[part].transforms,
      parts[part].transforms.map((step): Stage => {
        const ctx = contextOf(step, lane, state)
        const made = create(step, 'process', options.log, () => step.plugin.create(step.config, ctx))
        const spread = spreads.get(step.name)
        const transform = spread ? watchSpread(made, lane.id, spread) : made
        return {
          name: step.name,
          at: step.at,
          transform: range ? bounded(step, transform, range) : transform,
          when: expressions.get(step.name),
          meter: meters.step(step.name, 'transform'),
          foreign: step.foreign,
          stateful: step.plugin.stateful,
          ports: step.foreign ? step.plugin.ports?.(step.config) : undefined,
        }
      }),
    ),
  ]
  for (const step of pipeline.transforms) meters.step(step.name, 'transform')
  const read = { ...options, range: range && widen(range, span) }
  let content: LiveContent | undefined
  // Computed on demand, because tests build their pipeline thousands of times.
  const live = (): LiveContent => (content ??= liveContent(pipeline, options.fresh))
  const sources = parts.flatMap((part, k) => {
    const own = k < links.length ? { ...part, commit_interval: Math.min(part.commit_interval, LINK_COMMIT) } : part
    return part.sources.map(step => buildSource(step, own, k, read, context(step.name), meters, live))
  })
  return {
    pipeline,
    meters,
    sources,
    writers,
    dlq: pipeline.dlq && writer(pipeline.dlq, 'dlq'),
    routers,
    stages,
    bounds: span > 0 ? range : undefined,
    reports,
    get live() {
      return live()
    },
    identity: new Identity({ pipeline, log: options.log, fresh: options.fresh === true }),
  }
}

/** Maximum commit interval before a link, ms: the part after the link reads messages only after their commit. */
const LINK_COMMIT = 100

function buildSource(
  step: Step<SourcePlugin>,
  pipeline: Pipeline,
  part: number,
  options: BuildOptions,
  context: Context,
  meters: Meters,
  live: () => LiveContent,
): BuiltSource {
  let runtime: Omit<SourceContext, keyof Context> | undefined
  const connected = (): Omit<SourceContext, keyof Context> => {
    if (!runtime) throw new Error(`source '${step.name}' used its context before open`)
    return runtime
  }
  const claimed = step.foreign ? new Set<string>() : undefined
  const made = create(step, 'read', options.log, () =>
    step.plugin.create(step.config, {
      ...context,
      range: options.range,
      get live() {
        return live()
      },
      assign: (lanes, originOf) => {
        for (const { id } of lanes) claimed?.add(id)
        return connected().assign(lanes, originOf)
      },
      revoke: lanes => connected().revoke(lanes),
      lose: lanes => connected().lose(lanes),
    }),
  )
  const source = claimed ? checkedSource(made, step, claimed, isReplayable(step)) : made
  const meter = meters.step(step.name, part === 0 ? 'source' : 'link')
  let keptLocally = false
  const localCheckpoints = (p: Pipeline): CheckpointStore => {
    keptLocally = true
    return options.localCheckpoints(p)
  }
  const committer = options.committer ?? chooseCommitter(step, pipeline, source, { ...options, localCheckpoints }, context)
  return {
    step,
    source,
    meter,
    part,
    commitInterval: source.commitImmediately ? 0 : pipeline.commit_interval,
    range: options.range,
    committer,
    keptLocally,
    // Two processes would claim the local checkpoint of a lane from each other alternately.
    alone: !options.range && !isOneShot(step) && (keptLocally || !sharesWork(step)),
    inlet: {
      name: step.name,
      at: step.at,
      transform: (readsValues(pipeline) ? decodeTransform : checkTransform)(context.depth, pipeline.limits?.strict),
      meter,
      isInlet: true,
      foreign: step.foreign,
    },
    connect(r) {
      runtime = r
    },
  }
}

/** Whether a step reads values. If not, `format: json` is only checked, and other formats pass undecoded. */
function readsValues(pipeline: Pipeline): boolean {
  return (
    pipeline.transforms.some(t => t.plugin.readsValue !== false || t.when) ||
    pipeline.sinks.some(s => s.when !== undefined || readsValue(s))
  )
}

function chooseCommitter(step: Step<SourcePlugin>, pipeline: Pipeline, source: Source, options: BuildOptions, context: Context): Committer {
  if (options.range) return ephemeralCommitter()
  const location = checkpointLocation(step, pipeline, source, context, () => options.localCheckpoints(pipeline))
  if (location.kind === 'none') return ephemeralCommitter()
  if (location.kind === 'source') return sourceCommitter(source, options.log)
  if (location.kind === 'store') return storedCommitter(location.store, source)
  return location.own
    ? atomicCommitter(location.store, location.scope)
    : atomicCommitter(location.store, location.scope, source, options.log, options.clock)
}
