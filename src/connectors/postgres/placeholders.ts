/** Named parameters in SQL: `$name`, outside of string literals, quoted names, comments and dollar-quoted blocks. */
export interface Parsed {
  /** With `$1`, `$2`… instead of the names. */
  readonly sql: string
  /** Names in the order of their numbers. */
  readonly names: readonly string[]
  /** Numbered parameters, which are not supported here. */
  readonly numbered: readonly string[]
}

const TOKENS =
  /[eE]'(?:[^'\\]|\\[^]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[^]*?\*\/|\$([a-zA-Z_][a-zA-Z0-9_]*)?\$[^]*?\$\1\$|[\w\u0080-\uffff]+|\$([a-zA-Z_][a-zA-Z0-9_]*)|\$(\d+)/g

export function parsePlaceholders(text: string): Parsed {
  const names: string[] = []
  const numbered: string[] = []
  const sql = text.replace(TOKENS, (token, _tag: string | undefined, name: string | undefined, number: string | undefined) => {
    if (number !== undefined) numbered.push(token)
    if (name === undefined) return token
    let at = names.indexOf(name)
    if (at < 0) at = names.push(name) - 1
    return `$${at + 1}`
  })
  return { sql, names, numbered }
}
