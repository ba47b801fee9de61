/**
 * Checks whether outputs and positions can be committed together. If not, `validate` rejects `exactly_once`, and `explain` prints
 * the same reasons per edge.
 */
import type { SinkPlugin, SourcePlugin } from '../contract/plugin.ts'
import { isOneShot, isReplayable, reasonOf, scopeOf, transactionsOf } from './traits.ts'

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

/**
 * The reasons why the pipeline cannot be exactly once; empty if it can. The dlq need not be part of the transaction: a dead letter is
 * written before the commit, so it is never lost. A crash may repeat it, with the same source position in its headers.
 */
export function obstacles(sources: readonly DeliveryStep<SourcePlugin>[], sinks: readonly DeliveryStep<SinkPlugin>[]): DeliveryObstacle[] {
  const out: DeliveryObstacle[] = []
  for (const source of sources) {
    if (!isReplayable(source)) {
      out.push({ from: source.name, reason: `${source.name} cannot be read again after a crash (${reasonOf(source)})` })
      continue
    }
    if (isOneShot(source)) {
      out.push({ from: source.name, reason: `${source.name} stores no position: each run reads everything and writes it again` })
      continue
    }
    if (transactionsOf(source, sinks)) continue
    const here = source.plugin.transactions?.scope(source.config)
    const apart = sinks.filter(sink => here === undefined || scopeOf(sink) !== here)
    for (const sink of apart) {
      const there = scopeOf(sink)
      if (there === undefined)
        out.push({ from: source.name, to: sink.name, reason: `${sink.name} cannot take part in a transaction (${reasonOf(sink)})` })
      else if (here !== undefined)
        out.push({
          from: source.name,
          to: sink.name,
          reason: `${source.name} and ${sink.name} are not the same system (${here}, ${there})`,
        })
    }
    if (here === undefined && !out.some(o => o.from === source.name))
      out.push({ from: source.name, reason: `the positions of ${source.name} cannot be committed in one transaction with the output` })
  }
  return out
}
