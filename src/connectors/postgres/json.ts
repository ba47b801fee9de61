/** Rows as JSON: exact numbers as text, times in ISO 8601. */
import { DataError, DecodeError, EnvironmentError, ExactNumber, isJsonNumber, parseJson } from '../../contract/plugin.ts'
import { limits } from '../../kit/limits.ts'
import type { Field, Result, Row, Value } from '../../kit/postgres/driver.ts'
import { ARRAYS, OID } from '../../kit/postgres/types.ts'

/** @throws {EnvironmentError} for two columns with one name: a row as an object could hold only one of them. */
export function checkColumns(fields: readonly Field[], step: string): void {
  const name = fields.find(({ name }, i) => fields.findIndex(f => f.name === name) < i)?.name
  if (name !== undefined)
    throw new EnvironmentError(
      `${step}: the query returns two columns with the name ${name}: rename one of them, such as ${name} as other_${name}`,
    )
}

/** Of a query with `maxRows: limits().messages`. @throws {DataError} when its result is longer */
export function checkRows({ more }: Result, step: string): void {
  if (more === 'bytes')
    throw new DataError(
      `${step}: the rows of the query have more than ${limits().input} bytes (limits.input): select less, or raise the limit`,
    )
  if (more)
    throw new DataError(
      `${step}: the query returns more than ${limits().messages} rows (limits.messages): add a LIMIT to the query, or raise the limit`,
    )
}

/** A row as a value for messages. JSON columns become the values that they contain. @param depth maximum depth of their nesting */
export function jsonRow(fields: readonly Field[], row: Row, depth: number): Record<string, unknown> {
  const value: Record<string, unknown> = {}
  for (const { name, type } of fields) value[name] = jsonValue(name, type, row[name], depth)
  return value
}

/** @throws {DataError} for JSON that is nested more deeply than a record may be */
function parseColumn(name: string, text: string, depth: number): unknown {
  try {
    return parseJson(text, depth)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    throw new DataError(
      `column ${name} is nested more than ${depth} levels deep; to allow more, set \`limits: { depth: … }\` in the pipeline`,
      error,
    )
  }
}

function jsonValue(name: string, type: number, value: Value, depth: number): unknown {
  if (value === null) return null
  if (Array.isArray(value)) return value.map(v => jsonValue(name, ARRAYS[type] ?? type, v, depth))
  if (Buffer.isBuffer(value)) return value.toString('base64')
  if (type === OID.json || type === OID.jsonb) return parseColumn(name, value as string, depth)
  if (typeof value !== 'string') return value
  return isFloat(type) && isJsonNumber(value) ? new ExactNumber(value) : isoTime(type, value)
}

const isFloat = (type: number): boolean => type === OID.float8 || type === OID.float4

/**
 * A row as JSON text. JSON columns are included byte for byte; numbers that a float cannot represent are text, or with `digits` numbers
 * with all their digits.
 */
export function jsonText(fields: readonly Field[], row: Row, digits: boolean): string {
  return `{${fields.map(({ name, type }) => `${JSON.stringify(name)}:${textOf(type, row[name], digits)}`).join(',')}}`
}

function textOf(type: number, value: Value, digits: boolean): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return `[${value.map(v => textOf(ARRAYS[type] ?? type, v, digits)).join(',')}]`
  if (Buffer.isBuffer(value)) return JSON.stringify(value.toString('base64'))
  if (typeof value !== 'string') return String(value)
  if (type === OID.json || type === OID.jsonb) return value
  // NaN and the infinities are not JSON numbers.
  if ((isFloat(type) || (digits && (type === OID.numeric || type === OID.int8))) && isJsonNumber(value)) return value
  return JSON.stringify(isoTime(type, value))
}

/** `2026-01-02 03:04:05.6+00` → `2026-01-02T03:04:05.6Z`; values without such a form (years above 9999, BC, infinity) are unchanged. */
function isoTime(type: number, text: string): string {
  if (type !== OID.timestamptz && type !== OID.timestamp) return text
  return text.replace(/^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?$/, (_, date: string, time: string) =>
    type === OID.timestamptz ? `${date}T${time}Z` : `${date}T${time}`,
  )
}
