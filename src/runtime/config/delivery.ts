/**
 * Where outputs and positions can be committed together. `validate` refuses `exactly_once` when there is no such place,
 * and `explain` gives the same reasons edge by edge.
 */
import type { SinkPlugin, SourcePlugin } from '../../plugin.ts'

export interface DeliveryStep<P> {
  readonly name: string
  readonly type: string
  readonly plugin: P
  readonly config: unknown
}

export interface DeliveryObstacle {
  readonly from: string
  readonly to?: string
  readonly reason: string
}

/** Why the pipeline cannot be exactly once: nothing when it can. */
export function obstacles(
  sources: readonly DeliveryStep<SourcePlugin>[],
  sinks: readonly DeliveryStep<SinkPlugin>[],
  dlq: DeliveryStep<SinkPlugin> | undefined,
): DeliveryObstacle[] {
  const out: DeliveryObstacle[] = []
  const ends = dlq ? [...sinks, dlq] : sinks
  for (const source of sources) {
    if (!source.plugin.replayable) {
      out.push({ from: source.name, reason: `${source.name} cannot be read again after a crash (${source.plugin.reason})` })
      continue
    }
    const scope = source.plugin.transactions?.scope(source.config)
    if (scope === undefined) {
      out.push({ from: source.name, reason: `the positions of ${source.name} cannot be committed in one transaction with the output` })
      continue
    }
    for (const sink of ends) {
      const other = sink.plugin.scope?.(sink.config)
      if (other === scope) continue
      const reason =
        other === undefined
          ? `${sink.name} cannot take part in a transaction (${sink.plugin.reason})`
          : `${source.name} and ${sink.name} are not the same system (${scope}, ${other})`
      out.push({ from: source.name, to: sink.name, reason })
    }
  }
  return out
}
