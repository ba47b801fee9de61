/** Composes the frame and the plugin schemas to one schema of a pipeline file, for completion, hover and checks in editors. */
import { FORMATS } from './formats.ts'
import { OWN_KEYWORDS, type Schema } from './schema.ts'
import type { Kind } from './registry.ts'
import { DURATION_PATTERN, SIZE_PATTERN, WINDOW_SIZE_PATTERN } from '../kit/text/units.ts'

export interface DescribedPlugin {
  readonly kind: Kind
  readonly type: string
  readonly schema: Schema
}

/** Any value may be a reference instead; an editor must not underline it. */
const REFERENCE = '\\$\\{'

type Mutable = Record<string, any>

/**
 * Draft-07: the draft with the widest support in YAML language servers.
 * @param complete the plugins include those of the file, so an unknown step name is an error even if the file has `plugins:`
 */
export function composeSchema(frame: Schema, plugins: readonly DescribedPlugin[], complete = false): Schema {
  const defs: Mutable = {}
  for (const [name, def] of Object.entries(frame.$defs ?? {})) defs[name] = editorSchema(def, '')
  for (const p of plugins) {
    const id = `${p.kind}.${p.type}`
    defs[id] = pluginSchema(p, id)
  }
  for (const kind of ['source', 'transform', 'sink'] as const) {
    const own = plugins.filter(p => p.kind === kind)
    for (const section of kind === 'sink' ? ['sink', 'dlq'] : [kind]) defs[section] = stepSchema(defs[section], own)
  }
  const { $defs: _, ...top } = frame
  const composed = editorSchema(top, '') as Mutable
  composed.$schema = 'http://json-schema.org/draft-07/schema#'
  composed.$defs = defs
  composed.patternProperties = { '^x-': { description: 'Ignored, unless something uses it (`use: "#x-name"`).' } }
  // A file with `plugins:` may use names that are unknown here; without it, an unknown name is an error.
  composed.if = { required: ['plugins'], properties: { plugins: { minItems: 1 } } }
  const names = {
    properties: Object.fromEntries(['sources', 'transforms', 'sinks'].map(s => [s, { items: { $ref: `#/$defs/${s.slice(0, -1)}Names` } }])),
  }
  Object.assign(names.properties, { dlq: { $ref: '#/$defs/dlqNames' } })
  if (complete) {
    delete composed.if
    composed.allOf = [names]
  } else composed.else = names
  for (const section of ['source', 'transform', 'sink', 'dlq'])
    defs[`${section}Names`] = { propertyNames: { enum: Object.keys(defs[section].properties) } }
  return composed
}

/** Reuse is resolved before a file is checked, so the schemas of the frame and the plugins do not have these keys. */
const USE: Mutable = {
  use: {
    description:
      'What to use here: `./shared.yaml#name`, a key of that file, or `#x-name`, a key of this file. Keys beside `use` replace those that are used.',
    type: 'string',
    examples: ['./shared.yaml#kafka-eu', '#x-retry'],
  },
  with: { description: 'Values of the parameters of what is used.', type: 'object' },
}

function stepSchema(step: Mutable, plugins: readonly DescribedPlugin[]): Mutable {
  const properties: Mutable = {}
  for (const p of plugins) properties[p.type] = { $ref: `#/$defs/${p.kind}.${p.type}` }
  return { ...step, properties: { ...properties, ...step.properties, ...USE }, minProperties: 1 }
}

function pluginSchema({ schema, type }: DescribedPlugin, id: string): Mutable {
  const { $schema: _, $id: __, shorthand, title: ___, ...rest } = schema as Mutable
  const map = editorSchema(rest, `#/$defs/${id}`) as Mutable
  const { description } = map
  // `stdout:` without a value is an empty map.
  const choices: Mutable[] = [map]
  if (!schema.required?.some(key => schema.properties?.[key]?.default === undefined)) choices.push({ type: 'null' })
  const short = shorthand && map.properties?.[shorthand]
  if (short) choices.push(Array.isArray(short.anyOf) ? short : { ...short })
  const { $defs, definitions, required, ...bare } = map
  bare.properties = { ...bare.properties, ...USE }
  // What is used may have the required keys.
  if (required?.length > 0) bare.allOf = [...(bare.allOf ?? []), { if: { required: ['use'] }, else: { required } }]
  choices[0] = bare
  const inner = { ...($defs ? { $defs } : {}), ...(definitions ? { definitions } : {}) }
  if (choices.length === 1) return { title: type, ...bare, ...inner }
  return { title: type, ...(description ? { description } : {}), anyOf: choices, ...inner }
}

/** Converts formats of the runner to patterns, removes its keywords, adjusts references to `$defs`, and allows text with `${}` everywhere. */
function editorSchema(schema: unknown, base: string): unknown {
  if (Array.isArray(schema)) return schema.map(s => editorSchema(s, base))
  if (typeof schema !== 'object' || schema === null) return schema
  // A step in a branch is a step as all others.
  if ((schema as Mutable).$comment === 'transform') return { $ref: '#/$defs/transform' }
  const out: Mutable = {}
  for (const [key, value] of Object.entries(schema as Mutable)) {
    if (OWN_KEYWORDS.includes(key)) continue
    if (['default', 'examples', 'enum', 'const', 'required'].includes(key)) out[key] = value
    else if (key === '$ref' && typeof value === 'string' && value.startsWith('#/') && base !== '') out[key] = base + value.slice(1)
    else if (['properties', 'patternProperties', '$defs', 'definitions'].includes(key)) {
      out[key] = Object.fromEntries(
        Object.entries(value as Mutable).flatMap(([k, v]) => [
          [k, editorSchema(v, base)],
          ...(key === 'properties' ? oldNames(k, v, base) : []),
        ]),
      )
    } else out[key] = editorSchema(value, base)
  }
  return out.type === undefined ? out : withReferences(out)
}

/** Editors show old names struck through, with the current name. */
const oldNames = (name: string, property: Mutable, base: string): [string, Mutable][] =>
  (property.aliases ?? []).map((alias: string) => {
    const { default: _, examples: __, ...rest } = editorSchema(property, base) as Mutable
    const why = `Old name of \`${name}\`.`
    return [alias, { ...rest, description: why, deprecated: true, deprecationMessage: why }]
  })

const PATTERNS: Readonly<Record<string, string>> = {
  duration: DURATION_PATTERN,
  window_size: WINDOW_SIZE_PATTERN,
  size: SIZE_PATTERN,
  topic: '^[a-zA-Z0-9._-]{1,249}$',
}

function withReferences(schema: Mutable): Mutable {
  const out = { ...schema }
  if (typeof out.format === 'string' && out.format in FORMATS) {
    const pattern = PATTERNS[out.format]
    if (pattern && out.pattern === undefined) {
      out.pattern = `${pattern}|${REFERENCE}`
      out.patternErrorMessage = `must be ${FORMATS[out.format].expected}`
    }
    delete out.format
  } else if (typeof out.pattern === 'string') out.pattern = `(${out.pattern})|${REFERENCE}`
  const types: string[] = Array.isArray(out.type) ? out.type : [out.type]
  const scalar = types.some(t => t === 'number' || t === 'integer' || t === 'boolean') || out.enum !== undefined
  if (!scalar || (types.includes('string') && !out.enum)) return out
  // A number, a boolean or an enum value; or a reference that resolves to one.
  const { description, default: fallback, examples, title, ...rest } = out
  const about: Mutable = {}
  for (const [k, v] of Object.entries({ title, description, default: fallback, examples })) if (v !== undefined) about[k] = v
  return { ...about, anyOf: [rest, { type: 'string', pattern: `^.*${REFERENCE}.*$` }] }
}
