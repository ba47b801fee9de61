/** Reports why `delivery: exactly_once` is not possible. */
import type { TransformPlugin } from '../contract/plugin.ts'
import { obstacles } from './delivery.ts'
import type { Problems } from './problems.ts'
import type { CheckedStep } from './steps.ts'
import { type MapNode, valueSpan } from './tree.ts'

/** The parts of an invalid pipeline, for delivery checks: other steps can only add obstacles. Not with `repartition`. */
export function soundParts(steps: readonly CheckedStep[], names: ReadonlyMap<CheckedStep, string>): DeliveryPart[] {
  if (steps.some(s => s.kind === 'transform' && (s.plugin as TransformPlugin).link !== undefined)) return []
  const enabled = (section: string): any[] =>
    steps.filter(s => s.enabled && s.path[0] === section).map(s => ({ ...s, name: names.get(s)! }))
  // Only the plugin of an invalid step is known, not its settings. Traits that are functions of the
  // settings are not called: they expect valid settings.
  const known = (s: any): any => {
    if (s.valid) return s
    const { replayable, reason } = s.plugin
    const plugin = {
      ...s.plugin,
      ...(s.path[0] === 'sources' && { transactions: undefined, oneShot: false }),
      ...(typeof replayable === 'function' && { replayable: true }),
      ...(typeof reason === 'function' && { reason: `${s.plugin.type} has no transactions` }),
    }
    return { ...s, plugin }
  }
  const sources = enabled('sources').map(known)
  const sinks = enabled('sinks')
    .filter(s => s.valid || s.plugin.transactions === undefined)
    .map(known)
  return sources.map(s => ({
    sources: [s],
    sinks: s.valid ? sinks : sinks.filter(k => k.plugin.transactions === undefined),
    unsure: !s.valid,
  }))
}

interface DeliveryPart {
  readonly sources: Parameters<typeof obstacles>[0]
  readonly sinks: Parameters<typeof obstacles>[1]
  /** The source is invalid: no problem of the source alone is reported. */
  readonly unsure?: boolean
}

export function checkDelivery(parts: readonly DeliveryPart[], root: MapNode, problems: Problems): void {
  const found = parts.flatMap(part => obstacles(part.sources, part.sinks).filter(o => o.to !== undefined || !part.unsure))
  for (const { from, to, reason } of found) {
    const entry = root.entries.get('delivery')!
    problems.add(
      'CONFIG_DELIVERY',
      valueSpan({ node: entry.value, key: entry.key, partial: false }),
      ['delivery'],
      `exactly_once is not possible for ${to ? `${from} -> ${to}` : from}: ${reason}`,
      'at_least_once',
    )
  }
}
