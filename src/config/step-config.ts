/** Checks the config of one step with the schema, the expressions and the `validateConfig` of its plugin. */
import type { ConfigProblem, Plugin } from '../contract/plugin.ts'
import { renameOldKeys } from './aliases.ts'
import { convert } from './convert.ts'
import type { Env } from './env.ts'
import { hiddenTexts, type Outside, rememberSecrets } from './hidden.ts'
import { checkExpressions } from './expressions.ts'
import { fill } from './fill.ts'
import { type Diagnosis, diagnose } from './diagnose.ts'
import { checkNumber } from './numbers.ts'
import type { Problems } from './problems.ts'
import { type Locate, report } from './report.ts'
import { alternatives, deref, hasType, type Schema, typesOf } from './schema.ts'
import { thrownText } from '../kit/plugin-error.ts'
import { suggest } from '../kit/text/suggest.ts'
import { bindVariables } from './variables.ts'
import { type MapEntry, find, formatPath, nearby, type Path, type Span, type TreeNode, valueSpan } from './tree.ts'

export interface ConfigContext {
  readonly env: Env
  readonly base: string
  readonly problems: Problems
}

export interface CheckedConfig {
  readonly config: any
  readonly secrets: readonly string[]
  readonly hidden: Readonly<Record<string, string>>
  readonly defaults: ReadonlySet<string>
  /** The config passed all checks that need only this step. */
  readonly valid: boolean
  /** The config as written, with its short form expanded and its variables inserted. */
  readonly tree: TreeNode
}

/** @param misplaced keys next to the plugin that belong into it, already reported */
export async function checkConfig(
  entry: MapEntry,
  plugin: Plugin,
  path: Path,
  enabled: boolean,
  misplaced: ReadonlySet<string>,
  context: ConfigContext,
): Promise<CheckedConfig> {
  const { problems } = context
  const schema = plugin.schema as Schema
  const { node: written, short } = expandShorthand(entry, schema)
  const { env } = context
  const renamed = renameOldKeys(written, schema, schema, path, problems)
  const node = bindVariables(renamed, schema, path, { root: schema, env, problems, lenient: !enabled })
  const unresolved = new Set<string>()
  const place: Locate = p => {
    const found = find(node, p)
    return { path: [...path, ...(short && p[0] === short ? p.slice(1) : p)], find: { ...found, key: found.key ?? entry.key } }
  }
  const outside: Outside[] = []
  const defaults = new Set<string>()
  const filled = fill(node, schema, [], {
    ...context,
    root: schema,
    at: entry.key,
    unresolved,
    lenient: !enabled,
    defaults,
    onOutside: (text, of, at) => void outside.push({ node: text, schema: of, path: at }),
    onNumber: (number, schemas, at) => checkNumber(number, schemas, place(at).path, problems),
  })
  const { value, expressions, secrets } = convert(filled, schema, schema, context.base)
  const hidden = hiddenTexts(outside, value, secrets, schema)
  rememberSecrets(secrets)
  for (const secret of secrets) {
    const { find: f } = place(secret.path)
    if (!f.partial) problems.mask(f.node.span)
  }
  const before = problems.count
  // A misplaced key is not reported as missing.
  const found = (await diagnose(filled, schema)).filter(j => j.code !== 'CONFIG_MISSING_KEY' || !misplaced.has(String(j.path[0])))
  report(
    found,
    place,
    unresolved,
    problems,
    secrets.map(s => formatPath(s.path)),
  )
  maskMisspelt(node, schema, problems)
  const misread = await checkExpressions(expressions, place, unresolved, problems)
  const wrong = wrongKeys(found, misread, value, schema)
  const shaped = !found.some(j => j.path.length === 0)
  const known = unresolved.size === 0 && misplaced.size === 0
  if (known && shaped) runCheck(plugin, soundPart(value, schema, wrong), wrong, place, entry.key, path, problems)
  return {
    config: value,
    secrets: secrets.map(s => s.path.join('.')),
    hidden,
    defaults,
    valid: problems.count === before && known,
    tree: node,
  }
}

/** Expands `filter: price > 0` to `filter: {condition: price > 0}`, and no value to an empty map. */
function expandShorthand(entry: MapEntry, schema: Schema): { node: TreeNode; short?: string } {
  const { value: node, key } = entry
  if (node.kind === 'scalar' && node.value === null && !node.substitution)
    return { node: { kind: 'map', span: { ...key, start: key.end }, entries: new Map(), implicit: true } }
  const short = schema.shorthand
  if (node.kind === 'map' || short === undefined) return { node }
  const options = alternatives(schema.properties?.[short], schema)
  if (node.kind === 'seq' && !options.some(o => typesOf(deref(o, schema)).includes('array') || hasType(o, []))) return { node }
  return { node: { kind: 'map', span: node.span, implicit: true, entries: new Map([[short, { key, value: node }]]) }, short }
}

/** Masks values of misspelled secret keys, such as `sasl_pasword: hunter2`. */
function maskMisspelt(node: TreeNode, schema: Schema, problems: Problems): void {
  if (node.kind !== 'map') return
  const properties = schema.properties ?? {}
  const secret = Object.keys(properties).filter(k => alternatives(properties[k], schema).some(s => s.secret))
  for (const [key, entry] of node.entries) {
    if (!Object.hasOwn(properties, key) && suggest(key, secret) !== undefined) problems.mask(entry.value.span)
  }
}

/** Keys that already have a problem. */
function wrongKeys(found: readonly Diagnosis[], misread: readonly Path[], value: unknown, schema: Schema): ReadonlySet<string> {
  const paths = [...found.map(j => j.path), ...misread]
  // The suggestion for a misspelled key has a wrong value too.
  const meant = found.filter(j => j.code === 'CONFIG_UNKNOWN_KEY' && j.path.length === 1).map(j => j.suggestion)
  // Required keys without a value.
  const missing = (schema.required ?? []).filter(key => !Object.hasOwn(Object(value), key))
  return new Set([...paths.filter(at => at.length > 0).map(at => String(at[0])), ...meant.filter(key => key !== undefined), ...missing])
}

/** The config without the wrong keys, which have their defaults, if any. */
function soundPart(value: any, schema: Schema, wrong: ReadonlySet<string>): any {
  if (wrong.size === 0 || typeof value !== 'object' || value === null) return value
  const sound = { ...value }
  for (const key of wrong) {
    const fallback = alternatives(schema.properties?.[key], schema).find(s => s.default !== undefined)?.default
    // A default that is a string may contain a number or a variable.
    if (fallback === undefined || typeof fallback === 'string') delete sound[key]
    else sound[key] = fallback
  }
  return sound
}

/** @param wrong keys that already have a problem: problems of the plugin about them may be false */
function runCheck(
  plugin: Plugin,
  config: unknown,
  wrong: ReadonlySet<string>,
  place: Locate,
  key: Span,
  path: Path,
  problems: Problems,
): void {
  if (!plugin.validateConfig) return
  const follows = (p: ConfigProblem): boolean =>
    wrong.size > 0 && (p.path.length === 0 || wrong.has(String(p.path[0])) || [...wrong].some(w => p.message.split(/\W+/).includes(w)))
  try {
    for (const p of plugin.validateConfig(config as never, { dlq: path[0] === 'dlq' })) {
      if (follows(p)) continue
      const at = place(p.path)
      const aside = p.path.length === 0 || at.find.partial
      const here = aside ? nearby(at.find.key ?? key) : p.on === 'key' ? (at.find.key ?? key) : valueSpan(at.find)
      if (!p.source) {
        problems.add('CONFIG_CHECK', here, at.path, p.message, p.suggestion)
        continue
      }
      problems.addElsewhere('CONFIG_CHECK', p.source, here, at.path, p.message, p.suggestion)
    }
  } catch (error) {
    // The check may fail because of values that its schema excludes.
    if (wrong.size > 0) return
    problems.add('CONFIG_CHECK', key, path, `the plugin ${plugin.type} has to be corrected: ${thrownText('validateConfig', error)}`)
  }
}
