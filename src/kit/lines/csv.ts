/** CSV as in RFC 4180 (quoted fields, doubled quotes, line breaks inside quotes), and as other programs write it. */
import { DecodeError, encodeJson } from '../../contract/plugin.ts'

/** How fields of a delimited file are separated and quoted. */
export interface Dialect {
  /** One ASCII character. */
  readonly delimiter: string
  /** One ASCII character; undefined: quotes are part of the data. */
  readonly quote?: string
  /** How a quote is written inside a quoted field. */
  readonly escape: 'double' | 'backslash'
}

/** The dialect of RFC 4180 with this delimiter. */
export const standard = (delimiter: string): Dialect => ({ delimiter, quote: '"', escape: 'double' })

const NAMED: Readonly<Record<string, string>> = { comma: ',', semicolon: ';', tab: '\t', pipe: '|', space: ' ', colon: ':' }

/** The character for a value in a pipeline file: itself, or its name. */
export const delimiterOf = (written: string): string => NAMED[written] ?? written
/** The rule for delimiters, for messages. */
export const DELIMITER_RULE = `must be one ASCII character other than a quote or a line break, or one of ${Object.keys(NAMED).join(', ')}`
/** @returns whether a pipeline file may use this delimiter. */
export const isDelimiter = (written: string): boolean => {
  const text = delimiterOf(written)
  return text.length === 1 && text > '\0' && text <= '~' && !'"\r\n'.includes(text)
}

/** The position of the error in the record. */
export class CsvError extends DecodeError {
  /** Index into the text of the record. */
  readonly at: number
  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

/** Fields of one record; `starts` receives the start of each. @throws {CsvError} for unmatched quotes. */
export function parseRecord(text: string, { delimiter, quote, escape }: Dialect, starts?: number[]): string[] {
  if (!starts && (quote === undefined || !text.includes(quote))) return text.split(delimiter)
  const fields: string[] = []
  let at = 0
  for (;;) {
    starts?.push(at)
    if (quote !== undefined && text[at] === quote) {
      const opened = at
      const field = escape === 'double' ? doubled(text, at + 1, quote) : escaped(text, at + 1, quote)
      if (!field) throw new CsvError(`field ${fields.length + 1} starts with a quote that is never closed`, opened)
      fields.push(field.value)
      at = field.end
      if (at === text.length) return fields
      if (text[at] !== delimiter) throw new CsvError(`field ${fields.length}: unexpected text after the closing quote`, at)
      at++
    } else {
      const end = text.indexOf(delimiter, at)
      fields.push(end < 0 ? text.slice(at) : text.slice(at, end))
      if (end < 0) return fields
      at = end + 1
    }
  }
}

/** Up to the closing quote; `""` stands for a quote; undefined: the field is not closed. */
function doubled(text: string, from: number, quote: string): { value: string; end: number } | undefined {
  let value = ''
  let at = from
  let close = text.indexOf(quote, at)
  while (close >= 0 && text[close + 1] === quote) {
    value += text.slice(at, close + 1)
    at = close + 2
    close = text.indexOf(quote, at)
  }
  return close < 0 ? undefined : { value: value + text.slice(at, close), end: close + 1 }
}

/** Up to the closing quote; `\"` stands for a quote and `\\` for a backslash; undefined: the field is not closed. */
function escaped(text: string, from: number, quote: string): { value: string; end: number } | undefined {
  let value = ''
  for (let at = from; at < text.length; at++) {
    if (text[at] === quote) return { value, end: at + 1 }
    if (text[at] === '\\' && (text[at + 1] === quote || text[at + 1] === '\\')) at++
    value += text[at]
  }
  return undefined
}

/** One record, without a line break. `null` and `undefined` are empty fields; objects and lists are written as JSON. */
export function formatRecord(values: readonly unknown[], delimiter: string): string {
  return values
    .map(value => {
      if (value === null || value === undefined) return ''
      const text = typeof value === 'string' ? value : typeof value === 'object' ? encodeJson(value) : String(value)
      // Some readers would change spaces at the ends and an empty string.
      const plain = !/["\r\n]/.test(text) && !text.includes(delimiter) && text !== '' && text.trim() === text
      return plain ? text : `"${text.replaceAll('"', '""')}"`
    })
    .join(delimiter)
}
