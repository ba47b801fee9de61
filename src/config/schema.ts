/** The parts of JSON Schema that the config layer reads, for the schema, default and format of a value. ajv checks validity. */
import type { ProxyUse } from '../kit/http/proxy.ts'

/** A JSON Schema with the keywords of the runner. */
export interface Schema {
  readonly $ref?: string
  readonly $defs?: Record<string, Schema>
  readonly definitions?: Record<string, Schema>
  readonly title?: string
  readonly description?: string
  readonly type?: string | readonly string[]
  readonly format?: string
  readonly default?: unknown
  readonly examples?: readonly unknown[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly pattern?: string
  readonly properties?: Record<string, Schema>
  readonly patternProperties?: Record<string, Schema>
  readonly additionalProperties?: boolean | Schema
  readonly required?: readonly string[]
  readonly items?: Schema | readonly Schema[]
  readonly allOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  /** Never print the value. */
  readonly secret?: boolean
  /** The value may be shown even if it is from a variable: a name, a host, a path. `origin`: only scheme, host and port of a URL. */
  readonly public?: boolean | 'origin'
  /** Does not affect outputs: processes that share work may differ in it. */
  readonly tuning?: boolean
  /** Old names of the key, which files may still use; they are read as this key, with a warning. */
  readonly aliases?: readonly string[]
  /** In the root of a plugin schema: the property that a config of one scalar (or list) sets. */
  readonly shorthand?: string
  /** By connection of the plugin: whether it goes through `HTTP_PROXY` and `HTTPS_PROXY`. */
  readonly proxy?: Readonly<Record<string, ProxyUse>>
  /** Numbers keep their decimal value: a number that no double represents is an `ExactNumber`. Without `exact`, it is an error. */
  readonly exact?: boolean
  /** With `format: expression`: the required type of its result. */
  readonly returns?: 'bool'
  readonly [keyword: string]: unknown
}

export const OWN_KEYWORDS = ['secret', 'public', 'tuning', 'shorthand', 'proxy', 'returns', 'aliases', 'exact']

export function deref(schema: Schema, root: Schema): Schema {
  let current = schema
  for (let hops = 0; current.$ref !== undefined && hops < 10; hops++) {
    let target: any = root
    for (const part of current.$ref.replace(/^#\/?/, '').split('/')) {
      if (part !== '') target = target?.[decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')]
    }
    if (target === undefined) break
    const { $ref: _, ...beside } = current
    current = { ...(target as Schema), ...beside }
  }
  return current
}

export function typesOf(schema: Schema): readonly string[] {
  if (schema.type !== undefined) return typeof schema.type === 'string' ? [schema.type] : schema.type
  if (schema.enum) return [...new Set(schema.enum.map(typeName))]
  if (schema.const !== undefined) return [typeName(schema.const)]
  if (schema.properties || schema.required) return ['object']
  return []
}

export const typeName = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value === 'number' && Number.isInteger(value) ? 'integer' : typeof value

export function hasType(schema: Schema, value: unknown): boolean {
  const types = typesOf(schema)
  const name = typeName(value)
  return types.length === 0 || types.includes(name) || (name === 'integer' && types.includes('number'))
}

/** All schemas that apply to this value: the schema, its references, and the alternatives that match the shape of the value. */
export function views(schema: Schema | boolean | undefined, value: unknown, root: Schema, depth = 0): Schema[] {
  if (schema === undefined || typeof schema === 'boolean' || depth > 20) return []
  const self = deref(schema, root)
  const out = [self]
  for (const part of self.allOf ?? []) out.push(...views(part, value, root, depth + 1))
  for (const choice of [self.anyOf, self.oneOf]) {
    if (!choice) continue
    const fitting = choice.filter(c => fits(deref(c, root), value, root))
    // If several have the right type, only the best match of the discriminating keys provides defaults.
    const [best] = fitting.length > 0 ? fitting : []
    if (best) out.push(...views(best, value, root, depth + 1))
  }
  return out
}

function fits(schema: Schema, value: unknown, root: Schema): boolean {
  if (!hasType(schema, value)) return false
  if (schema.const !== undefined) return schema.const === value
  if (schema.enum && typeof value !== 'object') return schema.enum.includes(value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return true
  const object = value as Record<string, unknown>
  if (schema.required?.some(key => !(key in object) && deref(schema.properties?.[key] ?? {}, root).default === undefined)) return false
  return Object.entries(schema.properties ?? {}).every(([key, property]) => {
    const p = deref(property, root)
    return !(key in object) || p.const === undefined || p.const === object[key]
  })
}

/** All alternatives, matching or not: the types that text from a variable may be converted to. */
export function alternatives(schema: Schema | boolean | undefined, root: Schema, depth = 0): Schema[] {
  if (schema === undefined || typeof schema === 'boolean' || depth > 20) return []
  const self = deref(schema, root)
  const inner = [...(self.allOf ?? []), ...(self.anyOf ?? []), ...(self.oneOf ?? [])].flatMap(s => alternatives(s, root, depth + 1))
  return inner.length > 0 && !self.type ? inner : [self, ...inner]
}

/** The schema of one key of a map; undefined if the key is unknown. */
export function propertySchema(schemas: readonly Schema[], key: string): Schema | undefined {
  for (const s of schemas) if (s.properties && Object.hasOwn(s.properties, key)) return s.properties[key]
  for (const s of schemas) {
    for (const [pattern, sub] of Object.entries(s.patternProperties ?? {})) if (new RegExp(pattern, 'u').test(key)) return sub
  }
  for (const s of schemas) if (typeof s.additionalProperties === 'object') return s.additionalProperties
  return undefined
}

export function itemSchema(schemas: readonly Schema[], index: number): Schema | undefined {
  for (const s of schemas) {
    if (Array.isArray(s.items)) return (s.items as readonly Schema[])[index]
    if (s.items) return s.items as Schema
  }
  return undefined
}

/** FNV-1a of the JSON of a schema, to check that generated code matches it. */
export function fingerprint(schema: object): string {
  const text = JSON.stringify(schema)
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return `${(hash >>> 0).toString(16)}-${text.length}`
}
