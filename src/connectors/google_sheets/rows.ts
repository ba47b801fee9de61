/** Converts messages to the rows of a sheet. */
import type { GoogleSheetsSinkConfig } from '../../generated/config-types.ts'
import { DataError, encodeJson, ExactNumber, simplest } from '../../contract/plugin.ts'
import { readDecimal } from '../../kit/values/decimal.ts'
import { getter, show } from '../../kit/values/fields.ts'
import { keyText } from '../../kit/values/key.ts'
import { isRecord } from '../../kit/values/records.ts'
import type { Cell } from './client.ts'

export interface Row {
  readonly key: string
  readonly cells: readonly Cell[]
}

/** Characters in a cell: the limit of Google Sheets. */
const MAX_TEXT = 50_000
/** Characters in a key. An index entry of PostgreSQL holds the key in any characters, with the names of spreadsheet and tab. */
const MAX_KEY = 400

/** @throws {DataError} a message without rows, or a row without its key */
export function rowsReader(config: GoogleSheetsSinkConfig): (value: unknown) => Row[] {
  const list = config.rows === undefined ? undefined : getter(config.rows)
  const columns = config.columns.map(name => ({ name, get: getter(name), number: config.numbers.includes(name) }))
  const keyOf = getter(config.key)
  const row = (value: unknown): Row => {
    if (!isRecord(value)) throw new DataError(`a row must be an object, not ${show(value)}`)
    const key = keyOf(value)
    if ((typeof key !== 'string' || key === '') && typeof key !== 'number' && !(key instanceof ExactNumber))
      throw new DataError(`the key ${config.key} of a row must be text or a number, not ${show(key)}`)
    const id = keyText(key)!
    if (id.length > MAX_KEY) throw new DataError(`the key ${config.key} of a row has ${id.length} characters; the maximum is ${MAX_KEY}`)
    if (id.includes('\0'))
      throw new DataError(`the key ${config.key} of a row, ${show(key)}, contains a NUL character, which PostgreSQL cannot store`)
    return { key: id, cells: columns.map(({ name, get, number }) => cellOf(get(value), name, number)) }
  }
  return value => {
    if (!list) return [row(value)]
    const rows = list(value)
    if (!Array.isArray(rows)) throw new DataError(`${config.rows} must be a list of rows, not ${show(rows)}`)
    return rows.map(row)
  }
}

function cellOf(value: unknown, name: string, number: boolean): Cell {
  if (value === undefined || value === null) return null
  if (number) {
    const decimal = typeof value === 'string' ? readDecimal(value) : value instanceof ExactNumber ? value.text : value
    if (typeof decimal !== 'number' && typeof decimal !== 'string')
      throw new DataError(`${name} must be a number because it is listed in numbers, not ${show(value)}`)
    if (typeof decimal === 'number') return decimal
    return new ExactNumber(decimal).plain ?? decimal
  }
  // A cell stores a number as a double: a number that a double holds exactly becomes a number cell, any other becomes text, digit for
  // digit.
  const cell = value instanceof ExactNumber ? simplest(value) : value
  if (typeof cell === 'number' || typeof cell === 'boolean') return cell
  const text = typeof cell === 'string' ? cell : encodeJson(cell)
  if (text.length > MAX_TEXT) throw new DataError(`${name} has ${text.length} characters; the maximum for a cell is ${MAX_TEXT}`)
  return text
}
