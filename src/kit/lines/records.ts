/** Converts lines to messages: JSON and text lines stay bytes until they are read, CSV records become objects immediately. */
import { type ConfigProblem, DecodeError, EnvironmentError, Message, type Origin } from '../../contract/plugin.ts'
import { CsvError, DELIMITER_RULE, delimiterOf, type Dialect, isDelimiter, parseRecord } from './csv.ts'
import { byteOrderMark, compressionMark, type Encoding } from './encoding.ts'
import { type CsvBytes, type Line, Splitter } from './splitter.ts'

/** The format of a text, for the reader of its records. */
export type LineFormat = 'jsonl' | 'csv' | 'text'

/** How a file is split into records. */
export interface RecordOptions {
  readonly format: LineFormat
  /** CSV: names of the columns. */
  readonly columns?: readonly string[]
  /** CSV: default `none` with `columns`, else `names`. */
  readonly header?: 'names' | 'rename' | 'skip' | 'none'
  /** CSV: one character, or its name. */
  readonly delimiter: string
  /** CSV. */
  readonly quoting?: 'double' | 'backslash' | 'none'
  /** CSV: one character. */
  readonly quote?: string
  /** CSV: every line ends with a delimiter that begins no field. */
  readonly trailing_delimiter?: boolean
  /** CSV: lines before the header. */
  readonly skip_lines?: number
  /** CSV: one character. */
  readonly comment?: string
  readonly line_break?: 'auto' | 'lf' | 'cr'
  readonly encoding?: Encoding | 'auto'
  /** Bytes. */
  readonly max_line_size: number
  /** Of a source that can decompress. */
  readonly compression?: string
  /** Path of the input, if it is a file: `meta.file`. */
  readonly file?: string
}

/** The name without the suffix of the compression: `in.csv.gz` is CSV. */
export const plainName = (path: string): string => path.replace(/\.(gz|zst)$/i, '')

/** `auto` decides by the file name. */
export function formatOf(format: LineFormat | 'auto', path: string): LineFormat {
  if (format !== 'auto') return format
  const name = plainName(path)
  if (/\.(csv|tsv)$/i.test(name)) return 'csv'
  return /\.(txt|log)$/i.test(name) ? 'text' : 'jsonl'
}

/** A .tsv file has tabs, unless the pipeline sets another delimiter. */
export const delimiterFor = (delimiter: string | undefined, path: string): string =>
  delimiter ?? (/\.tsv$/i.test(plainName(path)) ? 'tab' : 'comma')

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const BOM = Buffer.from([0xef, 0xbb, 0xbf])
const LF = 10
const CR = 13
/** The first line break is searched within this many bytes. */
const LOOK = 64 * 1024

/** UTF-16 has a zero byte beside each line break; a single NUL in a record is data. */
function looksLikeUtf16(bytes: Buffer): boolean {
  if (!bytes.includes(0)) return false
  const beside = (offset: number): boolean => bytes.every((b, at) => (b !== LF && b !== CR) || (bytes[at + offset] ?? 0) === 0)
  return beside(1) || beside(-1)
}

/** One input, read from the beginning or from a line on. */
export class Records {
  /** Called with the first line; the result distinguishes this content from others with the same name. */
  identify: ((first: Buffer) => string) | undefined
  private readonly options: RecordOptions
  private readonly dialect: Dialect
  private readonly what: string
  private origin: Origin
  private columns: readonly string[] | undefined
  /** The header line has been read, or there is none. */
  private headed = false
  /** The first bytes, while they do not show how lines end. */
  private beginning: Buffer | undefined = Buffer.alloc(0)
  private cr = false
  /** Position of the first byte. */
  private base = 0
  private splitter: Splitter
  /** After the last line taken. */
  position: { byte: number; line: number; cr?: true } = { byte: 0, line: 0 }

  /** `what` names the input in messages. */
  constructor(options: RecordOptions, lane: string, source: string, what: string) {
    this.options = options
    this.what = what
    const { delimiter, quoting = 'double', quote = '"', columns, format } = options
    this.dialect = {
      delimiter: delimiterOf(delimiter),
      quote: quoting === 'none' ? undefined : quote,
      escape: quoting === 'backslash' ? 'backslash' : 'double',
    }
    this.columns = columns
    this.origin = {
      lane,
      source,
      ...(options.file !== undefined && { file: options.file }),
      lines: true,
      format: format === 'text' ? 'text' : 'json',
    }
    this.splitter = this.split(0, 0)
  }

  get generation(): string | undefined {
    return this.origin.generation
  }

  set generation(generation: string | undefined) {
    this.origin = { ...this.origin, generation }
  }

  /** A CSV without `columns` needs its first line before it can continue elsewhere. */
  get needsHeader(): boolean {
    return this.options.format === 'csv' && this.columns === undefined
  }

  /** CSV: names of the columns, once they are known. */
  get names(): readonly string[] | undefined {
    return this.columns
  }

  /** Continues at another position. */
  restart(byte: number, line: number, cr = this.cr): void {
    this.cr = cr
    this.beginning = byte === 0 ? Buffer.alloc(0) : undefined
    this.headed = byte > 0
    this.splitter = this.split(byte, line)
    this.position = { byte, line, ...(cr && { cr }) }
  }

  /** The next bytes are at another position, and continue the incomplete line. */
  continueAt(byte: number, line: number): void {
    this.base = byte
    this.splitter.continueAt(byte, line)
    this.position = { ...this.position, byte, line }
  }

  /** Messages that end in this chunk, with this `time`. @throws {EnvironmentError} for an invalid CSV header. */
  push(chunk: Buffer, time: number): Message[] {
    if (this.beginning === undefined) return this.messages(this.splitter.push(chunk), time)
    this.beginning = this.beginning.length === 0 ? chunk : Buffer.concat([this.beginning, chunk])
    return this.begin(false, time)
  }

  /** A last line without a line break. */
  end(time: number): Message[] {
    const begun = this.beginning === undefined ? [] : this.begin(true, time)
    const line = this.splitter.end()
    return line ? [...begun, ...this.messages([line], time)] : begun
  }

  /** Examines the first bytes; `final`: there are no more. */
  private begin(final: boolean, time: number): Message[] {
    const bytes = this.beginning!
    if (!final && bytes.length < 4 && [0xef, 0xfe, 0xff, 0x1f, 0x28, undefined].includes(bytes[0])) return []
    const packed = compressionMark(bytes)
    if (packed) {
      const { compression } = this.options
      const advice =
        compression === undefined ? `decompress it first, with ${packed === 'gzip' ? 'gzip' : 'zstd'} -dc` : `set compression: ${packed}`
      throw new EnvironmentError(`${this.what} holds data compressed with ${packed}: ${advice}`)
    }
    const mark = byteOrderMark(bytes)
    if (mark === 'utf-16le' || mark === 'utf-16be')
      throw new EnvironmentError(`${this.what} starts with the byte order mark of UTF-16: set encoding: ${mark}`)
    if (this.options.format === 'csv' && looksLikeUtf16(bytes.subarray(0, 1024)))
      throw new EnvironmentError(
        `${this.what} contains zero bytes, which are common in UTF-16 but not in UTF-8 text: set encoding: utf-16le or utf-16be`,
      )
    const start = mark === 'utf-8' ? BOM.length : 0
    const cr = this.endsWithCr(bytes.subarray(start), final)
    if (cr === undefined) return []
    this.cr = cr
    this.beginning = undefined
    this.splitter = this.split(this.base + start, 0)
    return this.messages(this.splitter.push(bytes.subarray(start)), time)
  }

  /** Undefined: more bytes are needed to decide. */
  private endsWithCr(bytes: Buffer, final: boolean): boolean | undefined {
    const { line_break = 'auto', format } = this.options
    if (line_break !== 'auto') return line_break === 'cr'
    // Text lines may contain CR; JSON, and CSV outside of quotes, may not.
    if (format === 'text') return false
    const enough = final || bytes.length > LOOK
    // An open quote may close with the next chunk; only if it never closes are line breaks inside it considered.
    const at = firstBreak(bytes, format === 'csv' ? this.dialect.quote : '"') ?? (enough ? firstBreak(bytes, undefined) : undefined)
    if (at === undefined) return enough ? false : undefined
    if (bytes[at] === LF) return false
    if (at + 1 === bytes.length) return final ? true : undefined
    return bytes[at + 1] !== LF
  }

  private split(offset: number, count: number): Splitter {
    const { format, max_line_size, comment, skip_lines = 0 } = this.options
    const { delimiter, quote, escape } = this.dialect
    const csv: CsvBytes | undefined =
      format !== 'csv' || quote === undefined
        ? undefined
        : {
            delimiter: delimiter.charCodeAt(0),
            quote: quote.charCodeAt(0),
            backslash: escape === 'backslash',
            comment: comment?.charCodeAt(0),
            preamble: skip_lines,
          }
    return new Splitter({ maxBytes: max_line_size, csv, cr: this.cr, offset, count })
  }

  private messages(lines: readonly Line[], time: number): Message[] {
    const messages: Message[] = []
    const { format, skip_lines = 0, comment } = this.options
    for (const line of lines) {
      const { bytes } = line
      this.position = { byte: line.end, line: line.endNumber, ...(this.cr && { cr: true }) }
      if (isBlank(bytes)) continue
      if (this.identify && this.origin.generation === undefined) this.generation = this.identify(bytes)
      if (format === 'csv') {
        if (line.number <= skip_lines || (comment !== undefined && bytes[0] === comment.charCodeAt(0))) continue
        if (!this.headed && this.readHeader(bytes, line)) continue
      }
      messages.push(this.message(bytes, line, time))
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
        return new Message(this.row(bytes, line), undefined, time, undefined, line.number, this.origin, bytes)
      } catch (error) {
        failure = error as DecodeError
      }
    }
    const message = Message.fromRecord(bytes, null, time, undefined, line.number, this.origin)
    message.failure = failure
    return message
  }

  private row(bytes: Buffer, line: Line): Record<string, string> {
    const text = this.text(bytes, line)
    const fields = this.fields(text, line)
    const columns = this.columns!
    if (fields.length !== columns.length) {
      const starts: number[] = []
      parseRecord(text, this.dialect, starts)
      // The position of the first extra field, or of the first missing one.
      const place = placeIn(text, starts[columns.length] ?? text.replace(/[\r\n]+$/, '').length, line.number)
      const extra = fields.length === columns.length + 1 && fields.at(-1) === '' && !this.options.trailing_delimiter
      throw new DecodeError(
        `${place}: ${fields.length === 1 ? '1 field' : `${fields.length} fields`}, but the header has ${columns.length}${extra ? '; if every line ends with a delimiter, set trailing_delimiter: true' : ''}`,
      )
    }
    return Object.fromEntries(columns.map((name, i) => [name, fields[i]]))
  }

  /** @throws {DecodeError} with line and column. */
  private fields(text: string, line: Line, starts?: number[]): string[] {
    let fields: string[]
    try {
      fields = parseRecord(text, this.dialect, starts)
    } catch (error) {
      if (!(error instanceof CsvError)) throw error
      const lines = text.trimEnd().split(/\r\n|\n|\r/).length
      const rest = error.message.includes('never closed') && lines > 1 ? `; the record continues to line ${line.number + lines - 1}` : ''
      throw new DecodeError(`${placeIn(text, error.at, line.number)}: ${error.message}${rest}`)
    }
    if (!this.options.trailing_delimiter) return fields
    if (fields.length > 1 && fields.at(-1) === '') return fields.slice(0, -1)
    throw new DecodeError(
      `${placeIn(text, text.length, line.number)}: the line does not end with a delimiter, although trailing_delimiter is set`,
    )
  }

  private text(bytes: Buffer, line: Line): string {
    try {
      return utf8.decode(bytes)
    } catch {
      const { encoding = 'auto' } = this.options
      const place = placeIn(bytes.toString(), bytes.toString().indexOf('\ufffd'), line.number)
      const utf = encoding === 'auto' || encoding === 'utf-8'
      throw new DecodeError(
        utf ? `${place}: not valid UTF-8; if the file comes from Excel, set encoding: windows-1252` : `${place}: not valid ${encoding}`,
      )
    }
  }

  /** @returns whether the line was a header. @throws {EnvironmentError} for an invalid header. */
  private readHeader(bytes: Buffer, line: Line): boolean {
    this.headed = true
    const { header = this.options.columns ? 'none' : 'names' } = this.options
    if (header === 'skip') return true
    if (header === 'none' && this.columns) return false
    const starts: number[] = []
    let text: string
    let names: string[]
    try {
      text = this.text(bytes, line)
      names = this.fields(text, line, starts).map(name => name.trim())
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      throw new EnvironmentError(`${this.what}: the header line is not valid CSV: ${error.message}`, error)
    }
    if (header === 'none') {
      this.columns = names.map((_, i) => `column_${i + 1}`)
      return false
    }
    const place = (i: number): string => `${this.what}: ${placeIn(text, starts[i], line.number)}`
    const other = names.length === 1 && Object.entries({ semicolon: ';', tab: '\t', pipe: '|' }).find(([, c]) => names[0].includes(c))
    if (other)
      throw new EnvironmentError(
        `${place(0)}: the header has only one column, ${JSON.stringify(names[0])}: set delimiter: ${other[0]}, or columns: [name] with header: skip to keep it as one column`,
      )
    this.columns = header === 'rename' ? renamed(names) : this.named(names, place)
    return true
  }

  /** @throws {EnvironmentError} unless each column has a unique name. */
  private named(names: readonly string[], place: (i: number) => string): readonly string[] {
    names.forEach((name, i) => {
      const first = names.indexOf(name)
      if (name !== '' && first === i) return
      const what = name === '' ? `column ${i + 1} has no name` : `columns ${first + 1} and ${i + 1} are both named ${JSON.stringify(name)}`
      const becomes = renamed(names)[i]
      const trailing = name === '' && i === names.length - 1 ? ', trailing_delimiter: true if every line ends with a delimiter' : ''
      throw new EnvironmentError(
        `${place(i)}: ${what}: set header: rename to name it ${JSON.stringify(becomes)}${trailing}, or columns: [...] with header: skip to name the columns yourself`,
      )
    })
    return names
  }
}

/** Names for columns without a name (`column_3`) or with a duplicate one (`price_2`). */
function renamed(names: readonly string[]): string[] {
  const taken = new Set(names)
  const used = new Set<string>()
  return names.map((name, i) => {
    let free = name === '' ? `column_${i + 1}` : name
    if (name === '' || used.has(name)) {
      const base = free
      for (let n = 2; used.has(free) || taken.has(free); n++) free = `${base}_${n}`
    }
    used.add(free)
    return free
  })
}

/** Index of the first LF or CR that is not in quotes. */
function firstBreak(bytes: Buffer, quote: string | undefined): number | undefined {
  const code = quote?.charCodeAt(0)
  let quoted = false
  for (let i = 0; i < bytes.length && i < LOOK; i++) {
    const c = bytes[i]
    if (c === code) quoted = !quoted
    else if (!quoted && (c === LF || c === CR)) return i
  }
  return undefined
}

/** `line 3, column 7`, from an index into a record that starts on this line. */
function placeIn(text: string, index: number, line: number): string {
  const before = text.slice(0, index).split(/\r\n|\n|\r/)
  return `line ${line + before.length - 1}, column ${before.at(-1)!.length + 1}`
}

function isBlank(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 32 && bytes[i] !== 9 && bytes[i] !== 13) return false
  return true
}

/** Checks of the shared settings of line sources that the schema cannot express. */
export function validateRecords(
  config: Omit<RecordOptions, 'format' | 'delimiter'> & { delimiter?: string },
  format: LineFormat,
): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const { columns, delimiter, max_line_size, header, quoting, quote, comment } = config
  const csvOnly = ['columns', 'header', 'quoting', 'quote', 'trailing_delimiter', 'skip_lines', 'comment'] as const
  if (format !== 'csv')
    for (const key of csvOnly)
      if (config[key] !== undefined && config[key] !== false && config[key] !== 0 && config[key] !== 'double')
        problems.push({
          path: [key],
          message: `${key} needs format: csv, and the format is ${format}`,
        })
  const twice = columns?.findIndex((name, i) => columns.indexOf(name) !== i) ?? -1
  if (twice >= 0) problems.push({ path: ['columns', twice], message: `two columns are named ${JSON.stringify(columns![twice])}` })
  if (header === 'skip' && !columns) problems.push({ path: ['header'], message: 'skip needs columns: with the names to use' })
  if (columns && (header === 'names' || header === 'rename'))
    problems.push({ path: ['header'], message: 'columns already names the columns; use skip, or remove columns', suggestion: 'skip' })
  if (delimiter !== undefined && !isDelimiter(delimiter)) problems.push({ path: ['delimiter'], message: DELIMITER_RULE, suggestion: ',' })
  for (const [key, text] of [
    ['quote', quote],
    ['comment', comment],
  ] as const)
    if (text !== undefined && !(text.length === 1 && text > ' ' && text <= '~' && text !== delimiterOf(delimiter ?? ',')))
      problems.push({ path: [key], message: 'must be one ASCII character, and not the delimiter' })
  if (quoting === 'none' && quote !== undefined) problems.push({ path: ['quote'], message: 'does not work with quoting: none; remove it' })
  if (max_line_size < 1) problems.push({ path: ['max_line_size'], message: 'must be at least 1B' })
  return problems
}
