/** The line with which a pipeline starts: what it reads and writes, from which position, with which guarantee, and where it keeps its state. */
import type { Pipeline } from '../config/model.ts'
import { consumerGroupOf, isOneShot, isReplayable, transactionsOf } from '../config/traits.ts'
import { type Outline, outlineOf, type StepInfo } from '../explain/outline.ts'
import { cut } from '../kit/text/printable.ts'
import { inStateDir } from '../kit/state-dir.ts'
import type { Range } from '../runtime/backfill.ts'
import type { BuiltSource } from '../runtime/build.ts'

export interface Start {
  readonly pipeline: string
  readonly reads: readonly string[]
  readonly writes: readonly string[]
  /** By source. */
  readonly position: Readonly<Record<string, string>>
  readonly guarantee?: string
  readonly state: string
  readonly listens: readonly string[]
}

export interface StartOptions {
  readonly range?: Range
  readonly dryRun?: boolean
  readonly fresh?: boolean
}

/** Characters of the setting of one step: an expression or a query may be long. */
const MAX = 60

/** @param sources of the running pipeline */
export function startOf(pipeline: Pipeline, sources: readonly BuiltSource[], options: StartOptions): Start {
  const whole = outlineOf(pipeline)
  const of = (...kinds: StepInfo['kind'][]): string[] =>
    whole.steps.filter(s => kinds.includes(s.kind)).map(s => cut(`${s.kind === 'dlq' ? 'dlq ' : ''}${s.type} ${s.headline}`.trim(), MAX))
  const idle = options.range !== undefined || options.dryRun === true
  return {
    pipeline: pipeline.name,
    reads: of('source'),
    writes: options.dryRun ? ['standard output'] : of('sink', 'dlq'),
    position: Object.fromEntries(pipeline.sources.map(source => [source.name, positionOf(source, options)])),
    // A backfill and a dry run commit no position.
    ...(!idle && whole.weakest && { guarantee: whole.weakest.guarantee.replaceAll('_', ' ') }),
    state: stateOf(pipeline, sources, idle),
    listens: listensOf(whole),
  }
}

export function startText({ pipeline, reads, writes, position, guarantee, state, listens }: Start): string {
  const positions = Object.entries(position)
  const same = new Set(Object.values(position)).size === 1
  return [
    `${pipeline} started: ${reads.join(', ')} → ${writes.join(', ')}`,
    same ? positions[0][1] : positions.map(([source, text]) => `${source} ${text}`).join(', '),
    guarantee ?? 'no position is committed',
    state,
    ...listens,
  ].join('; ')
}

function positionOf(source: Pipeline['sources'][number], { range, dryRun, fresh }: StartOptions): string {
  if (range?.from !== undefined || range?.to !== undefined) {
    const at = (time: number | undefined): string => (time === undefined ? '' : ` ${new Date(time).toISOString()}`)
    return `${range.from === undefined ? 'from the oldest record' : `from${at(range.from)}`}${range.to === undefined ? '' : ` to${at(range.to)}`}`
  }
  if (isOneShot(source)) return 'from the beginning, in each run'
  if (dryRun) return isReplayable(source) ? 'from the oldest record' : 'from now on'
  if (!isReplayable(source)) return 'from now on'
  const group = consumerGroupOf(source)
  const { start_at } = (source.config ?? {}) as { start_at?: unknown }
  const first = typeof start_at === 'string' ? start_at : 'the beginning'
  if (fresh) return `from ${first} (--fresh)`
  return `from the committed position${group === undefined ? '' : ` of group ${group}`}, or from ${first} if there is none`
}

function stateOf(pipeline: Pipeline, sources: readonly BuiltSource[], idle: boolean): string {
  if (!pipeline.transforms.some(t => t.plugin.stateful)) return 'no state'
  if (idle || pipeline.sources.every(isOneShot)) return 'state in memory for this run'
  const places = sources.map(({ step, keptLocally }) => {
    if (keptLocally) return inStateDir('checkpoints.db')
    const shared = pipeline.delivery === 'exactly_once' ? transactionsOf(step, pipeline.sinks)?.scope : undefined
    return shared ?? step.plugin.transactions?.scope(step.config) ?? `the system of ${step.name}`
  })
  return `state in ${[...new Set(places)].join(' and ')}`
}

function listensOf({ steps, runtime }: Outline): string[] {
  const steady = steps.flatMap(({ name, config }) => {
    const { port, host } = (config ?? {}) as { port?: unknown; host?: unknown }
    return typeof port === 'number' ? [`${name} listens on ${String(host ?? '')}:${port}`] : []
  })
  return [...steady, ...['metrics', 'endpoints'].flatMap(key => (typeof runtime[key] === 'string' ? [`${key} ${runtime[key]}`] : []))]
}
