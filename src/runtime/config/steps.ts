/** One step of a section: which plugin it is, and its config checked by that plugin's own schema. */
import type { Plugin } from '../../plugin.ts'
import { convert } from './convert.ts'
import type { Env } from './env.ts'
import { fill } from './fill.ts'
import { checkExpressions } from './expressions.ts'
import { judge, type Judgement } from './judge.ts'
import type { Problems } from './problems.ts'
import type { Kind, Registry } from './registry.ts'
import { alternatives, deref, hasType, type Schema, typesOf } from './schema.ts'
import { suggest } from './suggest.ts'
import { type Entry, find, formatPath, type MapNode, type Path, type Span, type TreeNode, valueSpan } from './tree.ts'

export interface SectionContext {
  readonly registry: Registry
  readonly env: Env
  readonly base: string
  readonly problems: Problems
}

export interface CheckedStep {
  readonly kind: Kind
  readonly path: Path
  readonly node: MapNode
  readonly enabled: boolean
  readonly type: string
  /** The plugin's key. */
  readonly key: Span
  readonly plugin: Plugin
  readonly config: any
  readonly secrets: readonly string[]
  /** The config has passed everything that the step alone can be checked for. */
  readonly valid: boolean
}

/** Keys of a step that are not a plugin. */
export const COMMON_KEYS: Readonly<Record<Kind | 'dlq', readonly string[]>> = {
  source: ['name', 'enabled'],
  transform: ['name', 'enabled', 'when'],
  sink: ['name', 'enabled', 'when', 'from'],
  dlq: ['name', 'enabled', 'when_off'],
}

export async function checkStep(
  node: TreeNode,
  kind: Kind,
  path: Path,
  enabled: boolean,
  context: SectionContext,
): Promise<CheckedStep | undefined> {
  const { problems, registry } = context
  const common = COMMON_KEYS[path[0] === 'dlq' ? 'dlq' : kind]
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
  const entry = node.entries.get(type)!
  const plugin = (await registry.load(kind, type)) as Plugin
  const misplaced = reportStrangers(node, type, plugin, common, path, context)
  const result = await checkConfig(entry, plugin, [...path, type], enabled, misplaced, context)
  return { kind, path, node, enabled, type, key: entry.key, plugin, ...result }
}

/** The one key that is a plugin of this kind; without one, says which was probably meant. */
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
  const type = elsewhere ?? looksLike ?? others.find(k => node.entries.get(k)!.value.kind === 'map') ?? others[0]
  for (const other of others) {
    if (other === type && !(suggest(other, common) && !suggest(other, names) && others.length === 1)) continue
    problems.add(
      'CONFIG_UNKNOWN_KEY',
      node.entries.get(other)!.key,
      [...path, other],
      `unknown key ${other} in the step; besides the plugin: ${common.join(', ')}`,
      suggest(other, common),
    )
  }
  if (type === undefined || (others.length === 1 && suggest(type, common) && !suggest(type, names) && !elsewhere)) {
    const at = valueSpan({ node, key: undefined, partial: false })
    if (others.length === 0 || type === undefined)
      problems.add('CONFIG_STEP', at, path, `this step has no plugin; ${section} can be ${names.join(', ')}`)
    return undefined
  }
  const at = node.entries.get(type)!.key
  if (elsewhere) {
    const kinds = registry.kindsOf(type)
    problems.add(
      'CONFIG_WRONG_SECTION',
      at,
      [...path, type],
      `${type} is a ${kinds.join(' and a ')}, not a ${kind}; ${section} can be ${names.join(', ')}`,
      suggest(type, names),
    )
  } else
    problems.add(
      'CONFIG_UNKNOWN_PLUGIN',
      at,
      [...path, type],
      `there is no ${kind} ${type}; there are ${names.join(', ')}`,
      suggest(type, names),
    )
  return undefined
}

/** Keys beside the plugin that nobody reads. @returns those that the plugin would have read. */
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
        `a step has one plugin, this one has ${type} already: make ${key} a step of its own`,
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
        `unknown key ${key} in the step; besides the plugin: ${common.join(', ')}`,
        suggest(key, free),
      )
    }
  }
  return misplaced
}

interface CheckedConfig {
  readonly config: any
  readonly secrets: readonly string[]
  readonly valid: boolean
}

async function checkConfig(
  entry: Entry,
  plugin: Plugin,
  path: Path,
  enabled: boolean,
  misplaced: ReadonlySet<string>,
  context: SectionContext,
): Promise<CheckedConfig> {
  const { problems } = context
  const schema = plugin.schema as Schema
  const { node, short } = expandShorthand(entry, schema)
  const unresolved = new Set<string>()
  const filled = fill(node, schema, [], { ...context, root: schema, at: entry.key, unresolved, lenient: !enabled })
  const { value, expressions, secrets } = convert(filled, schema, schema, context.base)
  const place = (p: Path): { path: Path; find: ReturnType<typeof find> } => {
    const found = find(node, p)
    return { path: [...path, ...(short && p[0] === short ? p.slice(1) : p)], find: { ...found, key: found.key ?? entry.key } }
  }
  for (const secret of secrets) {
    const { find: f } = place(secret.path)
    if (!f.partial) problems.mask(f.node.span)
  }
  const before = problems.count
  // A key that stands beside the plugin instead of in it is not missing as well.
  const found = (await judge(filled, schema)).filter(j => j.code !== 'CONFIG_MISSING_KEY' || !misplaced.has(String(j.path[0])))
  report(
    found,
    p => place(p),
    unresolved,
    problems,
    secrets.map(s => formatPath(s.path)),
  )
  maskMisspelt(node, schema, problems)
  await checkExpressions(expressions, p => place(p), unresolved, problems)
  const known = unresolved.size === 0 && misplaced.size === 0
  if (problems.count === before && known) runCheck(plugin, value, place, entry.key, path, problems)
  return { config: value, secrets: secrets.map(s => s.path.join('.')), valid: problems.count === before && known }
}

/** `filter: price > 0` as `filter: {condition: price > 0}`, and nothing at all as an empty map. */
function expandShorthand(entry: Entry, schema: Schema): { node: TreeNode; short?: string } {
  const { value: node, key } = entry
  if (node.kind === 'scalar' && node.value === null && !node.substitution)
    return { node: { kind: 'map', span: { ...key, start: key.end }, entries: new Map(), implicit: true } }
  const short = schema.shorthand
  if (node.kind === 'map' || short === undefined) return { node }
  const options = alternatives(schema.properties?.[short], schema)
  if (node.kind === 'seq' && !options.some(o => typesOf(deref(o, schema)).includes('array') || hasType(o, []))) return { node }
  return { node: { kind: 'map', span: node.span, implicit: true, entries: new Map([[short, { key, value: node }]]) }, short }
}

type Place = (path: Path) => { path: Path; find: ReturnType<typeof find> }

/** Judgements to problems, without those about values that are not known. */
export function report(
  judgements: readonly Judgement[],
  place: Place,
  unresolved: ReadonlySet<string>,
  problems: Problems,
  secrets: readonly string[] = [],
): void {
  for (const j of judgements) {
    const id = formatPath(j.path)
    if (unresolved.has(id) || (j.on === 'parent' && unresolved.has(formatPath(j.path.slice(0, -1))))) continue
    const { path, find: found } = j.on === 'parent' ? { path: place(j.path).path, find: place(j.path.slice(0, -1)).find } : place(j.path)
    const node = found.node
    const hidden =
      j.on === 'value' && (secrets.includes(id) || (node.kind === 'scalar' && node.substitution?.secret === true && !found.partial))
    const span = j.on === 'value' && !found.partial ? valueSpan(found) : (found.key ?? valueSpan(found))
    const origin =
      node.kind === 'scalar' && node.substitution && !found.partial && j.on === 'value' ? ` (from ${node.substitution.template})` : ''
    problems.add(j.code, span, path, `${j.message}${hidden ? '' : (j.shown ?? '')}${origin}`, hidden ? undefined : j.suggestion)
  }
}

/** `sasl_pasword: hunter2` is no secret by its schema, but by what was meant. */
function maskMisspelt(node: TreeNode, schema: Schema, problems: Problems): void {
  if (node.kind !== 'map') return
  const properties = schema.properties ?? {}
  const secret = Object.keys(properties).filter(k => alternatives(properties[k], schema).some(s => s.secret))
  for (const [key, entry] of node.entries) {
    if (!Object.hasOwn(properties, key) && suggest(key, secret) !== undefined) problems.mask(entry.value.span)
  }
}

function runCheck(plugin: Plugin, config: unknown, place: Place, key: Span, path: Path, problems: Problems): void {
  if (!plugin.check) return
  try {
    for (const p of plugin.check(config as never)) {
      const at = place(p.path)
      const span = p.path.length === 0 ? key : at.find.partial ? (at.find.key ?? key) : valueSpan(at.find)
      problems.add('CONFIG_CHECK', span, at.path, p.message, p.suggestion)
    }
  } catch (error) {
    problems.add('CONFIG_CHECK', key, path, `the check of ${plugin.type} failed: ${(error as Error).message}`)
  }
}
