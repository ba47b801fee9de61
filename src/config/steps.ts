/** Checks one step of a section: its plugin and its common keys. */
import type { Plugin, SourcePlugin } from '../contract/plugin.ts'
import type { Kind, Registry } from './registry.ts'
import type { Schema } from './schema.ts'
import { checkConfig, type CheckedConfig, type ConfigContext } from './step-config.ts'
import { COMMON_KEYS, isEnabled, SECTIONS } from './frame.ts'
import { bareRoute, branchSteps, isRoute, type Within } from './route.ts'
import { traitProblems } from './traits.ts'
import { nameHere, pluginHere } from './other-names.ts'
import { suggest } from '../kit/text/suggest.ts'
import { type MapNode, type Path, type ScalarNode, type Span, type TreeNode, valueSpan } from './tree.ts'

export interface SectionContext extends ConfigContext {
  readonly registry: Registry
}

export interface CheckedStep extends CheckedConfig {
  readonly kind: Kind
  readonly path: Path
  readonly node: MapNode
  readonly enabled: boolean
  readonly type: string
  /** Key of the plugin. */
  readonly key: Span
  readonly plugin: Plugin
  /** The branch that the step is in. */
  readonly within?: Within
}

/** @returns the steps in order, those of branches after their `route`; `known`: every step of the file is one of them */
export async function checkSteps(root: MapNode, context: SectionContext): Promise<{ steps: CheckedStep[]; known: boolean }> {
  const steps: CheckedStep[] = []
  let known = true
  const check = async (item: TreeNode, kind: Kind, path: Path, enabled: boolean, within?: Within): Promise<void> => {
    const checked = await checkStep(item, kind, path, enabled && isEnabled(item, context.env, context.base), context)
    if (!checked) {
      known = false
      return
    }
    const step = within ? { ...checked, within } : checked
    steps.push(step)
    for (const inner of branchSteps(step)) await check(inner.node, kind, inner.path, step.enabled, inner.within)
  }
  for (const [section, kind] of SECTIONS) {
    const node = root.entries.get(section)?.value
    const items: [TreeNode, Path][] =
      section === 'dlq' ? (node ? [[node, [section]]] : []) : node?.kind === 'seq' ? node.items.map((n, i) => [n, [section, i]]) : []
    for (const [item, path] of items) await check(item, kind, path, true)
  }
  return { steps, known }
}

async function checkStep(
  node: TreeNode,
  kind: Kind,
  path: Path,
  enabled: boolean,
  context: SectionContext,
): Promise<CheckedStep | undefined> {
  const { problems, registry } = context
  const common = COMMON_KEYS[path[0] === 'dlq' ? 'dlq' : kind]
  if (node.kind === 'scalar' && node.substitution?.unresolved) return undefined
  if (node.kind !== 'map') {
    const type = node.kind === 'scalar' && typeof node.value === 'string' && registry.has(kind, node.value) ? node.value : undefined
    problems.add(
      'CONFIG_STEP',
      valueSpan({ node, key: undefined, partial: false }),
      path,
      'a step is a map with one plugin key, such as kafka: {…}',
      type && `${type}: {}`,
    )
    return undefined
  }
  const type = choosePlugin(node, kind, common, path, context)
  if (type === undefined) return undefined
  const written = node.entries.get(type)!
  // The steps of branches are checked as steps of their own.
  const entry = isRoute({ kind, type }) ? bareRoute(written) : written
  const plugin = (await registry.load(kind, type)) as Plugin
  const misplaced = reportStrangers(node, type, plugin, common, path, context)
  const result = await checkConfig(entry, plugin, [...path, type], enabled, misplaced, context)
  const unusable = result.valid && registry.loaded.includes(plugin) ? traitProblems(plugin, result.config) : []
  for (const problem of unusable)
    problems.add('CONFIG_CHECK', entry.key, [...path, type], `the plugin ${type} has to be corrected: ${problem}`)
  return { kind, path, node, enabled, type, key: entry.key, plugin, ...result, valid: result.valid && unusable.length === 0 }
}

/** The key that is a plugin of this kind; otherwise reports the most likely key. */
function choosePlugin(
  node: MapNode,
  kind: Kind,
  common: readonly string[],
  path: Path,
  { registry, problems }: SectionContext,
): string | undefined {
  const others = [...node.entries.keys()].filter(k => !common.includes(k))
  const known = others.filter(k => registry.has(kind, k))
  if (known.length > 0) return known[0]
  const section = path[0] === 'dlq' ? 'dlq' : `${kind}s`
  const names = registry.names(kind)
  const elsewhere = others.find(k => registry.kindsOf(k).length > 0)
  const looksLike = others.find(k => suggest(k, names) !== undefined && suggest(k, common) === undefined)
  // The key may be a plugin that could not be loaded, which is reported under `plugins`.
  if (registry.incomplete && !elsewhere && others.length > 0) return undefined
  const type = elsewhere ?? looksLike ?? others.find(k => node.entries.get(k)!.value.kind === 'map') ?? others[0]
  for (const other of others) {
    if (other === type && !(suggest(other, common) && !suggest(other, names) && others.length === 1)) continue
    problems.add(
      'CONFIG_UNKNOWN_KEY',
      node.entries.get(other)!.key,
      [...path, other],
      `unknown key ${other} in the step; besides the plugin key, allowed are ${common.join(', ')}`,
      suggest(other, common),
    )
  }
  if (type === undefined || (others.length === 1 && suggest(type, common) && !suggest(type, names) && !elsewhere)) {
    const at = valueSpan({ node, key: undefined, partial: false })
    if (others.length === 0 || type === undefined)
      problems.add('CONFIG_STEP', at, path, `this step has no plugin key; plugins for ${section} are ${names.join(', ')}`)
    return undefined
  }
  const at = node.entries.get(type)!.key
  if (elsewhere) {
    const kinds = registry.kindsOf(type)
    problems.add(
      'CONFIG_WRONG_SECTION',
      at,
      [...path, type],
      `${type} is a ${kinds.join(' and a ')}, not a ${kind}; plugins for ${section} are ${names.join(', ')}`,
      suggest(type, names),
    )
  } else if (['type', 'plugin', 'uses', 'connector'].includes(type) && node.entries.get(type)!.value.kind === 'scalar') {
    const plugin = String((node.entries.get(type)!.value as ScalarNode).value)
    const example = names.includes(plugin) ? plugin : suggest(plugin, names)
    problems.add(
      'CONFIG_UNKNOWN_PLUGIN',
      at,
      [...path, type],
      `there is no ${kind} ${type}: the key of a step is its plugin, and the settings are below it`,
      example && `${example}: { … }`,
    )
  } else
    problems.add(
      'CONFIG_UNKNOWN_PLUGIN',
      at,
      [...path, type],
      `there is no ${kind} ${type}; the available ones are ${names.join(', ')}`,
      pluginHere(type, names) ?? suggest(type, names),
    )
  return undefined
}

/** Reports unknown keys next to the plugin key. @returns those that belong into the plugin */
function reportStrangers(
  node: MapNode,
  type: string,
  plugin: Plugin,
  common: readonly string[],
  path: Path,
  { registry, problems }: SectionContext,
): ReadonlySet<string> {
  const misplaced = new Set<string>()
  const properties = (plugin.schema as Schema).properties ?? {}
  for (const [key, entry] of node.entries) {
    if (key === type || common.includes(key)) continue
    if (registry.kindsOf(key).length > 0 && !Object.hasOwn(properties, key)) {
      problems.add(
        'CONFIG_STEP',
        entry.key,
        [...path, key],
        `a step has exactly one plugin, and this step has ${type} already: make ${key} a separate step`,
      )
    } else if (Object.hasOwn(properties, key)) {
      misplaced.add(key)
      problems.add('CONFIG_UNKNOWN_KEY', entry.key, [...path, key], `${key} belongs to ${type}: indent it below ${type}`)
    } else {
      const free = common.filter(k => !node.entries.has(k))
      problems.add(
        'CONFIG_UNKNOWN_KEY',
        entry.key,
        [...path, key],
        `unknown key ${key} in the step; besides the plugin key, allowed are ${common.join(', ')}`,
        nameHere(key, free) ?? suggest(key, free),
      )
    }
  }
  return misplaced
}

/** Steps that show what is in the records that they emit. */
const TYPED = [
  'generate',
  'postgres',
  'schedule',
  'validate',
  'map',
  'window',
  'group',
  'join',
  'join_latest',
  'envelope',
  'unnest',
  'lookup',
  'lookup_file',
  'lookup_http',
  'lookup_redis',
  'sql',
]

/** Without such a step, nothing is known, and no code is loaded to check it. */
export const isTyped = ({ type, plugin, node, config }: CheckedStep): boolean =>
  TYPED.includes(type) ||
  (type === 'file' && /\.[ct]sv$/i.test(String((config as { path?: unknown } | undefined)?.path))) ||
  node.entries.has('samples') ||
  (plugin as SourcePlugin).outputSchema !== undefined ||
  (config as { columns?: unknown } | undefined)?.columns !== undefined
