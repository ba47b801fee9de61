/** The resolved config of a step as written in a file: durations and sizes with units, secrets as `***`, and text from variables as templates. */
import { itemSchema, propertySchema, type Schema, views } from '../config/schema.ts'
import type { Step } from '../config/model.ts'
import { isRecord } from '../kit/values/records.ts'
import { MASK, maskUrl, redact } from '../kit/text/secrets.ts'
import { formatDuration } from '../kit/values/time.ts'

export function readableConfig(step: Step): unknown {
  const root = step.plugin.schema as Schema
  const secrets = new Set(step.secrets)
  const walk = (value: unknown, schema: Schema | undefined, path: string): unknown => {
    // An unset secret is shown.
    if (secrets.has(path)) return value === undefined || value === null || value === '' ? value : MASK
    if (typeof value === 'string') return redact(maskUrl(step.hidden?.[path] ?? value))
    const schemas = views(schema, value, root)
    if (typeof value === 'number') return withUnit(value, schema, root)
    if (Array.isArray(value)) return value.map((item, i) => walk(item, itemSchema(schemas, i), join(path, String(i))))
    if (isRecord(value)) {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, walk(v, propertySchema(schemas, k), join(path, k))]))
    }
    return value
  }
  return walk(step.config, root, '')
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`)

/** Adds the unit to a number of the config: the schema for strings such as `10s` has the format. */
function withUnit(value: number, schema: Schema | undefined, root: Schema): unknown {
  const format = views(schema, 'text', root).find(s => s.format !== undefined)?.format
  if (format === 'duration' || format === 'window_size') return formatDuration(value)
  return format === 'size' ? formatSize(value) : value
}

const SIZES = [
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
  ['GB', 1e9],
  ['MB', 1e6],
  ['KB', 1e3],
] as const

export function formatSize(bytes: number): string {
  for (const [unit, size] of SIZES) if (bytes !== 0 && bytes % size === 0) return `${bytes / size}${unit}`
  return `${bytes}B`
}
