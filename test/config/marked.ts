/** YAML with the places of expected problems marked in it: `to«pc»: x`. */
export interface Marked {
  readonly text: string
  /** `line:column-endColumn` of each mark, in order. */
  readonly places: readonly string[]
}

export function marked(source: string): Marked {
  const places: string[] = []
  let text = ''
  let line = 1
  let column = 1
  let open: string | undefined
  for (const char of source) {
    if (char === '«') open = `${line}:${column}`
    else if (char === '»') {
      places.push(`${open}-${column}`)
      open = undefined
    } else {
      text += char
      if (char === '\n') {
        line++
        column = 1
      } else column += char.length
    }
  }
  return { text, places }
}
