/** The text that a suggestion puts in the place of a problem. */
import type { Span } from './tree.ts'

/** Text that has the same meaning in every notation of YAML, and inside of a longer text. */
const PLAIN = /^[\w$][\w$./-]*$/
/** A number with a unit, or a name: the value stays a string without quotes. */
const STRING = /^(?!(?:true|false|null|yes|no|on|off|y|n)$)(?:[A-Za-z_$][\w$./-]*|\d[\w.]*[A-Za-z])$/i
/** YAML text: a reference or a collection. */
const NOTATION = /^(?:"[^"\\]*"|'[^']*'|\[.*\]|\{.*\}|\*[\w-]+|\$\{[^}]*\})$/

/** @returns undefined: the suggestion is an example or an addition, or its notation in this place is not certain */
export function replacement({ source, start, end, nearby }: Span, suggestion: string): string | undefined {
  if (nearby || start === end || /…|\n|\.\.\./.test(suggestion) || suggestion.includes('***')) return undefined
  const written = source.text.slice(start, end)
  if (written.includes('\n')) return undefined
  const quote = /^(["']).*\1$/.exec(written)?.[1]
  if (quote !== undefined) {
    if (STRING.test(suggestion)) return `${quote}${suggestion}${quote}`
    if (NOTATION.test(suggestion) || PLAIN.test(suggestion)) return suggestion
    return quote === '"' ? JSON.stringify(suggestion) : `'${suggestion.replaceAll("'", "''")}'`
  }
  if (PLAIN.test(suggestion)) return suggestion
  return isWhole(source.text, start, end) && (NOTATION.test(suggestion) || isPlainScalar(suggestion)) ? suggestion : undefined
}

/** The range is a whole value or a whole key, not a part of a longer text. */
function isWhole(text: string, start: number, end: number): boolean {
  const before = /(?:[:,[{-][ \t]+|[[{]|^[ \t]*)$/.test(text.slice(text.lastIndexOf('\n', start - 1) + 1, start))
  const newline = text.indexOf('\n', end)
  const after = /^[ \t]*(?:$|[,\]}]|:(?:\s|$)|#)/.test(text.slice(end, newline < 0 ? undefined : newline).replace(/\r$/, ''))
  return before && after
}

/** An expression without YAML syntax, also inside of a flow map. */
const isPlainScalar = (text: string): boolean => /^[\w$(]/.test(text) && !/[,[\]{}#]|:(?:\s|$)|^\s|\s$/.test(text)
