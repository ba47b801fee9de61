/** CSV as in RFC 4180: quoted fields, doubled quotes, line breaks inside quotes. */
import { DecodeError, encodeJson } from '../../contract/plugin.ts'

/** Fields of one record. @throws {DecodeError} for quotes that do not match. */
export function parseRecord(text: string, delimiter: string): string[] {
  if (!text.includes('"')) return text.split(delimiter)
  const fields: string[] = []
  let at = 0
  for (;;) {
    if (text[at] === '"') {
      let field = ''
      let close = text.indexOf('"', ++at)
      while (close >= 0 && text[close + 1] === '"') {
        field += text.slice(at, close + 1)
        at = close + 2
        close = text.indexOf('"', at)
      }
      if (close < 0) throw new DecodeError(`field ${fields.length + 1} begins with a quote that is never closed`)
      fields.push(field + text.slice(at, close))
      at = close + 1
      if (at === text.length) return fields
      if (text[at] !== delimiter) throw new DecodeError(`field ${fields.length}: text follows the closing quote`)
      at++
    } else {
      const end = text.indexOf(delimiter, at)
      fields.push(end < 0 ? text.slice(at) : text.slice(at, end))
      if (end < 0) return fields
      at = end + 1
    }
  }
}

/** One record, without a line break. `null` and `undefined` are empty fields; objects and lists are written as JSON. */
export function formatRecord(values: readonly unknown[], delimiter: string): string {
  return values
    .map(value => {
      if (value === null || value === undefined) return ''
      const text = typeof value === 'string' ? value : typeof value === 'object' ? encodeJson(value) : String(value)
      // Spaces at the ends and an empty string would not come back as they were in every reader.
      const plain = !/["\r\n]/.test(text) && !text.includes(delimiter) && text !== '' && text.trim() === text
      return plain ? text : `"${text.replaceAll('"', '""')}"`
    })
    .join(delimiter)
}
