/** What decides about delivery may depend on a step's config: one place that asks. */
import type { RedeliveryEffect, SinkPlugin, SourcePlugin } from '../contract/plugin.ts'

interface Configured<P> {
  readonly plugin: P
  readonly config: unknown
}

const ask = <T>(trait: T | ((config: never) => T), config: unknown): T =>
  typeof trait === 'function' ? (trait as (config: unknown) => T)(config) : trait

export const isReplayable = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.replayable, config)
/** Whose transactions the sink's writes can join. */
export const scopeOf = ({ plugin, config }: Configured<SinkPlugin>): string | undefined => plugin.transactions?.scope(config)
export const isOneShot = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.oneShot ?? false, config)
export const redeliveryOf = ({ plugin, config }: Configured<SinkPlugin>): RedeliveryEffect => ask(plugin.onRedelivery, config)
export const reasonOf = ({ plugin, config }: Configured<SourcePlugin | SinkPlugin>): string => ask(plugin.reason, config)

/**
 * Where a source's position and all outputs can be committed together: the source's own place, else one that a sink offers.
 * @returns the plugin's transactions and the config to make them with; undefined: nowhere.
 */
export function transactionsOf(
  source: Configured<SourcePlugin>,
  sinks: readonly Configured<SinkPlugin>[],
): { scope: string; own: boolean; create: NonNullable<SourcePlugin['transactions']>['create']; config: unknown } | undefined {
  const fits = (scope: string): boolean => sinks.every(s => scopeOf(s) === scope)
  const own = source.plugin.transactions
  const here = own?.scope(source.config)
  if (own && here !== undefined && fits(here)) return { scope: here, own: true, create: own.create, config: source.config }
  for (const { plugin, config } of sinks) {
    const { transactions } = plugin
    const scope = transactions?.scope(config)
    if (transactions?.create && scope !== undefined && fits(scope)) return { scope, own: false, create: transactions.create, config }
  }
  return undefined
}
