/** Splits a stream of bytes into lines (or CSV records, whose quoted fields may contain line breaks) with bounded memory. */

/** A line of a file, with the position of its end in bytes. */
export interface Line {
  /** Without its line break. Of an oversized line only the first `maxBytes`. */
  readonly bytes: Buffer
  /** Of its first physical line, counted from 1. */
  readonly number: number
  /** Offset of the byte after its line break. */
  readonly end: number
  /** Lines read with it. */
  readonly endNumber: number
  /** Its total length, if that exceeded `maxBytes`. */
  readonly oversize?: number
}

const LF = 10
const CR = 13
const BACKSLASH = 92

/** Bytes with a meaning in CSV. */
export interface CsvBytes {
  readonly delimiter: number
  readonly quote: number
  /** In a quoted field, a backslash removes the meaning of the next byte. */
  readonly backslash: boolean
  /** A record that starts with it ends with its line, whatever quotes it contains. */
  readonly comment?: number
  /** This many lines at the beginning have no fields. */
  readonly preamble: number
}

/** How a file is split into records, and how long one may be. */
export interface SplitterOptions {
  readonly maxBytes: number
  /** Undefined: quotes have no meaning. */
  readonly csv?: CsvBytes
  /** Lines end with CR alone. */
  readonly cr?: boolean
  readonly offset?: number
  readonly count?: number
}

/** Splits chunks of bytes into lines; a line may span several chunks. */
export class Splitter {
  /** Offset of the next byte to be pushed. */
  private offset: number
  /** Physical lines completed. */
  private count: number
  private readonly maxBytes: number
  private readonly csv: CsvBytes | undefined
  /** Byte that ends a line. */
  private readonly eol: number

  /** Start of a line whose end has not arrived yet. */
  private parts: Buffer[] = []
  private held = 0
  /** Bytes of that line, also those beyond the limit. */
  private length = 0
  private lineBreaks = 0

  private recordStart = true
  /** The record is a line without fields. */
  private plain = false
  private quoted = false
  private escaped = false
  private fieldStart = true
  private quoteClosed = false

  constructor({ maxBytes, csv, cr = false, offset = 0, count = 0 }: SplitterOptions) {
    this.maxBytes = maxBytes
    this.csv = csv
    this.eol = cr ? CR : LF
    this.offset = offset
    this.count = count
  }

  /** The next bytes are at another position, and continue the incomplete line. */
  continueAt(offset: number, count: number): void {
    this.offset = offset
    this.count = count
  }

  /** Lines that end in this chunk. They share its memory. */
  push(chunk: Buffer): Line[] {
    const lines: Line[] = []
    let start = 0
    for (;;) {
      const end = this.csv === undefined ? chunk.indexOf(this.eol, start) : this.recordEnd(chunk, start, this.csv)
      if (end < 0) break
      this.take(chunk.subarray(start, end))
      lines.push(this.cut(this.offset + end + 1))
      start = end + 1
    }
    this.take(chunk.subarray(start))
    this.offset += chunk.length
    return lines
  }

  /** The rest of an input that ends without a line break; undefined: nothing. */
  end(): Line | undefined {
    return this.length > 0 ? this.cut(this.offset) : undefined
  }

  private take(bytes: Buffer): void {
    this.length += bytes.length
    const room = this.maxBytes + 1 - this.held // one more, for the CR that is cut off again
    if (bytes.length === 0 || room <= 0) return
    const part = bytes.length > room ? bytes.subarray(0, room) : bytes
    this.parts.push(part)
    this.held += part.length
  }

  private cut(end: number): Line {
    let bytes = this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts)
    let { length } = this
    if (this.eol === LF && length === bytes.length && length > 0 && bytes[length - 1] === CR) bytes = bytes.subarray(0, --length)
    const number = this.count + 1
    this.count += 1 + this.lineBreaks
    this.parts = []
    this.held = this.length = this.lineBreaks = 0
    this.quoted = this.quoteClosed = this.escaped = this.plain = false
    this.fieldStart = this.recordStart = true
    if (length <= this.maxBytes) return { bytes, number, end, endNumber: this.count }
    return { bytes: bytes.subarray(0, this.maxBytes), number, end, endNumber: this.count, oversize: length }
  }

  /** Index of the line break that ends the record, -1: it is not in this chunk. */
  private recordEnd(chunk: Buffer, start: number, { delimiter, quote, backslash, comment, preamble }: CsvBytes): number {
    const { eol } = this
    if (this.recordStart && start < chunk.length) {
      this.recordStart = false
      this.plain = this.count < preamble || chunk[start] === comment
    }
    if (this.plain) return chunk.indexOf(eol, start)
    for (let i = start; i < chunk.length; i++) {
      const c = chunk[i]
      if (this.quoted) {
        if (c === eol) this.lineBreaks++
        if (this.escaped) this.escaped = false
        else if (c === quote) {
          this.quoted = false
          this.quoteClosed = !backslash
        } else if (backslash && c === BACKSLASH) this.escaped = true
        continue
      }
      if (c === eol) return i
      // A quote opens a field only at its start; one directly after a closing quote is a doubled quote and continues the field.
      if (c === quote && (this.fieldStart || this.quoteClosed)) this.quoted = true
      this.fieldStart = c === delimiter
      this.quoteClosed = false
    }
    return -1
  }
}
