/** Walks a value with its schema: converts durations and sizes to numbers, resolves paths, and collects expressions and secrets. */
import { isAbsolute, join } from 'node:path'
import { alternatives, itemSchema, propertySchema, type Schema, views } from './schema.ts'
import type { Path } from './tree.ts'
import { parseDuration, parseSize } from '../kit/text/units.ts'
import { isRecord } from '../kit/values/records.ts'

export interface Marked {
  readonly path: Path
  readonly value: unknown
  readonly schema: Schema
}

export interface Converted {
  /** The config that the plugin receives. */
  readonly value: unknown
  readonly expressions: readonly Marked[]
  readonly secrets: readonly Marked[]
}

/** Values that do not match the schema are not changed. @param base folder of the pipeline file */
export function convert(value: unknown, schema: Schema, root: Schema, base = ''): Converted {
  const expressions: Marked[] = []
  const secrets: Marked[] = []
  const walk = (v: unknown, s: Schema | undefined, path: Path): unknown => {
    const schemas = views(s, v, root)
    // A secret of the wrong type matches no alternative, but must not be shown either.
    if (alternatives(s, root).some(x => x.secret)) secrets.push({ path, value: v, schema: schemas[0] ?? s })
    if (typeof v === 'string') {
      const formatted = schemas.find(x => x.format !== undefined)
      if (formatted?.format === 'duration' || formatted?.format === 'window_size') return parseDuration(v) ?? v
      if (formatted?.format === 'size') return parseSize(v) ?? v
      // Joined, not made absolute: the absolute path on this machine is not part of the pipeline.
      if (formatted?.format === 'path' && v !== '') return isAbsolute(v) ? v : join(base, v)
      if (formatted?.format === 'expression') expressions.push({ path, value: v, schema: formatted })
      return v
    }
    if (Array.isArray(v)) return v.map((item, i) => walk(item, itemSchema(schemas, i), [...path, i]))
    if (isRecord(v)) {
      return Object.fromEntries(Object.entries(v).map(([key, item]) => [key, walk(item, propertySchema(schemas, key), [...path, key])]))
    }
    return v
  }
  return { value: walk(value, schema, []), expressions, secrets }
}
