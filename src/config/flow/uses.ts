/** The fields of its input that a step reads because of its settings. */
import { alternatives, itemSchema, propertySchema, type Schema, views } from '../schema.ts'
import type { Path } from '../tree.ts'
import { isRecord } from '../../kit/values/records.ts'
import { type RecordType, typeAt } from '../../expressions/record-type.ts'

export interface Use {
  /** Path of the setting in the config of the step. */
  readonly path: Path
  /** A field path or an expression. */
  readonly text: string
  readonly kind: 'field' | 'expression'
  /** Position of `text` in a longer setting, such as a template. */
  readonly offset?: number
  /** The value that has the field, if it is not the record. */
  readonly of?: RecordType
  /** The step allows for records without the field. */
  readonly safe?: boolean
  /** The result must be true or false. */
  readonly condition?: boolean
}

type Config = Readonly<Record<string, any>>

/** Settings of built-in plugins whose placeholders are fields. */
const TEMPLATES: Readonly<Record<string, readonly [keys: readonly string[], place: RegExp]>> = {
  'sink redis': [['channel', 'stream', 'list', 'hash', 'sorted_set', 'string'], /<([^<>@][^<>]*)>/g],
  'sink file': [['path'], /\{(?!(?:year|month|day|hour|minute)\})([^{}@][^{}]*)\}/g],
  'sink http': [['url'], /\{([^{}]+)\}/g],
  'sink kafka': [['topic_from'], /^field:(.+)$/g],
}

/** Settings whose steps allow for a missing field. */
const SAFE: readonly RegExp[] = [
  /^map\.drop\./,
  /^window\.aggregates\.[^.]+\.(count|first|last|collect)$/,
  /^reconcile\.fields\./,
  /^postgres\.columns/,
  /^google_sheets\.(columns|numbers)/,
]

/** Undefined: nothing is known of what the step reads. */
export function usesOf(kind: string, type: string, config: Config, schema: Schema, input: RecordType): readonly Use[] {
  const uses: Use[] = []
  const walk = (v: unknown, s: Schema | undefined, path: Path): void => {
    const schemas = views(s, v, schema)
    if (typeof v === 'string') {
      const formatted = [...schemas, ...alternatives(s, schema)].find(x => x.format === 'field' || x.format === 'expression')
      if (!formatted) return
      const name = [type, ...path].join('.')
      if (formatted.format === 'field' && v === '*') return
      uses.push({
        path,
        text: v,
        kind: formatted.format as Use['kind'],
        ...(SAFE.some(s => s.test(name)) && { safe: true }),
        ...(formatted.returns === 'bool' && { condition: true }),
      })
    } else if (Array.isArray(v)) v.forEach((item, i) => walk(item, itemSchema(schemas, i), [...path, i]))
    else if (isRecord(v)) for (const [key, item] of Object.entries(v)) walk(item, propertySchema(schemas, key), [...path, key])
  }
  walk(config, schema, [])
  const [keys, place] = TEMPLATES[`${kind} ${type}`] ?? [[]]
  for (const key of keys)
    if (typeof config[key] === 'string')
      for (const match of (config[key] as string).matchAll(place!))
        uses.push({ path: [key], text: match[1], kind: 'field', offset: match.index + match[0].indexOf(match[1]) })
  return special(kind, type, config, input, uses)
}

/** Settings that read something else than the record, and lists of names that are fields. */
function special(kind: string, type: string, config: Config, input: RecordType, uses: Use[]): readonly Use[] {
  const of = (setting: string, root: RecordType): Use[] => uses.map(use => (use.path[0] === setting ? { ...use, of: root } : use))
  const names = (setting: string): Use[] =>
    (config[setting] as readonly string[]).map((text, i): Use => ({ path: [setting, i], text, kind: 'field', safe: true }))
  if (kind === 'transform' && type === 'group' && config.field !== undefined) {
    const list = typeAt(input, config.field.split('.'))
    return of('key', list.kind === 'list' ? list.items : { kind: 'any' })
  }
  // The two sides have records of their own.
  if (type === 'join') return uses.filter(use => use.path[0] === 'left_when' || use.path[0] === 'time')
  // The table has records of its own.
  if (type === 'join_latest') return uses.filter(use => use.path[0] === 'key' || use.path[0] === 'table')
  if (kind === 'sink' && type === 'postgres' && Array.isArray(config.columns)) return [...uses, ...names('columns')]
  if (kind === 'sink' && type === 'file' && Array.isArray(config.columns)) return [...uses, ...names('columns')]
  if (kind === 'sink' && type === 'google_sheets') return sheet(config, input, uses)
  if (kind === 'transform' && type === 'envelope' && config.unwrap)
    return ['data', 'timestamp', 'producer_service'].map(name => ({ path: ['names', name], text: config.names[name], kind: 'field' }))
  return uses
}

/** With `rows`, the columns are fields of the elements of that list. */
function sheet(config: Config, input: RecordType, uses: readonly Use[]): readonly Use[] {
  if (config.rows === undefined) return uses
  const list = typeAt(input, config.rows.split('.'))
  const row: RecordType = list.kind === 'list' ? list.items : { kind: 'any' }
  return uses.map(use => (['columns', 'key', 'numbers'].includes(String(use.path[0])) ? { ...use, of: row } : use))
}
