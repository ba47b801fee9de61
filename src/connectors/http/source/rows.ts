/** Converts the body of a request to messages: one per element of a JSON array, one per line, or one in all. */
import { DataError, DecodeError, ExactNumber, type Format, type Header, Message, type Origin, parseJson } from '../../../contract/plugin.ts'
import { getter, show } from '../../../kit/values/fields.ts'
import { limits } from '../../../kit/limits.ts'
import { elements, JsonError, TooManyElementsError } from '../../../contract/json-scan.ts'

export interface RowOptions {
  readonly format: 'json' | 'ndjson' | 'text' | 'bytes'
  /** Dotted path of the array; undefined: the body itself may be an array. */
  readonly field?: string
  /** Field of each row that becomes its key. */
  readonly key?: string
}

/** Shared by all rows of a request. */
export interface RequestFacts {
  readonly time: number
  /** Used when no field gives a key. */
  readonly key: Buffer | null
  readonly headers: readonly Header[]
  /** Rows get their index as a header of this name. */
  readonly indexHeader?: string
  /** Of the first row; the others follow consecutively. */
  readonly first: number
  readonly origin: Origin
  /** How deep a row may be nested. */
  readonly depth: number
}

/**
 * @throws {JsonError | DecodeError} when the body as a whole is invalid.
 * @throws {TooManyElementsError} when it has more rows than `limits.messages`.
 */
export function cut(body: Buffer, { format, field }: RowOptions, depth: number): Buffer[] {
  if (format === 'text' || format === 'bytes') return [body]
  if (format === 'ndjson') return lines(body)
  const path = field?.split('.') ?? []
  // The limit applies to each row; the levels around it are added.
  const bounds = elements(body, path, limits().messages, depth + path.length + 1)
  if (!bounds) {
    if (field !== undefined) throw new DecodeError(`the body must have an array at ${field}`)
    return [body]
  }
  const rows: Buffer[] = []
  for (let i = 0; i < bounds.length; i += 2) rows.push(body.subarray(bounds[i], bounds[i + 1]))
  return rows
}

/**
 * The number of elements in the list at `path` of each row; one for a row without the list.
 * @throws {TooManyElementsError} when the sum exceeds `limits.messages`.
 */
export function countsOf(rows: readonly Buffer[], path: string, depth: number): number[] {
  const names = path.split('.')
  const max = limits().messages
  let sum = 0
  return rows.map(row => {
    try {
      const bounds = elements(row, names, max, depth)
      const count = bounds ? bounds.length / 2 : 1
      if ((sum += count) > max) throw new TooManyElementsError(max)
      return count
    } catch (error) {
      if (error instanceof TooManyElementsError) throw error
      // The row reports its own failure later.
      return 1
    }
  })
}

export function messagesOf(rows: readonly Buffer[], options: RowOptions, facts: RequestFacts): Message[] {
  const keyOf = options.key === undefined ? undefined : getter(options.key)
  const shared = facts.key
  return rows.map((row, i) => {
    const headers = facts.indexHeader === undefined ? facts.headers : [...facts.headers, [facts.indexHeader, String(i)] as const]
    const make = (key: Buffer | null): Message =>
      Message.fromRecord(row, key, facts.time, headers.length > 0 ? headers : undefined, facts.first + i, facts.origin)
    if (options.format !== 'ndjson' && !keyOf) return make(shared)
    let key: Buffer | null = shared
    let failure: Error | undefined
    try {
      if (options.format === 'ndjson') elements(row, [], Number.POSITIVE_INFINITY, facts.depth)
      if (keyOf) key = keyBytes(keyOf(parseJson(row.toString(), facts.depth)), options.key!)
    } catch (error) {
      failure = error instanceof JsonError ? new DecodeError(`malformed JSON at ${error.place}: ${error.message}`) : (error as Error)
    }
    const message = make(key)
    message.failure = failure
    return message
  })
}

export const formatOf = (format: RowOptions['format']): Format => (format === 'ndjson' ? 'json' : format)

function keyBytes(value: unknown, field: string): Buffer {
  if (typeof value === 'string' && value !== '') return Buffer.from(value)
  if (Number.isSafeInteger(value) || (value instanceof ExactNumber && /^-?\d+$/.test(value.text))) return Buffer.from(String(value))
  throw new DataError(`${field} is the key: it must be text or a whole number, not ${show(value)}`)
}

/** Lines that are not empty. */
function lines(body: Buffer): Buffer[] {
  const rows: Buffer[] = []
  const max = limits().messages
  for (let start = 0; start < body.length; ) {
    const newline = body.indexOf(0x0a, start)
    const end = newline < 0 ? body.length : newline
    const row = body.subarray(start, body[end - 1] === 0x0d ? end - 1 : end)
    if (!isBlank(row) && rows.push(row) > max) throw new TooManyElementsError(max)
    start = end + 1
  }
  return rows
}

function isBlank(row: Buffer): boolean {
  for (const c of row) if (c !== 0x20 && c !== 0x09 && c !== 0x0d) return false
  return true
}
