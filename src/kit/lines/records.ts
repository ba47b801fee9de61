/** From lines to messages: JSON and text lines stay bytes until somebody reads them, CSV records become objects at once. */
import { type ConfigProblem, DecodeError, EnvironmentError, Message, type Origin } from '../../contract/plugin.ts'
import { parseRecord } from './csv.ts'
import { type Line, Splitter } from './splitter.ts'

/** How a file is cut into records. */
export type LineFormat = 'jsonl' | 'csv' | 'text'

/** What a text is, for the reader of its records. */
export interface RecordOptions {
  readonly format: LineFormat
  /** CSV: column names of a file that has no header line. */
  readonly columns?: readonly string[]
  /** CSV: one character. */
  readonly delimiter: string
  /** Bytes. */
  readonly max_line_size: number
}

/** `auto` by the name of the file. */
export function formatOf(format: LineFormat | 'auto', path: string): LineFormat {
  if (format !== 'auto') return format
  if (/\.csv$/i.test(path)) return 'csv'
  return /\.(txt|log)$/i.test(path) ? 'text' : 'jsonl'
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const BOM = Buffer.from([0xef, 0xbb, 0xbf])

/** One input, front to back or from a line on. */
export class Records {
  private readonly options: RecordOptions
  private readonly origin: Origin
  private readonly what: string
  private columns: readonly string[] | undefined
  private splitter: Splitter
  /** Behind the last line taken. */
  position = { byte: 0, line: 0 }

  /** `what` names the input in messages. */
  constructor(options: RecordOptions, lane: string, source: string, what: string) {
    this.options = options
    this.what = what
    this.columns = options.columns && this.checked(options.columns)
    this.origin = { lane, source, format: options.format === 'text' ? 'text' : 'json' }
    this.splitter = this.split(0, 0)
  }

  /** A CSV without `columns` needs its header line before it can go on elsewhere. */
  get needsHeader(): boolean {
    return this.options.format === 'csv' && this.columns === undefined
  }

  /** Goes on at another place. */
  restart(byte: number, line: number): void {
    this.splitter = this.split(byte, line)
    this.position = { byte, line }
  }

  /** Messages that end in this chunk; `time` becomes theirs. @throws {EnvironmentError} for a CSV header that cannot be one. */
  push(chunk: Buffer, time: number): Message[] {
    return this.messages(this.splitter.push(chunk), time)
  }

  /** A last line that no line break ends. */
  end(time: number): Message[] {
    const line = this.splitter.end()
    return line ? this.messages([line], time) : []
  }

  private split(offset: number, count: number): Splitter {
    const { format, delimiter, max_line_size } = this.options
    return new Splitter({ maxBytes: max_line_size, delimiter: format === 'csv' ? delimiter : undefined, offset, count })
  }

  private messages(lines: readonly Line[], time: number): Message[] {
    const messages: Message[] = []
    for (const line of lines) {
      this.position = { byte: line.end, line: line.endNumber }
      const bytes = line.number === 1 && line.bytes.subarray(0, 3).equals(BOM) ? line.bytes.subarray(3) : line.bytes
      if (isBlank(bytes)) continue
      if (this.needsHeader) this.readHeader(bytes)
      else messages.push(this.message(bytes, line, time))
    }
    return messages
  }

  private message(bytes: Buffer, line: Line, time: number): Message {
    let failure: DecodeError | undefined
    if (line.oversize !== undefined) {
      const limit = this.options.max_line_size
      failure = new DecodeError(`the line has ${line.oversize} bytes, more than max_line_size (${limit}); only the first ${limit} are here`)
    } else if (this.options.format === 'csv') {
      try {
        return new Message(this.row(bytes), undefined, time, undefined, line.number, this.origin, bytes)
      } catch (error) {
        failure = error as DecodeError
      }
    }
    const message = Message.fromRecord(bytes, null, time, undefined, line.number, this.origin)
    message.failure = failure
    return message
  }

  private row(bytes: Buffer): Record<string, string> {
    const fields = this.fields(bytes)
    const { columns } = this
    if (fields.length !== columns!.length) throw new DecodeError(`the record has ${fields.length} fields, the header ${columns!.length}`)
    return Object.fromEntries(columns!.map((name, i) => [name, fields[i]]))
  }

  private fields(bytes: Buffer): string[] {
    let text: string
    try {
      text = utf8.decode(bytes)
    } catch {
      throw new DecodeError('the record is not valid UTF-8')
    }
    return parseRecord(text, this.options.delimiter)
  }

  private readHeader(bytes: Buffer): void {
    try {
      this.columns = this.checked(this.fields(bytes).map(name => name.trim()))
    } catch (error) {
      throw error instanceof DecodeError ? new EnvironmentError(`${this.what}: the header line can't be read: ${error.message}`) : error
    }
  }

  private checked(columns: readonly string[]): readonly string[] {
    const wrong = columns.find((name, i) => name === '' || columns.indexOf(name) !== i)
    if (wrong === undefined) return columns
    throw new EnvironmentError(
      `${this.what}: ${wrong === '' ? 'a column has no name' : `two columns are called '${wrong}'`} in ${JSON.stringify(columns)}`,
    )
  }
}

function isBlank(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 32 && bytes[i] !== 9 && bytes[i] !== 13) return false
  return true
}

/** What the schema cannot say about the settings that sources of lines share. */
export function validateRecords(config: Omit<RecordOptions, 'format'>, format: LineFormat): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const { columns, delimiter, max_line_size } = config
  if (columns && format !== 'csv') problems.push({ path: ['columns'], message: `only csv has columns; this is read as ${format}` })
  if (!isDelimiter(delimiter)) problems.push({ path: ['delimiter'], message: DELIMITER_RULE, suggestion: ',' })
  if (max_line_size < 1) problems.push({ path: ['max_line_size'], message: 'must be at least 1B' })
  return problems
}

/** For the problem of a delimiter that `isDelimiter` refuses. */
export const DELIMITER_RULE = 'must be one ASCII character, and no quote or line break'
/** Can it separate the columns of a CSV file? */
export const isDelimiter = (text: string): boolean => text.length === 1 && text > '\0' && text <= '~' && !'"\r\n'.includes(text)
