/** Record types from JSON Schemas and from sample values, and back. */
import { isRecord } from '../../kit/values/records.ts'
import { ExactNumber } from '../../contract/plugin.ts'
import {
  ANY,
  both,
  type Field,
  listOf,
  objectOf,
  type RecordType,
  type ScalarName,
  scalar,
  union,
  unionOf,
} from '../../expressions/record-type.ts'

const SCALARS: Readonly<Record<string, ScalarName>> = {
  string: 'string',
  number: 'number',
  integer: 'number',
  boolean: 'boolean',
  null: 'null',
}

/** What a schema guarantees of the values that match it. A keyword that is not understood here guarantees nothing. */
export function typeOfSchema(schema: unknown, root: unknown = schema, depth = 0): RecordType {
  if (!isRecord(schema) || depth > 30) return ANY
  if (typeof schema.$ref === 'string') return typeOfSchema(local(schema.$ref, root), root, depth + 1)
  const parts = [own(schema, root, depth)]
  for (const part of list(schema.allOf)) parts.push(typeOfSchema(part, root, depth + 1))
  for (const choice of [schema.anyOf, schema.oneOf])
    if (Array.isArray(choice)) parts.push(unionOf(choice.map(c => typeOfSchema(c, root, depth + 1))))
  return parts.reduce(both)
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

/** Only references inside of the document. */
function local(ref: string, root: unknown): unknown {
  if (!/^#(\/|$)/.test(ref)) return undefined
  let at = root
  for (const part of ref.slice(2).split('/').filter(Boolean)) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
    at = isRecord(at) || Array.isArray(at) ? (at as Record<string, unknown>)[name] : undefined
  }
  return at
}

function own(schema: Record<string, unknown>, root: unknown, depth: number): RecordType {
  const { type, properties, required, items, enum: values } = schema
  if ('const' in schema) return typeOfValue(schema.const)
  if (Array.isArray(values)) return unionOf(values.map(typeOfValue))
  const types = typeof type === 'string' ? [type] : list(type).map(String)
  if (types.length > 0 && types.every(t => t in SCALARS)) return scalar(...new Set(types.map(t => SCALARS[t])))
  if (types.length > 1) return ANY
  if (types[0] === 'array') return listOf(isRecord(items) ? typeOfSchema(items, root, depth + 1) : ANY)
  if (types[0] !== 'object' && !properties && !required) return ANY
  const needed = new Set(list(required).map(String))
  const fields = new Map<string, Field>()
  const given = isRecord(properties) ? properties : {}
  for (const [name, property] of Object.entries(given))
    if (property !== false)
      fields.set(name, { type: typeOfSchema(property, root, depth + 1), presence: needed.has(name) ? 'always' : 'maybe' })
  for (const name of needed) if (!fields.has(name)) fields.set(name, { type: ANY, presence: 'always' })
  return objectOf(fields, schema.additionalProperties !== false || schema.patternProperties !== undefined)
}

/** The type of one value. */
export function typeOfValue(value: unknown): RecordType {
  if (value === null) return scalar('null')
  if (typeof value === 'string') return scalar('string')
  if (typeof value === 'boolean') return scalar('boolean')
  if (typeof value === 'number' || value instanceof ExactNumber) return scalar('number')
  if (Array.isArray(value)) return listOf(typeOfValues(value))
  return isRecord(value) ? objectOf(Object.entries(value).map(([name, v]) => [name, typeOfValue(v)])) : ANY
}

/** A field that some of the values lack may be missing. */
export const typeOfValues = (values: readonly unknown[]): RecordType =>
  values.length === 0 ? ANY : values.map(typeOfValue).reduce((a, b) => union(a, b, 'maybe'))

/** The JSON Schema of a type. */
export function schemaOfType(type: RecordType): Record<string, unknown> {
  if (type.kind === 'any') return {}
  if (type.kind === 'scalar') return { type: type.of.length === 1 ? type.of[0] : [...type.of] }
  if (type.kind === 'list') return { type: 'array', items: schemaOfType(type.items) }
  const required = [...type.fields].filter(([, f]) => f.presence === 'always').map(([name]) => name)
  return {
    type: 'object',
    properties: Object.fromEntries([...type.fields].map(([name, f]) => [name, schemaOfType(f.type)])),
    ...(required.length > 0 && { required }),
    ...(type.open ? {} : { additionalProperties: false }),
  }
}
