/** Describes a checked pipeline as a plain object. Expressions are not read: `run` prints its start line from it without loading their compiler. */
import type { Guarantee } from '../contract/plugin.ts'
import type { Location, Pipeline, SinkStep, Step } from '../config/model.ts'
import { awaitsCommit, isOneShot, isReplayable, survivesGap } from '../config/traits.ts'
import { type Branch, branchesOf, sinksOf, walk } from '../config/route.ts'
import type { Schema } from '../config/schema.ts'
import { describeProxy } from '../kit/http/proxy.ts'
import { formatDuration } from '../kit/values/time.ts'
import { guarantees, ORDER, type Pair, weakest } from './guarantees.ts'
import { readableConfig } from './readable.ts'

export interface StepInfo {
  readonly name: string
  readonly kind: 'source' | 'transform' | 'sink' | 'dlq'
  readonly type: string
  /** Main setting: topics, expression or interval. */
  readonly headline: string
  readonly at: Location
  /** The input of a sink, if it is not the end of the chain: `step`, `step.port`, or branches (`route/branch`). */
  readonly from?: string
  readonly when?: string
  readonly stateful?: boolean
  /** The branch that has the step: `route/branch`. */
  readonly branch?: string
  /** Of a `route`. */
  readonly branches?: readonly Branch[]
  /** Internal topic of a `repartition` step. */
  readonly through?: string
  /** Consumer group of the source, if any. */
  readonly group?: string
  /** Resolved, with defaults; secrets are `***`. */
  readonly config: unknown
  /** Paths in `config` that have their default, such as `retry.max_delay`. */
  readonly defaults: readonly string[]
}

export interface Edge {
  readonly from: string
  readonly to: string
  readonly port?: string
  /** The path of messages that cannot be processed. */
  readonly dead?: boolean
  /** On an edge into a sink: the weakest guarantee over all sources. */
  readonly guarantee?: Guarantee
}

export interface Outline {
  readonly file: string
  readonly name: string
  readonly version: number
  readonly description?: string
  readonly hash: string
  readonly delivery: Pipeline['delivery']
  readonly runtime: Record<string, unknown>
  /** Paths in `runtime` that have their default. */
  readonly defaults: readonly string[]
  readonly steps: readonly StepInfo[]
  readonly edges: readonly Edge[]
  readonly guarantees: readonly Pair[]
  readonly weakest: Pair | undefined
  /** For a stateful pipeline, by source: the state that survives a crash. */
  readonly state: Readonly<Record<string, string>>
  /** By stateful step: its behavior after a gap. */
  readonly gaps: Readonly<Record<string, string>>
  /** By HTTP connection: whether it goes through the proxy of the environment. Only with one. */
  readonly proxies: Readonly<Record<string, string>>
}

export function outlineOf(pipeline: Pipeline): Outline {
  const pairs = guarantees(pipeline)
  const { file, name, version, description, hash, delivery, sources, transforms, sinks, dlq } = pipeline
  return {
    file,
    name,
    version,
    ...(description !== undefined && { description }),
    hash,
    delivery,
    runtime: runtimeOf(pipeline),
    defaults: [...(pipeline.defaults ?? [])],
    steps: [
      ...sources.map(s => stepInfo(s, 'source')),
      ...transforms.map((s, i) => ({ ...stepInfo(s, 'transform'), ...throughOf(pipeline, i) })),
      ...sinks.map(s => ({ ...stepInfo(s, 'sink'), ...fromBranches(s, transforms) })),
      ...(dlq ? [stepInfo(dlq, 'dlq')] : []),
    ],
    edges: edgesOf(pipeline, pairs),
    guarantees: pairs,
    weakest: weakest(pairs),
    state: stateOf(pipeline),
    gaps: gapsOf(pipeline),
    proxies: proxiesOf(pipeline),
  }
}

function stateOf({ sources, transforms, commit_interval }: Pipeline): Record<string, string> {
  if (!transforms.some(t => t.plugin.stateful)) return {}
  const what = (source: Pipeline['sources'][number]): string => {
    if (isOneShot(source)) return 'kept for the run only: each run reads everything again'
    if (isReplayable(source)) return 'saved together with the position: a crash does not lose state'
    return awaitsCommit(source)
      ? 'on disk before the sender receives a response: a crash does not lose acknowledged data'
      : `on disk every commit_interval (${formatDuration(commit_interval)}): a crash loses at most this interval, a graceful stop loses nothing`
  }
  return Object.fromEntries(sources.map(source => [source.name, what(source)]))
}

const ON_GAP: Readonly<Record<string, string>> = {
  stop: 'stops the run (exit 3) before it emits a window with missing records; to continue, set on_gap: mark, withhold or dead_letter',
  mark: 'emits windows with missing records with incomplete: true',
  withhold: 'does not emit windows with missing records; a metric counts them',
  dead_letter: 'sends windows with missing records to the dlq',
}

function proxiesOf({ sources, transforms, sinks, dlq }: Pipeline): Record<string, string> {
  const steps: readonly Step[] = [...sources, ...transforms, ...sinks, ...(dlq ? [dlq] : [])]
  return Object.fromEntries(
    steps.flatMap(({ name, plugin }) =>
      Object.entries((plugin.schema as Schema).proxy ?? {}).flatMap(([connection, use]) => {
        const text = describeProxy(use)
        return text === undefined ? [] : [[`${name}, ${connection}`, text]]
      }),
    ),
  )
}

function gapsOf({ transforms, links = [] }: Pipeline): Record<string, string> {
  const first = links[0]?.index ?? Number.POSITIVE_INFINITY
  const what = (step: Pipeline['transforms'][number], index: number): string => {
    if (step.plugin.survivesGap === true) return 'continues: its output does not depend on the missing records'
    if (index > first) return `stops the run (exit 3): a gap is not reported across ${transforms[first].name}`
    const { on_gap } = (step.config ?? {}) as { on_gap?: string }
    const known = step.foreign || on_gap === undefined ? undefined : ON_GAP[on_gap]
    return known ?? (survivesGap(step) ? 'continues, and takes the gap into account' : 'stops the run (exit 3)')
  }
  const stateful = transforms.flatMap((step, i) => (step.plugin.stateful && !step.plugin.link ? [[step.name, what(step, i)] as const] : []))
  return Object.fromEntries(stateful)
}

/** A sink of branches reads these, not a port. */
function fromBranches({ name, from }: SinkStep, transforms: Pipeline['transforms']): Pick<StepInfo, 'from'> {
  const branches = transforms
    .filter(t => t.name === from?.step)
    .flatMap(t => (branchesOf(t) ?? []).filter(b => sinksOf(b).includes(name)).map(b => `${t.name}/${b.name}`))
  return branches.length > 0 ? { from: branches.join(', ') } : {}
}

function throughOf({ links = [] }: Pipeline, index: number): Pick<StepInfo, 'through'> {
  const link = links.find(l => l.index === index)
  return link ? { through: (link.sink.config as { topic: string }).topic } : {}
}

function runtimeOf({
  commit_interval,
  max_in_flight,
  shutdown_timeout,
  retry,
  limits,
  metrics,
  endpoints = [],
}: Pipeline): Record<string, unknown> {
  return {
    commit_interval: formatDuration(commit_interval),
    max_in_flight,
    shutdown_timeout: formatDuration(shutdown_timeout),
    retry: {
      ...retry,
      initial_delay: formatDuration(retry.initial_delay),
      max_delay: formatDuration(retry.max_delay),
      breaker_reset: formatDuration(retry.breaker_reset),
    },
    ...(limits && { limits }),
    ...(metrics?.enabled && { metrics: `http://${metrics.host}:${metrics.port}/metrics` }),
    ...(endpoints.length > 0 && { endpoints: endpoints.map(e => `http://${e.host}:${e.port}${e.path}`).join(', ') }),
  }
}

function stepInfo(step: Step | SinkStep, kind: StepInfo['kind']): StepInfo {
  const config = readableConfig(step)
  const { group } = (config ?? {}) as { group?: unknown }
  const { from } = step as SinkStep
  return {
    name: step.name,
    kind,
    type: step.type,
    headline: headline(step, config),
    at: step.at,
    ...(from && { from: from.port === undefined ? from.step : `${from.step}.${from.port}` }),
    ...(step.when !== undefined && { when: step.shownWhen ?? step.when }),
    ...(step.branch !== undefined && { branch: step.branch }),
    ...(branchesOf(step) && { branches: (config as { branches: Branch[] }).branches }),
    ...(step.plugin.kind === 'transform' && step.plugin.stateful && { stateful: true }),
    ...(kind === 'source' && typeof group === 'string' && { group }),
    config,
    defaults: [...(step.defaults ?? [])],
  }
}

/** The main setting of a connector is its location; of other plugins, the shorthand key. */
const LOCATION_KEYS = [
  'topics',
  'topic',
  'path',
  'patterns',
  'streams',
  'stream',
  'list',
  'hash',
  'sorted_set',
  'string',
  'channel',
  'url',
  'table',
  'pattern',
]

function headline(step: Step, config: unknown): string {
  const branches = branchesOf(step)
  if (branches) return branches.map(b => b.name).join(', ')
  const values = (typeof config === 'object' && config !== null ? config : {}) as Record<string, unknown>
  const { shorthand } = step.plugin.schema as { shorthand?: string }
  const key = [...(shorthand ? [shorthand] : []), ...LOCATION_KEYS].find(k => values[k] !== undefined && values[k] !== null)
  const value = key && values[key]
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  if (Array.isArray(value) && value.every(v => typeof v === 'string')) return value.join(', ')
  return typeof value === 'object' && value !== null ? Object.keys(value).join(', ') : ''
}

function edgesOf(pipeline: Pipeline, pairs: readonly Pair[]): Edge[] {
  const { sources, transforms, sinks, dlq } = pipeline
  const into = (sink: string): Pick<Edge, 'guarantee'> => {
    const given = pairs.filter(p => p.sink === sink).map(p => ORDER.indexOf(p.guarantee))
    return given.length > 0 ? { guarantee: ORDER[Math.max(...given)] } : {}
  }
  const edges: Edge[] = []
  /** The ends of branches, by step and port. */
  const ends = new Map<string, Origin[]>()
  const last = walk<Pipeline['transforms'][number], readonly Origin[]>(
    transforms,
    sources.map(s => ({ from: s.name })),
    {
      step(step, origins) {
        for (const origin of origins) edges.push({ ...origin, to: step.name })
        return [{ from: step.name }]
      },
      enter: (route, { name }) => [{ from: route.name, port: name }],
      end(route, branch, origins) {
        for (const sink of sinksOf(branch)) {
          const id = `${route.name}.${sink}`
          ends.set(id, [...(ends.get(id) ?? []), ...origins])
        }
      },
      join: arrivals => arrivals.flat(),
    },
  )
  const originsOf = ({ from }: SinkStep): readonly Origin[] => {
    if (!from) return last
    return ends.get(`${from.step}.${from.port}`) ?? [{ from: from.step, ...(from.port !== undefined && { port: from.port }) }]
  }
  for (const sink of sinks) for (const origin of originsOf(sink)) edges.push({ ...origin, to: sink.name, ...into(sink.name) })
  // Any step may reject a message; one edge from the end of the chain shows this.
  if (dlq)
    for (const from of transforms.length > 0 ? [transforms.at(-1)!] : sources)
      edges.push({ from: from.name, to: dlq.name, dead: true, ...into(dlq.name) })
  return edges
}

type Origin = Pick<Edge, 'from' | 'port'>
