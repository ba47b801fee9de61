/**
 * Computes the delivery guarantee of each pair of source and sink, which `explain` prints.
 */
import type { Guarantee } from '../contract/plugin.ts'
import type { Pipeline, SinkStep, Step } from '../config/model.ts'
import { laneKeyFindings } from '../config/lane-keys.ts'
import { partsOf } from '../config/parts.ts'
import { isDatedByRead, isLeased, isReplayable, reasonOf, redeliveryOf, scopeOf, transactionsOf, variationOf } from '../config/traits.ts'

export interface Pair {
  readonly source: string
  /** Name of the sink or dlq. */
  readonly sink: string
  readonly guarantee: Guarantee
  /** One sentence with the reason. */
  readonly reason: string
  /** How to get a stronger guarantee, if the file allows it. */
  readonly hint?: string
  /** Possible writes of an instance that lost the lane, if no transaction rejects them. */
  readonly fence?: string
  /** Possible late writes of a stalled connection. */
  readonly late?: string
  readonly dlq: boolean
}

/** Strongest first. */
export const ORDER: readonly Guarantee[] = ['exactly_once', 'effectively_once', 'at_least_once', 'at_most_once']

/** The relevant parts of a pipeline, so that checks can use them before a pipeline is built. */
export type Wiring = Pick<Pipeline, 'sources' | 'transforms' | 'sinks' | 'dlq' | 'delivery' | 'links'>

/** Every source with every sink, the dlq last. */
export function guarantees(pipeline: Wiring): Pair[] {
  const conditions = laneKeyFindings(pipeline)
    .map(({ step, by }) => `as long as all records of one \`${by}\` are on one lane (${step} has a result per lane)`)
    .join(', and ')
  const conditional = (p: Pair): Pair =>
    conditions === '' || p.guarantee === 'at_most_once' ? p : { ...p, reason: `${conditions}: ${p.reason}` }
  return pipeline.sources.flatMap(source => [
    ...pipeline.sinks.map(sink => conditional(through(pipeline, source, sink))),
    ...(pipeline.dlq ? [pair(pipeline, source, pipeline.dlq, true)] : []),
  ])
}

/** The weakest guarantee of all parts between source and sink. */
function through(pipeline: Wiring, source: Pipeline['sources'][number], sink: SinkStep): Pair {
  const parts = partsOf(pipeline)
  const last = parts.findIndex(part => part.sinks.includes(sink))
  if (last <= 0) return pair(parts[0], source, sink, false)
  const links = pipeline.links!.slice(0, last)
  const hops = links.map((link, k) => pair(parts[k], k === 0 ? source : parts[k].sources[0], link.sink, false))
  const end = pair(parts[last], parts[last].sources[0], sink, false)
  const least = weakest([end, ...hops])!
  const weak = weakest(hops)!
  const names = links.map(({ index }) => pipeline.transforms[index].name).join(' and ')
  const reason =
    weak.guarantee === 'exactly_once'
      ? `repartitioned exactly once by ${names}; ${end.reason}`
      : `repartitioned ${weak.guarantee.replaceAll('_', ' ')} by ${names} (${weak.reason}); ${end.reason}`
  return { ...end, guarantee: least.guarantee, source: source.name, reason }
}

/** The pair with the weakest guarantee; the first if there are several. */
export function weakest(pairs: readonly Pair[]): Pair | undefined {
  let least: Pair | undefined
  for (const p of pairs) if (!least || ORDER.indexOf(p.guarantee) > ORDER.indexOf(least.guarantee)) least = p
  return least
}

function pair(pipeline: Wiring, source: Pipeline['sources'][number], sink: Step<SinkStep['plugin']>, dlq: boolean): Pair {
  const make = (guarantee: Guarantee, reason: string, hint?: string): Pair => ({
    source: source.name,
    sink: sink.name,
    guarantee,
    reason,
    ...(hint && { hint }),
    ...(guarantee !== 'exactly_once' && isLeased(source) && { fence: `an instance that has lost a lane ${fenceOf(sink)}` }),
    ...lateOf(source, sink, guarantee),
    dlq,
  })
  const repeats = redeliveryOf(sink)
  if (!isReplayable(source)) return make('at_most_once', `${source.type} cannot be read again after a crash: ${reasonOf(source)}`)
  if (repeats === 'ephemeral') return make('at_most_once', `${sink.type} does not store records: ${reasonOf(sink)}`)

  const here = transactionsOf(source, pipeline.sinks)?.scope ?? source.plugin.transactions?.scope(source.config)
  const there = scopeOf(sink)
  const shared = here !== undefined && here === there
  if (pipeline.delivery === 'exactly_once' && shared) {
    return make('exactly_once', `outputs, state and source position are committed in one transaction (${here})`)
  }
  const apart = pipeline.delivery === 'exactly_once' ? whyApart(source, here, sink, there) : undefined
  const hint = shared ? 'delivery: exactly_once is possible here' : undefined
  const repeat = `after a crash between writing and committing, records are written again`
  if (repeats === 'idempotent') {
    return make('effectively_once', sentence(apart, repeat, `which overwrites the first write: ${reasonOf(sink)}`), hint)
  }
  return make(
    'at_least_once',
    sentence(apart, repeat, `which duplicates them: ${reasonOf(sink)}`) + differing(pipeline, source, sink),
    hint,
  )
}

/** The reasons why a sink that recognizes repeats may miss one. */
function differing({ transforms }: Wiring, source: Pipeline['sources'][number], { plugin, config }: Step<SinkStep['plugin']>): string {
  if (plugin.recognizesRepeats?.(config) !== true) return ''
  let datedByRead = isDatedByRead(source)
  const steps: { name: string; why: string }[] = []
  for (const step of transforms) {
    const why = variationOf(step, source, datedByRead)
    if (why !== undefined) steps.push({ name: step.name, why })
    // Window results have the event time of their records.
    if (step.plugin.windowSpan) datedByRead = false
  }
  if (steps.length === 0) return ''
  return `; a repeat with other content has another key; the content can differ because ${steps.map(({ name, why }) => `${name} ${why}`).join(', ')}`
}

const fenceOf = ({ plugin, config }: Step<SinkStep['plugin']>): string =>
  plugin.fence?.(config) ?? 'may finish the write that it has begun; it does not begin another'

function lateOf(
  source: Pipeline['sources'][number],
  { plugin, config }: Step<SinkStep['plugin']>,
  guarantee: Guarantee,
): Pick<Pair, 'late'> {
  // A late write in a transaction is not committed, and at-most-once has no guarantee to weaken.
  const counts = guarantee === 'effectively_once' || guarantee === 'at_least_once'
  const late = counts ? plugin.late?.(config, isLeased(source)) : undefined
  return late === undefined ? {} : { late }
}

const sentence = (apart: string | undefined, ...rest: string[]): string => (apart ? `${apart}; ` : '') + rest.join(', ')

function whyApart(source: Step, here: string | undefined, sink: Step, there: string | undefined): string {
  if (here === undefined) return `${source.type} '${source.name}' has no transaction for its position`
  if (there === undefined) return `${sink.type} '${sink.name}' cannot write into a transaction`
  return `'${source.name}' (${here}) and '${sink.name}' (${there}) are different systems, and no transaction spans both`
}
