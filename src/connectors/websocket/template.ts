/** Messages with `{symbol}`, one text per message to send. */
import type { Json } from '../../contract/plugin.ts'

const PLACEHOLDER = /\{symbol(?::(lower|upper))?\}/g

/**
 * The innermost list item that contains `{symbol}` is repeated for every symbol; if no list does, the whole message is repeated.
 * Texts are sent unchanged, everything else as JSON.
 */
export function expand(messages: readonly Json[], symbols: readonly string[]): string[] {
  return messages.flatMap(message => {
    const inner = typeof message === 'string' ? message : expandLists(message, symbols)
    const all = mentions(inner) ? symbols.map(s => put(inner, s)) : [inner]
    return all.map(m => (typeof m === 'string' ? m : JSON.stringify(m)))
  })
}

/** Inserts `symbol`, with the characters that a URL cannot contain escaped. */
export const expandUrl = (url: string, symbol: string): string => replace(url, symbol, encodeURIComponent)

export const symbolsOf = (symbols: readonly string[] | string): string[] =>
  (typeof symbols === 'string' ? symbols.split(',') : symbols).map(s => s.trim()).filter(s => s !== '')

/** Also within lists only when `deep`. */
export function mentions(node: Json, deep = false): boolean {
  if (typeof node === 'string') return node.search(PLACEHOLDER) >= 0
  if (Array.isArray(node)) return deep && node.some(n => mentions(n, true))
  return typeof node === 'object' && node !== null && Object.values(node).some(n => mentions(n, deep))
}

function expandLists(node: Json, symbols: readonly string[]): Json {
  if (Array.isArray(node)) {
    return node.flatMap(item => {
      const inner = expandLists(item, symbols)
      return mentions(inner) ? symbols.map(s => put(inner, s)) : [inner]
    })
  }
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, expandLists(value, symbols)]))
}

function put(node: Json, symbol: string): Json {
  if (typeof node === 'string') return replace(node, symbol, s => s)
  if (Array.isArray(node)) return node.map(n => put(n, symbol))
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, put(value, symbol)]))
}

const replace = (text: string, symbol: string, escape: (s: string) => string): string =>
  text.replaceAll(PLACEHOLDER, (_, letters?: string) =>
    escape(letters === 'lower' ? symbol.toLowerCase() : letters === 'upper' ? symbol.toUpperCase() : symbol),
  )
