/**
 * Converts messages to rows of a table. The original bytes of the messages are sent as one JSON text, and PostgreSQL converts them to the
 * types of the columns: a number in a body reaches a numeric column digit by digit, without conversion to a float.
 */
import { compileObject } from '../../expressions/index.ts'
import { type ConfigProblem, DataError, encodeJson, type Message } from '../../contract/plugin.ts'
import { getter, show } from '../../kit/values/fields.ts'
import { isRecord } from '../../kit/values/records.ts'
import { type Param, quoteName, quoteTable } from '../../kit/postgres/driver.ts'
import type { Command } from './write.ts'

export interface TableConfig {
  readonly table?: string
  readonly columns?: readonly string[] | Readonly<Record<string, string>>
  readonly key?: readonly string[]
  readonly on_conflict: 'update' | 'nothing'
}

interface Column {
  readonly name: string
  /** From a field in the body; the server reads it. */
  readonly path?: readonly string[]
  /** Computed by the runner. */
  readonly expression?: string
}

/** json_build_object takes 100 arguments. */
const MOST_RENAMED = 50
const PATH = /^[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)*$/
const WORDS = new Set(['true', 'false', 'null', 'value', 'meta'])

export const columnNames = (columns: TableConfig['columns']): string[] =>
  Array.isArray(columns) ? [...(columns as readonly string[])] : Object.keys(columns ?? {})

function columnsOf(config: TableConfig): Column[] {
  const { columns } = config
  if (Array.isArray(columns)) return (columns as readonly string[]).map(name => ({ name, path: [name] }))
  return Object.entries(columns as Record<string, string>).map(([name, text]) => {
    const parts = text.trim().split('.')
    const isPath = PATH.test(text.trim()) && (!WORDS.has(parts[0]) || (parts[0] === 'value' && parts.length > 1))
    return isPath ? { name, path: parts[0] === 'value' ? parts.slice(1) : parts } : { name, expression: text }
  })
}

export function validateTable(config: TableConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const names = columnNames(config.columns)
  if (config.columns === undefined) problems.push({ path: [], message: `set columns to the fields to write to ${config.table}` })
  config.key?.forEach((name, i) => {
    if (config.columns !== undefined && !names.includes(name))
      problems.push({ path: ['key', i], message: `key ${name} must be one of the columns; add it to columns` })
  })
  if (config.columns !== undefined && !isPlain(columnsOf(config)) && names.length > MOST_RENAMED)
    problems.push({
      path: ['columns'],
      message: `only ${MOST_RENAMED} columns or fewer can be renamed: give the columns the names of their fields, and write them as a list`,
    })
  return problems
}

const isPlain = (columns: readonly Column[]): boolean => columns.every(c => c.path?.length === 1 && c.path[0] === c.name)

/** Builds the one statement that writes any number of messages. */
export function tableCommand(config: TableConfig): Command {
  const columns = columnsOf(config)
  const computed = columns.filter(c => c.expression !== undefined)
  const make = computed.length > 0 ? compileObject(Object.fromEntries(computed.map(c => [c.name, c.expression!]))) : undefined
  const sql = statement(config, columns, make !== undefined)
  return {
    sql,
    params: make
      ? messages => [jsonArray(messages.map(bodyOf)), jsonArray(messages.map(m => encodeJson(make(m))))]
      : messages => [jsonArray(messages.map(bodyOf))],
  }
}

function statement(config: TableConfig, columns: readonly Column[], computed: boolean): string {
  const table = quoteTable(config.table!)
  const names = columns.map(c => quoteName(c.name))
  const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`
  const field = ({ name, path }: Column): string =>
    `${literal(name)}, ${path ? `a.e #> ${literal(`{${path.map(p => `"${p}"`).join(',')}}`)}` : `a.x -> ${literal(name)}`}`
  const record = isPlain(columns) ? 'a.e' : `json_build_object(${columns.map(field).join(', ')})`
  const lists = computed
    ? 'rows from (json_array_elements($1::json), json_array_elements($2::json)) with ordinality as a(e, x, n)'
    : 'json_array_elements($1::json) with ordinality as a(e, n)'
  const from = `from ${lists} cross join lateral json_populate_record(null::${table}, ${record}) as r`
  const insert = `insert into ${table} (${names.join(', ')})`
  const select = names.map(n => `r.${n}`).join(', ')
  if (config.key === undefined) return `${insert} select ${select} ${from} order by a.n`
  const key = config.key.map(quoteName).join(', ')
  const rest = names.filter(n => !config.key!.map(quoteName).includes(n))
  const update = config.on_conflict === 'update' && rest.length > 0
  const action = update ? `update set ${rest.map(n => `${n} = excluded.${n}`).join(', ')}` : 'nothing'
  const keys = config.key.map(n => `r.${quoteName(n)}`).join(', ')
  // Of several messages with one key the last one is used, or the first if nothing is overwritten; sorted by key, so that lanes do not
  // deadlock.
  const distinct = `select distinct on (${keys}) ${select} ${from} order by ${keys}, a.n${update ? ' desc' : ''}`
  return `${insert} ${distinct} on conflict (${key}) do ${action}`
}

/** @returns the body as JSON text, with its original bytes. @throws {DataError} when it is not an object. */
export function bodyOf(m: Message): string {
  if (!isRecord(m.value)) throw new DataError(`the value must be an object to become a row, not ${show(m.value)}`)
  return String(m.encode())
}

export const jsonArray = (texts: readonly string[]): Param => `[${texts.join(',')}]`

/** A row as shown in pipeline tests. */
export function rowPreview(config: TableConfig): (m: Message) => { key: string | null; row: Record<string, unknown> } {
  const columns = columnsOf(config)
  const computed = columns.filter(c => c.expression !== undefined)
  const make = compileObject(Object.fromEntries(computed.map(c => [c.name, c.expression!])))
  const read = columns.filter(c => c.path).map(c => [c.name, getter(c.path!.join('.'))] as const)
  return m => {
    bodyOf(m)
    const found = { ...Object.fromEntries(read.map(([name, get]) => [name, get(m.value) ?? null])), ...make(m) }
    const row = Object.fromEntries(columns.map(c => [c.name, found[c.name]]))
    return { key: config.key === undefined ? m.key : config.key.map(name => text(row[name])).join('|'), row }
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : encodeJson(value))
