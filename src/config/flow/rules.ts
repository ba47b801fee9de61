/** The types of the records that the built-in sources and transforms emit. */
import { readRegular } from '../../kit/read-regular.ts'
import {
  ANY,
  always,
  both,
  type Field,
  listOf,
  objectOf,
  type ObjectType,
  type RecordType,
  readPath,
  scalar,
  typeAt,
  union,
  unsure,
  withField,
} from '../../expressions/record-type.ts'
import { typeOfSchema, typeOfValue, typeOfValues } from './json-schema.ts'

/** The type of the result of an expression over a record. */
export type TypeOf = (text: string, record: RecordType) => RecordType

type Config = Readonly<Record<string, any>>

const TEXT = scalar('string')
const NUMBER = scalar('number')
const nameOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1)
const at = (record: RecordType, path: string): RecordType => typeAt(record, path.split('.'))

/** The records of a source. */
export function sourceType(type: string, config: Config, of: TypeOf): RecordType {
  if (type === 'generate') return generated(config, of)
  if (type === 'postgres') return typeof config.query === 'string' ? selected(config.query) : ANY
  const format: unknown = type === 'file' && config.format === 'auto' ? formatOf(config.path) : config.format
  if (format === 'text' && ['file', 'stdin', 'kafka', 'http'].includes(type)) return TEXT
  // Names of a header line are in the data.
  if (format === 'csv' && Array.isArray(config.columns)) return csvRow(config.columns)
  return ANY
}

const csvRow = (columns: readonly string[]): RecordType => objectOf(columns.map(name => [name, TEXT]))

/** A row of the file of a `lookup_file` step. */
function tableRow({ format, path, columns }: Config): RecordType {
  const csv = (format === 'auto' ? formatOf(path) : format) === 'csv'
  return csv && Array.isArray(columns) ? csvRow(columns) : objectOf([], true)
}

/** By the name of the file, as `formatOf` of the file source: its module has the readers too. */
function formatOf(path: string): string | undefined {
  const [, name] = /\.(csv|tsv|txt|log)(?:\.(?:gz|zst))?$/i.exec(path) ?? []
  return name === undefined ? undefined : /sv$/i.test(name) ? 'csv' : 'text'
}

function generated({ fields }: Config, of: TypeOf): RecordType {
  let record = objectOf([])
  for (const [name, field] of Object.entries(fields as Config)) {
    const [[kind, value]] = Object.entries(field as Config)
    const type =
      kind === 'value' ? typeOfValue(value) : kind === 'choice' ? typeOfValues(value) : kind === 'expression' ? of(value, record) : NUMBER
    record = objectOf([...record.fields, [name, type]])
  }
  return record
}

/** The record of a transform that is not here is unknown. Undefined: the records pass unchanged. */
export function transformType(type: string, config: Config, input: RecordType, of: TypeOf): RecordType | undefined {
  switch (type) {
    case 'dedupe':
    case 'throttle':
    case 'rekey':
    case 'repartition':
    case 'route':
      return undefined
    case 'filter':
      return unsure(input)
    case 'validate':
      return both(input, schemaOf(config))
    case 'map':
      return mapped(config, input, of)
    case 'envelope':
      return enveloped(config, input)
    case 'unnest':
      return unnested(config, input)
    case 'group': {
      const item = config.field === undefined ? input : elementOf(at(input, config.field))
      return objectOf([[config.key_as, of(config.key, item)], ...kept(config.keep, input), [config.as, listOf(item)]])
    }
    case 'window':
      return windowed(config, input, of)
    case 'lookup':
      return joined(config, input, config.many ? listOf(selected(config.query)) : selected(config.query))
    case 'lookup_file':
      return joined(config, input, config.many ? listOf(tableRow(config)) : tableRow(config))
    case 'lookup_redis':
    case 'lookup_http':
      return joined(config, input, config.many ? listOf(ANY) : ANY)
    case 'sql':
      return queried(config, input)
    default:
      return ANY
  }
}

const elementOf = (list: RecordType): RecordType => (list.kind === 'list' ? list.items : ANY)

function kept(paths: readonly string[] = [], input: RecordType): [string, Field][] {
  return paths.map(path => [nameOf(path), always(at(input, path))])
}

/** An object with unknown fields, if nothing is known of it. */
const asObject = (type: RecordType): ObjectType => (type.kind === 'object' ? type : objectOf([], true))

/** The schema of a `validate` step. */
function schemaOf({ schema, schema_file }: Config): RecordType {
  if (schema !== undefined) return typeOfSchema(schema)
  try {
    return typeOfSchema(JSON.parse(readRegular(schema_file).toString()))
  } catch {
    return ANY
  }
}

function mapped({ value, fields, keep, drop = [] }: Config, input: RecordType, of: TypeOf): RecordType {
  if (value !== undefined) return of(value, input)
  let record: RecordType = keep ? asObject(input) : objectOf([])
  for (const path of drop as string[]) record = withField(record, path.split('.'), undefined)
  const set = (shape: Config, above: readonly string[]): void => {
    for (const [name, text] of Object.entries(shape)) {
      const path = [...above, ...name.split('.')]
      if (typeof text === 'string') record = withField(record, path, always(of(text, input)))
      else set(text, path)
    }
  }
  set(fields ?? {}, [])
  return record
}

function enveloped({ unwrap, names, time_format }: Config, input: RecordType): RecordType {
  if (unwrap) return at(input, names.data)
  return objectOf([
    [names.timestamp, time_format === 'iso' ? TEXT : NUMBER],
    [names.producer_service, TEXT],
    [names.data, input],
  ])
}

function unnested({ field, as, keep }: Config, input: RecordType): RecordType {
  const item = elementOf(at(input, field))
  if (as !== undefined) return objectOf([...kept(keep, input), [as, item]])
  if (keep === undefined) return item
  const element = asObject(item)
  return objectOf([...kept(keep, input), ...element.fields], element.open)
}

function windowed({ by, aggregates, on_gap }: Config, input: RecordType, of: TypeOf): RecordType {
  const fields: [string, Field | RecordType][] = [
    ['key', by === undefined ? TEXT : of(by, input)],
    ['start', NUMBER],
    ['end', NUMBER],
  ]
  for (const [name, one] of Object.entries(aggregates as Config)) {
    const [[kind, field]] = Object.entries(one as Record<string, string>)
    const read = field === '*' ? ANY : at(input, field)
    const known = field !== '*' && readPath(input, field.split('.')).how === 'known'
    if (kind === 'count') fields.push([name, NUMBER])
    else if (kind === 'collect') fields.push([name, listOf(ANY)])
    else if (kind === 'first' || kind === 'last') fields.push([name, known ? read : union(read, scalar('null'))])
    else fields.push([name, scalar('number', 'string')])
  }
  if (on_gap === 'mark') fields.push(['incomplete', { type: scalar('boolean'), presence: 'either' }])
  return objectOf(fields)
}

function joined({ as, on_missing }: Config, input: RecordType, row: RecordType): RecordType {
  const type = on_missing === 'null' ? union(row, scalar('null')) : row
  return withField(asObject(input), [as], { type, presence: on_missing === 'pass' ? 'either' : 'always' })
}

function queried({ query, result, as, on_missing }: Config, input: RecordType): RecordType {
  const row = selected(query)
  if (result === 'list') return withField(asObject(input), [as], always(listOf(row)))
  if (as !== undefined) return joined({ as, on_missing }, input, row)
  if (result === 'unnest') return row
  if (on_missing === 'null' || on_missing === 'pass') return ANY
  if (result === 'replace') return row
  const [record, columns] = [asObject(input), asObject(row)]
  return objectOf([...record.fields, ...columns.fields], record.open || columns.open)
}

/** Words that end a list of columns. */
const END = /^(from|where|group|order|limit|union|intersect|except|into|having|window|offset|fetch|for)$/i
const SQL_TOKEN = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[^]*?\*\/|[\w$\u0080-\uffff]+|[^\s]/g

/** The columns of a SELECT, if every name is in its text; their types are unknown. */
export function selected(sql: string): RecordType {
  const tokens = [...sql.matchAll(SQL_TOKEN)].map(m => m[0]).filter(t => !/^(--|\/\*)/.test(t))
  const open = objectOf([], true)
  if (!/^select$/i.test(tokens[0] ?? '')) return open
  const columns: string[][] = [[]]
  let depth = 0
  for (const token of tokens.slice(/^(distinct|all)$/i.test(tokens[1] ?? '') ? 2 : 1)) {
    if (token === '(' || token === '[') depth++
    if (token === ')' || token === ']') depth--
    if (depth === 0 && END.test(token)) break
    if (depth === 0 && token === ',') columns.push([])
    else columns.at(-1)!.push(token)
  }
  // The rows of a second SELECT have the names of the first.
  const names = columns.map(columnName)
  return names.every(name => name !== undefined) ? objectOf(names.map(name => [name, ANY])) : open
}

function columnName(tokens: readonly string[]): string | undefined {
  const last = tokens.at(-1) ?? ''
  const before = tokens.at(-2)
  const name = last.startsWith('"')
    ? last.slice(1, -1).replaceAll('""', '"')
    : /^[a-z_\u0080-\uffff][\w$\u0080-\uffff]*$/i.test(last)
      ? last.toLowerCase()
      : undefined
  if (name === undefined) return undefined
  // A constant has a name of its own.
  if (before === undefined) return /^(null|true|false|current_\w+|local\w+|session_user|user)$/.test(name) ? undefined : name
  return before === '.' || /^as$/i.test(before) ? name : undefined
}
