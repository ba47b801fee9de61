/** Text of records for a terminal, without control sequences that a terminal or a workflow runner would execute. */

/** C0, DEL and C1, except line breaks and tabs; and characters that change the direction of writing. */
const CONTROL = /[^\P{Cc}\n\t]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

const escape = (c: string): string => {
  const code = c.codePointAt(0)!
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** Line breaks and tabs are kept. */
export const printable = (text: string): string => text.replaceAll(CONTROL, escape)

/** One line: line breaks and tabs are escaped, too. */
export const oneLine = (text: string): string => printable(text).replaceAll(/[\n\t]/g, c => (c === '\n' ? '\\n' : '\\t'))

/** One line of at most `max` characters. */
export function cut(text: string, max: number): string {
  const plain = oneLine(text.slice(0, max * 2))
  return plain.length > max || text.length > max * 2 ? `${plain.slice(0, max - 1)}…` : plain
}

/** At most `max` bytes, 16 per line. @param all how to get the rest, half a sentence */
export function hexDump(bytes: Buffer, all: string, max = 4096): string[] {
  const lines: string[] = []
  for (let at = 0; at < Math.min(bytes.length, max); at += 16) {
    const row = bytes.subarray(at, at + 16)
    const text = row.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.')
    lines.push(`${at.toString(16).padStart(8, '0')}  ${row.toString('hex').replaceAll(/(..)/g, '$1 ').padEnd(48)} ${text}`)
  }
  if (bytes.length > max) lines.push(`… ${bytes.length - max} more bytes (${all})`)
  return lines
}

/** JSON in which control characters for a terminal are also escaped: JSON itself escapes no DEL, no C1 and no direction marks. */
export const jsonText = (value: unknown): string =>
  JSON.stringify(value).replaceAll(CONTROL, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
