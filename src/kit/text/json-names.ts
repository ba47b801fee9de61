/** Names that an object of a JSON text has twice: parsing keeps the last value of each and says nothing. */

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

/** The first of a text that is known to be JSON. Names are compared as what they spell: `"a"` and `"\\u0061"` are one. */
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
