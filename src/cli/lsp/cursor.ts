/** Where the cursor is in a text that need not be valid YAML: the word at the cursor is replaced by a mark, and the mark is found in the tree. */
import { parseText } from '../../config/parse.ts'
import { Problems } from '../../config/problems.ts'
import { scalarOffsets } from '../../config/scalar.ts'
import { type Path, type ScalarNode, SourceText, type TreeNode } from '../../config/tree.ts'

/** A name in YAML and in expressions that no file has. */
export const MARK = 'x__cursor__x'

export interface Range {
  readonly start: number
  readonly end: number
}

export interface Cursor {
  /** Of the map that gets a key; of the value. */
  readonly path: Path
  readonly position: 'key' | 'value'
  /** The text with the mark, as far as it can be read. */
  readonly root: TreeNode
  /** The word at the cursor, in the text without the mark. */
  readonly word: Range
  /** The whole scalar at the cursor, in the text without the mark, without a comment. */
  readonly scalar: Range
  /** The scalar with the mark in it. */
  readonly value: string
  /** The text with the mark. */
  readonly marked: string
  /** A colon follows the word. */
  readonly colon: boolean
  /** The only entry of its map: a single value could be here as well. */
  readonly alone: boolean
  readonly flow: boolean
}

const WORD = /[\w-]/

export function cursorAt(text: string, offset: number): Cursor | undefined {
  let start = offset
  let end = offset
  while (start > 0 && WORD.test(text[start - 1])) start--
  while (end < text.length && WORD.test(text[end])) end++
  // Items of lists: `-` is not a part of the word.
  const indent = /(?:^|\n)[ \t]*(-)$/.exec(text.slice(Math.max(0, start - 200), start + 1))
  if (indent && start < offset) start++
  if (text[start - 1] === ':' && !/["'}\]]/.test(text[start - 2] ?? '')) return undefined
  const line = text.slice(text.lastIndexOf('\n', start - 1) + 1, start)
  const newline = text.indexOf('\n', end)
  const after = text.slice(end, newline < 0 ? undefined : newline)
  const colon = /^["']?[ \t]*:(?:\s|$)/.test(after)
  const block = /^[ \t]*(?:-[ \t]+)*$/.test(line)
  const rests = block && /^[ \t]*(?:#.*)?\r?$/.test(after) ? [': ', ''] : ['']
  for (const source of [text, text.slice(0, end)])
    for (const rest of rests) {
      const marked = text.slice(0, start) + MARK + rest + source.slice(end)
      const found = locate(marked, start)
      if (!found) continue
      const grown = marked.length - source.length
      const shift = (at: number): number => (at <= start ? at : at - grown)
      const { node, ...place } = found
      const scalar = node ? { start: node.span.start, end: shift(node.span.end) } : { start, end }
      return {
        ...place,
        scalar,
        word: { start, end },
        value: node ? String(node.value) : MARK,
        marked: text.slice(0, start) + MARK + text.slice(end),
        colon,
        flow: !block,
      }
    }
  return undefined
}

type Located = Pick<Cursor, 'path' | 'position' | 'root' | 'alone'> & { readonly node?: ScalarNode }

function locate(marked: string, at: number): Located | undefined {
  const root = parseText(new SourceText('', marked), new Problems(), true)
  if (!root) return undefined
  const walk = (node: TreeNode, path: Path): Located | undefined => {
    if (node.kind === 'scalar')
      return typeof node.value === 'string' && node.value.includes(MARK) ? { path, position: 'value', root, alone: false, node } : undefined
    if (node.kind === 'seq') {
      for (const [i, item] of node.items.entries()) {
        const found = walk(item, [...path, i])
        if (found) return found
      }
      return undefined
    }
    for (const [key, entry] of node.entries) {
      if (key.includes(MARK) && entry.key.start <= at && entry.key.end >= at)
        return key === MARK ? { path, position: 'key', root, alone: node.entries.size === 1 } : undefined
      const found = walk(entry.value, [...path, key])
      if (found) return found
    }
    return undefined
  }
  return walk(root, [])
}

/** The key or the value at an offset, in a text that need not be valid. */
export interface Token {
  readonly path: Path
  readonly on: 'key' | 'value'
  readonly range: Range
  readonly node?: ScalarNode
  readonly root: TreeNode
}

export function tokenAt(file: string, text: string, offset: number): Token | undefined {
  const root = parseText(new SourceText(file, text), new Problems(), true)
  if (!root) return undefined
  const walk = (node: TreeNode, path: Path): Token | undefined => {
    if (node.kind === 'scalar') {
      const { start, end } = node.span
      return start <= offset && offset <= end && start < end ? { path, on: 'value', range: { start, end }, node, root } : undefined
    }
    if (node.kind === 'seq') {
      for (const [i, item] of node.items.entries()) {
        const found = walk(item, [...path, i])
        if (found) return found
      }
      return undefined
    }
    for (const [key, entry] of node.entries) {
      const { start, end } = entry.key
      if (start <= offset && offset <= end) return { path: [...path, key], on: 'key', range: { start, end }, root }
      const found = walk(entry.value, [...path, key])
      if (found) return found
    }
    return undefined
  }
  return walk(root, [])
}

/** Index of the character of a value at an offset of the file. */
export function indexIn(node: ScalarNode, offset: number): number | undefined {
  const offsets = scalarOffsets(node)
  if (!offsets) return undefined
  const at = offsets.findLastIndex(o => o <= offset)
  return at < 0 ? undefined : at
}
