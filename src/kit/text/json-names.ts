/** Duplicate names in objects of a JSON text: parsing silently keeps the last value of each. */

const QUOTE = 34
const COMMA = 44
const OPEN_ARRAY = 91
const BACKSLASH = 92
const CLOSE_ARRAY = 93
const OPEN_OBJECT = 123
const CLOSE_OBJECT = 125

export interface RepeatedName {
  readonly name: string
  /** Of the second occurrence, in characters. */
  readonly offset: number
}

/** The first duplicate in a text that is valid JSON. Names are compared by their characters: `"a"` and `"\\u0061"` are equal. */
export function repeatedName(text: string): RepeatedName | undefined {
  const open: (Set<string> | undefined)[] = []
  let names: Set<string> | undefined
  let isName = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === QUOTE) {
      const start = i
      let escaped = false
      for (let d = text.charCodeAt(++i); d !== QUOTE; d = text.charCodeAt(++i)) {
        if (d !== BACKSLASH) continue
        escaped = true
        i++
      }
      if (!isName) continue
      isName = false
      const name = escaped ? (JSON.parse(text.slice(start, i + 1)) as string) : text.slice(start + 1, i)
      if (names!.has(name)) return { name, offset: start }
      names!.add(name)
    } else if (c === OPEN_OBJECT || c === OPEN_ARRAY) {
      names = c === OPEN_OBJECT ? new Set() : undefined
      open.push(names)
      isName = c === OPEN_OBJECT
    } else if (c === CLOSE_OBJECT || c === CLOSE_ARRAY) {
      open.pop()
      names = open.at(-1)
      isName = false
    } else if (c === COMMA) isName = names !== undefined
  }
  return undefined
}
