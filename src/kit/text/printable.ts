/** Text of records for a terminal, without control sequences that a terminal or a workflow runner would execute. */

/** C0, DEL and C1, except line breaks and tabs; and characters that change the direction of writing. */
const CONTROL = /[^\P{Cc}\n\t]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

const escape = (c: string): string => {
  const code = c.codePointAt(0)!
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** The colors of our own output; all other sequences come from data. */
const OWN = new RegExp(`${String.fromCharCode(27)}\\[(?:1|2|22|31|36|39)m`, 'g')

/** A text of the output: control sequences of data in it are escaped. */
export function forTerminal(text: string, colored: boolean): string {
  if (text.search(CONTROL) < 0) return text
  const colors = colored ? (text.match(OWN) ?? []) : []
  return text
    .split(colored ? OWN : /$^/)
    .map((part, i) => withoutControl(part) + (colors[i] ?? ''))
    .join('')
}

const withoutControl = (text: string): string => text.replaceAll(CONTROL, escape)

/** Line breaks and tabs are kept. Commands of a CI system are escaped, too: they are at the start of a line, or after `##`. */
export const printable = (text: string): string =>
  withoutControl(text)
    .replaceAll(/^(\s*)::/gm, '$1\\::')
    .replaceAll('##[', '#\\#[')

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
export const jsonText = (value: unknown): string => safeJson(JSON.stringify(value))

/** The same for JSON as text. */
export const safeJson = (json: string): string => json.replaceAll(CONTROL, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
