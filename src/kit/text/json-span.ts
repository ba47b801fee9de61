/** The position of a value in a JSON text, for messages about it. The text has been parsed: it is not checked again. */

/** In UTF-16 units; `end` is exclusive. */
export interface JsonSpan {
  readonly start: number
  readonly end: number
}

/**
 * The value at `path` and its key. Of two equal keys the later one counts, as for JSON.parse; if the path does not exist, the last existing
 * value on it is used.
 */
export function jsonSpan(text: string, path: readonly (string | number)[]): { value: JsonSpan; key: JsonSpan | undefined } {
  let start = space(text, 0)
  let key: JsonSpan | undefined
  for (const part of path) {
    const found =
      text[start] === '{' ? member(text, start, String(part)) : text[start] === '[' ? item(text, start, Number(part)) : undefined
    if (!found) break
    start = found.start
    key = found.key
  }
  return { value: { start, end: skip(text, start) }, key }
}

function member(text: string, open: number, name: string): { start: number; key: JsonSpan } | undefined {
  let found: { start: number; key: JsonSpan } | undefined
  for (let i = space(text, open + 1); text[i] === '"'; ) {
    const key = { start: i, end: skip(text, i) }
    const start = space(text, space(text, key.end) + 1)
    if (JSON.parse(text.slice(key.start, key.end)) === name) found = { start, key }
    i = next(text, start)
  }
  return found
}

function item(text: string, open: number, index: number): { start: number; key: undefined } | undefined {
  let i = space(text, open + 1)
  for (let n = 0; i < text.length && text[i] !== ']'; n++, i = next(text, i)) if (n === index) return { start: i, key: undefined }
  return undefined
}

/** From a value to the text after its comma, or to the bracket that ends the list. */
function next(text: string, start: number): number {
  const end = space(text, skip(text, start))
  return text[end] === ',' ? space(text, end + 1) : end
}

function space(text: string, at: number): number {
  let i = at
  while (' \t\r\n'.includes(text[i] ?? '-')) i++
  return i
}

/** The end of the value that starts here. */
function skip(text: string, start: number): number {
  let i = start
  let depth = 0
  do {
    const c = text[i]
    if (c === '"') {
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++
      i++
    } else if (c === '{' || c === '[') {
      depth++
      i++
    } else if (c === '}' || c === ']') {
      depth--
      i++
    } else if (depth > 0) i++
    else while (i < text.length && !' \t\r\n,]}'.includes(text[i])) i++
  } while (depth > 0 && i < text.length)
  return i
}
