/** From a message to the rows of a sheet. */
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

/** What a cell may hold; Google's own limit. */
const MAX_TEXT = 50_000
/** What an index of PostgreSQL holds, in bytes of any characters, with the names of spreadsheet and tab. */
const MAX_KEY = 400

/** @throws {DataError} a message without rows, or a row without its key */
export function rowsReader(config: GoogleSheetsSinkConfig): (value: unknown) => Row[] {
  const list = config.rows === undefined ? undefined : getter(config.rows)
  const columns = config.columns.map(name => ({ name, get: getter(name), number: config.numbers.includes(name) }))
  const keyOf = getter(config.key)
  const row = (value: unknown): Row => {
    if (!isRecord(value)) throw new DataError(`a row must be an object, is ${show(value)}`)
    const key = keyOf(value)
    if ((typeof key !== 'string' || key === '') && typeof key !== 'number' && !(key instanceof ExactNumber))
      throw new DataError(`the key ${config.key} of a row is ${show(key)}; it must be a text or a number`)
    const id = keyText(key)!
    if (id.length > MAX_KEY)
      throw new DataError(`the key ${config.key} of a row has ${id.length} characters; at most ${MAX_KEY} can be kept`)
    if (id.includes('\0'))
      throw new DataError(`the key ${config.key} of a row, ${show(key)}, has a NUL in it, which PostgreSQL cannot keep`)
    return { key: id, cells: columns.map(({ name, get, number }) => cellOf(get(value), name, number)) }
  }
  return value => {
    if (!list) return [row(value)]
    const rows = list(value)
    if (!Array.isArray(rows)) throw new DataError(`${config.rows} must be a list of rows, is ${show(rows)}`)
    return rows.map(row)
  }
}

function cellOf(value: unknown, name: string, number: boolean): Cell {
  if (value === undefined || value === null) return null
  if (number) {
    const decimal = typeof value === 'string' ? readDecimal(value) : value instanceof ExactNumber ? value.text : value
    if (typeof decimal !== 'number' && typeof decimal !== 'string')
      throw new DataError(`${name} is ${show(value)}, and is to be written as a number`)
    if (typeof decimal === 'number') return decimal
    return new ExactNumber(decimal).plain ?? decimal
  }
  // A cell keeps a number as a double: one that a double holds is a number cell, one that it would round is text, digit for digit.
  const cell = value instanceof ExactNumber ? simplest(value) : value
  if (typeof cell === 'number' || typeof cell === 'boolean') return cell
  const text = typeof cell === 'string' ? cell : encodeJson(cell)
  if (text.length > MAX_TEXT) throw new DataError(`${name} has ${text.length} characters; a cell holds ${MAX_TEXT}`)
  return text
}
