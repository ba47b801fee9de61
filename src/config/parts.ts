/**
 * The parts of a pipeline: a `repartition` step ends a part, and the next part begins with its own source. Each part is a
 * pipeline, for code that depends on where positions are stored, what is committed together, and what must be reachable.
 */
import type { Link, Pipeline } from './model.ts'
import { obstacles } from './delivery.ts'

/** The properties that determine the parts. */
export type PartedPipeline = Pick<Pipeline, 'sources' | 'transforms' | 'sinks' | 'delivery' | 'links'>

/** In order; a pipeline without links is its only part. */
export function partsOf<P extends PartedPipeline>(pipeline: P): P[] {
  const { links = [], transforms } = pipeline
  if (links.length === 0) return [pipeline]
  return Array.from({ length: links.length + 1 }, (_, k): P => {
    const before: Link | undefined = links[k - 1]
    const behind: Link | undefined = links[k]
    const own = transforms.slice(before ? before.index + 1 : 0, behind ? behind.index + 1 : transforms.length)
    const names = new Set([...own, ...(before ? [transforms[before.index]] : [])].map(t => t.name))
    const ported = pipeline.sinks.filter(s => s.from?.port !== undefined && names.has(s.from.step))
    const sources = before ? [before.source] : pipeline.sources
    const sinks = behind ? [...ported, behind.sink] : pipeline.sinks.filter(s => s.from?.port === undefined || ported.includes(s))
    // Repartitioned messages are written exactly once if possible, whatever `delivery` of the pipeline is.
    const atomic = behind !== undefined && obstacles(sources, sinks).length === 0
    return {
      ...pipeline,
      links: undefined,
      sources,
      // The state of the `repartition` step belongs to the next part.
      transforms: own.map(t => (t.plugin.link ? { ...t, plugin: { ...t.plugin, stateful: false } } : t)),
      sinks,
      delivery: atomic ? 'exactly_once' : behind ? 'at_least_once' : pipeline.delivery,
    }
  })
}

/** The `repartition` steps. */
export const linkSteps = ({ transforms, links = [] }: Pick<Pipeline, 'transforms' | 'links'>): Pipeline['transforms'] =>
  links.map(({ index }) => transforms[index])

/** The sources of the file and those after links. */
export const allSources = (pipeline: Pipeline): Pipeline['sources'] => [...pipeline.sources, ...(pipeline.links ?? []).map(l => l.source)]
