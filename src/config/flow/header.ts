/** The columns of a local CSV file, from its header line. Only `validate` and `types` read it. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { objectOf, type RecordType, scalar } from '../../expressions/record-type.ts'
import { delimiterFor, formatOf, type RecordOptions, Records } from '../../kit/lines/records.ts'

/** The header line is searched within this many bytes. */
const LOOK = 64 * 1024
/** A pattern for several files, or a compressed file. */
const OTHER = /[*?[{]|\.(gz|zst)$/i

type Config = Omit<RecordOptions, 'format' | 'delimiter'> & {
  readonly path?: unknown
  readonly format?: 'auto' | RecordOptions['format']
  readonly delimiter?: string
}

/** The type of the rows; undefined if the file does not show it: it does not exist yet, or is not a regular file. Problems are those of `run`. */
export function headerType(config: unknown): RecordType | undefined {
  const { path, format = 'auto', columns, encoding = 'auto', ...options } = (config ?? {}) as Config
  if (typeof path !== 'string' || OTHER.test(path) || columns !== undefined || !['auto', 'utf-8'].includes(encoding)) return undefined
  if (formatOf(format, path) !== 'csv') return undefined
  try {
    const records = new Records({ ...options, format: 'csv', delimiter: delimiterFor(options.delimiter, path) }, path, '', path)
    const start = beginning(path)
    records.push(start, 0)
    // A complete file can end with its header line.
    if (start.length < LOOK) records.end(0)
    return records.names && objectOf(records.names.map(name => [name, scalar('string')]))
  } catch {
    return undefined
  }
}

/** @throws {Error} for a pipe or a device, which may never answer */
function beginning(path: string): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(file).isFile()) throw new Error(`${path} is not a file`)
    const buffer = Buffer.alloc(LOOK)
    return buffer.subarray(0, readSync(file, buffer, 0, LOOK, 0))
  } finally {
    closeSync(file)
  }
}
