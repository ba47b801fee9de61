/**
 * Converts a tree to a plain value with its schema: text from variables is converted to the expected type, and defaults are added.
 * Literals in the file are never converted: `port: "8000"` stays a string and is then rejected.
 */
import { type Env, resolveTree } from './env.ts'
import { exactNumber } from './numbers.ts'
import { Problems } from './problems.ts'
import { alternatives, hasType, itemSchema, propertySchema, type Schema, typesOf, views } from './schema.ts'
import { formatPath, type Path, type ScalarNode, type Span, type TreeNode, toValue } from './tree.ts'

export interface FillContext {
  readonly root: Schema
  readonly env: Env
  readonly base: string
  readonly problems: Problems
  /** Position for problems of defaults: the key whose config does not set them. */
  readonly at: Span
  /** Paths whose value is unknown because a variable is missing: no further problems are reported for them. */
  readonly unresolved: Set<string>
  /** Disabled: missing variables of defaults are allowed. */
  readonly lenient: boolean
  /** Called with each text that contains a value from a variable or a file. */
  readonly onOutside?: (node: ScalarNode, schema: Schema | undefined, path: Path) => void
  /** Called with each number in the file and the schemas of its key, unless a schema has `exact`. */
  readonly onNumber?: (node: ScalarNode, schemas: readonly Schema[], path: Path) => void
  /** Collects the paths of keys that have their default, unless a variable decided it. */
  readonly defaults?: Set<string>
}

export function fill(node: TreeNode, schema: Schema | undefined, path: Path, context: FillContext, exact = false): unknown {
  if (node.kind === 'scalar') {
    if (node.substitution?.unresolved) context.unresolved.add(formatPath(path))
    if (node.substitution?.outside) context.onOutside?.(node, schema, path)
    if (typeof node.value === 'number') {
      if (exact) return exactNumber(node)
      context.onNumber?.(node, alternatives(schema, context.root), path)
    }
    return node.substitution && typeof node.value === 'string' ? convertText(node.value, schema, context.root) : node.value
  }
  // The plain value selects the alternatives; its text need not be converted.
  const schemas = views(schema, toValue(node), context.root)
  const keep = exact || schemas.some(s => s.exact)
  if (node.kind === 'seq') {
    const shown = schemas.find(s => s.public !== undefined)
    return node.items.map((item, i) => {
      const inner = itemSchema(schemas, i)
      return fill(item, shown ? { public: shown.public, ...inner } : inner, [...path, i], context, keep)
    })
  }
  const out: Record<string, unknown> = {}
  for (const [key, entry] of node.entries) out[key] = fill(entry.value, propertySchema(schemas, key), [...path, key], context, keep)
  for (const s of schemas) {
    for (const [key, property] of Object.entries(s.properties ?? {})) {
      if (Object.hasOwn(out, key)) continue
      const found = views(property, undefined, context.root).find(v => v.default !== undefined)
      if (found) out[key] = fillDefault(key, found.default, property, [...path, key], context)
    }
  }
  return out
}

function fillDefault(key: string, value: unknown, schema: Schema, path: Path, context: FillContext): unknown {
  const own = new Problems()
  const node = resolveTree(fromJson(value, context.at), path, context.env, context.base, own, context.lenient)
  if (node.kind !== 'scalar' || !node.substitution?.outside) context.defaults?.add(formatPath(path))
  for (const p of own.list())
    context.problems.add(p.code as 'CONFIG_ENV_MISSING', context.at, path, `${p.message}; the default of ${key} needs it`, p.suggestion)
  return fill(node, schema, path, context)
}

/** A JSON value as a tree whose nodes all have one position. */
export function fromJson(value: unknown, span: Span): TreeNode {
  if (Array.isArray(value)) return { kind: 'seq', span, items: value.map(v => fromJson(v, span)) }
  if (typeof value === 'object' && value !== null) {
    return {
      kind: 'map',
      span,
      implicit: true,
      entries: new Map(Object.entries(value).map(([k, v]) => [k, { key: span, value: fromJson(v, span) }])),
    }
  }
  return { kind: 'scalar', span, value: value as string, style: 'plain' }
}

/** Boolean notations in variables. */
const BOOLEANS: Record<string, boolean> = { true: true, false: false, '1': true, '0': false, yes: true, no: false, on: true, off: false }

function convertText(text: string, schema: Schema | undefined, root: Schema): unknown {
  const options = alternatives(schema, root)
  if (options.length === 0 || options.some(o => hasType(o, text) && (!o.enum || o.enum.includes(text)))) return text
  const types = new Set(options.flatMap(typesOf))
  const trimmed = text.trim()
  if (
    (types.has('number') || types.has('integer')) &&
    /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(trimmed) &&
    Number.isFinite(Number(trimmed))
  ) {
    return Number(trimmed)
  }
  if (types.has('boolean') && Object.hasOwn(BOOLEANS, trimmed.toLowerCase())) return BOOLEANS[trimmed.toLowerCase()]
  return text
}
