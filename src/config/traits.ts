/** Reads the traits of plugins that define delivery and may depend on the config of a step. */
import type { Lanes, Plugin, RedeliveryEffect, SinkPlugin, SourcePlugin, TransformPlugin } from '../contract/plugin.ts'
import { thrownText } from '../kit/plugin-error.ts'
import { show } from '../kit/values/fields.ts'

interface Configured<P> {
  readonly plugin: P
  readonly config: unknown
}

const ask = <T>(trait: T | ((config: never) => T), config: unknown): T =>
  typeof trait === 'function' ? (trait as (config: unknown) => T)(config) : trait

export const isReplayable = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.replayable, config)
/** Undefined: the plugin does not declare it. */
export const lanesOf = ({ plugin, config }: Configured<any>): Lanes | undefined => ask((plugin as SourcePlugin).lanes, config)
/** An expression; undefined: each record is independent. */
export const groupingOf = ({ plugin, config }: Configured<any>): string | undefined => (plugin as TransformPlugin).groupsBy?.(config)
/** Undefined: the step has the same output for the same records. @param datedByRead its messages have the time of reading */
export function variationOf(
  step: Configured<any> & { readonly foreign?: boolean; readonly when?: string },
  source: Configured<SourcePlugin>,
  datedByRead: boolean,
): string | undefined {
  const { varies } = step.plugin as TransformPlugin
  if (varies === undefined && step.foreign) return 'is a plugin that does not declare `varies: false`'
  // A file that is not followed ends.
  const endless = !isOneShot(source) && (source.config as { follow?: boolean } | null | undefined)?.follow !== false
  const own = typeof varies === 'function' ? varies(step.config, { endless, datedByRead }) : varies
  if (own) return own
  return datedByRead && readsTime([step.config, step.when]) ? 'uses meta.time, which is the time of reading' : undefined
}

export const isDatedByRead = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.datedByRead ?? false, config)
const readsTime = (config: unknown): boolean => /\bmeta\s*\.\s*\??time\b|\bmeta\s*\[\s*\\?["']time/.test(JSON.stringify(config) ?? '')

/** The system whose transactions the writes of the sink can join. */
export const scopeOf = ({ plugin, config }: Configured<SinkPlugin>): string | undefined => plugin.transactions?.scope(config)
export const isOneShot = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.oneShot ?? false, config)
export const awaitsCommit = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.awaitsCommit ?? false, config)
export const sharesWork = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.shares ?? false, config)
export const isRanged = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.ranged ?? false, config)
export const isLeased = ({ plugin, config }: Configured<SourcePlugin>): boolean => ask(plugin.leased ?? false, config)
export const survivesGap = ({ plugin, config }: Configured<TransformPlugin>): boolean => ask(plugin.survivesGap ?? false, config)
export const readsValue = ({ plugin, config }: Configured<SinkPlugin>): boolean => ask(plugin.readsValue ?? true, config)
/** Undefined: the source has no consumer group, or the file does not name it. */
export const consumerGroupOf = ({ config }: Configured<any>): string | undefined => (config as { group?: string } | null | undefined)?.group
export const redeliveryOf = ({ plugin, config }: Configured<SinkPlugin>): RedeliveryEffect => ask(plugin.onRedelivery, config)
export const reasonOf = ({ plugin, config }: Configured<SourcePlugin | SinkPlugin>): string => ask(plugin.reason, config)

/**
 * The transactions in which the position of a source and all outputs can be committed together: those of the source, otherwise those of
 * a sink. @returns the transactions of the plugin and the config to create them; undefined: none
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

type Rule = readonly [name: string, kind: 'value' | 'method', expected: string, fits: (answer: unknown) => boolean]

const optional = (type: string) => (answer: unknown) => answer === undefined || typeof answer === type
const REPLAYABLE: Rule = ['replayable', 'value', 'true or false', x => typeof x === 'boolean']
const REASON: Rule = ['reason', 'value', 'a string', x => typeof x === 'string']
const READS: Rule = ['readsValue', 'value', 'true or false', optional('boolean')]
const EFFECTS: readonly unknown[] = ['idempotent', 'appends', 'ephemeral'] satisfies RedeliveryEffect[]

/** `value`: may be a function of the config; `method`: must be a function, if present. */
const RULES: Readonly<Record<Plugin['kind'], readonly Rule[]>> = {
  source: [
    REPLAYABLE,
    REASON,
    ['ranged', 'value', 'true or false', optional('boolean')],
    ['lanes', 'value', 'one, by_key or many', x => x === undefined || ['one', 'by_key', 'many'].includes(x as string)],
    ['awaitsCommit', 'value', 'true or false', optional('boolean')],
    ['shares', 'value', 'true or false', optional('boolean')],
  ],
  transform: [
    ['groupsBy', 'method', 'an expression, or undefined', optional('string')],
    ['ports', 'method', 'a list of names', x => Array.isArray(x) && x.every(name => typeof name === 'string')],
    ['windowSpan', 'method', 'a number of milliseconds', x => Number.isFinite(x) && (x as number) >= 0],
    READS,
  ],
  sink: [
    ['onRedelivery', 'value', EFFECTS.join(', '), x => EFFECTS.includes(x)],
    REASON,
    READS,
    ['scope', 'method', 'a string, or undefined', optional('string')],
    ['preview', 'method', 'a function of a message', x => typeof x === 'function'],
  ],
}

/**
 * Checks the trait values of a plugin for a config when the file is checked: later, an invalid value would end a running command or
 * cause a wrong guarantee. Plugins in JavaScript have no type check.
 */
export function traitProblems(plugin: Plugin, config: unknown): string[] {
  return RULES[plugin.kind].flatMap(([name, kind, expected, fits]) => {
    const trait = (plugin as unknown as Record<string, unknown>)[name]
    if (typeof trait === 'function') {
      try {
        const answer: unknown = trait.call(plugin, config)
        return fits(answer) ? [] : [`${name} returned ${show(answer)}: it must be ${expected}`]
      } catch (error) {
        return [thrownText(name, error)]
      }
    }
    if (kind === 'method') return trait === undefined ? [] : [`${name} is ${show(trait)}: it must be a function of the config`]
    return fits(trait) ? [] : [`${name} is ${show(trait)}: it must be ${expected}`]
  })
}
