/** A schema as a list of keys, for the reference pages and `runner list`. */
import { alternatives, deref, type Schema, typesOf } from './schema.ts'

export interface KeyDescription {
  /** `fields.price`, `steps[].name`, `columns.<name>`. */
  readonly key: string
  readonly type: string
  readonly required: boolean
  readonly default?: unknown
  readonly text: string
}

export function describeKeys(schema: Schema, root: Schema = schema, prefix = '', depth = 0): KeyDescription[] {
  const rows: KeyDescription[] = []
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    const p = deref(property, root)
    const required = schema.required?.includes(key) === true && p.default === undefined
    rows.push({
      key: prefix + key,
      type: typeText(p, root),
      required,
      ...(p.default === undefined ? {} : { default: p.default }),
      text: meaning(p),
    })
    if (depth > 3) continue
    for (const choice of alternatives(p, root)) {
      rows.push(...describeKeys(choice, root, `${prefix}${key}.`, depth + 1))
      for (const item of itemsOf(choice, root)) rows.push(...describeKeys(item, root, `${prefix}${key}[].`, depth + 1))
      if (typeof choice.additionalProperties === 'object') {
        for (const item of alternatives(choice.additionalProperties, root))
          rows.push(...describeKeys(item, root, `${prefix}${key}.<name>.`, depth + 1))
      }
    }
  }
  const seen = new Set<string>()
  return rows.filter(r => !seen.has(r.key) && seen.add(r.key))
}

/** One key: its type, its default and its description, with code in backticks. */
export function describeKey(schema: Schema, root: Schema): { readonly type: string; readonly text: string; readonly fallback?: string } {
  const p = deref(schema, root)
  return { type: typeText(p, root), text: meaning(p), ...(p.default !== undefined && { fallback: code(p.default) }) }
}

/** The description and limits of a key; code is in backticks. */
function meaning(p: Schema): string {
  const limits = [
    p.minimum === undefined ? '' : `at least ${p.minimum as number}`,
    p.maximum === undefined ? '' : `at most ${p.maximum as number}`,
  ]
    .filter(Boolean)
    .join(', ')
  const parts = [p.description ?? '']
  if (p.secret) parts.push('Secret: never printed.')
  if (limits) parts.push(`${limits[0].toUpperCase()}${limits.slice(1)}.`)
  if (p.aliases) parts.push(`Old name: ${p.aliases.map(code).join(', ')}.`)
  if (p.examples && p.examples.length > 0) parts.push(`For example ${p.examples.map(code).join(', ')}.`)
  // Another sentence follows: authors of plugins may leave the period out.
  if (parts.length > 1) parts[0] = parts[0].replace(/(?<=[\p{L}\p{N})`])$/u, '.')
  return parts.join(' ').trim()
}

const NAMES: Record<string, string> = { object: 'map', array: 'list', null: 'empty' }

function typeText(schema: Schema, root: Schema): string {
  const words = alternatives(schema, root).flatMap(s => {
    if (s.enum) return s.enum.map(code)
    if (s.const !== undefined) return [code(s.const)]
    if (s.format) return [s.format.replaceAll('_', ' ')]
    const [items] = itemsOf(s, root)
    return typesOf(s).map(t => (NAMES[t] ?? t) + (t === 'array' && items ? ` of ${typeText(items, root)}` : ''))
  })
  return [...new Set(words)].join(', ') || 'any'
}

const itemsOf = (s: Schema, root: Schema): Schema[] => (s.items && !Array.isArray(s.items) ? alternatives(s.items as Schema, root) : [])

export const code = (value: unknown): string => `\`${typeof value === 'string' && value !== '' ? value : JSON.stringify(value)}\``

export const firstSentence = (text: string): string => /^.*?[.:](?=\s|$)/s.exec(text)?.[0].replace(/[.:]$/, '') ?? text
