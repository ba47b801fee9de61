/** Names of keys and channels that depend on the message: `bars:<symbol>:1m`, `<@topic>`. */
import { DataError, type Message } from '../../contract/plugin.ts'
import { show } from '../../kit/values/fields.ts'
import { keyField, keyText } from '../../kit/values/key.ts'

const PLACE = /<([^<>]+)>/g
/** Keys of the runner: fences of lanes, live consumers. */
const OWN = '__runner:'

/** @returns the name for a message. Throws a {DataError} if the message lacks a value that the name needs. */
export function template(pattern: string): (m: Message) => string {
  const pieces: ((m: Message) => string)[] = []
  let at = 0
  for (const match of pattern.matchAll(PLACE)) {
    const plain = pattern.slice(at, match.index)
    if (plain !== '') pieces.push(() => plain)
    pieces.push(place(match[1], pattern))
    at = match.index + match[0].length
  }
  const rest = pattern.slice(at)
  if (pieces.length === 0) return () => pattern
  if (rest !== '') pieces.push(() => rest)
  const make = (m: Message): string => pieces.map(piece => piece(m)).join('')
  // A pattern whose fixed beginning is another one needs no look at each name.
  if (!OWN.startsWith(pattern.slice(0, pattern.search(PLACE)).slice(0, OWN.length))) return make
  return m => {
    const name = make(m)
    if (name.startsWith(OWN)) throw new DataError(`${pattern} gives ${show(name)}; keys that begin with ${OWN} belong to the runner`)
    return name
  }
}

export const isFixed = (pattern: string): boolean => pattern.search(PLACE) === -1
export const readsFields = (pattern: string): boolean => [...pattern.matchAll(PLACE)].some(([, name]) => !name.startsWith('@'))

/** @returns the problem of the pattern, if any. */
export function checkTemplate(pattern: string): string | undefined {
  for (const [, name] of pattern.matchAll(PLACE)) {
    if (name.startsWith('@') && name !== '@key' && name !== '@topic')
      return `has <${name}>; write <@key>, <@topic> or a field such as <symbol>`
  }
  return undefined
}

function place(name: string, pattern: string): (m: Message) => string {
  const read = name === '@key' ? (m: Message) => m.key : name === '@topic' ? (m: Message) => m.origin?.topic : keyField(name)
  return m => {
    const value = read(m)
    const text = value === '' ? undefined : keyText(value)
    if (text !== undefined) return text
    throw new DataError(`the message has no ${name.startsWith('@') ? name.slice(1) : `field "${name}"`} for ${pattern}`)
  }
}
